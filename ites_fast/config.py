"""All options of a training run, the presets, and what is refused. The command line is derived from these classes."""

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ites_fast.device import Device, MatmulPrecision
from ites_fast.errors import InputError
from ites_fast.options import (
    CycleOptions,
    FlowOptions,
    LifterOptions,
    NormalizationOptions,
    StudentOptions,
    TeacherOptions,
)

Preset = Literal["quick", "paper", "official"]
Recipe = Literal["prior", "ites"]
Stage = Literal["all", "flow", "lifter", "teacher", "student"]
STAGES: dict[str, tuple[str, str]] = {"prior": ("flow", "lifter"), "ites": ("teacher", "student")}


@dataclass(frozen=True)
class TrainOptions:
    """Learn to lift 2D poses to 3D from 2D poses alone."""

    recipe: Recipe = "prior"
    """"prior": a density of 2D poses, then a lifter; "ites": a teacher, then a student"""
    preset: Preset = "quick"
    """defaults of all other options: "quick" for minutes on a CPU; of "ites" also "paper" for the paper's text and
    "official" for its released code"""
    data: str = "mocap17"
    """"mocap17" (bundled), "synthetic:N", or a file or folder in one of the formats of docs/DATA.md"""
    output: str = "runs/default"
    """folder for checkpoints, metrics and figures"""
    validation_subjects: tuple[str, ...] = ()
    """subjects of the training split to leave out and to report on instead of the test split"""
    stage: Stage = "all"
    """which stages to train: "flow" and "lifter" of the recipe "prior", "teacher" and "student" of "ites"; the second
    takes the first from the output folder, or from where the next two options say"""
    flow_checkpoint: str | None = None
    """a density of 2D poses to use instead of training one"""
    teacher_checkpoint: str | None = None
    """a teacher to distil from instead of training one"""
    seed: int = 0
    """of initial weights, batches and virtual views"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""
    matmul_precision: MatmulPrecision = "medium"
    """of float32 products while training: "medium" multiplies in bfloat16 where the processor can, "highest" does not;
    weights, sums and evaluation are float32 in both"""
    resume: bool = False
    """continue the run in the output folder, with its own options"""
    overwrite: bool = False
    """replace the run in the output folder"""
    stop_after: int | None = None
    """save and stop after this many steps of this invocation; continue with --resume"""
    checkpoint_every: int = 500
    """steps between two saves of the state"""
    log_every: int = 20
    """steps between two records of the losses"""
    tensorboard: bool = False
    """write TensorBoard logs (needs the extra "tensorboard")"""
    normalization: NormalizationOptions = field(default_factory=NormalizationOptions)
    flow: FlowOptions = field(default_factory=FlowOptions)
    lifter: LifterOptions = field(default_factory=LifterOptions)
    teacher: TeacherOptions = field(default_factory=TeacherOptions)
    student: StudentOptions = field(default_factory=StudentOptions)


# What may differ between a run and its continuation: where and how it runs, not what it learns.
NOT_PART_OF_THE_RECIPE = frozenset(
    {"output", "resume", "overwrite", "stop_after", "checkpoint_every", "log_every", "tensorboard", "device"}
)


def _source_options(variant: Literal["paper", "official"], teacher_epochs: int, align_epochs: int) -> TrainOptions:
    """The setting that the paper's text and its released code share (METHOD: SGD, 5 : 1, 4 draws, batch 128)."""
    shared = {
        "variant": variant,
        "optimizer": "sgd",
        "learning_rate": 1e-3,
        "momentum": 0.9,
        "weight_decay": 5e-4,
        "schedule": "halve",
        "halve_epochs": 15,
        "warmup_steps": 0,
        "steps": None,
        "batch_size": 128,
        "recalibrate_batches": 0,
    }
    teacher = TeacherOptions(
        **shared,
        epochs=teacher_epochs,
        align_epochs=align_epochs,
        reprojection_weight=5.0,
        invariance_weight=1.0,
        cycle=CycleOptions(draws=4, axis="all"),
    )
    student = StudentOptions(
        **shared,
        epochs=40,
        distillation_weight=5.0,
        equivariance_weight=1.0,
        cycle=CycleOptions(draws=4, axis="vertical", elevation=0.0),
    )
    return TrainOptions(
        recipe="ites",
        preset=variant,
        matmul_precision="highest",
        normalization=NormalizationOptions(view="camera", scale="dataset"),
        teacher=teacher,
        student=student,
        checkpoint_every=2000,
        log_every=100,
    )


PRESETS: dict[tuple[str, str], TrainOptions] = {
    ("prior", "quick"): TrainOptions(),
    ("ites", "quick"): TrainOptions(recipe="ites", matmul_precision="highest"),
    ("ites", "paper"): _source_options("paper", teacher_epochs=40, align_epochs=0),
    ("ites", "official"): _source_options("official", teacher_epochs=50, align_epochs=15),
}


def options_to_dict(options: Any) -> dict[str, Any]:
    """The resolved options as plain values for JSON."""
    return asdict(options)


def options_from_dict(values: dict[str, Any], source: str) -> TrainOptions:
    """Inverse of ``options_to_dict``.

    Raises:
        InputError: ``source`` holds other options than this version knows.
    """
    try:
        nested = {
            "normalization": NormalizationOptions(**values["normalization"]),
            "validation_subjects": tuple(values["validation_subjects"]),
            "flow": FlowOptions(**values["flow"]),
            "lifter": LifterOptions(**values["lifter"]),
            "teacher": stage_from_dict(TeacherOptions, values["teacher"]),
            "student": stage_from_dict(StudentOptions, values["student"]),
        }
        return TrainOptions(**{**values, **nested})
    except (KeyError, TypeError) as error:
        raise InputError(f"{source}: not the options of a run of this version ({error})") from error


def stage_from_dict(stage: type, values: dict[str, Any]) -> Any:
    """The options of one stage from plain values."""
    return stage(**{**values, "cycle": CycleOptions(**values["cycle"])})


def differences(saved: Any, given: Any) -> list[str]:
    """Options of the recipe that differ between a saved run and its continuation, as readable text."""
    return _differences(options_to_dict(saved), options_to_dict(given), prefix="")


def _differences(saved: dict[str, Any], given: dict[str, Any], prefix: str) -> list[str]:
    found = []
    for name, value in saved.items():
        if isinstance(value, dict):
            found += _differences(value, given[name], f"{prefix}{name}.")
        elif value != given[name] and prefix + name not in NOT_PART_OF_THE_RECIPE:
            option = (prefix + name).replace("_", "-")
            found.append(f"--{option}: the run has {value}, received {given[name]}")
    return found
