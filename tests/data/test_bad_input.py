"""Bad data given to a command: one line on stderr that names the file, and exit status 2."""

import os
import sys

import numpy as np
import pytest

from ites_fast import cli, evaluate
from ites_fast.checkpoint import save_model
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.models import ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17


class Forbidden:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.fixture
def spoiled(tmp_path):
    """Function that writes a plain npz of 8 good views, changed by a function of its arrays."""

    def write(change):
        with np.load(BUNDLED) as file:
            pose = file["positions_mm"][:8] / np.float32(1000) + np.float32([0, 0, 9])
        content = {
            "pose_2d": 1145 * pose[..., :2] / pose[..., 2:] + 500,
            "pose_3d": pose,
            "camera_focal": np.full((1, 2), 1145.0),
            "camera_principal": np.full((1, 2), 500.0),
        }
        change(content)
        np.savez(tmp_path / "bad.npz", **content)
        return tmp_path / "bad.npz"

    return write


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    options = {"blocks": 1, "width": 8, "bottleneck": 4, "atoms": 2}
    lifter = ViewLifter(
        build_network("teacher", H36M_17, options), H36M_17, Normalization("root", "pose", 0.1, root=0, head=10)
    )
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    save_model(path, lifter, {"network": "teacher", "options": options}, {})
    return path


def missing(tmp_path, raw, spoiled):
    return tmp_path / "bad.npz"


def truncated(tmp_path, raw, spoiled):
    path = spoiled(lambda content: None)
    path.write_bytes(path.read_bytes()[:900])
    return path


def wrong_joint_count(tmp_path, raw, spoiled):
    return spoiled(lambda content: content.update(pose_2d=content["pose_2d"][:, :16]))


def nan_joint(tmp_path, raw, spoiled):
    return spoiled(lambda content: content["pose_2d"].__setitem__((3, 5), np.nan))


def infinite_joint(tmp_path, raw, spoiled):
    return spoiled(lambda content: content["pose_3d"].__setitem__((3, 5), np.inf))


def zero_size(tmp_path, raw, spoiled):
    return spoiled(lambda content: content["pose_2d"].__setitem__(3, 500))


def joint_behind_the_view(tmp_path, raw, spoiled):
    def change(content):
        content["pose_2d"][3, 0], content["pose_2d"][3, 5] = (4500, 500), (-3500, 500)

    return spoiled(change)


def empty_split(tmp_path, raw, spoiled):
    return spoiled(lambda content: content.update(split=np.array(["train"] * 8)))


def forbidden_pickle(tmp_path, raw, spoiled):
    np.savez(tmp_path / "bad.npz", data={"TS1": Forbidden()})
    return tmp_path / "bad.npz"


def broken_hierarchy(tmp_path, raw, spoiled):
    (tmp_path / "bad.bvh").write_text((raw / "07_01.bvh").read_text().replace("{", "", 1))
    return tmp_path / "bad.bvh"


def motion_of_another_skeleton(tmp_path, raw, spoiled):
    (tmp_path / "bad.asf").write_text((raw / "09.asf").read_text().replace("dof ry rz", "dof rx ry rz"))
    (tmp_path / "bad.amc").write_text((raw / "09_01.amc").read_text())
    return tmp_path / "bad.amc"


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (missing, "bad.npz: no such file or folder"),
        (truncated, "bad.npz: not a whole npz file; was it truncated?"),
        (wrong_joint_count, "bad.npz: pose_2d has shape (8, 16, 2), expected (N, 17, 2)"),
        (nan_joint, "bad.npz: pose_2d of sample 3, joint 5 (left_knee), is nan"),
        (infinite_joint, "bad.npz: pose_3d of sample 3, joint 5 (left_knee), is inf"),
        (zero_size, "bad.npz: pose_2d of sample 3 has zero size: hip and head coincide"),
        (joint_behind_the_view, "bad.npz: sample 3 has a joint more than 90 degrees away from the root joint"),
        (empty_split, "bad.npz: the test split is empty"),
        (forbidden_pickle, "bad.npz: refused to unpickle posix.getcwd"),
        (broken_hierarchy, "bad.bvh, line 4: broken hierarchy: 'OFFSET 0.00000 0.00000 0.00000' is not understood"),
        (motion_of_another_skeleton, "rclavicle has 2 values, expected 3 (rx ry rz) by the skeleton bad.asf"),
    ],
)
def test_message_and_exit_status(tmp_path, raw, spoiled, checkpoint, monkeypatch, capsys, build, message):
    path = build(tmp_path, raw, spoiled)
    before = sorted(tmp_path.iterdir())
    arguments = {
        "--checkpoint": checkpoint,
        "--device": "cpu",
        "--data": path,
        "--json": tmp_path / "metrics.json",
        "--figures": tmp_path / "figures",
    }
    monkeypatch.setattr(sys, "argv", ["evaluate", *(str(word) for pair in arguments.items() for word in pair)])
    with pytest.raises(SystemExit) as stop:
        cli.run(evaluate.main, evaluate.EvaluateOptions, prog="evaluate", description="")
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("error: ")
    assert message in error
    assert error.count("\n") == 1
    assert sorted(tmp_path.iterdir()) == before  # nothing is written
