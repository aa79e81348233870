"""Trains the runs of a table: what is finished is read, what was interrupted continues, the rest is trained."""

import contextlib
import io
import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch

from ites_fast.ablation.plan import FIRST_CHECKPOINT, Run
from ites_fast.config import STAGES, differences
from ites_fast.errors import DivergedError, InputError
from ites_fast.recipes import given_file, train_recipe
from ites_fast.report import write_report
from ites_fast.run_data import TrainingViews, load_training_views
from ites_fast.run_folder import (
    CONFIG_FILE,
    METRICS_FILE,
    STATE_FILE,
    check_folder,
    claim_folder,
    model_file,
    open_session,
    saved_options,
)
from ites_fast.training import SavedState, read_state, stop_on_signals


@dataclass(frozen=True)
class Outcome:
    """What came of a run.

    Args:
        metrics: of its model, by key; None where the training diverged. Empty for a run that is not evaluated.
        seconds: spent in training steps.
        diverged: what went wrong, where something did.
    """

    metrics: dict[str, float] | None
    seconds: float = 0.0
    diverged: str | None = None


class StoppedError(Exception):
    """The user stopped a run; its state is saved.

    Args:
        signal: number of the signal, where it was one.
    """

    def __init__(self, signal: int | None) -> None:
        super().__init__(signal)
        self.signal = signal


def execute(runs: list[Run], device: torch.device, say: Callable[[str], None] = print) -> dict[Run, Outcome]:
    """Bring every run to its end, in this order, and return what came of each.

    All folders are looked at before the first step is taken. A run that diverges does not stop the others.

    Args:
        runs: each run stands behind the one that it needs.
        device: that trains.
        say: called with a line about each run.

    Raises:
        InputError: a folder holds another run, or the data cannot be used.
        StoppedError: a signal came; the run that it met is saved.
    """
    for run in runs:
        check_recipe(run)
    outcomes: dict[Run, Outcome] = {}
    views = Views(device)
    for number, run in enumerate(runs, start=1):
        name = f"[{number}/{len(runs)}] {run.folder.name}"
        outcome = read_finished(run)
        if outcome is not None:
            say(f"{name}: finished before")
        elif run.needs is not None and outcomes[run.needs].diverged:
            outcome = Outcome(None, diverged="its first stage diverged")
            say(f"{name}: left out, its first stage diverged")
        else:
            say(f"{name}: {'continued' if (run.folder / STATE_FILE).exists() else 'trained'}")
            outcome = train(run, views.of(run))
            if outcome.diverged:
                say(f"{name}: {outcome.diverged}")
        outcomes[run] = outcome
    return outcomes


class Views:
    """The training views of the latest run, kept for the next one that has the same."""

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self.key: Any = None
        self.views: TrainingViews | None = None

    def of(self, run: Run) -> TrainingViews:
        options = run.options
        key = (options.data, options.normalization, options.validation_subjects, has_labels(run))
        if self.views is None or key != self.key:
            self.views = None  # not two of them in memory
            data, normalization, held_out, with_labels = self.key = key
            self.views = load_training_views(
                data, normalization, self.device, held_out=held_out, with_labels=with_labels
            )
        return self.views


def has_labels(run: Run) -> bool:
    """Whether the run learns from 3D poses, as the bound that its recipe is compared with."""
    return run.options.recipe == "prior" and run.options.lifter.supervised


def check_recipe(run: Run) -> bool:
    """Whether the run's folder already holds it.

    Raises:
        InputError: it holds a run of another recipe, or files that are not a run's.
    """
    if not (run.folder / CONFIG_FILE).exists():
        check_folder(run.options)
        return False
    saved = saved_options(run.options.output)
    # where the first stage's file lies is no part of the recipe: its options are in the run's own
    paths = {name: getattr(run.options, name) for name in FIRST_CHECKPOINT.values()}
    changed = differences(replace(saved, **paths), run.options)
    if changed:
        raise InputError(
            f"--output {run.folder.parent}: {run.folder} holds a run of another recipe ({'; '.join(changed)}); choose "
            "another --output, or remove that folder"
        )
    return True


def read_finished(run: Run) -> Outcome | None:
    """The outcome of a run whose model was evaluated, or that lifts nothing and wrote its model; or None.

    Raises:
        InputError: its metrics cannot be read.
    """
    if run.model is None:
        return Outcome({}) if (run.folder / model_file(STAGES[run.options.recipe][0])).exists() else None
    path = run.folder / METRICS_FILE
    if not path.exists():
        return None
    try:
        report = json.loads(path.read_text(encoding="utf-8"))
        return Outcome(report["models"][run.model]["metrics"], report["training_seconds"])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path}: not the metrics of a {run.model} ({error!r}); remove the file") from error


def train(run: Run, views: TrainingViews) -> Outcome:
    """Train a run from its start or from its saved state, and evaluate its model.

    Raises:
        InputError: the state or the first stage cannot be used.
        StoppedError: a signal came; the state is saved.
    """
    options = replace(run.options, resume=check_recipe(run))
    state_path = run.folder / STATE_FILE
    saved: SavedState | None = read_state(state_path) if state_path.exists() else None
    claim_folder(options, kept=given_file(options))
    session = open_session(options, saved)
    try:
        with stop_on_signals(session):
            models = train_recipe(options, views, session, saved)
    except DivergedError as error:
        return Outcome(None, session.seconds, diverged=str(error))
    if models is None:
        raise StoppedError(session.stop_requested)
    if run.model is None:
        outcome = Outcome({}, session.seconds)
    else:
        # the table of one run would drown the table of all of them
        with contextlib.redirect_stdout(io.StringIO()):
            write_report(options, session.history, session.seconds, {run.model: models[run.model]}, mean_pose=None)
        outcome = read_finished(run)
        assert outcome is not None
    state_path.unlink(missing_ok=True)  # a table has dozens of runs, and the state is the largest file of each
    return outcome
