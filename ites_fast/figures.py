"""Pictures of losses, errors and poses (PNG). No window and no global state: pyplot is not used."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullFormatter

from ites_fast import metrics
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.evaluation import EXAMPLE_KEY, EXAMPLE_QUANTILES, Evaluation
from ites_fast.files import atomic_path
from ites_fast.skeleton import Skeleton

LEFT, RIGHT, MIDDLE, TRUTH = "#d95f02", "#1f78b4", "#444444", "#b8b8b8"
LOSS_COLOURS = ("#1f78b4", "#d95f02", "#33a02c", "#6a3d9a", "#b15928", "#e7298a")
DPI = 130

VIEWS = (("seen from the camera", 0.0), ("turned by 45°", 45.0), ("from the side (90°)", 90.0))
CAPTION_LENGTH = 36
SCALE_BAR = 500.0  # millimetres

SMOOTHING = 50  # at most so many points of a loss curve are averaged into one


def write_evaluation_figures(folder: str | Path, dataset: PoseDataset, evaluation: Evaluation) -> list[Path]:
    """Draw poses, errors by joint and the distribution of errors into a folder.

    Raises:
        OSError: the folder cannot be written.
    """
    folder = Path(folder)
    paths = [folder / name for name in ("poses.png", "joint_errors.png", "error_histogram.png")]
    draw_poses(paths[0], dataset, evaluation)
    draw_joint_errors(paths[1], evaluation, dataset.skeleton)
    draw_error_histogram(paths[2], evaluation)
    return paths


def draw_losses(path: str | Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draw the loss and its terms over the steps of each stage.

    Args:
        path: the PNG.
        records: dictionaries with "stage", "step", "loss" and the terms of the loss, in the order of the steps.

    Raises:
        InputError: there are no records.
    """
    if not records:
        raise InputError(f"{path}: no loss was recorded, so there is no curve to draw")
    stages = list(dict.fromkeys(record["stage"] for record in records))
    figure = _figure(width=5.6 * len(stages), height=3.8)
    for axes, stage in zip(figure.subplots(1, len(stages), squeeze=False)[0], stages, strict=True):
        rows = [record for record in records if record["stage"] == stage]
        steps = np.array([row["step"] for row in rows])
        terms = [name for name in rows[0] if name not in ("stage", "step", "loss", "learning_rate")]
        colours = dict(zip(terms, LOSS_COLOURS * len(terms), strict=False)) | {"loss": "black"}
        for name in [*terms, "loss"]:
            values = np.array([row[name] for row in rows], dtype=float)
            axes.plot(steps, values, color=colours[name], linewidth=0.6, alpha=0.25)
            label = "loss (weighted sum)" if name == "loss" else name.replace("_", " ")
            axes.plot(*_smooth(steps, values), color=colours[name], linewidth=1.6, label=label)
        axes.set(title=stage, xlabel="step")
        axes.grid(color="#eeeeee", linewidth=0.6)
        if all(row[name] > 0 for row in rows for name in colours):
            axes.set_yscale("log")
            axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
            axes.yaxis.set_minor_formatter(NullFormatter())
        axes.legend(frameon=False, fontsize=8)
    figure.axes[0].set_ylabel("loss")
    _save(figure, path)


