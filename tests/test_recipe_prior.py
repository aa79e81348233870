"""Runs of the recipe "prior": what they leave, that they continue to the bit, and what they refuse."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ites_fast import checkpoint, recipes, train, training
from ites_fast.data import load
from ites_fast.errors import InputError


def test_a_run_writes_density_lifter_metrics_and_figures(prior_options, capsys):
    train.main(prior_options)
    output = Path(prior_options.output)
    assert {path.name for path in output.iterdir()} == {
        *("flow.safetensors", "lifter.safetensors", "state.safetensors"),
        *("config.json", "metrics.json", "losses.png", "poses.png"),
    }
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["models"]) == {"lifter", "depth zero", "mean pose"}
    stages = [(record["stage"], record["step"]) for record in metrics["losses"]]
    assert stages == [(stage, step) for stage in ("flow", "lifter") for step in range(2, 9, 2)]
    assert set(metrics["losses"][-1]) >= {"likelihood", "residual", "cycle", "elevation", "bones"}
    assert "recipe prior" in capsys.readouterr().out


def test_a_stopped_and_continued_run_is_the_same_to_the_bit(prior_options, tmp_path, models):
    """Stops in the density, between the stages, and in the lifter."""
    train.main(prior_options)
    stopped = replace(prior_options, output=str(tmp_path / "stopped"))
    train.main(replace(stopped, stop_after=3))
    for steps in (5, 2, 1):
        train.main(replace(stopped, stop_after=steps, resume=True))
        assert not Path(stopped.output, "lifter.safetensors").exists()
    train.main(replace(stopped, resume=True))
    assert models(stopped.output) == models(prior_options.output)


def test_stages_can_be_trained_one_after_the_other(prior_options, tmp_path, models):
    train.main(replace(prior_options, stage="flow"))
    flow = Path(prior_options.output, "flow.safetensors")
    assert not Path(prior_options.output, "lifter.safetensors").exists()
    assert json.loads(Path(prior_options.output, "metrics.json").read_text())["models"] == {}
    train.main(replace(prior_options, stage="lifter"))
    whole = replace(prior_options, output=str(tmp_path / "whole"))
    train.main(whole)
    assert models(prior_options.output) == models(whole.output)
    given = replace(prior_options, output=str(tmp_path / "given"), flow_checkpoint=str(flow))
    train.main(given)
    assert models(given.output)["lifter"] == models(whole.output)["lifter"]


def test_every_switch_trains(prior_options, tmp_path):
    train.main(replace(prior_options, stage="flow"))
    switches = [
        {"network": "agcn", "channels": 8},
        {"network": "agcn", "channels": 8, "roll": True},
        {"roll": True, "draws": 2},
        {"bone_spread": "plain", "rescale": False, "mirror": False, "balance": 0.0},
        {"elevation_draw": "normal", "standardise_elevation": True},
        {"elevation_draw": "detached", "dropout": 0.1},
        {"deformation_weight": 0.1, "rank_weight": 0.1, "rank": 3},
        {"input_noise": 0.01, "input_dropout": 0.1, "recalibrate_batches": 2},
        {"supervised": True},
    ]
    for number, switch in enumerate(switches):
        changed = replace(
            prior_options,
            output=str(tmp_path / str(number)),
            flow_checkpoint=None if "supervised" in switch else str(Path(prior_options.output, "flow.safetensors")),
            lifter=replace(prior_options.lifter, steps=3, **switch),
        )
        train.main(changed)
        records = json.loads(Path(changed.output, "metrics.json").read_text())["losses"]
        assert records[-1]["step"] == 3
        image = torch.from_numpy(load(prior_options.data, "test").image())[:5]
        assert checkpoint.load_lifter(changed.output).lift(image).isfinite().all()


@pytest.mark.parametrize("parts", ["halves", "both", "conditional", "whole_conditional"])
def test_densities_of_parts_train(prior_options, parts):
    train.main(replace(prior_options, flow=replace(prior_options.flow, parts=parts, mirror=False, balance=0.0)))
    density, _, _ = checkpoint.load_flow(Path(prior_options.output, "flow.safetensors"))
    assert len(density.flows) == {"halves": 2, "both": 3, "conditional": 2, "whole_conditional": 3}[parts]


def test_validation_subjects_are_kept_out_and_reported_on(prior_options, monkeypatch):
    dataset = load(prior_options.data, "train")
    subject = str(dataset.subjects[dataset.subject[0]])
    seen = []
    original = train.train_recipe

    def train_recipe(options, views, *rest):
        seen.append(len(views.pose_2d))
        return original(options, views, *rest)

    monkeypatch.setattr(train, "train_recipe", train_recipe)
    train.main(replace(prior_options, validation_subjects=(subject,)))
    of_subject = int((np.asarray(dataset.subjects)[dataset.subject] == subject).sum())
    assert seen == [len(dataset) - of_subject]
    metrics = json.loads(Path(prior_options.output, "metrics.json").read_text())
    assert (metrics["split"], metrics["validation_subjects"]) == ("validation", [subject])
    assert {each["samples"] for each in metrics["models"].values()} == {of_subject}


def test_labels_are_used_only_where_they_are_asked_for(prior_options, tmp_path):
    """The label-free recipe gives the same lifter when the training split has no 3D."""
    dataset = load(prior_options.data, "train")
    train.main(prior_options)
    blind = tmp_path / "blind.npz"
    focal, principal = dataset.cameras[0].focal, dataset.cameras[0].principal
    np.savez(
        blind,
        pose_2d=dataset.pose_2d,
        camera_focal=focal[None],
        camera_principal=principal[None],
        split=np.full(len(dataset), "train"),
        sequence=dataset.sequence,
    )
    without = replace(prior_options, data=str(blind), output=str(tmp_path / "without"))
    train.main(without)
    files = [Path(folder, "lifter.safetensors") for folder in (prior_options.output, without.output)]
    weights, blind_weights = (checkpoint.read_tensors(file, "model")[0] for file in files)
    torch.testing.assert_close(blind_weights, weights, rtol=1e-3, atol=1e-4)
    with pytest.raises(InputError, match=r"has no 3D poses, and --lifter\.supervised learns from them"):
        train.main(replace(without, overwrite=True, lifter=replace(without.lifter, supervised=True)))


def test_a_density_of_other_input_is_refused(prior_options, tmp_path):
    train.main(replace(prior_options, stage="flow"))
    flow = str(Path(prior_options.output, "flow.safetensors"))
    other = replace(
        prior_options,
        output=str(tmp_path / "other"),
        flow_checkpoint=flow,
        normalization=replace(prior_options.normalization, view="camera"),
    )
    with pytest.raises(InputError, match=r"flow\.safetensors: trained with --normalization\.view root"):
        train.main(other)
    with pytest.raises(InputError, match="a flow file, expected a model file"):
        checkpoint.load_lifter(flow)


def test_a_lifter_is_no_density(prior_options, tmp_path):
    train.main(prior_options)
    lifter = str(Path(prior_options.output, "lifter.safetensors"))
    with pytest.raises(InputError, match="a model file, expected a flow file"):
        train.main(replace(prior_options, output=str(tmp_path / "other"), flow_checkpoint=lifter))


def test_the_state_of_a_lifter_means_that_its_density_is_finished(prior_options):
    train.main(replace(prior_options, stop_after=9))
    state = training.read_state(Path(prior_options.output, "state.safetensors"))
    assert (state.stage, state.step) == ("lifter", 1)


def test_products_are_faster_while_training_only(prior_options, monkeypatch):
    seen = []
    original = recipes.train_stage

    def train_stage(*arguments):
        seen.append(torch.get_float32_matmul_precision())
        return original(*arguments)

    monkeypatch.setattr(recipes, "train_stage", train_stage)
    train.main(replace(prior_options, matmul_precision="high"))
    assert seen == ["high", "high"]
    assert torch.get_float32_matmul_precision() == "highest"
