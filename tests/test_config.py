"""Presets and options: they survive JSON, nonsense is refused, and a continuation knows what has changed."""

import json
from dataclasses import replace

import pytest

from ites_fast.config import PRESETS, TrainOptions, check_options, differences, options_from_dict, options_to_dict
from ites_fast.errors import InputError


@pytest.mark.parametrize("preset", PRESETS)
def test_options_survive_json(preset):
    options = PRESETS[preset]
    assert options.preset == preset
    check_options(options)
    assert options_from_dict(json.loads(json.dumps(options_to_dict(options))), "config.json") == options


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_source_presets_are_the_setting_of_the_source(preset):
    options = PRESETS[preset]
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


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"checkpoint_every": 0}, "--checkpoint-every: expected at least 1, got 0"),
        ({"stop_after": -1}, "--stop-after: expected at least 1, got -1"),
        ({"teacher": replace(TrainOptions().teacher, atoms=0)}, r"--teacher\.atoms: expected at least 1, got 0"),
        ({"student": replace(TrainOptions().student, batch_size=1)}, r"--student\.batch-size: .* at least 2 .* got 1"),
        (
            {"normalization": replace(TrainOptions().normalization, camera_depth=0.5)},
            r"--normalization\.camera-depth: expected more than 1 body unit, got 0\.5",
        ),
    ],
)
def test_numbers_that_cannot_be_trained_with_are_refused(change, message):
    with pytest.raises(InputError, match=message):
        check_options(replace(TrainOptions(), **change))


def test_a_continuation_may_change_where_it_runs_but_not_the_recipe():
    saved = TrainOptions()
    assert differences(saved, replace(saved, resume=True, stop_after=3, device="cpu")) == []
    changed = replace(saved, seed=3, teacher=replace(saved.teacher, atoms=20))
    assert differences(saved, changed) == [
        "--seed: the run has 0, received 3",
        f"--teacher.atoms: the run has {saved.teacher.atoms}, received 20",
    ]
