"""``python -m ites_fast.ablate``: the paper's tables, trained and measured."""

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ites_fast import cli
from ites_fast.ablation.plan import all_runs, plan
from ites_fast.ablation.prior_tables import PRIOR_TABLES
from ites_fast.ablation.render import Report, draw_sweep
from ites_fast.ablation.results import RowResult, collect, judge
from ites_fast.ablation.runs import StoppedError, execute, read_finished
from ites_fast.ablation.size import QUICK_ROUNDS, ROUNDS, SizeReport, measure_sizes
from ites_fast.ablation.tables import TABLES, Table
from ites_fast.config import PRESETS, Preset, TrainOptions
from ites_fast.device import Device, choose_device
from ites_fast.errors import InputError
from ites_fast.files import atomic_path, write_json
from ites_fast.run_data import load_report_views

RESULTS_FILE = "ablation.json"
# The budget of --quick: enough steps to see a run's beginning, not where it ends.
QUICK_STEPS = {
    "ites": {"teacher.steps": 250, "student.steps": 150},
    "prior": {"flow.steps": 600, "lifter.steps": 900},
}


@dataclass(frozen=True)
class AblateOptions:
    """Train what a table of the paper compares, and print its figures beside the published ones.

    Runs are kept in folders of their own below the output folder: what is finished is reused, also by other tables, and
    what was interrupted continues when the same command is given again.
    """

    table: Literal[
        "losses",
        "substitutes",
        "graphs",
        "dictionary",
        "weights",
        "features",
        "size",
        "recipe",
        "ingredients",
        "network",
        "labels",
    ]
    """which table. Of the paper: losses, other teachers and students, graphs of the student, dictionary sizes, loss
    weights, features of the teacher, parameters and inference time. Of the recipe "prior": its steps, its ingredients,
    its network, and labels instead"""
    data: str = "mocap17"
    """"mocap17" (bundled), "synthetic:N", or a file or folder in one of the formats of docs/DATA.md"""
    output: str = "runs/ablation"
    """folder of the runs, ablation.json and the tables"""
    preset: Preset = "quick"
    """whose options the rows change, see "python -m ites_fast.train --help" """
    seeds: int = 3
    """runs of each row, with the seeds 0, 1, ..."""
    quick: bool = False
    """a shortened budget of minutes, to see that it works; orderings may be others than with the preset's"""
    budget: float = 1.0
    """share of its steps that every training takes"""
    validation_subjects: tuple[str, ...] = ()
    """subjects of the training split to leave out and to report on instead of the test split"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""


def main(options: AblateOptions) -> None:
    """Train, measure, print, and write the table."""
    if options.seeds < 1:
        raise InputError(f"--seeds {options.seeds}: expected at least 1")
    if not 0 < options.budget <= 1:
        raise InputError(f"--budget {options.budget:g}: expected more than 0 and at most 1")
    if options.quick and options.budget != 1:
        raise InputError(f"--budget {options.budget:g}: --quick has a budget of its own; give one of them")
    device = choose_device(options.device)
    if options.table == "size":
        rounds = QUICK_ROUNDS if options.quick else ROUNDS
        write(options, measure_sizes(base_options(options, "ites"), device, rounds))
        return
    table = (TABLES | PRIOR_TABLES)[options.table]
    base = base_options(options, table.recipe)
    try:
        forced = QUICK_STEPS[table.recipe] if options.quick else {}
        results = train_table(table, base, Path(options.output), options.seeds, device, forced, options.budget)
    except StoppedError as stopped:
        print("stopped; give the same command again to continue", flush=True)
        sys.exit(cli.SIGNAL_STATUS + stopped.signal if stopped.signal is not None else cli.FAILURE)
    verdicts = [judge(claim, results) for claim in table.claims]
    write(options, Report(table, setting(options, table.recipe), results, verdicts))


def base_options(options: AblateOptions, recipe: str) -> TrainOptions:
    """The options that the rows of a table change.

    Raises:
        InputError: the recipe has no such preset.
    """
    if (recipe, options.preset) not in PRESETS:
        known = ", ".join(preset for name, preset in PRESETS if name == recipe)
        raise InputError(f"--preset {options.preset}: --table {options.table} has {known}")
    return replace(
        PRESETS[recipe, options.preset],
        data=options.data,
        validation_subjects=options.validation_subjects,
        device=options.device,
        output="",
    )


def train_table(
    table: Table,
    base: TrainOptions,
    output: Path,
    seeds: int,
    device: torch.device,
    forced: Mapping[str, Any],
    budget: float = 1.0,
) -> list[RowResult]:
    """Train what a table needs and is not there yet.

    Args:
        table: the table.
        base: options that its rows change.
        output: folder of the runs' folders and of ``RESULTS_FILE``.
        seeds: runs of each row.
        device: that trains.
        forced: options that every row has, whatever it changes.
        budget: share of its steps that every training takes.

    Raises:
        InputError: options, data or folders cannot be used; nothing was trained then.
        StoppedError: a signal came.
    """
    read_results(output)
    planned = plan(table, base, output, seeds, forced, budget)
    runs = all_runs(planned)
    if any(read_finished(run) is None for run in runs):
        require_truth(base)
    print(f"{table.title}: {len(runs)} runs for {len(table.rows)} rows of {seeds} seed(s), in {output}", flush=True)
    return collect(table, planned, execute(runs, device, say=lambda line: print(line, flush=True)))


def require_truth(base: TrainOptions) -> None:
    """Refuse data that nothing can be measured on.

    Raises:
        InputError: there are no views with 3D poses to evaluate on.
    """
    if load_report_views(base.data, base.validation_subjects) is None:
        raise InputError(f"--data {base.data}: has no views with 3D poses to evaluate on, which a table needs")


def setting(options: AblateOptions, recipe: str) -> str:
    """Data, preset and budget of a table, in one line."""
    held_out = " ".join(options.validation_subjects)
    views = f"held-out subjects {held_out}" if held_out else "test split"
    where = f"{options.data}, {views}, recipe {recipe}, preset {options.preset}, {options.seeds} seed(s)"
    if not options.quick:
        return where if options.budget == 1 else f"{where}, {options.budget:.0%} of its steps"
    steps = " and ".join(f"{steps} {name.partition('.')[0]} steps" for name, steps in QUICK_STEPS[recipe].items())
    return f"{where}; SHORTENED budget (--quick): {steps}; orderings may be others with the preset's own"


def read_results(output: Path) -> dict[str, Any]:
    """What ``RESULTS_FILE`` holds of other tables.

    Raises:
        InputError: it is not such a file.
    """
    path = output / RESULTS_FILE
    if not path.exists():
        return {}
    try:
        results = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    if not isinstance(results, dict):
        raise InputError(f"{path}: not the tables of an ablation")
    return results


def write(options: AblateOptions, report: Report | SizeReport) -> None:
    """Print a table and write it: ``RESULTS_FILE`` beside other tables, a Markdown file, and the figure of a sweep."""
    output = Path(options.output)
    print(f"\n{report.text()}\n")
    paths = [output / RESULTS_FILE, output / f"{options.table}.md"]
    write_json(paths[0], read_results(output) | {options.table: report.to_dict()})
    with atomic_path(paths[1]) as temporary:
        temporary.write_text(report.markdown(), encoding="utf-8")
    if isinstance(report, Report) and report.table.sweep is not None:
        paths.append(output / f"{options.table}.png")
        draw_sweep(paths[-1], report)
    for path in paths:
        print(f"written: {path}")


if __name__ == "__main__":
    cli.run(main, AblateOptions, prog="python -m ites_fast.ablate", description=AblateOptions.__doc__)