def draw_poses(path: str | Path, dataset: PoseDataset, evaluation: Evaluation) -> None:
    """Draw views at fixed quantiles of the error: the 2D input, and prediction and truth from three directions.

    The prediction is scaled to the truth (least squares) and both have the root in the origin, as in ``EXAMPLE_KEY``;
    its depth is never flipped. Nothing is chosen by eye.
    """
    errors, p_errors = evaluation.per_pose[EXAMPLE_KEY], evaluation.per_pose["p_mpjpe/flip=none"]
    chosen, skeleton = evaluation.examples.views, dataset.skeleton
    factor = metrics.fit_scale(evaluation.examples.pred, evaluation.examples.target, "lstsq", skeleton.root)
    pred = (evaluation.examples.pred * factor[:, None, None]).numpy()
    target = evaluation.examples.target.numpy()
    reach = 1.05 * max(np.abs(pred).max(), np.abs(target).max())
    figure = _figure(width=2.25 * len(chosen), height=2.3 * (1 + len(VIEWS)) + 0.9)
    grid = figure.subplots(1 + len(VIEWS), len(chosen), squeeze=False)
    for column, sample in enumerate(chosen):
        percent = 100 * EXAMPLE_QUANTILES[column]
        place = "median" if percent == 50 else f"{percent:.0f}th percentile"
        title = f"{place}\nn_mpjpe {errors[sample]:.0f} mm, p_mpjpe {p_errors[sample]:.0f} mm"
        grid[0, column].set_title(title, fontsize=8)
        grid[0, column].set_xlabel(_caption(dataset, sample), fontsize=6.5, color="#666666")
        _draw_input(grid[0, column], dataset.pose_2d[sample], skeleton)
        for row, (_, degrees) in enumerate(VIEWS, start=1):
            axes = grid[row, column]
            _draw_bones(axes, _turn(target[column], degrees), skeleton, colours=(TRUTH,) * 3, width=3.2)
            _draw_bones(axes, _turn(pred[column], degrees), skeleton)
            axes.set(xlim=(-reach, reach), ylim=(reach, -reach))
    corner = 0.92 * reach
    grid[1, 0].plot([-corner, SCALE_BAR - corner], [corner, corner], color="black", linewidth=1.2)
    grid[1, 0].text(SCALE_BAR / 2 - corner, 0.96 * corner, f"{SCALE_BAR / 1000:g} m", ha="center", fontsize=7)
    for axes, label in zip(grid[:, 0], ["2D input", *(name for name, _ in VIEWS)], strict=True):
        axes.set_ylabel(label, fontsize=9)
    figure.suptitle(
        f"{evaluation.model} on {evaluation.data}: views at fixed percentiles of the error, best to worst", fontsize=11
    )
    handles = [
        Line2D([], [], color=colour, linewidth=width, label=label)
        for colour, width, label in (
            (LEFT, 1.8, "left limbs"),
            (RIGHT, 1.8, "right limbs"),
            (MIDDLE, 1.8, "trunk and head"),
            (TRUTH, 3.2, "ground truth"),
        )
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    _save(figure, path)


def draw_joint_errors(path: str | Path, evaluation: Evaluation, skeleton: Skeleton) -> None:
    """Draw the mean error of each joint, after scale and after similarity alignment."""
    names = list(evaluation.by_joint)
    figure = _figure(width=7.0, height=0.3 * len(names) + 1.4)
    axes = figure.subplots()
    places = np.arange(len(names))
    sides = [LEFT if j in skeleton.left else RIGHT if j in skeleton.right else MIDDLE for j in range(len(names))]
    for key, shift, alpha, label in (
        (EXAMPLE_KEY, -0.2, 1.0, "n_mpjpe (flip=none, scale=lstsq)"),
        ("p_mpjpe/flip=none", 0.2, 0.45, "p_mpjpe (flip=none)"),
    ):
        values = [evaluation.by_joint[name][key] for name in names]
        axes.barh(places + shift, values, 0.38, color=sides, alpha=alpha)
        axes.barh(0, 0, color=MIDDLE, alpha=alpha, label=f"{label}: {evaluation.metrics[key]:.1f} mm")
        for place, value in zip(places + shift, values, strict=True):
            axes.annotate(f"{value:.0f}", (value, place), (2, 0), textcoords="offset points", va="center", fontsize=7)
    axes.set_yticks(places, [name.replace("_", " ") for name in names], fontsize=8)
    axes.invert_yaxis()
    axes.set(xlabel="mean error, mm", title=f"{evaluation.model} on {evaluation.data}: error of each joint")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=8)
    axes.margins(y=0.01)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def draw_error_histogram(path: str | Path, evaluation: Evaluation) -> None:
    """Draw how the errors of the views are distributed. Views beyond the axis are counted in the last bar."""
    keys = {EXAMPLE_KEY: RIGHT, "p_mpjpe/flip=none": LEFT}
    limit = max(np.quantile(evaluation.per_pose[key], 0.99) for key in keys)
    bins = np.linspace(0, max(limit, 1e-3), 61)
    figure = _figure(width=7.0, height=3.8)
    axes = figure.subplots()
    for key, colour in keys.items():
        values = evaluation.per_pose[key]
        median = float(np.median(values))
        share = np.full(len(values), 100 / len(values))
        label = f"{key.replace('/', ', ')}\nmean {values.mean():.1f} mm, median {median:.1f} mm"
        axes.hist(np.minimum(values, bins[-1]), bins, weights=share, color=colour, alpha=0.55, label=label)
        axes.axvline(median, color=colour, linewidth=1.2)
    axes.set(xlabel="error of a view, mm (beyond the end: in the last bar)", ylabel="views, %", xlim=(0, bins[-1]))
    axes.set_title(f"{evaluation.model} on {evaluation.data}: {evaluation.samples:,} views")
    axes.legend(frameon=False, fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    _save(figure, path)


def _turn(pose: np.ndarray, degrees: float) -> np.ndarray:
    """Image plane (J, 2) of a camera that went around the person by ``degrees`` about the vertical of the image."""
    angle = np.deg2rad(degrees)
    return np.stack([np.cos(angle) * pose[:, 0] + np.sin(angle) * pose[:, 2], pose[:, 1]], -1)


def _draw_input(axes: Axes, pose_2d: np.ndarray, skeleton: Skeleton) -> None:
    _draw_bones(axes, pose_2d, skeleton)
    middle = (pose_2d.max(0) + pose_2d.min(0)) / 2
    reach = 0.62 * (pose_2d.max(0) - pose_2d.min(0)).max()
    axes.set(xlim=(middle[0] - reach, middle[0] + reach), ylim=(middle[1] + reach, middle[1] - reach))


def _draw_bones(
    axes: Axes,
    points: np.ndarray,
    skeleton: Skeleton,
    colours: tuple[str, str, str] = (LEFT, RIGHT, MIDDLE),
    width: float = 1.8,
) -> None:
    """Draw a skeleton (J, 2) with left, right and other bones in three colours."""
    for child, parent in skeleton.edges:
        side = 0 if child in skeleton.left else 1 if child in skeleton.right else 2
        x, y = points[[child, parent]].T
        axes.plot(x, y, color=colours[side], linewidth=width, solid_capstyle="round")
    axes.set_aspect("equal", adjustable="box")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_color("#dddddd")


def _caption(dataset: PoseDataset, sample: int) -> str:
    action = dataset.actions[dataset.action[sample]]
    action = action if len(action) <= CAPTION_LENGTH else action[: CAPTION_LENGTH - 1] + "…"
    return f"{action}\nsubject {dataset.subjects[dataset.subject[sample]]}, frame {dataset.frame[sample]}"


def _smooth(steps: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Means of consecutive points, so that a curve of any length has 100 or fewer vertices when it is long."""
    size = int(np.clip(len(values) // 100, 1, SMOOTHING))
    whole = len(values) // size * size
    return steps[:whole].reshape(-1, size).mean(1), values[:whole].reshape(-1, size).mean(1)


def _figure(width: float, height: float) -> Figure:
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")


def _save(figure: Figure, path: str | Path) -> None:
    with atomic_path(path) as temporary:
        figure.savefig(temporary, format="png")
