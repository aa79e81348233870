"""The folder of a training run: which files it has, and when a run may write there."""

import json
from dataclasses import replace
from pathlib import Path

from ites_fast.checkpoint import LIFTER_FILE
from ites_fast.config import TrainOptions, differences, options_from_dict, options_to_dict
from ites_fast.errors import InputError
from ites_fast.files import write_json
from ites_fast.training import SavedState, read_state

CONFIG_FILE = "config.json"
STATE_FILE = "state.safetensors"
METRICS_FILE = "metrics.json"
RESULTS = (LIFTER_FILE, METRICS_FILE, "losses.png", "poses.png")


def model_file(stage: str) -> str:
    """Name of the file that holds the network of a stage."""
    return f"{stage}.safetensors"


def saved_options(output: str) -> TrainOptions:
    """The options of the run in a folder, to continue it with.

    Raises:
        InputError: there is no run, or its options cannot be read.
    """
    path = Path(output, CONFIG_FILE)
    if not path.is_file():
        raise InputError(f"--resume: {path} does not exist, so there is no run to continue in {output}")
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise InputError(f"{path}: not JSON ({error})") from error
    return replace(options_from_dict(values, source=str(path)), resume=False, overwrite=False, stop_after=None)


def open_run(options: TrainOptions) -> SavedState | None:
    """Prepare the folder of a run, and read the state that it continues from.

    A folder that already holds what the run would write is refused unless it is continued (``resume``) or replaced
    (``overwrite``). A student may be trained where its teacher was.

    Returns:
        The state to continue from, or None for a fresh run.

    Raises:
        InputError: the folder holds another run, or there is nothing to continue, or the options of the continuation
            are not those of the run.
        OSError: the folder cannot be written.
    """
    output = Path(options.output)
    state_path = output / STATE_FILE
    if options.resume:
        changed = differences(saved_options(options.output), options)
        if changed:
            raise InputError("--resume continues a run with its own options; " + "; ".join(changed))
        return read_state(state_path) if state_path.exists() else None
    stages = ("teacher", "student") if options.stage == "both" else (options.stage,)
    held = [name for name in map(model_file, stages) if (output / name).exists()]
    if state_path.exists() and not (options.stage == "student" and read_state(state_path).stage == "teacher"):
        held.append(STATE_FILE)
    if held and not options.overwrite:
        raise InputError(
            f"--output {output}: already holds a run ({', '.join(held)}); continue it with --resume, replace it with "
            "--overwrite, or choose another folder"
        )
    for name in (*held, STATE_FILE, *RESULTS):
        (output / name).unlink(missing_ok=True)
    write_json(output / CONFIG_FILE, options_to_dict(options))
    return None
