"""The two recipes: which stages they have, what each learns from, and what a finished run leaves.

"prior": a density of 2D poses ("flow"), then a lifter that needs no teacher. "ites": a teacher, then a student. In both
the second stage learns from the frozen network of the first.
"""

from pathlib import Path

import torch
from torch import Tensor

from ites_fast.checkpoint import LIFTER_FILE, load_flow, load_lifter, save_flow, save_model
from ites_fast.config import STAGES, TrainOptions
from ites_fast.device import matmul_precision
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.models import PoseDensity, Teacher, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.prior_stages import FlowStage, LabelledStage, LifterStage
from ites_fast.run_data import TrainingViews
from ites_fast.run_folder import model_file
from ites_fast.sampling import sequence_probability
from ites_fast.stages import StudentStage, TeacherStage, TrainingStage, recalibrate_batch_norm
from ites_fast.training import SavedState, Session, build_sampler, train_stage


def train_recipe(
    options: TrainOptions, views: TrainingViews, session: Session, saved: SavedState | None = None
) -> dict[str, Path] | None:
    """Train the stages that the options ask for, as far as the session goes, and write their models.

    Args:
        options: of the run.
        views: what is trained on.
        session: where the run saves, and when it stops.
        saved: a state to continue from.

    Returns:
        The files of the models by the name of their stage, the one to deploy first; None when the session was stopped.

    Raises:
        InputError: the first stage's file cannot be used.
        DivergedError: a loss became NaN or infinite.
        OSError: a file could not be written.
    """
    first = STAGES[options.recipe][0]
    # the state of a second stage means that the first is finished, and written
    if trains(options, first) and (saved is None or saved.stage == first):
        if not _train(first_stage(options, views), options, views, session, saved):
            return None
        saved = None
    if options.stage != first and not _train(second_stage(options, views), options, views, session, saved):
        return None
    return finished_models(options)


def _train(
    stage: TrainingStage, options: TrainOptions, views: TrainingViews, session: Session, saved: SavedState | None
) -> bool:
    """Train a stage and write its model; False when the session was stopped before its end."""
    with matmul_precision(options.matmul_precision):
        finished = train_stage(stage, session, saved)
    if finished:
        finish_stage(stage, views, options)
    return finished


def trains(options: TrainOptions, first: str) -> bool:
    """Whether a run trains its own first stage; otherwise it is given one, or needs none."""
    if options.recipe == "prior" and options.lifter.supervised:
        return False
    return options.stage in ("all", first) and given_file(options) is None


def given_file(options: TrainOptions) -> Path | None:
    """The file of the first stage that the options name, from elsewhere."""
    given = options.teacher_checkpoint if options.recipe == "ites" else options.flow_checkpoint
    return None if given is None else Path(given)


def first_file(options: TrainOptions) -> Path:
    """The file that the second stage reads the first's network from."""
    return given_file(options) or Path(options.output, model_file(STAGES[options.recipe][0]))


def check_given(options: TrainOptions, views: TrainingViews) -> Path | None:
    """Look at the first stage's file, where the run is given one, before anything is trained or replaced.

    Returns:
        The file, or None.

    Raises:
        InputError: it cannot be used on these views.
    """
    first = STAGES[options.recipe][0]
    if trains(options, first) or (options.recipe == "prior" and options.lifter.supervised):
        return None
    path = first_file(options)
    (load_teacher if options.recipe == "ites" else load_density)(path, views)
    return path


def first_stage(options: TrainOptions, views: TrainingViews) -> TrainingStage:
    """The untrained first stage; its initial weights depend on the seed alone."""
    torch.manual_seed(options.seed)
    if options.recipe == "ites":
        return TeacherStage(views.pose_2d, views.skeleton, views.normalization, options.teacher)
    return FlowStage(views.pose_2d, probability(views, options.flow.balance), views.skeleton, options.flow)


