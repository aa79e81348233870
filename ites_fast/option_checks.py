"""What is refused before anything is trained: numbers out of range, and options that do not go together."""

import math
from typing import Any

from ites_fast.config import PRESETS, STAGES, TrainOptions, options_to_dict
from ites_fast.errors import InputError

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
    "frames": 1,
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
    "virtual_tilt": 0,
    "virtual_roll": 0,
    "max_missing": 0,
    "balance": 0,
    "loss_power": 1,  # the gradient of a smaller power is infinite where student and teachers agree
    "bone_weight": 0,
    "components": 2,
    "couplings": 1,
    "noise": 0,
    "gradient_clip": 1e-6,  # with 0 nothing is learned
    "dropout": 0,
    "prior_weight": 0,
    "residual_weight": 0,
    "cycle_weight": 0,
    "elevation_weight": 0,
    "deformation_weight": 0,
    "rank_weight": 0,
    "rank": 1,
    "elevation_deviation": 0,
    "input_noise": 0,
    "input_dropout": 0,
    "camera_depth": 1.5,  # a body of one unit must fit between the root and the nearest depth, 1
}
LARGEST_SEED = 2**63 - 1
STAGE_LOSSES = {"teacher": ("reprojection", "invariance"), "student": ("distillation", "equivariance")}
LIFTER_LOSSES = ("prior", "residual", "cycle", "elevation", "bone", "deformation", "rank")


def check_options(options: TrainOptions) -> None:
    """Refuse numbers that cannot be trained with, and options that do not go together.

    Raises:
        InputError: names the option, the value and what was expected.
    """
    check_numbers(options_to_dict(options), prefix="")
    _check_recipe(options)
    if options.recipe == "ites":
        _check_ites(options)
    else:
        _check_prior(options)


def check_numbers(values: dict[str, Any], prefix: str) -> None:
    """Refuse numbers that are not finite, below ``AT_LEAST``, or no seed; ``prefix`` is what their options begin with.

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
        elif name == "seed" and value > LARGEST_SEED:
            raise InputError(f"{option}: expected at most {LARGEST_SEED}, got {value}")


def _check_recipe(options: TrainOptions) -> None:
    """Refuse options of one recipe that were given to the other."""
    recipe = options.recipe
    presets = [preset for name, preset in PRESETS if name == recipe]
    if options.preset not in presets:
        raise InputError(f"--preset {options.preset}: --recipe {recipe} has {', '.join(presets)}")
    if options.stage not in ("all", *STAGES[recipe]):
        raise InputError(f"--stage {options.stage}: --recipe {recipe} has all, {', '.join(STAGES[recipe])}")
    given = {"prior": options.flow_checkpoint, "ites": options.teacher_checkpoint}
    for name, path in given.items():
        first = STAGES[name][0]
        if path is not None and name != recipe:
            raise InputError(f"--{first}-checkpoint {path}: of the recipe {name}, this is --recipe {recipe}")
        if path is not None and options.stage == first:
            raise InputError(f"--stage {first}: trains what --{first}-checkpoint {path} already is; give one of them")


def _check_ites(options: TrainOptions) -> None:
    for stage, losses in STAGE_LOSSES.items():
        if not any(getattr(getattr(options, stage), f"{loss}_weight") for loss in losses):
            names = " and ".join(f"--{stage}.{loss}-weight" for loss in losses)
            raise InputError(f"{names}: expected at least one above 0, got 0 and 0")
    for stage in STAGES["ites"]:
        if getattr(options, stage).cycle.rescale:
            _require_pose_scale(options, f"--{stage}.cycle.rescale")


def _check_prior(options: TrainOptions) -> None:
    for stage in STAGES["prior"]:
        if getattr(options, stage).balance > 1:
            raise InputError(f"--{stage}.balance: expected 0 to 1, got {getattr(options, stage).balance}")
    lifter = options.lifter
    names = [f"--lifter.{name}-weight" for name in LIFTER_LOSSES]
    if not lifter.supervised and not any(getattr(lifter, f"{name}_weight") for name in LIFTER_LOSSES):
        raise InputError(f"{', '.join(names)}: expected at least one above 0, got 0 for all")
    for option, value in {"dropout": lifter.dropout, "input-dropout": lifter.input_dropout}.items():
        if value >= 1:
            raise InputError(f"--lifter.{option}: expected less than 1, got {value}")
    if lifter.supervised and options.flow_checkpoint is not None:
        raise InputError(f"--flow-checkpoint {options.flow_checkpoint}: --lifter.supervised needs no density")
    if lifter.supervised and options.stage == "flow":
        raise InputError("--lifter.supervised: learns from labels and needs no density; leave out --stage flow")
    if lifter.rescale:
        _require_pose_scale(options, "--lifter.rescale")


def _require_pose_scale(options: TrainOptions, option: str) -> None:
    if options.normalization.scale != "pose":
        raise InputError(
            f"{option}: gives virtual views the size of real input, which is one size only with "
            f"--normalization.scale pose, got {options.normalization.scale}"
        )
