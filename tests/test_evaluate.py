"""The evaluation command: what it prints and writes, and how it refuses bad input."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from ites_fast import checkpoint as bundled
from ites_fast import evaluate
from ites_fast.checkpoint import load_lifter, save_model, write_tensors
from ites_fast.corruption import DETECTOR
from ites_fast.data import load
from ites_fast.models import ViewLifter, build_network
from ites_fast.models.view_lifter import Corrected
from ites_fast.normalization import Normalization
from ites_fast.protocols import PROTOCOLS, STRICT
from ites_fast.skeleton import H36M_17

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="module")
def checkpoint(small_mocap, tmp_path_factory):
    """An untrained teacher, small: it lifts badly, but it lifts."""
    torch.manual_seed(0)
    architecture = {"network": "teacher", "options": {"blocks": 1, "width": 16, "bottleneck": 8, "atoms": 4}}
    image = torch.from_numpy(load(small_mocap, "train").image())
    network = build_network("teacher", H36M_17, architecture["options"])
    lifter = ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17))
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, lifter, architecture, {})
    return path


@pytest.fixture
def command(run_command):
    """Run the command line in this process: (exit status, stdout, stderr)."""
    return lambda *arguments: run_command(evaluate.main, evaluate.EvaluateOptions, *arguments)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_the_command_writes_every_figure_to_json(protocol, command, checkpoint, small_mocap, tmp_path):
    file = tmp_path / "metrics.json"
    arguments = ("--checkpoint", checkpoint, "--data", small_mocap, "--json", file, "--protocol", protocol)
    status, out, err = command(*arguments, "--device", "cpu")
    assert (status, err) == (0, "")
    written = json.loads(file.read_text())
    keys = {measure.key for measure in PROTOCOLS[protocol].measures}  # what they are: test_protocols.py
    assert set(written["metrics"]) == keys | {"bone_length_spread", "bone_length_spread/truth"}
    assert all(isinstance(value, float) and np.isfinite(value) for value in written["metrics"].values())
    assert written["protocol"] == protocol
    assert written["samples"] == len(load(small_mocap, "test"))
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
    assert command(*good, "--noise-px", "-1")[2].startswith("error: noise of -1.0 px: expected")
    assert "14 missing joints: expected 0 to 13 of 17" in command(*good, "--missing-joints", "14")[2]
    assert "(Teacher) needs all joints of every view" in command(*good, "--missing-joints", "1")[2]
    assert "subjects 999 are not in this split; it has " in command(*good, "--subjects", "999")[2]


def test_the_bundled_weights_are_the_default(command, checkpoint, small_mocap, monkeypatch, tmp_path):
    monkeypatch.setattr(bundled, "BUNDLED", checkpoint)
    status, out, _ = command("--data", small_mocap, "--json", tmp_path / "a.json")
    assert status == 0
    assert out.startswith("bundled weights on ")
    assert json.loads((tmp_path / "a.json").read_text())["checkpoint"] == "bundled"
    monkeypatch.setattr(bundled, "BUNDLED", tmp_path / "absent.safetensors")
    status, _, err = command("--data", small_mocap)
    assert status == 2
    assert "no bundled weights" in err
    assert "absent.safetensors" in err


def test_noise_is_stated_and_repeatable(command, checkpoint, small_mocap, tmp_path):
    written = []
    for number, arguments in enumerate([(), (6, 0), (6, 0), (6, 1)]):
        file = tmp_path / f"{number}.json"
        noise = ("--noise-px", arguments[0], "--corruption-seed", arguments[1]) if arguments else ()
        status, out, _ = command("--checkpoint", checkpoint, "--data", small_mocap, "--json", file, *noise)
        assert status == 0
        assert out.startswith("2D made worse: noise 6 px (Gaussian, ") == bool(arguments)
        written.append(json.loads(file.read_text()))
    clean, noisy, again, other = (each["metrics"]["n_mpjpe/flip=none/scale=lstsq"] for each in written)
    assert noisy == again
    assert len({clean, noisy, other}) == 3
    noise = written[1]["corruption"]
    assert (noise["noise_px"], noise["missing_joints"], noise["seed"]) == (6, 0, 0)
    assert "longer side is 1000 px" in noise["noise"]


def test_the_mirror_average_is_stated(command, checkpoint, small_mocap, tmp_path):
    written = []
    for name, arguments in (("plain", ()), ("mirrored", ("--mirror-average",))):
        file = tmp_path / f"{name}.json"
        status, out, _ = command("--checkpoint", checkpoint, "--data", small_mocap, "--json", file, *arguments)
        assert status == 0
        assert out.startswith("mean of every view and its mirror image") == bool(arguments)
        written.append(json.loads(file.read_text()))
    assert [each["mirror_average"] for each in written] == [False, True]
    assert written[0]["metrics"] != written[1]["metrics"]


def test_some_subjects_only(command, checkpoint, small_mocap, tmp_path):
    data = load(small_mocap, "test")
    name = data.subjects[data.subject[0]]
    file = tmp_path / "one.json"
    assert command("--checkpoint", checkpoint, "--data", small_mocap, "--subjects", name, "--json", file)[0] == 0
    written = json.loads(file.read_text())
    assert list(written["by_subject"]) == written["subjects"] == [name]
    assert written["samples"] == (data.subject == data.subject[0]).sum()


class Keeps(torch.nn.Module):
    """Corrects nothing and puts missing joints at the root, flat."""

    predicts = "corrected"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))

    def forward(self, pose_2d, visible):
        return Corrected(pose_2d, self.weight * pose_2d[..., 0])


def test_missing_joints_are_counted(command, checkpoint, small_mocap, monkeypatch, tmp_path):
    normalization = load_lifter(checkpoint).normalization
    monkeypatch.setattr(evaluate, "load_lifter", lambda *_: ViewLifter(Keeps(), H36M_17, normalization).eval())
    file, errors = tmp_path / "a.json", []
    for missing in (0, 3):
        arguments = ("--data", small_mocap, "--missing-joints", missing, "--json", file)
        status, out, _ = command(*arguments)
        assert status == 0
        written = json.loads(file.read_text())
        assert written["missing_joints_in_all"] == missing * written["samples"]
        errors.append(written["metrics"]["p_mpjpe/flip=none"])
    assert f"2D without {3 * written['samples']:,} of {17 * written['samples']:,} joints (17.65%)" in out
    assert errors[0] + 10 < errors[1]


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


def test_what_detectors_do_and_bodies_half_out_of_the_picture(command, small_mocap, tmp_path):
    """With the bundled weights, which accept missing joints: each costs something, and is stated."""
    errors = {}
    for name, options in {"clean": (), "detector": ("--detector",), "legs": ("--occlusion", "lower_body")}.items():
        file = tmp_path / f"{name}.json"
        status, _, err = command("--data", small_mocap, "--json", file, "--device", "cpu", *options)
        assert (status, err) == (0, "")
        written = json.loads(file.read_text())
        errors[name] = written["metrics"]["n_mpjpe/flip=none/scale=lstsq"]
        if name == "detector":
            assert written["corruption"]["swap_share"] == DETECTOR.swap_share > 0
    assert errors["clean"] + 5 < errors["detector"] < errors["legs"]
    status, _, err = command("--data", small_mocap, "--detector", "--noise-px", "3")
    assert status == 2
    assert "--noise-px 3.0: --detector has noise of its own" in err
