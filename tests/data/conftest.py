"""Builders of tiny files in the field's layouts. Cameras and lenses are our own; formulas are written out again."""

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ites_fast.data.mocap17 import BUNDLED

DROPPED_OF_32 = {4, 5, 9, 10, 11, 16, 20, 21, 22, 23, 24, 28, 29, 30, 31}
KEPT_OF_32 = [joint for joint in range(32) if joint not in DROPPED_OF_32]
FRAMES = 36


@pytest.fixture(scope="session")
def raw() -> Path:
    """Folder of three files from the CMU database."""
    return Path(__file__).parent / "raw"


@pytest.fixture(scope="session")
def world():
    """Function (sequence, frames) -> (F, 17, 3) float32 metres, z up, feet near the ground, from the bundled sample."""
    with np.load(BUNDLED) as file:
        positions, number = file["positions_mm"], file["sequence"]

    def motion(sequence: int, frames: int) -> np.ndarray:
        pose = positions[number == sequence][:frames] / np.float32(1000)
        assert len(pose) == frames
        return pose - np.array([0, 0, pose[..., 2].min()], np.float32)

    return motion


@pytest.fixture
def human36m(tmp_path, world):
    """Function that writes Human3.6M in VideoPose3D's layout to tmp_path; returns what was written."""

    def write(subjects=("S1", "S9"), actions=("Directions", "Walking 1"), joints=32, gt=True, cpn=True):
        rng = np.random.default_rng(5)
        truth = SimpleNamespace(folder=tmp_path, cameras={}, camera_frame={}, gt={}, cpn={}, world={})
        for index, subject in enumerate(subjects):
            truth.cameras[subject] = [_human36m_camera(rng, index, camera) for camera in range(4)]
            for tables in (truth.world, truth.gt, truth.cpn, truth.camera_frame):
                tables[subject] = {}
            for number, action in enumerate(actions):
                pose = world(20 * index + 7 * number + 3, FRAMES)
                views = [_human36m_project(pose, camera) for camera in truth.cameras[subject]]
                truth.camera_frame[subject][action] = [_to_camera(pose, camera) for camera in truth.cameras[subject]]
                truth.world[subject][action] = _as_32(pose, rng) if joints == 32 else pose
                truth.gt[subject][action] = [view.astype(np.float32) for view in views]
                # Detections run on for two more frames than the 3D.
                truth.cpn[subject][action] = [
                    np.concatenate([view, view[-2:]]).astype(np.float32)
                    + rng.normal(0, 4, (len(view) + 2, 17, 2)).astype(np.float32)
                    for view in views
                ]
        metadata = {
            "layout_name": "h36m",
            "num_joints": 17,
            "keypoints_symmetry": [[4, 5, 6, 11, 12, 13], [1, 2, 3, 14, 15, 16]],
        }
        np.savez_compressed(tmp_path / "data_3d_h36m.npz", positions_3d=truth.world)
        for name, content in (("gt", truth.gt), ("cpn_ft_h36m_dbb", truth.cpn)):
            if gt if name == "gt" else cpn:
                np.savez_compressed(tmp_path / f"data_2d_h36m_{name}.npz", positions_2d=content, metadata=metadata)
        return truth

    return write


@pytest.fixture
def mpi_inf_3dhp(world):
    """Function () -> {"TS1": {...}} in P-STMO's layout: data_2d px, data_3d mm in the camera's frame, valid."""

    def build():
        sequences = {}
        for number, name in enumerate(("TS1", "TS5")):
            camera = {
                "rotation": _look_at(np.array([4.0, -1.0 + number, 1.4]), np.array([0.0, 0.0, 0.9])),
                "position": np.array([4.0, -1.0 + number, 1.4]),
                "focal": 1487.25 + 180 * number,
                "principal": np.array([1019.5, 1037.75]) if number == 0 else np.array([951.5, 548.25]),
            }
            pose = _to_camera(world(30 + 9 * number, FRAMES), camera)
            pose_2d = pose[..., :2] / pose[..., 2:] * camera["focal"] + camera["principal"]
            order = [14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4]  # H36M joint k is theirs order[k]
            theirs_2d, theirs_3d = np.empty_like(pose_2d), np.empty_like(pose)
            theirs_2d[:, order], theirs_3d[:, order] = pose_2d, pose * 1000
            valid = np.ones(len(pose))
            valid[[0, 5]] = 0
            sequences[name] = {
                "data_2d": theirs_2d,
                "data_3d": theirs_3d,
                "valid": valid,
                "camera": camera,
                "pose": pose,
            }
        return sequences

    return build


def _human36m_camera(rng: np.random.Generator, subject: int, number: int) -> dict:
    angle = np.pi / 2 * number + 0.4 + 0.1 * subject
    position = np.array([4.8 * np.cos(angle), 4.8 * np.sin(angle), 1.5 + 0.1 * number])
    roll = 0.02 * rng.normal()
    turn = np.array([[np.cos(roll), np.sin(roll), 0], [-np.sin(roll), np.cos(roll), 0], [0, 0, 1]])
    return {
        "focal": np.array([1140.5, 1138.25]) + number,
        "principal": np.array([508.5, 511.75]) + 2 * subject,
        "radial": np.array([-0.21, 0.24, -0.01]),
        "tangential_xy": np.array([-0.0011, 0.0016]),
        "rotation": turn @ _look_at(position, np.array([0.1, -0.1, 0.9])),
        "position": position,
    }


def _look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    forward = (target - position) / np.linalg.norm(target - position)
    right = np.cross(forward, [0, 0, 1.0])
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(forward, right), forward])


def _to_camera(pose: np.ndarray, camera: dict) -> np.ndarray:
    return (pose.astype(np.float64) - camera["position"]) @ camera["rotation"].T


def _human36m_project(pose: np.ndarray, camera: dict) -> np.ndarray:
    """Human3.6M's lens: the tangential term has no factor 2."""
    x, y, z = np.moveaxis(_to_camera(pose, camera), -1, 0)
    x, y = x / z, y / z
    r2 = x * x + y * y
    (k1, k2, k3), (px, py) = camera["radial"], camera["tangential_xy"]
    gain = 1 + k1 * r2 + k2 * r2**2 + k3 * r2**3 + px * x + py * y
    distorted = np.stack([x * gain + px * r2, y * gain + py * r2], -1)
    return distorted * camera["focal"] + camera["principal"]


def _as_32(pose: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """32 joints of which 17 are the pose; the others are nonsense that a reader must not take."""
    full = rng.normal(0, 9, (len(pose), 32, 3)).astype(np.float32)
    full[:, KEPT_OF_32] = pose
    return full
