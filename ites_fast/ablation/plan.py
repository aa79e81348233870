"""From the rows of a table to the runs that it needs, each of them once."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Any

from ites_fast.ablation.tables import Same, Table
from ites_fast.config import STAGES, TrainOptions, options_to_dict
from ites_fast.option_checks import check_options
from ites_fast.recipes import trains
from ites_fast.run_folder import model_file

LONGEST_NAME = 235  # characters of a folder's name; file systems allow 255

# The option that names the file of a recipe's first stage.
FIRST_CHECKPOINT = {"ites": "teacher_checkpoint", "prior": "flow_checkpoint"}


@dataclass(frozen=True)
class Run:
    """A training run and the one that must be finished before it.

    Args:
        options: of the run; its output folder is the run's own.
        model: stage whose model is evaluated, None for a stage that lifts nothing.
        needs: the run that trains its first stage.
    """

    options: TrainOptions
    model: str | None
    needs: "Run | None" = None

    @property
    def folder(self) -> Path:
        return Path(self.options.output)


def plan(
    table: Table,
    base: TrainOptions,
    output: Path,
    seeds: int,
    forced: Mapping[str, Any] | None = None,
    budget: float = 1.0,
) -> dict[str, list[Run]]:
    """The runs of a table: for each row one a seed. Rows that ask for the same run get the same one.

    A run trains one stage. The first stage of a recipe is a run of its own: every second stage of its seed learns from
    it, and a row may report it.

    Args:
        table: whose rows are resolved.
        base: options that the rows change, of the table's recipe.
        output: folder of the runs' folders.
        seeds: each row is trained with the seeds 0 to ``seeds`` - 1.
        forced: options that every row has, whatever it changes, such as those of a shortened budget.
        budget: share of its steps that every stage takes.

    Raises:
        InputError: a row's options cannot be trained with.
    """
    assert base.recipe == table.recipe, f"{table.name} changes options of the recipe {table.recipe}"
    base = resolve(base, forced or {})
    return {
        row.name: [
            _run({**row.changes, **(forced or {})}, row.model, replace(base, seed=seed), output, budget)
            for seed in range(seeds)
        ]
        for row in table.rows
    }


def all_runs(planned: dict[str, list[Run]]) -> list[Run]:
    """Every run once, a first stage before the second ones, seed by seed."""
    runs = [run for of_seed in zip(*planned.values(), strict=True) for run in of_seed]
    return list(dict.fromkeys(each for run in runs for each in (run.needs, run) if each is not None))


def _run(changes: Mapping[str, Any], model: str, base: TrainOptions, output: Path, budget: float) -> Run:
    options = shortened(resolve(base, changes), budget)
    base = shortened(base, budget)
    check_options(options)
    first, second = STAGES[base.recipe]
    # what changes in the second stage is no matter of the first
    first_options = replace(options, **{second: getattr(base, second)}, stage=first)
    first_options = replace(first_options, output=str(output / folder_name(first, base, first_options)))
    if model == first:
        return Run(first_options, first)
    options = replace(options, output=str(output / folder_name(second, base, options)))
    if not trains(options, first):
        return Run(options, second)
    checkpoint = str(Path(first_options.output, model_file(first)))
    needed = Run(first_options, first if base.recipe == "ites" else None)
    return Run(replace(options, **{FIRST_CHECKPOINT[base.recipe]: checkpoint}), second, needed)


def resolve(base: TrainOptions, changes: Mapping[str, Any]) -> TrainOptions:
    """``base`` with ``changes`` by dotted option. ``Same`` reads the option from the result of the plain changes.

    Raises:
        KeyError: there is no such option.
    """
    options = base
    plain = {name: value for name, value in changes.items() if not isinstance(value, Same)}
    for name, value in plain.items():
        options = _set(options, name.split("."), value)
    for name in changes.keys() - plain.keys():
        options = _set(options, name.split("."), option_value(options, changes[name].option))
    return options


def shortened(options: TrainOptions, budget: float) -> TrainOptions:
    """``options`` with this share of the steps, or epochs, of both stages; at least one."""
    for stage in STAGES[options.recipe]:
        of_stage = getattr(options, stage)
        unit = "epochs" if of_stage.steps is None else "steps"
        length = max(1, round(budget * getattr(of_stage, unit)))
        options = replace(options, **{stage: replace(of_stage, **{unit: length})})
    return options


def option_value(options: TrainOptions, name: str) -> Any:
    """The value of a dotted option."""
    value: Any = options
    for part in name.split("."):
        value = getattr(value, part)
    return value


def _set(options: Any, path: list[str], value: Any) -> Any:
    if not is_dataclass(options) or path[0] not in {field.name for field in fields(options)}:
        raise KeyError(f"no option {path[0]} in {type(options).__name__}")
    inner = value if len(path) == 1 else _set(getattr(options, path[0]), path[1:], value)
    return replace(options, **{path[0]: inner})


def folder_name(stage: str, base: TrainOptions, options: TrainOptions) -> str:
    """Name of a run's folder: its stage, what it changes in ``base``, and its seed."""
    before, after = _flat(options_to_dict(base)), _flat(options_to_dict(options))
    ignored = {"stage", "output", *FIRST_CHECKPOINT.values()}
    changed = [name for name in after if after[name] != before[name] and name not in ignored]
    parts = [f"{name.removeprefix(f'{stage}.')}={after[name]}" for name in changed]
    name = "+".join([stage, *parts])
    if len(name) > LONGEST_NAME:
        digest = hashlib.sha256(name.encode()).hexdigest()[:8]
        name = f"{name[:LONGEST_NAME]}~{digest}"
    return f"{name}-seed{options.seed}"


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat = {}
    for name, value in values.items():
        if isinstance(value, dict):
            flat |= _flat(value, f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat
