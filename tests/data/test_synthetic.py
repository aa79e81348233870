"""Synthetic poses: repeatable, plausible, and small in memory."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

# The peak is that of this program alone: ru_maxrss begins with that of the process that started it.
MEASURE = """
import sys
from pathlib import Path
from ites_fast.data import load
data = load(sys.argv[1], "train")
names = ("pose_2d", "pose_3d", "camera", "subject", "action", "sequence", "frame")
peak = 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
print(sum(getattr(data, name).nbytes for name in names), peak)
"""


@pytest.fixture(scope="module")
def dataset():
    return load("synthetic:20000", "train")


def test_counts_and_splits(dataset):
    assert len(dataset) == 20_000
    test = load("synthetic:20000", "test")
    assert len(test) == 2000
    assert not set(test.subjects) & set(dataset.subjects)
    both = load("synthetic:20000", "all")
    np.testing.assert_array_equal(both.pose_2d, np.concatenate([dataset.pose_2d, test.pose_2d]))
    assert both.subjects == dataset.subjects + test.subjects
    assert {both.subjects[index] for index in both.subject[20_000:]} == set(test.subjects)
    assert len(load("synthetic:1", "all")) == 2


def test_seed(dataset):
    np.testing.assert_array_equal(load("synthetic:20000:0", "train").pose_3d, dataset.pose_3d)
    assert (load("synthetic:20000:1", "train").pose_3d != dataset.pose_3d).any()


def test_cameras(dataset):
    elevation = np.degrees([np.arcsin(-camera.rotation[2, 2]) for camera in dataset.cameras])
    assert abs(elevation.mean() - 10) < 2
    assert abs(elevation.std() - 8) < 1.5
    assert dataset.pose_3d[..., 2].min() > 0.5
    camera = dataset.cameras[dataset.camera[-1]]
    np.testing.assert_allclose(camera.project(dataset.pose_3d[-1]), dataset.pose_2d[-1], atol=1e-3)


def test_bodies(dataset):
    """Bones of one subject are rigid and symmetric, subjects differ."""
    child, parent = np.array(H36M_17.edges).T
    length = np.linalg.norm(dataset.pose_3d[:, child] - dataset.pose_3d[:, parent], axis=-1)
    by_subject = [length[dataset.subject == s] for s in range(len(dataset.subjects))]
    assert max(part.std(0).max() for part in by_subject) < 1e-5
    mean = np.array([part.mean(0) for part in by_subject])
    left, right = np.array(H36M_17.symmetric_bones).T
    np.testing.assert_allclose(mean[:, left], mean[:, right], atol=1e-5)
    assert 0.03 < (mean.std(0) / mean.mean(0)).mean() < 0.12


def test_knees_bend_backward_and_people_stand(dataset):
    world = np.empty_like(dataset.pose_3d)
    for number, camera in enumerate(dataset.cameras):
        at = dataset.camera == number
        world[at] = dataset.pose_3d[at] @ camera.rotation + camera.position
    np.testing.assert_allclose(world[..., 2].min(1), 0, atol=1e-4)  # on the ground
    assert ((world[:, 10] - world[:, 0])[:, 2] > 0).mean() > 0.99  # gravity
    across = world[:, 1] - world[:, 4]
    thigh, shin = world[:, 2] - world[:, 1], world[:, 3] - world[:, 2]
    assert ((np.cross(thigh, shin) * across).sum(-1) < 1e-6).mean() > 0.9


def test_both_sides_are_alike(dataset):
    """Seen from every heading, the mirror image of the poses has the same spread."""
    relative = dataset.pose_3d - dataset.pose_3d[:, :1]
    np.testing.assert_allclose(relative.std(0), relative[:, list(H36M_17.flip_order)].std(0), rtol=0.05, atol=0.005)


@pytest.mark.parametrize("data", ["synthetic:", "synthetic:0", "synthetic:-4", "synthetic:1e6", "synthetic:10:x"])
def test_bad_numbers(data):
    with pytest.raises(InputError, match=f"'{data}': expected synthetic:N or synthetic:N:SEED"):
        load(data)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure memory")
def test_memory_of_a_million_poses():
    command = [sys.executable, "-c", MEASURE, "synthetic:1000000"]
    arrays, peak = map(int, subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    assert peak < 2 * arrays
