"""Settings of every test (deterministic algorithms, no TF32, the device to run on), and small training runs."""

import os
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ites_fast import cli, train
from ites_fast.config import PRESETS, TrainOptions
from ites_fast.data import mocap17
from ites_fast.ops.compiled import HAS_TRITON

# Where there is no GPU, Triton's kernels are interpreted on CPU tensors. Triton reads this when a kernel is defined.
if not torch.cuda.is_available():
    os.environ["TRITON_INTERPRET"] = "1"


@pytest.fixture(autouse=True, scope="session")
def numerics():
    """Make runs repeatable. ``torch.empty`` is then filled with NaN: an element a kernel forgot to write shows."""
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False


@pytest.fixture(params=["cpu", "cuda"])
def device(request) -> torch.device:
    if request.param == "cuda" and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    return torch.device(request.param)


@pytest.fixture
def kernel_device() -> torch.device:
    """Where Triton's kernels run: on CUDA, or interpreted on the CPU. An interpreted program takes milliseconds."""
    if not HAS_TRITON:
        pytest.skip("needs triton")
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


@pytest.fixture(scope="session")
def small_mocap(tmp_path_factory) -> Path:
    """A file in the bundled format with 24 short real sequences, half of them to train."""
    with np.load(mocap17.BUNDLED) as file:
        bundled = dict(file)
    split, poses = bundled["sequence_split"], np.bincount(bundled["sequence"])
    chosen = []
    for name in ("train", "test"):
        short = np.flatnonzero((split == name) & (poses < 120))
        chosen += list(short[:: max(1, len(short) // 12)][:12])
    chosen = np.array(chosen)
    kept = np.isin(bundled["sequence"], chosen)
    number = np.full(len(split), -1, np.int32)
    number[chosen] = np.arange(len(chosen))
    for key in ("positions_mm", "frame"):
        bundled[key] = bundled[key][kept]
    bundled["sequence"] = number[bundled["sequence"][kept]]
    for key in ("name", "label", "subject", "split"):
        bundled[f"sequence_{key}"] = bundled[f"sequence_{key}"][chosen]
    for key in ("camera_rotation", "camera_position"):
        bundled[key] = bundled[key][chosen]
    path = tmp_path_factory.mktemp("small_mocap") / "small.npz"
    np.savez(path, **bundled)
    return path


@pytest.fixture
def options(small_mocap, tmp_path) -> TrainOptions:
    """A run of seconds: small networks, 8 steps a stage, real poses."""
    quick = PRESETS["ites", "quick"]
    common = {"batch_size": 16, "steps": 8, "recalibrate_batches": 2}
    return replace(
        quick,
        data=str(small_mocap),
        output=str(tmp_path / "run"),
        device="cpu",
        log_every=2,
        teacher=replace(quick.teacher, **common, width=16, bottleneck=8, blocks=1, atoms=4),
        student=replace(quick.student, **common, channels=8, blocks=1),
    )


@pytest.fixture
def prior_options(small_mocap, tmp_path) -> TrainOptions:
    """As ``options``, of the recipe "prior"."""
    quick = PRESETS["prior", "quick"]
    common = {"batch_size": 16, "steps": 8}
    return replace(
        quick,
        data=str(small_mocap),
        output=str(tmp_path / "run"),
        device="cpu",
        log_every=2,
        flow=replace(quick.flow, **common, couplings=2, width=16, components=10),
        lifter=replace(quick.lifter, **common, width=16, blocks=1),
    )


@pytest.fixture
def status_and_errors(monkeypatch, capsys):
    """Runs the command in this process: its exit status, and what it printed for the user."""

    def run(arguments):
        monkeypatch.setattr(sys, "argv", ["train", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.run(train.main, TrainOptions, prog="train", description="", default=train.defaults)
        printed = capsys.readouterr()
        return stop.value.code, printed.err + printed.out

    return run


@pytest.fixture
def models():
    """Reads the model files of a run's folder: bytes by name."""
    names = ("flow", "teacher", "student", "lifter")

    def read(folder):
        paths = {name: Path(folder, f"{name}.safetensors") for name in names}
        return {name: path.read_bytes() for name, path in paths.items() if path.exists()}

    return read


@pytest.fixture
def run_command(monkeypatch, capsys):
    """Runs a command in this process with arguments: its exit status, and what it printed to both streams."""

    def run(main, options, *arguments):
        monkeypatch.setattr(sys, "argv", ["command", *map(str, arguments)])
        status = 0
        try:
            cli.run(main, options, prog="command", description="")
        except SystemExit as stop:
            status = stop.code
        return status, *capsys.readouterr()

    return run
