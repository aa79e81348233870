"""Real sequences of the bundled sample, lifted by the bundled weights."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch

from ites_fast import Lifter, PoseDataset, load, load_lifter
from ites_fast.camera import Camera
from ites_fast.corruption import Corruption
from ites_fast.data.clips import clip_numbers
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.placement import choose_view
from ites_fast.metrics import accel, n_mpjpe
from ites_fast.skeleton import H36M_17

RECORDED = Path(__file__).parents[1] / "detections" / "recorded" / "one_person"
SEQUENCES = 16
MIN_FRAMES = 40


class Recording(NamedTuple):
    """One person seen by one camera."""

    keypoints: np.ndarray  # (T, 17, 2) pixels
    positions: np.ndarray  # (T, 17, 3) lifted, metres, root-relative
    ambiguity: np.ndarray  # (T,)
    truth: np.ndarray  # (T, 17, 3) metres, root-relative
    frame: np.ndarray  # (T,) without gaps
    fps: float

    def errors(self, positions: np.ndarray) -> np.ndarray:
        """n_mpjpe of each frame (T,), millimetres."""
        return n_mpjpe(torch.from_numpy(1000 * positions), torch.from_numpy(1000 * self.truth)).numpy()

    def acceleration_error(self, positions: np.ndarray) -> float:
        """Mean over frames, millimetres per frame squared."""
        return accel(torch.from_numpy(1000 * positions), torch.from_numpy(1000 * self.truth)).mean().item()


def _recordings(views: PoseDataset, noise_px: float) -> list[Recording]:
    noisy = Corruption(noise_px=noise_px).apply(views)
    lifter = FrameLifter(load_lifter(), H36M_17, view=choose_view(views.cameras[0]), height=1.75)
    clip = clip_numbers(views)
    parts = np.split(np.arange(len(views)), np.flatnonzero(np.diff(clip)) + 1)
    parts = [part for part in parts if len(part) >= MIN_FRAMES]
    parts = parts[:: len(parts) // SEQUENCES][:SEQUENCES]
    recordings = []
    for part in parts:
        lifted = lifter(noisy.pose_2d[part])
        truth = views.pose_3d[part] - views.pose_3d[part, :1]
        frame = (views.frame[part] - views.frame[part[0]]) // 8  # of 120 a second, every eighth was kept
        recordings.append(Recording(noisy.pose_2d[part], lifted.positions, lifted.ambiguity, truth, frame, views.fps))
    return recordings


@pytest.fixture(scope="session")
def lifter() -> Lifter:
    return Lifter.from_pretrained()


@pytest.fixture(scope="session")
def detected() -> np.ndarray:
    """OpenPose's keypoints of a person in 12 frames (12, 25, 3), BODY_25."""
    files = sorted(RECORDED.glob("*.json"))
    people = [json.loads(file.read_text())["people"][0]["pose_keypoints_2d"] for file in files]
    return np.array(people, np.float32).reshape(-1, 25, 3)


@pytest.fixture(scope="session")
def views() -> PoseDataset:
    return load("mocap17", "test")


@pytest.fixture(scope="session")
def camera(views) -> Camera:
    return Camera(views.cameras[0].focal, views.cameras[0].principal, views.cameras[0].image_size)


@pytest.fixture(scope="session")
def clean(views) -> list[Recording]:
    """Sequences of the test people with exact keypoints."""
    return _recordings(views, 0.0)


@pytest.fixture(scope="session")
def noisy(views) -> list[Recording]:
    """The same with 6 px of noise."""
    return _recordings(views, 6.0)
