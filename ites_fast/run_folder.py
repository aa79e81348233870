"""The folder of a training run: which files it has, and when a run may write there."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Protocol, TypeVar

from ites_fast import cli
from ites_fast.checkpoint import LIFTER_FILE
from ites_fast.config import STAGES, TrainOptions, differences, options_from_dict, options_to_dict
from ites_fast.errors import InputError
from ites_fast.files import write_json
from ites_fast.training import Record, SavedState, Session, read_state

Options = TypeVar("Options")

CONFIG_FILE = "config.json"
STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.json"
LOSSES_FILE = "losses.png"
POSES_FILE = "poses.png"


def model_file(stage: str) -> str:
    """Name of the file that holds the network of a stage."""
    return f"{stage}.safetensors"


# What a run writes. The models of the stages come first: they are what a user would miss.
FILES = (
    model_file("flow"),
    model_file("teacher"),
    model_file("student"),
    LIFTER_FILE,
    STATE_FILE,
    METRICS_FILE,
    LOSSES_FILE,
    POSES_FILE,
    CONFIG_FILE,
)


class RunOptions(Protocol):
    """What the options of every command that trains have."""

    output: str
    seed: int
    resume: bool
    overwrite: bool
    stop_after: int | None
    checkpoint_every: int
    log_every: int


def saved_options(output: str, parse: Callable[..., Options] = options_from_dict) -> Options:
    """The options of the run in a folder, to continue it with.

    Args:
        output: the folder.
        parse: makes the command's options from plain values, and takes the ``source`` that its errors name.

    Raises:
        InputError: there is no run, or its options cannot be read.
    """
    path = Path(output, CONFIG_FILE)
    if not path.is_file():
        raise InputError(f"--resume: {path} does not exist, so there is no run to continue in {output}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    options = parse(values, source=str(path))
    return replace(options, output=output, resume=False, overwrite=False, stop_after=None)


def check_folder(options: RunOptions, parse: Callable[..., RunOptions] = options_from_dict) -> SavedState | None:
    """Say whether a run may write to its folder. Nothing is changed.

    A folder that already holds what the run would write is refused unless it is continued (``resume``) or replaced
    (``overwrite``). A second stage may be trained where its first was.

    Args:
        options: of the run.
        parse: as in ``saved_options``.

    Returns:
        The state to continue from, or None for a fresh run.

    Raises:
        InputError: the folder holds another run, or there is nothing to continue, or the options of the continuation
            are not those of the run.
    """
    output = Path(options.output)
    if options.resume:
        changed = differences(saved_options(options.output, parse), options)
        if changed:
            raise InputError("--resume continues a run with its own options; " + "; ".join(changed))
        return read_state(output / STATE_FILE) if (output / STATE_FILE).exists() else None
    held = [name for name in FILES if (output / name).exists()]
    if held and not options.overwrite and not (isinstance(options, TrainOptions) and holds_first_stage_only(options)):
        raise InputError(
            f"--output {output}: already holds a run, or files that it would replace ({', '.join(held)}); continue it "
            "with --resume, replace it with --overwrite, or choose another folder"
        )
    return None


def claim_folder(options: RunOptions, kept: Path | None = None) -> None:
    """Make the folder the run's own: what was there before goes, and its options are written.

    Args:
        options: of the run.
        kept: a first stage's file that the run reads, which stays wherever it is.

    Raises:
        OSError: the folder cannot be written.
    """
    output = Path(options.output)
    for leftover in output.glob(f".{Path(STATE_FILE).stem}-*"):  # of a save that was killed
        leftover.unlink(missing_ok=True)
    if options.resume:
        return
    for path in (output / name for name in FILES):
        if kept is None or path.resolve() != kept.resolve():
            path.unlink(missing_ok=True)
    write_json(output / CONFIG_FILE, options_to_dict(options))


def holds_first_stage_only(options: TrainOptions) -> bool:
    """Whether a second stage is to be trained in the folder of a finished first one that has no second yet."""
    output = Path(options.output)
    first, second = STAGES[options.recipe]
    if options.stage != second or not (output / model_file(first)).exists():
        return False
    state_path = output / STATE_FILE
    has_second = (output / model_file(second)).exists()
    return not has_second and (not state_path.exists() or read_state(state_path).stage == first)


def open_session(
    options: RunOptions, saved: SavedState | None, on_record: Callable[[Record], None] = lambda record: None
) -> Session:
    """What the stages of a run share, with the history of the state that it continues from."""
    return Session(
        state_path=Path(options.output, STATE_FILE),
        seed=options.seed,
        checkpoint_every=options.checkpoint_every,
        log_every=options.log_every,
        stop_after=options.stop_after,
        on_record=on_record,
        history=saved.history if saved else [],
        seconds=saved.seconds if saved else 0.0,
    )


def stop(session: Session, output: Path, command: str) -> None:
    """Say where a run stands and how to continue it; a signal decides the exit status, as shells expect."""
    if session.state_path.exists():
        print(f"stopped; the state is in {session.state_path}. Continue with:")
    else:
        print("stopped before the first step. Start again with:")
    print(f"  python -m ites_fast.{command} --resume --output {output}", flush=True)
    if session.stop_requested is not None:
        sys.exit(cli.SIGNAL_STATUS + session.stop_requested)
