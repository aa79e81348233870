"""``python -m ites_fast.train``: a teacher from 2D poses, a student from the teacher, and how good they are."""

import argparse
import contextlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from ites_fast import cli
from ites_fast.baselines import MeanPose
from ites_fast.checkpoint import LIFTER_FILE, load_lifter, save_model
from ites_fast.config import PRESETS, TrainOptions, check_options
from ites_fast.data import load
from ites_fast.device import choose_device
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.models import Lifter, Teacher
from ites_fast.normalization import Normalization
from ites_fast.report import write_report
from ites_fast.run_folder import STATE_FILE, check_folder, claim_folder, model_file, saved_options, stop
from ites_fast.sampling import EpochSampler
from ites_fast.skeleton import Skeleton
from ites_fast.stages import StudentStage, TeacherStage, TrainingStage, recalibrate_batch_norm
from ites_fast.training import Record, SavedState, Session, stop_on_signals, train_stage


@dataclass(frozen=True)
class TrainingViews:
    """What is trained on, and the one thing that is kept of the training split's 3D, for the report alone."""

    pose_2d: Tensor  # (N, J, 2) normalised, on the device that trains
    skeleton: Skeleton
    normalization: Normalization
    mean_pose: MeanPose | None


def main(options: TrainOptions) -> None:
    """Train the stages that the options ask for, write the models, and evaluate them.

    All that can be refused is looked at before the output folder is touched.
    """
    check_options(options)
    device = choose_device(options.device)
    saved = check_folder(options)
    output = Path(options.output)
    print(f"{options.data}: reading the training views", flush=True)
    views = load_training_views(options, device)
    given_teacher = None if trains_teacher(options) else teacher_file(options)
    if given_teacher is not None:
        load_teacher(given_teacher, views)
    print(f"{len(views.pose_2d):,} training views on {device}, preset {options.preset}, output {output}", flush=True)
    with tensorboard(output / "tensorboard", options.tensorboard) as on_record:
        claim_folder(options, kept=given_teacher)
        session = Session(
            state_path=output / STATE_FILE,
            seed=options.seed,
            checkpoint_every=options.checkpoint_every,
            log_every=options.log_every,
            stop_after=options.stop_after,
            on_record=on_record,
            history=saved.history if saved else [],
            seconds=saved.seconds if saved else 0.0,
        )
        with stop_on_signals(session):
            models = train_all(options, views, session, saved)
    if models is None:
        stop(session, output, command="train")
        return
    write_report(options, session.history, session.seconds, models, views.mean_pose)


def train_all(
    options: TrainOptions, views: TrainingViews, session: Session, saved: SavedState | None
) -> dict[str, Path] | None:
    """Train teacher and student as far as the options ask.

    Returns:
        The files of the models by the name of their stage, the one to deploy first; None when the session was stopped.
    """
    output = Path(options.output)
    teacher_path = teacher_file(options)
    # the state of a student means that its teacher is finished, and written
    if trains_teacher(options) and (saved is None or saved.stage == "teacher"):
        torch.manual_seed(options.seed)
        teacher = TeacherStage(views.pose_2d, views.skeleton, views.normalization, options.teacher)
        if not train_stage(teacher, session, saved):
            return None
        finish_stage(teacher, views.skeleton, options)
        saved = None
    if options.stage == "teacher":
        save_lifter(teacher_path, output)
        return {"teacher": teacher_path}
    torch.manual_seed(options.seed)
    student = StudentStage(views.pose_2d, load_teacher(teacher_path, views), options.student)
    if not train_stage(student, session, saved):
        return None
    finish_stage(student, views.skeleton, options)
    student_path = output / model_file("student")
    save_lifter(student_path, output)
    return {"student": student_path, "teacher": teacher_path}


def finish_stage(stage: TrainingStage, skeleton: Skeleton, options: TrainOptions) -> None:
    """Bring the batch norms to rest and write the stage's model file."""
    batches = stage.options.recalibrate_batches
    if batches:
        sampler = EpochSampler(len(stage.pose_2d), stage.options.batch_size, options.seed)
        recalibrate_batch_norm(stage.network, stage.pose_2d, [sampler.next_batch() for _ in range(batches)])
    training = {"stage": stage.name, "preset": options.preset, "data": options.data, "seed": options.seed}
    lifter = Lifter(stage.network.eval(), skeleton, stage.normalization)
    save_model(Path(options.output, model_file(stage.name)), lifter, stage.architecture, training)


def save_lifter(model: Path, output: Path) -> None:
    """Give the run's best model the name that everything else looks for."""
    with atomic_path(output / LIFTER_FILE) as temporary:
        temporary.write_bytes(model.read_bytes())


def trains_teacher(options: TrainOptions) -> bool:
    """Whether the run trains its own teacher; otherwise it is given one."""
    return options.stage != "student" and options.teacher_checkpoint is None


def teacher_file(options: TrainOptions) -> Path:
    """The file that the student's teacher is read from."""
    return Path(options.teacher_checkpoint or Path(options.output, model_file("teacher")))


def load_teacher(path: Path, views: TrainingViews) -> Lifter:
    """Load a teacher, and refuse one that cannot teach on these views.

    Raises:
        InputError: the file cannot be used, is not a teacher, or its skeleton or the normalisation of its input is
            another.
    """
    teacher = load_lifter(path, views.pose_2d.device)
    if not isinstance(teacher.network, Teacher):
        raise InputError(f"{path}: holds {type(teacher.network).__name__}, expected Teacher")
    if teacher.skeleton != views.skeleton:
        raise InputError(f"{path}: of skeleton {teacher.skeleton.name}, the data has {views.skeleton.name}")
    had, has = teacher.normalization, views.normalization
    if (had.view, had.scale, had.camera_depth) != (has.view, has.scale, has.camera_depth):
        raise InputError(
            f"{path}: trained with --normalization.view {had.view} --normalization.scale {had.scale} "
            f"--normalization.camera-depth {had.camera_depth}, this run has {has.view}, {has.scale} and "
            f"{has.camera_depth}"
        )
    return teacher


def load_training_views(options: TrainOptions, device: torch.device) -> TrainingViews:
    """Read the training split and normalise it.

    Raises:
        InputError: the data cannot be read or used, or has fewer than two views.
    """
    dataset = load(options.data, "train")
    if len(dataset) < 2:
        raise InputError(f"{options.data}: the training split has {len(dataset)} view, expected at least 2")
    dataset.require_complete("training")
    skeleton, mean_pose = dataset.skeleton, MeanPose.fit(dataset) if dataset.pose_3d is not None else None
    image = torch.from_numpy(dataset.image())
    del dataset  # the largest arrays of a run
    wanted = options.normalization
    normalization = Normalization.fit(
        image, skeleton, wanted.view, wanted.scale, wanted.camera_depth, source=options.data
    )
    pose_2d = normalization.pose_2d(image, source=options.data).to(device)
    return TrainingViews(pose_2d, skeleton, normalization, mean_pose)


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
    parser.add_argument("--preset", default=TrainOptions.preset)
    parser.add_argument("--output", default=TrainOptions.output)
    parser.add_argument("--resume", action="store_true")
    given, _ = parser.parse_known_args(arguments)
    if given.resume:
        return saved_options(given.output)
    # a preset that does not exist is refused by the parser of all options
    return PRESETS.get(given.preset, PRESETS["quick"])


if __name__ == "__main__":
    cli.run(main, TrainOptions, prog="python -m ites_fast.train", description=TrainOptions.__doc__, default=defaults)