def second_stage(options: TrainOptions, views: TrainingViews) -> TrainingStage:
    """The untrained second stage; its initial weights depend on the seed alone.

    Raises:
        InputError: the first stage's file cannot be used.
    """
    if options.recipe == "ites":
        teacher = load_teacher(first_file(options), views)
        torch.manual_seed(options.seed)
        return StudentStage(views.pose_2d, teacher, options.student)
    chances = probability(views, options.lifter.balance)
    shared = (chances, views.skeleton, views.normalization)
    if options.lifter.supervised:
        torch.manual_seed(options.seed)
        return LabelledStage(views.pose_2d, views.pose_3d, *shared, options.lifter)
    density = load_density(first_file(options), views)
    torch.manual_seed(options.seed)
    return LifterStage(views.pose_2d, *shared, density, options.lifter)


def probability(views: TrainingViews, balance: float) -> Tensor | None:
    """How often each view is drawn (N,), or None for plain epochs."""
    return sequence_probability(views.sequence, balance) if balance else None


def finish_stage(stage: TrainingStage, views: TrainingViews, options: TrainOptions) -> None:
    """Bring the batch norms to rest and write the stage's model file."""
    path = Path(options.output, model_file(stage.name))
    training = {"stage": stage.name, "recipe": options.recipe, "data": options.data, "seed": options.seed}
    if isinstance(stage, FlowStage):
        save_flow(path, stage.network, views.skeleton, views.normalization, stage.architecture["options"], training)
        return
    if stage.options.recalibrate_batches:
        sampler = build_sampler(stage, options.seed)
        batches = [sampler.next_batch() for _ in range(stage.options.recalibrate_batches)]
        recalibrate_batch_norm(stage.network, stage.pose_2d, batches)
    save_model(
        path, ViewLifter(stage.network.eval(), views.skeleton, stage.normalization), stage.architecture, training
    )


def finished_models(options: TrainOptions) -> dict[str, Path]:
    """The models of a finished run, the one to deploy first, which also gets the name that everything looks for."""
    first, second = STAGES[options.recipe]
    paths = {name: Path(options.output, model_file(name)) for name in (second, first)}
    if options.recipe == "prior":
        return {} if options.stage == first else {second: paths[second]}
    deployed = first if options.stage == first else second
    with atomic_path(Path(options.output, LIFTER_FILE)) as temporary:
        temporary.write_bytes(paths[deployed].read_bytes())
    return {first: paths[first]} if deployed == first else {second: paths[second], first: first_file(options)}


def load_teacher(path: Path, views: TrainingViews) -> ViewLifter:
    """Load a teacher, and refuse one that cannot teach on these views.

    Raises:
        InputError: the file cannot be used, is not a teacher, or its skeleton or the normalisation of its input is
            another.
    """
    teacher = load_lifter(path, views.pose_2d.device)
    if teacher.network.predicts != "pose":
        raise InputError(f"{path}: holds {type(teacher.network).__name__}, expected {Teacher.__name__}")
    check_input(path, teacher.skeleton.name, teacher.normalization, views)
    return teacher


def load_density(path: Path, views: TrainingViews) -> PoseDensity:
    """Load a density of 2D poses, and refuse one of other input than these views.

    Raises:
        InputError: the file cannot be used, or its skeleton or the normalisation of its input is another.
    """
    density, skeleton, normalization = load_flow(path, views.pose_2d.device)
    check_input(path, skeleton.name, normalization, views)
    return density


def check_input(path: Path, skeleton: str, had: Normalization, views: TrainingViews) -> None:
    """Refuse a network that learned from other input.

    Raises:
        InputError: the skeleton or the kind of normalisation differs.
    """
    if skeleton != views.skeleton.name:
        raise InputError(f"{path}: of skeleton {skeleton}, the data has {views.skeleton.name}")
    has = views.normalization
    if (had.view, had.scale, had.camera_depth) != (has.view, has.scale, has.camera_depth):
        raise InputError(
            f"{path}: trained with --normalization.view {had.view} --normalization.scale {had.scale} "
            f"--normalization.camera-depth {had.camera_depth}, this run has {has.view}, {has.scale} and "
            f"{has.camera_depth}"
        )
