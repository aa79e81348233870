"""``Lifter``: options that see the frames of a person together, lifters of clips, and streams."""

import copy

import numpy as np
import pytest
import torch

from ites_fast import Lifter
from ites_fast.checkpoint import load_lifter
from ites_fast.data import load, mocap17
from ites_fast.errors import InputError
from ites_fast.lifting.placement import MEAN_BONE, METRES_PER_BODY_UNIT
from ites_fast.models import lifter_of
from ites_fast.models.temporal import TemporalMLP
from ites_fast.skeleton import H36M_17


@pytest.fixture(scope="module")
def views():
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, len(data), 61))


@pytest.fixture(scope="module")
def clip():
    """Neighbouring frames of one camera."""
    return load(mocap17.BUNDLED, "test").subset(np.arange(200, 260))


def test_over_time(lifter, clip):
    rng = np.random.default_rng(0)
    noisy = clip.pose_2d + rng.normal(0, 4, clip.pose_2d.shape).astype(np.float32)
    arguments = {"camera": clip.cameras[0], "fps": 15}
    plain = lifter(noisy, **arguments)
    jitter = [np.linalg.norm(np.diff(plain.absolute, 2, axis=0), axis=-1).mean()]
    for smooth in ("one_euro", "savitzky_golay"):
        poses = lifter(noisy, **arguments, smooth=smooth)
        jitter.append(np.linalg.norm(np.diff(poses.absolute, 2, axis=0), axis=-1).mean())
    assert max(jitter[1:]) < 0.75 * jitter[0]
    steady = lifter(noisy, **arguments, constant_bones=True, smooth="savitzky_golay").positions
    child, parent = (list(joints) for joints in zip(*H36M_17.edges, strict=True))
    lengths = np.linalg.norm(steady[:, child] - steady[:, parent], axis=-1)
    np.testing.assert_allclose(lengths, lengths[:1].repeat(len(lengths), 0), atol=1e-4)
    assert lengths.mean() == pytest.approx(MEAN_BONE * METRES_PER_BODY_UNIT, rel=1e-3)


def test_depth_that_is_consistent(lifter, clip):
    """The poses of some frames are negated by a lifter that is wrong there; the call finds them, and moves them."""
    given = {"camera": clip.cameras[0], "fps": 15}
    right = lifter(clip.pose_2d, **given)
    wrong = np.zeros(len(clip), bool)
    wrong[[11, 12, 30]] = True
    broken = copy.deepcopy(lifter)
    infer = broken._inference.__class__.__call__

    class Wrong(broken._inference.__class__):
        def __call__(self, *args, **options):
            inferred = infer(self, *args, **options)
            inferred.poses[wrong, :, 2] *= -1
            return inferred

    broken._inference.__class__ = Wrong
    flipped = broken(clip.pose_2d, **given)
    assert np.abs(flipped.positions[wrong] - right.positions[wrong]).max() > 0.1
    poses = broken(clip.pose_2d, **given, consistent_depth=True)
    np.testing.assert_allclose(poses.positions, right.positions, atol=1e-5)
    np.testing.assert_allclose(poses.translation, right.translation, atol=1e-4)
    assert "The sign of depth was changed in 3 poses, to agree with their neighbours." in poses.notes


def test_people_are_filtered_apart(lifter, clip):
    both = np.stack([clip.pose_2d, clip.pose_2d[::-1]])
    options = {"smooth": "one_euro", "constant_bones": True, "consistent_depth": True, "fps": 15}
    poses = lifter(both, **options)
    for person, pixels in zip(poses.positions, both, strict=True):
        np.testing.assert_allclose(person, lifter(pixels, **options).positions, atol=1e-5)


def test_lifters_of_clips(views):
    torch.manual_seed(0)
    network = TemporalMLP(H36M_17, frames=9, width=16, blocks=1)
    clips = lifter_of(network, H36M_17, load_lifter().normalization).eval()
    lifter = Lifter(clips)
    camera, pixels = views.cameras[0], views.pose_2d[:40].reshape(2, 20, 17, 2)
    poses = lifter(pixels, camera=camera, batch_size=3)
    for person in (0, 1):
        expected = clips.lift(camera.undistort(pixels[person]).astype(np.float32))
        size = np.linalg.norm(poses.positions[person], axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
        np.testing.assert_allclose(poses.positions[person] / size[:, None, None], expected, atol=1e-4)
    assert "TemporalMLP in PyTorch" in repr(lifter)
    with pytest.raises(InputError, match="a lifter in memory: the network needs later frames"):
        lifter.stream()


def test_a_stream_lifts_what_a_call_lifts(lifter, detected):
    stream = lifter.stream("body_25", (1280, 720), fov=60, smooth=None, consistent_depth=False)
    expected = lifter(detected, "body_25", (1280, 720), fov=60)
    found = [stream(frame, ids=["a"], copy=True) for frame in detected]
    assert found[0].units == "metres"
    np.testing.assert_allclose(found[0].positions[0], expected.positions[0], atol=1e-4)
    np.testing.assert_allclose(found[0].translation[0], expected.translation[0], atol=1e-3)
