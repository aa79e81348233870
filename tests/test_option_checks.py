"""What the recipe "prior" refuses before anything is trained, and what it lets pass. Others: ``test_config``."""

import re
from dataclasses import fields, replace

import pytest

from ites_fast.config import PRESETS, TrainOptions
from ites_fast.errors import InputError
from ites_fast.option_checks import AT_LEAST, LIFTER_LOSSES, check_options
from ites_fast.options import FlowOptions, LifterOptions


def changed(stage, **values):
    options = TrainOptions()
    return replace(options, **{stage: replace(getattr(options, stage), **values)})


@pytest.mark.parametrize(
    ("stage", "name", "value", "message"),
    [
        ("flow", "components", 1, "--flow.components: expected at least 2, got 1"),
        ("flow", "couplings", 0, "--flow.couplings: expected at least 1, got 0"),
        ("flow", "noise", -0.1, "--flow.noise: expected at least 0, got -0.1"),
        ("flow", "gradient_clip", 0.0, "--flow.gradient-clip: expected at least 1e-06, got 0.0"),
        ("flow", "gradient_clip", float("inf"), "--flow.gradient-clip: expected a finite number, got inf"),
        ("flow", "balance", 1.5, "--flow.balance: expected 0 to 1, got 1.5"),
        ("lifter", "balance", -0.5, "--lifter.balance: expected at least 0, got -0.5"),
        ("lifter", "balance", 2.0, "--lifter.balance: expected 0 to 1, got 2.0"),
        ("lifter", "width", 0, "--lifter.width: expected at least 1, got 0"),
        ("lifter", "draws", 0, "--lifter.draws: expected at least 1, got 0"),
        ("lifter", "rank", 0, "--lifter.rank: expected at least 1, got 0"),
        ("lifter", "batch_size", 1, "--lifter.batch-size: expected at least 2, got 1"),
        ("lifter", "elevation_deviation", -1.0, "--lifter.elevation-deviation: expected at least 0, got -1.0"),
        ("lifter", "dropout", 1.0, "--lifter.dropout: expected less than 1, got 1.0"),
        ("lifter", "input_dropout", 1.0, "--lifter.input-dropout: expected less than 1, got 1.0"),
        ("lifter", "input_noise", -0.01, "--lifter.input-noise: expected at least 0, got -0.01"),
        *(
            ("lifter", f"{name}_weight", -1.0, f"--lifter.{name}-weight: expected at least 0, got -1.0")
            for name in LIFTER_LOSSES
        ),
    ],
)
def test_numbers_out_of_range_are_refused(stage, name, value, message):
    with pytest.raises(InputError, match=f"^{re.escape(message)}$"):
        check_options(changed(stage, **{name: value}))


@pytest.mark.parametrize(
    ("stage", "values"),
    [
        ("flow", {"gradient_clip": None, "steps": None, "balance": 0.0, "noise": 0.0}),
        ("flow", {"balance": 1.0}),
        ("lifter", {"balance": 1.0, "elevation_mean": -15.0}),
        ("lifter", {"dropout": 0.99, "input_dropout": 0.99}),
    ],
)
def test_what_can_be_trained_with_passes(stage, values):
    check_options(changed(stage, **values))


@pytest.mark.parametrize("options", [FlowOptions, LifterOptions])
def test_every_number_has_a_smallest_value(options):
    """All but the mean elevation, which may be below the horizon."""
    numbers = {field.name for field in fields(options) if type(field.default) in (int, float)}
    assert numbers - set(AT_LEAST) == ({"elevation_mean"} if options is LifterOptions else set())


def test_a_lifter_without_any_loss_is_refused():
    none = {f"{name}_weight": 0.0 for name in LIFTER_LOSSES}
    assert set(none) == {field.name for field in fields(LifterOptions) if field.name.endswith("_weight")}
    with pytest.raises(InputError, match=r"--lifter\.prior-weight, .*--lifter\.rank-weight: expected at least one abo"):
        check_options(changed("lifter", **none))
    check_options(changed("lifter", **none, supervised=True))
    check_options(changed("lifter", **{**none, "cycle_weight": 1.0}))


def test_views_are_rescaled_only_where_input_is():
    options = TrainOptions()
    options = replace(options, normalization=replace(options.normalization, scale="dataset"))
    with pytest.raises(InputError, match=r"^--lifter\.rescale: .* --normalization\.scale pose, got dataset$"):
        check_options(options)
    check_options(replace(options, lifter=replace(options.lifter, rescale=False)))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"preset": "paper"}, "--preset paper: --recipe prior has quick"),
        ({"stage": "student"}, "--stage student: --recipe prior has all, flow, lifter"),
        ({"teacher_checkpoint": "a"}, "--teacher-checkpoint a: of the recipe ites, this is --recipe prior"),
        ({"stage": "flow", "flow_checkpoint": "a"}, "--stage flow: trains what --flow-checkpoint a already is"),
    ],
)
def test_options_of_the_other_recipe_are_refused(values, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_options(replace(TrainOptions(), **values))


def test_the_recipe_ites_takes_no_density_and_no_stage_of_the_other():
    ites = PRESETS["ites", "quick"]
    with pytest.raises(InputError, match="--flow-checkpoint a: of the recipe prior, this is --recipe ites"):
        check_options(replace(ites, flow_checkpoint="a"))
    with pytest.raises(InputError, match="--stage lifter: --recipe ites has all, teacher, student"):
        check_options(replace(ites, stage="lifter"))
    # what only the other recipe uses is not looked at
    check_options(replace(ites, lifter=replace(ites.lifter, balance=2.0)))


def test_labels_need_no_density():
    options = changed("lifter", supervised=True)
    check_options(options)
    with pytest.raises(InputError, match=r"^--lifter\.supervised: learns from labels and needs no density"):
        check_options(replace(options, stage="flow"))
    with pytest.raises(InputError, match=r"^--flow-checkpoint f: --lifter\.supervised needs no density"):
        check_options(replace(options, flow_checkpoint="f"))
