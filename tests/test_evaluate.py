"""Evaluation: the library function, the command line, what it writes and how it refuses bad input."""

import json
import struct
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast import cli, evaluate, figures, metrics
from ites_fast.baselines import DepthZero, MeanPose
from ites_fast.checkpoint import save_model, write_tensors
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.evaluation import METRES_PER_BODY_UNIT
from ites_fast.evaluation import evaluate as evaluate_model
from ites_fast.models import Lifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.protocols import PROTOCOLS, STRICT
from ites_fast.skeleton import H36M_17
from ites_fast.tables import format_columns, format_evaluation, format_table

COMMON_KEYS = {
    "p_mpjpe/flip=none",
    "p_mpjpe/flip=best",
    "n_mpjpe/flip=none/scale=lstsq",
    "n_mpjpe/flip=best/scale=lstsq",
    "mpjpe/flip=none/scale=procrustes",
    "mpjpe/flip=best/scale=procrustes",
    "mpjpe/flip=none/scale=none",
    "mpjpe/flip=best/scale=none",
    "pck@150/flip=none",
    "pck@150/flip=best",
    "auc/flip=none",
    "auc/flip=best",
    "flip_rate",
    "bone_length_spread",
    "bone_length_spread/truth",
}
PNG = b"\x89PNG\r\n\x1a\n"


class Cheat:
    """Knows the truth and changes it: what the figures must be is then known."""

    skeleton = H36M_17

    def __init__(self, dataset, change=lambda pose: pose):
        self.pose = change(metrics.root_relative(torch.from_numpy(dataset.pose_3d)))

    def lift(self, image, batch_size):
        return self.pose


@pytest.fixture(scope="module")
def dataset(small_mocap):
    return load(small_mocap, "test")


@pytest.fixture(scope="module")
def checkpoint(small_mocap, tmp_path_factory):
    """An untrained teacher, small: it lifts badly, but it lifts."""
    torch.manual_seed(0)
    architecture = {"network": "teacher", "options": {"blocks": 1, "width": 16, "bottleneck": 8, "atoms": 4}}
    image = torch.from_numpy(load(small_mocap, "train").image())
    network = build_network("teacher", H36M_17, architecture["options"])
    lifter = Lifter(network, H36M_17, Normalization.fit(image, H36M_17))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, lifter, architecture, {})
    return path


