"""The training command: what it writes, in which folder, and what it says to a user's mistake."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ites_fast import checkpoint, train, training
from ites_fast.config import PRESETS
from ites_fast.errors import InputError

STEPS = 8  # of each stage in ``options``


def test_a_run_writes_models_metrics_and_figures(options, capsys):
    train.main(options)
    output = Path(options.output)
    assert {path.name for path in output.iterdir()} >= {
        *("teacher.safetensors", "student.safetensors", "lifter.safetensors", "state.safetensors"),
        *("config.json", "metrics.json", "losses.png", "poses.png"),
    }
    metrics = json.loads((output / "metrics.json").read_text())
    assert set(metrics["models"]) >= {"student", "teacher", "depth zero", "mean pose"}
    for figures in metrics["models"].values():
        assert 0 < figures["metrics"]["p_mpjpe/flip=best"] <= figures["metrics"]["p_mpjpe/flip=none"] < 1000
    stages = [(record["stage"], record["step"]) for record in metrics["losses"]]
    assert stages == [(stage, step) for stage in ("teacher", "student") for step in range(2, STEPS + 1, 2)]
    assert all(math.isfinite(record["loss"]) for record in metrics["losses"])
    printed = capsys.readouterr().out
    for model in ("student", "teacher", "depth zero", "mean pose"):
        assert model in printed
    lifter = checkpoint.load_lifter(output)
    assert type(lifter.network).__name__ == "AdaptiveGCN"


def test_stages_can_be_trained_one_after_the_other(options, tmp_path, models):
    train.main(replace(options, stage="teacher"))
    output = Path(options.output)
    assert (output / "lifter.safetensors").read_bytes() == (output / "teacher.safetensors").read_bytes()
    train.main(replace(options, stage="student"))
    both = replace(options, output=str(tmp_path / "both"))
    train.main(both)
    assert models(options.output) == models(both.output)
    elsewhere = replace(
        options, output=str(tmp_path / "elsewhere"), teacher_checkpoint=str(output / "teacher.safetensors")
    )
    train.main(elsewhere)
    assert Path(elsewhere.output, "student.safetensors").read_bytes() == models(options.output)["student"]


def test_a_run_is_not_overwritten_by_accident(options):
    train.main(replace(options, stop_after=2))
    with pytest.raises(InputError, match=r"already holds a run.* \(state\.safetensors, config\.json\); continue it"):
        train.main(options)
    train.main(replace(options, overwrite=True, stop_after=1))
    assert training.read_state(Path(options.output, "state.safetensors")).step == 1


def test_files_of_the_users_own_are_not_replaced(options):
    output = Path(options.output)
    output.mkdir()
    (output / "poses.png").write_text("mine")
    with pytest.raises(InputError, match=r"files that it would replace \(poses\.png\)"):
        train.main(options)
    assert (output / "poses.png").read_text() == "mine"


def test_a_student_does_not_replace_an_unfinished_teacher(options):
    train.main(replace(options, stop_after=4))
    with pytest.raises(InputError, match=r"teacher\.safetensors: no such file|already holds a run"):
        train.main(replace(options, stage="student"))
    assert training.read_state(Path(options.output, "state.safetensors")).step == 4


@pytest.mark.parametrize(
    "mistake", [{"data": "typo.npz"}, {"teacher_checkpoint": "typo.safetensors"}, {"seed": -1}, {"device": "cuda"}]
)
def test_a_mistake_beside_overwrite_loses_nothing(options, mistake):
    if torch.cuda.is_available() and "device" in mistake:
        pytest.skip("there is a CUDA device")
    train.main(replace(options, stop_after=2))
    before = {path: path.read_bytes() for path in Path(options.output).iterdir()}
    with pytest.raises(InputError):
        train.main(replace(options, overwrite=True, **mistake))
    assert {path: path.read_bytes() for path in Path(options.output).iterdir()} == before


def test_data_without_3d_or_test_people_can_be_trained_on(options, tmp_path, capsys):
    generator = np.random.default_rng(0)
    path = tmp_path / "poses.npz"
    pose_2d = (500 + 100 * generator.standard_normal((40, 17, 2))).astype(np.float32)
    camera = {"camera_focal": np.full((1, 2), 1000.0), "camera_principal": np.full((1, 2), 500.0)}
    np.savez(path, pose_2d=pose_2d, **camera, split=np.full(40, "train"))
    train.main(replace(options, data=str(path)))
    assert "not evaluated: " in capsys.readouterr().out
    metrics = json.loads(Path(options.output, "metrics.json").read_text())
    assert metrics["models"] == {}
    assert len(metrics["losses"]) == STEPS


def test_a_teacher_of_another_normalisation_is_refused(options, tmp_path):
    train.main(replace(options, stage="teacher"))
    other = replace(options.normalization, scale="dataset")
    elsewhere = replace(options, output=str(tmp_path / "other"), normalization=other)
    with pytest.raises(InputError, match=r"teacher\.safetensors: trained with --normalization\.view root"):
        train.main(replace(elsewhere, teacher_checkpoint=str(Path(options.output, "teacher.safetensors"))))


def test_a_student_is_no_teacher(options, small_mocap, tmp_path, status_and_errors):
    train.main(options)
    student = Path(options.output, "student.safetensors")
    arguments = ["--recipe", "ites", "--data", str(small_mocap), "--output", str(tmp_path / "other")]
    arguments += ["--teacher-checkpoint", str(student)]
    status, errors = status_and_errors(arguments)
    assert status == 2
    assert f"error: {student}: holds AdaptiveGCN, expected Teacher" in errors


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": {"network": "teacher", "options": {"atoms": 3}}}, "of another architecture or skeleton"),
        ({"architecture": {"network": "flow", "options": {}}}, "another architecture or skeleton: network 'flow' is"),
        ({"skeleton": "alien"}, "another architecture or skeleton: skeleton 'alien' is unknown"),
    ],
)
def test_a_teacher_of_another_architecture_or_skeleton_is_refused(
    options, small_mocap, tmp_path, status_and_errors, change, message
):
    train.main(replace(options, stage="teacher"))
    path = Path(options.output, "teacher.safetensors")
    tensors, description = checkpoint.read_tensors(path, kind="model")
    checkpoint.write_tensors(path, tensors, description | change)
    arguments = ["--recipe", "ites", "--data", str(small_mocap), "--output", str(tmp_path / "other")]
    arguments += ["--teacher-checkpoint", str(path)]
    status, errors = status_and_errors(arguments)
    assert status == 2
    assert f"error: {path}: " in errors
    assert message in errors
    assert not (tmp_path / "other").exists()


def test_overwrite_keeps_the_teacher_that_the_student_learns_from(options):
    train.main(options)
    teacher = Path(options.output, "teacher.safetensors")
    before = teacher.read_bytes()
    train.main(replace(options, overwrite=True, teacher_checkpoint=str(teacher)))
    assert teacher.read_bytes() == before


def test_losses_are_sent_to_tensorboard(options):
    event_accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train.main(replace(options, tensorboard=True, stage="teacher"))
    events = event_accumulator.EventAccumulator(str(Path(options.output, "tensorboard")))
    events.Reload()
    assert [event.step for event in events.Scalars("teacher/reprojection")] == list(range(2, STEPS + 1, 2))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_cuda_without_cuda_is_an_error(options):
    with pytest.raises(InputError, match="--device cuda: PyTorch sees no CUDA device"):
        train.main(replace(options, device="cuda"))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--data", "nowhere.npz"], "nowhere.npz"),
        (["--device", "cuda"], "no CUDA device"),
        (["--preset", "fast"], "--preset"),
        (["--teacher.atom", "3"], "--teacher.atom"),
        (["--teacher.atoms", "0"], "--teacher.atoms: expected at least 1, got 0"),
        (["--resume"], "no run to continue"),
        (["--recipe", "prior", "--preset", "official"], "--preset official: --recipe prior has quick"),
        (["--stage", "teacher"], "--stage teacher: --recipe prior has all, flow, lifter"),
        (["--teacher-checkpoint", "t.safetensors"], "--teacher-checkpoint t.safetensors: of the recipe ites"),
        (["--stage", "flow", "--flow-checkpoint", "f"], "--stage flow: trains what --flow-checkpoint f already is"),
        (["--stage", "lifter"], "flow.safetensors: no such file"),
        (["--flow-checkpoint", "typo.safetensors"], "typo.safetensors: no such file"),
        (["--validation-subjects", "777"], "--validation-subjects 777: not in mocap17, which has"),
        (["--lifter.dropout", "1"], "--lifter.dropout: expected less than 1, got 1.0"),
        (["--normalization.scale", "dataset"], "--lifter.rescale: gives virtual views"),
    ],
)
def test_a_users_mistake_is_one_message_and_status_2(arguments, message, tmp_path, status_and_errors):
    if torch.cuda.is_available() and "cuda" in arguments:
        pytest.skip("there is a CUDA device")
    status, errors = status_and_errors([*arguments, "--output", str(tmp_path / "run")])
    assert status == 2
    assert message in errors
    assert not (tmp_path / "run").exists()


def test_presets_are_the_defaults_of_the_command():
    assert train.defaults(["--preset", "paper"]) == PRESETS["ites", "paper"]
    assert train.defaults(["--recipe", "ites"]) == PRESETS["ites", "quick"]
    assert train.defaults(["--seed", "3"]) == PRESETS["prior", "quick"]
