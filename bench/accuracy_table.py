"""The table of ``accuracy_official.py``: every seed, mean and standard deviation of both arms, and their difference."""

import statistics
from collections.abc import Sequence
from typing import Any

COLUMNS = {
    "n_mpjpe": "n_mpjpe/flip=none/scale=lstsq",
    "p_mpjpe": "p_mpjpe/flip=none",
    "n_mpjpe, best flip": "n_mpjpe/flip=best/scale=lstsq",
    "p_mpjpe, best flip": "p_mpjpe/flip=best",
    "flip rate": "flip_rate",
}
KEYS = tuple(COLUMNS.values())
READINGS = {
    "student": "Student (reprojection exact, its own depths)",
    "teacher_depth": "Teacher, its depths at the input's image points, as the release evaluates it",
    "teacher": "Teacher, its pose as it is",
}
NAMES = {"ites_fast": "ites_fast, preset official", "release": "released code"}


def table(budget: dict[str, Any], runs: Sequence[dict[str, Any]]) -> str:
    """Markdown for the finished runs; spread is the standard deviation over seeds (n - 1)."""
    epoch = -(-(budget["training_views"] - 1) // budget["batch_size"])
    lines = [
        "Written by `bench/accuracy_official.py`, whose docstring says what the arms share; its JSON has versions and "
        "the commit.",
        "",
        f"Data {budget['data']}: {budget['training_views']:,} training views, {budget['test_views']:,} test views. "
        f"{budget['teacher_steps']:,} teacher steps, then {budget['student_steps']:,} student steps of "
        f"{budget['batch_size']}; an epoch has {epoch:,} steps. The rate halves every 15 epochs ({15 * epoch:,} steps) "
        "and the teacher's poses are aligned to their root in the first 15: "
        + (
            "neither the halving nor the end of the alignment is reached, so this says nothing of them."
            if max(budget["teacher_steps"], budget["student_steps"]) <= 15 * epoch
            else "both are reached."
        ),
        "",
        "Millimetres on the test split: n_mpjpe after root alignment and a least-squares scale for each pose, p_mpjpe "
        "after a similarity; no flip oracle unless the column says so. Mean and standard deviation over seeds.",
    ]
    for reading, title in READINGS.items():
        lines += ["", f"**{title}**", "", row("", "seed", *COLUMNS), "|---|--:|" + "--:|" * len(COLUMNS)]
        lines += _figures(reading, runs)
    return "\n".join([*lines, "", *_training(runs), ""])


def _figures(reading: str, runs: Sequence[dict[str, Any]]) -> list[str]:
    """Rows of one way to read the networks."""
    lines, means = [], {}
    for arm, name in NAMES.items():
        own = [run for run in runs if run["arm"] == arm]
        for run in own:
            lines.append(row(name, run["seed"], *(_number(key, run[reading][key]) for key in KEYS)))
        if len(own) > 1:
            values = {key: [run[reading][key] for run in own] for key in KEYS}
            means[arm] = {key: statistics.mean(values[key]) for key in KEYS}
            cells = [
                f"**{_number(key, means[arm][key])}** ± {_number(key, statistics.stdev(values[key]))}" for key in KEYS
            ]
            lines.append(row(f"**{name}**", "mean", *cells))
    if len(means) == len(NAMES):
        differences = [means["ites_fast"][key] - means["release"][key] for key in KEYS]
        cells = [f"{'+' if d > 0 else ''}{_number(key, d)}" for key, d in zip(KEYS, differences, strict=True)]
        lines.append(row("ites_fast minus release", "mean", *cells))
    return lines


def _training(runs: Sequence[dict[str, Any]]) -> list[str]:
    """What the losses came to and how long it took."""
    names = {stage: list(run[stage]["last_losses"]) for run in runs[:1] for stage in ("teacher", "student")}
    columns = [(stage, name) for stage, losses in names.items() for name in losses]
    titles = [f"{stage} {name}" for stage, name in columns]
    lines = [
        "**Training**: losses (not weighted, body units, mean of the last 100 steps) and seconds of CPU time, on a "
        "machine that other processes shared: [benchmarks.md](benchmarks.md) compares the speed",
        "",
        row("", "seed", *titles, "teacher CPU s", "student CPU s"),
        "|---|--:|" + "--:|" * (len(columns) + 2),
    ]
    for run in runs:
        cells = [f"{run[stage]['last_losses'][name]:.4f}" for stage, name in columns]
        seconds = [f"{run[stage]['cpu_seconds']:.0f}" for stage in names]
        lines.append(row(NAMES[run["arm"]], run["seed"], *cells, *seconds))
    return lines


def _number(key: str, value: float) -> str:
    return f"{value:.3f}" if key == "flip_rate" else f"{value:.1f}"


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"
