"""All options of a training run, the presets, and what is refused. The command line is derived from these classes."""

import math
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from ites_fast.device import Device
from ites_fast.errors import InputError
from ites_fast.options import CycleOptions, NormalizationOptions, StudentOptions, TeacherOptions

Preset = Literal["quick", "paper", "official"]
Stage = Literal["teacher", "student", "both"]


@dataclass(frozen=True)
class TrainOptions:
    """Learn to lift 2D poses to 3D from 2D poses alone: a teacher, then a student."""

    preset: Preset = "quick"
    """defaults of all other options: "quick" for minutes on a CPU, "paper" for the paper's text, "official" for
    its released code"""
    data: str = "mocap17"
    """"mocap17" (bundled), "synthetic:N", or a file or folder in one of the formats of docs/DATA.md"""
    output: str = "runs/default"
    """folder for checkpoints, metrics and figures"""
    stage: Stage = "both"
    """which stages to train; "student" takes the teacher from the output folder, or from --teacher-checkpoint"""
    teacher_checkpoint: str | None = None
    """a teacher to distil from instead of training one"""
    seed: int = 0
    """of initial weights, batches and virtual views"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""
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
        preset=variant,
        normalization=NormalizationOptions(view="camera", scale="dataset"),
        teacher=teacher,
        student=student,
        checkpoint_every=2000,
        log_every=100,
    )


PRESETS: dict[str, TrainOptions] = {
    "quick": TrainOptions(),
    "paper": _source_options("paper", teacher_epochs=40, align_epochs=0),
    "official": _source_options("official", teacher_epochs=50, align_epochs=15),
}


# Smallest value of every number that has one; None stands for options that may be left out.
AT_LEAST = {
    "seed": 0,
    "stop_after": 1,
    "checkpoint_every": 1,
    "log_every": 1,
    "steps": 1,
    "epochs": 1,
    "batch_size": 2,  # batch norm needs two poses
    "halve_epochs": 1,
    "warmup_steps": 0,
    "learning_rate": 0,
    "momentum": 0,
    "weight_decay": 0,
    "atoms": 1,
    "blocks": 1,
    "width": 1,
    "bottleneck": 1,
    "channels": 2,
    "draws": 1,
    "align_epochs": 0,
    "recalibrate_batches": 0,
    "reprojection_weight": 0,
    "invariance_weight": 0,
    "distillation_weight": 0,
    "equivariance_weight": 0,
    "elevation_spread": 0,
    "max_noise_px": 0,
    "max_missing": 0,
    "balance": 0,
    "loss_power": 1,  # the gradient of a smaller power is infinite where student and teachers agree
    "bone_weight": 0,
    "camera_depth": 1.5,  # a body of one unit must fit between the root and the nearest depth, 1
}
LARGEST_SEED = 2**63 - 1
STAGE_LOSSES = {"teacher": ("reprojection", "invariance"), "student": ("distillation", "equivariance")}


def check_options(options: TrainOptions) -> None:
    """Refuse numbers that cannot be trained with.

    Raises:
        InputError: names the option, the value and what was expected.
    """
    check_numbers(options_to_dict(options), prefix="")
    if options.seed > LARGEST_SEED:
        raise InputError(f"--seed: expected at most {LARGEST_SEED}, got {options.seed}")
    for stage, losses in STAGE_LOSSES.items():
        if not any(getattr(getattr(options, stage), f"{loss}_weight") for loss in losses):
            names = " and ".join(f"--{stage}.{loss}-weight" for loss in losses)
            raise InputError(f"{names}: expected at least one above 0, got 0 and 0")
    for stage in ("teacher", "student"):
        if getattr(options, stage).cycle.rescale and options.normalization.scale != "pose":
            raise InputError(
                f"--{stage}.cycle.rescale: gives virtual views the size of real input, which is one size only with "
                f"--normalization.scale pose, got {options.normalization.scale}"
            )


def check_numbers(values: dict[str, Any], prefix: str) -> None:
    """Refuse numbers that are not finite or below ``AT_LEAST``; ``prefix`` is what their options begin with.

    Raises:
        InputError: names the option, the value and what was expected.
    """
    for name, value in values.items():
        option = f"--{prefix}{name}".replace("_", "-")
        if isinstance(value, dict):
            check_numbers(value, f"{prefix}{name}.")
        elif isinstance(value, float) and not math.isfinite(value):
            raise InputError(f"{option}: expected a finite number, got {value}")
        elif name in AT_LEAST and value is not None and value < AT_LEAST[name]:
            raise InputError(f"{option}: expected at least {AT_LEAST[name]}, got {value}")


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
