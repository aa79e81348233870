"""A table of results as aligned text, as Markdown and as a figure of a sweep."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from ites_fast.ablation.plan import option_value
from ites_fast.ablation.results import COLUMNS, MPJPE_BEST, P_MPJPE_BEST, RowResult, Verdict
from ites_fast.ablation.tables import Published, Table
from ites_fast.files import atomic_path
from ites_fast.tables import format_columns

UNITS = (
    "mm, mean ± standard deviation over seeds (n); n_mpjpe: root and one scale per pose (least squares); flip=best "
    "takes the better sign of depth for each pose, as the paper does, flip=none takes no oracle"
)
PUBLISHED = (
    "published: Human3.6M, ground-truth 2D, MPJPE / P-MPJPE with the better sign of depth; other data than here unless "
    "you gave it, so compare orderings"
)
TITLE_WIDTH = 100  # characters
SWEEP_COLOURS = {MPJPE_BEST: "#1f78b4", P_MPJPE_BEST: "#d95f02"}


@dataclass(frozen=True)
class Report:
    """What is said of a table.

    Args:
        table: the table.
        setting: data, preset and budget, in a sentence.
        results: of its rows.
        verdicts: on its claims.
    """

    table: Table
    setting: str
    results: Sequence[RowResult]
    verdicts: Sequence[Verdict]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "title": self.table.title,
            "setting": self.setting,
            "units": UNITS,
            "published": PUBLISHED,
            "notes": list(self.table.notes),
            "rows": [result.to_dict() for result in self.results],
            "claims": [verdict.to_dict() for verdict in self.verdicts],
        }

    def header(self) -> list[str]:
        return ["row", *COLUMNS, "n", *(["published"] if self.has_published else [])]

    @property
    def has_published(self) -> bool:
        return any(result.row.published for result in self.results)

    def cells(self) -> list[list[str]]:
        rows = []
        for result in self.results:
            diverged = (
                f" ({len(result.outcomes) - result.count} diverged)" if result.count < len(result.outcomes) else ""
            )
            published = [published_text(result.row.published)] if self.has_published else []
            figures = [figure_text(result, key) for key in COLUMNS]
            rows.append([result.row.name, *figures, f"{result.count}{diverged}", *published])
        return rows

    def legend(self) -> list[str]:
        return [UNITS, *([PUBLISHED] if self.has_published else []), *self.table.notes]

    def text(self) -> str:
        """Title, setting, columns, legend and verdicts."""
        claims = ["", *(verdict.sentence for verdict in self.verdicts)] if self.verdicts else []
        columns = format_columns(self.header(), self.cells())
        return "\n".join([f"{self.table.title}: {self.setting}", "", columns, "", *self.legend(), *claims])

    def markdown(self) -> str:
        """The same as a Markdown section."""
        claims = ["", *(f"* {verdict.sentence}" for verdict in self.verdicts)] if self.verdicts else []
        legend = [f"{sentence.removesuffix('.')}.  " for sentence in self.legend()]
        title = f"## {self.table.title[0].upper()}{self.table.title[1:]}"
        table = markdown_table(self.header(), self.cells())
        return "\n".join([title, "", self.setting, "", table, "", *legend, *claims]) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table, the first column to the left; a ``/`` in the header starts a new line."""
    lines = [[cell.replace("/", "<br>") for cell in header], ["---", *("---:" for _ in header[1:])], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def figure_text(result: RowResult, key: str) -> str:
    """A mean with its spread, "-" where nothing was trained to its end."""
    if not result.count:
        return "-"
    spread = result.spread(key)
    return f"{result.mean(key):.1f}" + ("" if spread is None else f" ± {spread:.1f}")


def published_text(published: Published | None) -> str:
    """Published figures, "-" for those that there are not."""
    if published is None:
        return "-"
    return " / ".join("-" if value is None else f"{value:.1f}" for value in published)


def draw_sweep(path: Path, report: Report) -> None:
    """Draw the errors of a sweep over its option, with the spread over seeds and the paper's choice.

    Raises:
        OSError: the file cannot be written.
    """
    option = report.table.sweep
    assert option is not None, "a sweep"
    figure = Figure(figsize=(6.4, 4.0), dpi=130, layout="constrained")
    axes = figure.subplots()
    trained = [result for result in report.results if result.count]
    places = [option_value(result.runs[0].options, option) for result in trained]
    for key, colour in SWEEP_COLOURS.items():
        spread = [result.spread(key) or 0.0 for result in trained]
        means = [result.mean(key) for result in trained]
        axes.errorbar(places, means, spread, color=colour, marker="o", capsize=3, label=key.replace("/", ", "))
        for result, place in zip(trained, places, strict=True):
            axes.plot([place] * result.count, result.values(key), ".", color=colour, alpha=0.4, markersize=4)
    if report.table.chosen is not None:
        axes.axvline(report.table.chosen, color="#888888", linewidth=1, linestyle=":", label="the paper's choice")
    axes.set_xscale("log", base=2)
    axes.set_xticks(places, [f"{place:g}" for place in places])
    axes.minorticks_off()
    counts = {result.count for result in trained}
    seeds = "/".join(str(count) for count in sorted(counts))
    axes.set(xlabel=option, ylabel="error, mm")
    title = textwrap.fill(f"{report.table.title}: mean ± std of {seeds} seeds; {report.setting}", TITLE_WIDTH)
    axes.set_title(title, fontsize=8)
    axes.grid(color="#eeeeee", linewidth=0.6)
    axes.legend(frameon=False, fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