@pytest.fixture
def command(monkeypatch, capsys):
    """Run the command line in this process: (exit status, stdout, stderr)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate", *map(str, arguments)])
        status = 0
        try:
            cli.run(evaluate.main, evaluate.EvaluateOptions, prog="evaluate", description="")
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run


def test_the_truth_has_no_error(dataset):
    result = evaluate_model(Cheat(dataset), dataset).metrics
    assert result["p_mpjpe/flip=none"] < 1e-2
    assert result["n_mpjpe/flip=none/scale=lstsq"] < 1e-2
    assert result["pck@150/flip=none"] == 1
    assert result["auc/flip=none"] == pytest.approx(30 / 31, abs=1e-3)
    assert result["flip_rate"] == 0
    assert result["bone_length_spread"] == pytest.approx(result["bone_length_spread/truth"])
    assert result["bone_length_spread"] < 0.02


def test_a_mirrored_truth_is_wrong_without_the_oracle_and_right_with_it(dataset):
    result = evaluate_model(Cheat(dataset, metrics.flip_depth), dataset).metrics
    assert result["flip_rate"] > 0.99
    for key in ("p_mpjpe", "n_mpjpe"):
        scale = "/scale=lstsq" if key == "n_mpjpe" else ""
        assert result[f"{key}/flip=best{scale}"] < 1e-2
        assert result[f"{key}/flip=none{scale}"] > 30


def test_scale_none_uses_one_stated_factor(dataset):
    units = Cheat(dataset, lambda pose: pose / METRES_PER_BODY_UNIT)
    result = evaluate_model(units, dataset)
    assert result.metrics["mpjpe/flip=none/scale=none"] < 1e-2
    assert result.metres_per_unit == METRES_PER_BODY_UNIT
    assert "assumed" in result.metres_per_unit_source
    units = Cheat(dataset, lambda pose: pose * 10)
    units.metres_per_unit = 0.1
    result = evaluate_model(units, dataset)
    assert result.metrics["mpjpe/flip=none/scale=none"] < 1e-2
    assert "stated by the model" in result.metres_per_unit_source
    assert "0.1 m per unit (stated by the model)" in format_evaluation(result)


def test_groups_are_parts_of_the_whole(dataset):
    result = evaluate_model(Cheat(dataset, lambda pose: pose + 0.05 * torch.randn_like(pose)), dataset)
    key = "n_mpjpe/flip=none/scale=lstsq"
    for table in (result.by_subject, result.by_action):
        assert sum(row["samples"] for row in table.values()) == len(dataset) == result.samples
        mean = sum(row["samples"] * row[key] for row in table.values()) / len(dataset)
        assert mean == pytest.approx(result.metrics[key])
    assert list(result.by_joint) == list(H36M_17.joint_names)
    assert np.mean([row[key] for row in result.by_joint.values()]) == pytest.approx(result.metrics[key])
    present = {dataset.subjects[index] for index in dataset.subject}
    assert set(result.by_subject) == present
    one = dataset.subset(dataset.subject == dataset.subject[0])
    alone = evaluate_model(Cheat(one, lambda pose: pose + 0.05), one)
    assert list(alone.by_subject) == [one.subjects[one.subject[0]]]


def test_c3dpo_takes_the_mean_over_actions(dataset):
    result = evaluate_model(DepthZero(H36M_17), dataset, protocol=PROTOCOLS["c3dpo"])
    for key in PROTOCOLS["c3dpo"].headline:
        assert result.metrics[key] == pytest.approx(np.mean([row[key] for row in result.by_action.values()]))


def test_baselines(dataset, small_mocap):
    image = torch.from_numpy(dataset.image())
    flat = DepthZero(H36M_17).lift(image)
    assert flat[..., 2].abs().max() == 0
    torch.testing.assert_close(flat[:, 3, :2] / 5, image[:, 3] - image[:, 0])
    train = load(small_mocap, "train")
    mean = MeanPose.fit(train)
    expected = (train.pose_3d - train.pose_3d[:, :1]).mean(0, dtype=np.float64)
    torch.testing.assert_close(mean.lift(image)[7].double(), torch.from_numpy(expected), atol=1e-5, rtol=0)
    flat_figures = evaluate_model(DepthZero(H36M_17), dataset, model="depth zero")
    mean_figures = evaluate_model(mean, dataset, model="mean pose")
    assert flat_figures.metrics["flip_rate"] == 0
    assert mean_figures.metrics["bone_length_spread"] < 1e-6
    assert flat_figures.metrics["p_mpjpe/flip=none"] < mean_figures.metrics["p_mpjpe/flip=none"] < 300
    with pytest.raises(InputError, match="no 3D poses to take the mean of"):
        MeanPose.fit(replace(train, pose_3d=None))


def test_data_that_cannot_be_evaluated(dataset):
    cheat = Cheat(dataset)
    with pytest.raises(InputError, match="has no 3D poses"):
        evaluate_model(cheat, replace(dataset, pose_3d=None))
    with pytest.raises(InputError, match="no views to evaluate on"):
        evaluate_model(cheat, dataset.subset(np.zeros(len(dataset), bool)))
    other = DepthZero(replace(H36M_17, name="other"))
    with pytest.raises(InputError, match="skeleton h36m_17 of 17 joints, but the model lifts other of 17"):
        evaluate_model(other, dataset)
    cheat.pose[12, 3] = torch.nan
    with pytest.raises(InputError, match=r"the prediction for sample 12 is not finite \(1 such\)"):
        evaluate_model(cheat, dataset)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_text_says_flip_and_scale_beside_every_figure(name, dataset):
    protocol = PROTOCOLS[name]
    result = evaluate_model(DepthZero(H36M_17), dataset, protocol=protocol, model="flat")
    text = format_evaluation(result, by_action=True)
    for word in ("flip=none", "flip=best", "scale=lstsq", "scale=procrustes", "scale=none", f"protocol {name}"):
        assert word in text
    for key in protocol.headline:
        assert f"{result.metrics[key]:.1f} mm*" in text
    assert all(action in text for action in result.by_action)
    assert all(line == line.rstrip() for line in text.splitlines())
    table = format_table([result, replace(result, model="another")])
    assert {line.split()[0] for line in table.splitlines()[-3:-1]} == {"flat", "another"}


def test_columns_are_aligned():
    text = format_columns(["name", "a/b", "long header"], [["x", "1.0", "2.0"], ["long name", "100.0", ""]])
    assert text.splitlines() == [
        "name           a  long header",
        "               b",
        "---------  -----  -----------",
        "x            1.0          2.0",
        "long name  100.0",
    ]


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_writes_every_figure_to_json(protocol, command, checkpoint, small_mocap, dataset, tmp_path):
    file = tmp_path / "metrics.json"
    arguments = ("--checkpoint", checkpoint, "--data", small_mocap, "--json", file, "--protocol", protocol)
    status, out, err = command(*arguments, "--device", "cpu")
    assert (status, err) == (0, "")
    written = json.loads(file.read_text())
    assert set(written["metrics"]) >= COMMON_KEYS
    assert all(isinstance(value, float) and np.isfinite(value) for value in written["metrics"].values())
    assert written["protocol"] == protocol
    assert written["samples"] == len(dataset)
    assert written["data"] == str(small_mocap)
    assert written["checkpoint"] == str(checkpoint)
    assert written["split"] == "test"
    assert written["headline"].keys() == set(PROTOCOLS[protocol].headline)
    assert written["pck_and_auc"].startswith("scale=")
    assert len(written["by_joint"]) == 17
    assert set(written["bone_length_spread_by_bone"]) >= {"hip-right_hip", "right_elbow-right_wrist"}
    for key in ("p_mpjpe/flip=none", "p_mpjpe/flip=best"):
        assert f"{written['metrics'][key]:.1f} mm" in out


def test_the_command_draws_figures(command, checkpoint, small_mocap, tmp_path):
    folder = tmp_path / "figures"
    status, out, _ = command("--checkpoint", checkpoint, "--data", small_mocap, "--figures", folder)
    assert status == 0
    assert {path.name for path in folder.iterdir()} == {"poses.png", "joint_errors.png", "error_histogram.png"}
    for path in folder.iterdir():
        assert str(path) in out
        content = path.read_bytes()
        assert content.startswith(PNG)
        assert 10_000 < len(content) < 1_000_000


def test_a_figure_of_fewer_views_than_columns(dataset, tmp_path):
    few = dataset.subset(np.arange(2))
    result = evaluate_model(Cheat(few), few)
    figures.write_evaluation_figures(tmp_path, few, result)
    assert len(list(tmp_path.iterdir())) == 3


def test_loss_curves(tmp_path):
    records = [
        {"stage": stage, "step": step, "loss": 5 / step, "reprojection": 1 / step, "learning_rate": 0.1}
        for stage in ("teacher", "student")
        for step in range(1, 400)
    ]
    path = tmp_path / "losses.png"
    figures.draw_losses(path, records)
    size = struct.unpack(">II", path.read_bytes()[16:24])
    assert size[0] > 2 * size[1]  # two stages side by side
    figures.draw_losses(path, [{"stage": "prior", "step": 1, "loss": -3.0}])  # a likelihood may be negative
    with pytest.raises(InputError, match="no loss was recorded"):
        figures.draw_losses(path, [])


def test_bad_input_is_one_line_and_status_2(command, checkpoint, small_mocap, tmp_path):
    good = ("--checkpoint", checkpoint, "--data", small_mocap)
    damaged = tmp_path / "damaged.safetensors"
    damaged.write_bytes(checkpoint.read_bytes()[:-100])
    foreign = tmp_path / "foreign.safetensors"
    description = {
        "kind": "model",
        "architecture": {"network": "teacher", "options": {}},
        "skeleton": "octopus_8",
        "normalization": {},
        "training": {},
    }
    write_tensors(foreign, {"weight": torch.zeros(1)}, description)
    cases = [
        (("--checkpoint", tmp_path / "none.safetensors"), "none.safetensors: no such file"),
        (("--checkpoint", damaged), "damaged.safetensors: not a whole safetensors file"),
        (("--checkpoint", foreign), "skeleton 'octopus_8' is unknown"),
        ((*good[:2], "--data", tmp_path / "none.npz"), "none.npz: no such file"),
        ((*good, "--batch-size", "0"), "--batch-size 0: expected at least 1"),
        ((*good, "--json", checkpoint / "below_a_file.json"), "tiny.safetensors"),
    ]
    for arguments, message in cases:
        status, _, err = command(*arguments)
        assert status == 2, arguments
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert message in err
    assert command(*good, "--protocol", "mine")[0] == 2
    assert command(*good, "--unknown")[0] == 2
    assert command()[0] == 2


def test_an_empty_split_is_refused(command, checkpoint, small_mocap, tmp_path):
    with np.load(small_mocap) as file:
        arrays = dict(file)
    arrays["sequence_split"] = np.full_like(arrays["sequence_split"], "train")
    path = tmp_path / "train_only.npz"
    np.savez(path, **arrays)
    status, _, err = command("--checkpoint", checkpoint, "--data", path)
    assert (status, err) == (2, f"error: {path}: the test split is empty\n")


@pytest.mark.skipif(torch.cuda.is_available(), reason="says what happens without CUDA")
def test_cuda_without_cuda(command, checkpoint, small_mocap):
    status, _, err = command("--checkpoint", checkpoint, "--data", small_mocap, "--device", "cuda")
    assert status == 2
    assert err == "error: --device cuda: PyTorch sees no CUDA device here; use --device cpu or auto\n"


def test_devices_agree(dataset, device):
    pred = Cheat(dataset, lambda pose: (pose + 0.05 * torch.randn_like(pose)).to(device))
    moved = Cheat(dataset)
    moved.pose = pred.pose.cpu()
    here, there = evaluate_model(pred, dataset, device=device), evaluate_model(moved, dataset)
    for key, value in there.metrics.items():
        assert here.metrics[key] == pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.slow
def test_python_m(checkpoint, small_mocap):
    arguments = ["--checkpoint", str(checkpoint), "--data", str(small_mocap)]
    done = subprocess.run(
        [sys.executable, "-m", "ites_fast.evaluate", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert STRICT.convention in done.stdout
    arguments = [sys.executable, "-m", "ites_fast.evaluate", "--checkpoint", "none"]
    missing = subprocess.run(
        [sys.executable, "-m", "ites_fast.evaluate", "--checkpoint", "none"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert missing.returncode == 2
    assert missing.stderr.startswith("error: ")
