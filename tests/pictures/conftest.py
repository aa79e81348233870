"""Scenes of real motion: two test people of the bundled motion capture, one of whom comes later."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.scene import Person, Scene

FRAMES = 24


@pytest.fixture(scope="session")
def walker() -> Scene:
    """One person as a camera saw the person, with the true keypoints."""
    data = load("mocap17", "test")
    rows = np.flatnonzero((data.sequence == data.sequence[0]) & (data.camera == data.camera[0]))[:FRAMES]
    keypoints = np.concatenate([data.pose_2d[rows], np.ones((FRAMES, 17, 1), np.float32)], -1)
    person = Person(
        name="first",
        frame=np.arange(FRAMES),
        positions=data.pose_3d[rows],
        confidence=np.ones((FRAMES, 17), np.float32),
        keypoints=keypoints,
    )
    return Scene("mocap17", data.skeleton, (person,), FRAMES, 15.0, "metres", placed=True, image_size=(1000, 1000))


@pytest.fixture(scope="session")
def two_walkers(walker) -> Scene:
    """The same person twice; the second one stands to the right, comes at frame 6 and goes at frame 18."""
    first = walker.people[0]
    part = slice(6, 18)
    second = Person(
        name="second",
        frame=first.frame[part],
        positions=first.positions[part] + np.float32([1.2, 0, 0]),
        confidence=first.confidence[part],
        keypoints=first.keypoints[part] + np.float32([200, 0, 0]),
    )
    return replace(walker, people=(first, second))
