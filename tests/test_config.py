"""Presets and options: they survive JSON, nonsense is refused, and a continuation knows what has changed."""

import json
import math
import re
from dataclasses import replace

import pytest

from ites_fast.config import PRESETS, TrainOptions, differences, options_from_dict, options_to_dict
from ites_fast.errors import InputError
from ites_fast.option_checks import check_options


@pytest.mark.parametrize(("recipe", "preset"), PRESETS)
def test_options_survive_json(recipe, preset):
    options = PRESETS[recipe, preset]
    assert (options.recipe, options.preset) == (recipe, preset)
    check_options(options)
    assert options_from_dict(json.loads(json.dumps(options_to_dict(options))), "config.json") == options


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_source_presets_are_the_setting_of_the_source(preset):
    options = PRESETS["ites", preset]
    assert options.teacher.variant == options.student.variant == preset
    for stage in (options.teacher, options.student):
        assert (stage.optimizer, stage.learning_rate, stage.momentum, stage.weight_decay) == ("sgd", 1e-3, 0.9, 5e-4)
        assert (stage.schedule, stage.halve_epochs, stage.batch_size, stage.steps) == ("halve", 15, 128, None)
        assert stage.cycle.draws == 4
    assert (options.teacher.reprojection_weight, options.teacher.invariance_weight) == (5, 1)
    assert (options.student.distillation_weight, options.student.equivariance_weight) == (5, 1)
    assert (options.teacher.cycle.axis, options.student.cycle.axis) == ("all", "vertical")
    assert (options.normalization.view, options.normalization.scale) == ("camera", "dataset")
    assert options.student.epochs == 40
    assert options.teacher.epochs == {"paper": 40, "official": 50}[preset]


def test_options_of_another_version_are_refused():
    values = options_to_dict(TrainOptions())
    values["teacher"]["attention"] = 3
    with pytest.raises(InputError, match=r"runs/config\.json.*attention"):
        options_from_dict(values, "runs/config.json")


def with_option(path, value):
    """The default options with one of them, such as "teacher.cycle.draws", replaced."""
    *parents, name = path.split(".")
    holders = [TrainOptions()]
    for parent in parents:
        holders.append(getattr(holders[-1], parent))
    for holder, key in zip(reversed(holders), [name, *reversed(parents)], strict=True):
        value = replace(holder, **{key: value})
    return value


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("checkpoint_every", 0, "--checkpoint-every: expected at least 1, got 0"),
        ("stop_after", -1, "--stop-after: expected at least 1, got -1"),
        ("seed", -1, "--seed: expected at least 0, got -1"),
        ("seed", 2**70, "--seed: expected at most 9223372036854775807, got 1180591620717411303424"),
        ("teacher.atoms", 0, "--teacher.atoms: expected at least 1, got 0"),
        ("teacher.learning_rate", -1.0, "--teacher.learning-rate: expected at least 0, got -1.0"),
        ("teacher.momentum", -1.0, "--teacher.momentum: expected at least 0, got -1.0"),
        ("teacher.halve_epochs", 0, "--teacher.halve-epochs: expected at least 1, got 0"),
        ("teacher.cycle.draws", 0, "--teacher.cycle.draws: expected at least 1, got 0"),
        ("teacher.recalibrate_batches", -1, "--teacher.recalibrate-batches: expected at least 0, got -1"),
        ("student.channels", 1, "--student.channels: expected at least 2, got 1"),
        ("student.batch_size", 1, "--student.batch-size: expected at least 2, got 1"),
        ("student.warmup_steps", -5, "--student.warmup-steps: expected at least 0, got -5"),
        ("normalization.camera_depth", 0.5, "--normalization.camera-depth: expected at least 1.5, got 0.5"),
        ("normalization.camera_depth", math.nan, "--normalization.camera-depth: expected a finite number, got nan"),
    ],
)
def test_numbers_that_cannot_be_trained_with_are_refused(path, value, message):
    with pytest.raises(InputError, match=re.escape(message)):
        check_options(with_option(path, value))


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_views_are_scaled_only_where_input_is(stage):
    options = replace(with_option(f"{stage}.cycle.rescale", True), recipe="ites")
    check_options(options)
    data_set_scale = replace(options.normalization, scale="dataset")
    with pytest.raises(InputError, match=rf"--{stage}\.cycle\.rescale: .* --normalization\.scale pose, got dataset"):
        check_options(replace(options, normalization=data_set_scale))


def test_a_continuation_may_change_where_it_runs_but_not_the_recipe():
    saved = TrainOptions()
    assert differences(saved, replace(saved, resume=True, stop_after=3, device="cpu", log_every=7)) == []
    changed = replace(saved, seed=3, teacher=replace(saved.teacher, atoms=20))
    assert differences(saved, changed) == [
        "--seed: the run has 0, received 3",
        f"--teacher.atoms: the run has {saved.teacher.atoms}, received 20",
    ]
