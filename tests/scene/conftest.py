"""Scenes of real motion, from the bundled sample."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.data.mocap17 import BUNDLED
from ites_fast.scene import Person, Scene, armature
from ites_fast.skeleton import H36M_17


@pytest.fixture(scope="session")
def motion():
    """Function (sequence, frames) -> (F, 17, 3) float32 metres, y up, feet at the ground."""
    with np.load(BUNDLED) as file:
        positions, number = file["positions_mm"], file["sequence"]

    def read(sequence: int, frames: int) -> np.ndarray:
        pose = positions[number == sequence][:frames, :, [1, 2, 0]] / np.float32(1000)
        assert len(pose) == frames
        return pose - np.array([0, pose[..., 1].min(), 0], np.float32)

    return read


@pytest.fixture(scope="session")
def rigid(motion):
    """Real poses (F, 17, 3) with constant bones, the left as long as the right."""

    def make(sequence, frames):
        pose = motion(sequence, frames).astype(np.float64)
        lengths = armature.bone_lengths(pose)
        result = pose.copy()
        for child, parent in H36M_17.edges:  # parents come first
            bone = pose[:, child] - pose[:, parent]
            bone *= lengths[child] / np.linalg.norm(bone, axis=-1, keepdims=True)
            result[:, child] = result[:, parent] + bone
        return result

    return make


@pytest.fixture
def walk(motion) -> Scene:
    """One person in every frame of a world with y up."""
    return scene_of(Person("walker", np.arange(40), motion(0, 40), np.ones((40, 17), np.float32)))


@pytest.fixture
def crowd(motion, walk) -> Scene:
    """Three people who come and go: one with gaps, one with keypoints and ambiguity, one in a single frame."""
    rng = np.random.default_rng(5)
    keypoints = rng.uniform(0, 1000, (20, 17, 3)).astype(np.float32)
    keypoints[..., 2] /= 1000
    keypoints[3:6, 4] = np.nan, np.nan, 0
    first = Person(
        "ann, the first",
        np.r_[2:12, 15:25],
        motion(3, 20) + np.float32([0.1, 0, -2]),
        rng.uniform(0, 1, (20, 17)).astype(np.float32),
        ambiguity=rng.uniform(0, 1, 20).astype(np.float32),
        keypoints=keypoints,
    )
    last = Person("Zoë", np.array([39]), motion(7, 1), np.zeros((1, 17), np.float32))
    notes = ("a gap of 3 frames", 'the "head" was filled in')
    return replace(walk, people=(walk.people[0], first, last), image_size=(1920, 1080), fps=29.97, notes=notes)


def scene_of(*people: Person) -> Scene:
    frames = 1 + max(int(person.frame[-1]) for person in people)
    return Scene("walk.mp4", H36M_17, people, frames, units="metres", axes="y", placed=True)
