"""Evaluations as plain text: aligned columns, scale and flip beside every figure."""

from collections.abc import Iterable, Sequence

from ites_fast.evaluation import Evaluation, Table, scale_name
from ites_fast.measures import Measure
from ites_fast.protocols import Protocol

MODEL_COLUMNS = (
    "p_mpjpe/flip=none",
    "p_mpjpe/flip=best",
    "n_mpjpe/flip=none/scale=lstsq",
    "n_mpjpe/flip=best/scale=lstsq",
    "pck@150/flip=none",
    "auc/flip=none",
    "flip_rate",
    "bone_length_spread",
)
UNITS = "mpjpe and stress in mm, all others in %"


def format_evaluation(evaluation: Evaluation, *, by_action: bool = False) -> str:
    """Everything worth reading about one model.

    Args:
        evaluation: its figures.
        by_action: also one line per action.
    """
    protocol = evaluation.protocol
    parts = [
        f"{evaluation.model} on {evaluation.data}: {evaluation.samples:,} views of {len(evaluation.by_subject)} "
        f"subjects, protocol {protocol.name}",
        protocol.convention,
        "",
        _metrics_table(evaluation),
        "",
        *_legend(evaluation),
        "",
        _group_table("subject", evaluation.by_subject, protocol),
        "",
        _group_table("joint", evaluation.by_joint, protocol),
        UNITS,
    ]
    if by_action:
        parts += ["", _group_table("action", evaluation.by_action, protocol), UNITS]
    return "\n".join(parts)


def format_table(evaluations: Iterable[Evaluation]) -> str:
    """Models side by side, one line each; all of one protocol."""
    evaluations = list(evaluations)
    protocols = {evaluation.protocol.name for evaluation in evaluations}
    assert len(protocols) == 1, "figures of different protocols do not belong in one table"
    header = [_with_scale(key, evaluations[0].protocol) for key in MODEL_COLUMNS]
    rows = [[each.model, *(_figure(key, each.metrics) for key in MODEL_COLUMNS)] for each in evaluations]
    return f"{format_columns(['model', *header], rows)}\n{UNITS}"


def format_columns(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Align cells: the first column to the left, all others to the right. A ``/`` in the header starts a new line."""
    stacked = [cell.split("/") for cell in header]
    height = max(map(len, stacked))
    lines = [[cell[i] if i < len(cell) else "" for cell in stacked] for i in range(height)]
    width = [max(len(line[column]) for line in (*lines, *rows)) for column in range(len(header))]
    rule = ["-" * columns for columns in width]
    return "\n".join(
        "  ".join(
            cell.rjust(columns) if i else cell.ljust(columns)
            for i, (cell, columns) in enumerate(zip(line, width, strict=True))
        ).rstrip()
        for line in (*lines, rule, *rows)
    )


def _metrics_table(evaluation: Evaluation) -> str:
    """One line per metric and scale, one column per treatment of the flip; the protocol's headline has a star."""
    measures = [measure for measure in evaluation.protocol.measures if measure.metric != "flip_rate"]
    flips = list(dict.fromkeys(_flip(measure) for measure in measures))
    lines: dict[str, list[str]] = {}
    for measure in measures:
        cells = lines.setdefault(_label(measure), [""] * len(flips))
        star = "*" if measure.key in evaluation.protocol.headline else " "
        cells[flips.index(_flip(measure))] = _figure(measure.key, evaluation.metrics, unit=True) + star
    return format_columns(["metric", *(f"{flip} " for flip in flips)], [[label, *row] for label, row in lines.items()])


def _legend(evaluation: Evaluation) -> list[str]:
    flipped, spread, truth = (
        _figure(key, evaluation.metrics, unit=True).rstrip()
        for key in ("flip_rate", "bone_length_spread", "bone_length_spread/truth")
    )
    return [
        f"flip_rate           {flipped} of the views fit better with depth negated",
        f"bone_length_spread  predicted {spread}, truth {truth}",
        "",
        f"* what the protocol reports; means over {evaluation.protocol.mean_over}",
        *(f"scale={name}: {meaning}" for name, meaning in evaluation.protocol.scales.items()),
        f"scale=none uses {evaluation.metres_per_unit:.3g} m per unit ({evaluation.metres_per_unit_source})",
    ]


def _group_table(name: str, table: Table, protocol: Protocol) -> str:
    """One line per subject, action or joint with the protocol's headline."""
    columns = [*protocol.headline, "pck@150/flip=none"]
    header = [name, *(_with_scale(key, protocol) for key in columns)]
    rows = [[group, *(_figure(key, figures) for key in columns)] for group, figures in table.items()]
    if all("samples" in figures for figures in table.values()):
        header.append("views")
        rows = [[*row, f"{figures['samples']:,}"] for row, figures in zip(rows, table.values(), strict=True)]
    return format_columns(header, rows)


def _with_scale(key: str, protocol: Protocol) -> str:
    """The key, with the scale that pck and auc leave to the protocol."""
    return f"{key}/scale={scale_name(protocol)}" if key.startswith(("pck", "auc")) else key


def _figure(key: str, figures: dict[str, float], *, unit: bool = False) -> str:
    """Millimetres, or per cent of a fraction; "-" where there is no figure."""
    if key not in figures:
        return "-"
    is_length = "mpjpe" in key or "stress" in key
    text = f"{figures[key] if is_length else 100 * figures[key]:.1f}"
    return text + (" mm" if is_length else " % ") * unit


def _label(measure: Measure) -> str:
    """Metric, scale and joints of a measure: all that names a line."""
    parts = [measure.metric.ljust(8)]
    if measure.metric != "p_mpjpe":
        parts.append(f"scale={'procrustes' if measure.scale == 'unsigned' else measure.scale}")
    if measure.joints is not None:
        parts.append(f"joints={len(measure.joints)}")
    return " ".join(parts)


def _flip(measure: Measure) -> str:
    return "flip=none/reflection=allowed" if measure.flip == "reflection" else f"flip={measure.flip}"
