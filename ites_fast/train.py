"""``python -m ites_fast.train``: learn to lift from 2D poses alone, and say how good it is."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ites_fast import cli
from ites_fast.config import PRESETS, TrainOptions
from ites_fast.device import choose_device
from ites_fast.errors import InputError
from ites_fast.option_checks import check_options
from ites_fast.recipes import check_given, train_recipe
from ites_fast.report import write_report
from ites_fast.run_data import load_training_views
from ites_fast.run_folder import check_folder, claim_folder, open_session, saved_options, stop
from ites_fast.training import Record, stop_on_signals


def main(options: TrainOptions) -> None:
    """Train the stages that the options ask for, write the models, and evaluate them.

    All that can be refused is looked at before the output folder is touched.
    """
    check_options(options)
    device = choose_device(options.device)
    saved = check_folder(options)
    output = Path(options.output)
    print(f"{options.data}: reading the training views", flush=True)
    views = load_training_views(
        options.data,
        options.normalization,
        device,
        held_out=options.validation_subjects,
        with_labels=options.recipe == "prior" and options.lifter.supervised,
    )
    given = check_given(options, views)
    print(
        f"{len(views.pose_2d):,} training views on {device}, recipe {options.recipe}, preset {options.preset}, "
        f"output {output}",
        flush=True,
    )
    with tensorboard(output / "tensorboard", options.tensorboard) as on_record:
        claim_folder(options, kept=given)
        session = open_session(options, saved, on_record)
        with stop_on_signals(session):
            models = train_recipe(options, views, session, saved)
    if models is None:
        stop(session, output, command="train")
        return
    write_report(options, session.history, session.seconds, models, views.mean_pose)


@contextlib.contextmanager
def tensorboard(folder: Path, wanted: bool) -> Iterator[Callable[[Record], None]]:
    """A function that sends records of the losses to TensorBoard, or nowhere where that is not wanted.

    Raises:
        InputError: TensorBoard is wanted and not installed.
    """
    if not wanted:
        yield lambda record: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise InputError('--tensorboard: not installed; pip install "ites_fast[tensorboard]"') from error
    with SummaryWriter(str(folder)) as writer:

        def write(record: Record) -> None:
            for name, value in record.items():
                if name not in ("stage", "step"):
                    writer.add_scalar(f"{record['stage']}/{name}", value, record["step"])

        yield write


def defaults(arguments: Sequence[str]) -> TrainOptions:
    """The options that a command line starts from: those of its preset, or of the run that it continues."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--recipe")
    parser.add_argument("--preset", default=TrainOptions.preset)
    parser.add_argument("--output", default=TrainOptions.output)
    parser.add_argument("--resume", action="store_true")
    given, _ = parser.parse_known_args(arguments)
    if given.resume:
        return saved_options(given.output)
    # what does not exist is refused by the parser of all options, what does not go together by check_options
    fitting = (
        options
        for (recipe, preset), options in PRESETS.items()
        if preset == given.preset and given.recipe in (None, recipe)
    )
    return next(fitting, TrainOptions())


if __name__ == "__main__":
    cli.run(main, TrainOptions, prog="python -m ites_fast.train", description=TrainOptions.__doc__, default=defaults)
