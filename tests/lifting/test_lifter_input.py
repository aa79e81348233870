"""``Lifter``: keypoints that lack joints or people, or that are no keypoints, and skeletons of users."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from ites_fast import Camera
from ites_fast.data import load, mocap17
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17, conversion, get_skeleton


@pytest.fixture(scope="module")
def views():
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, len(data), 61))


def test_frames_without_a_person(lifter, detected):
    given = detected.copy()
    given[3], given[7, :, 2] = np.nan, 0
    poses = lifter(given, "body_25")
    assert np.flatnonzero(np.isnan(poses.positions).any((1, 2))).tolist() == [3, 7]
    assert (poses.confidence[[3, 7]] == 0).all()
    assert "2 of 12 poses have too few joints to be lifted, at least 4: they are NaN." in poses.notes
    assert [len(person) for person in poses.scene().people] == [10]
    nobody = lifter(np.zeros((4, 25, 3)), "body_25", smooth="savitzky_golay", constant_bones=True)
    assert np.isnan(nobody.positions).all()
    assert nobody.scene().people == ()
    assert not any(note.startswith("Never seen") for note in nobody.notes)


def test_upper_bodies(lifter, detected):
    given = detected.copy()
    names = get_skeleton("body_25").joint_names
    parts = ("knee", "ankle", "toe", "heel")
    below = [joint for joint, name in enumerate(names) if any(part in name for part in parts)]
    given[:, below] = np.nan
    poses, whole = lifter(given, "body_25"), lifter(detected, "body_25")
    legs = [joint for joint, name in enumerate(poses.joint_names) if "knee" in name or "ankle" in name]
    assert np.isfinite(poses.positions).all()
    assert (poses.confidence[:, legs] == 0).all()
    assert (np.delete(poses.confidence, legs, 1) > 0).any(0).all()
    assert any(note.startswith("Never seen") and "left_knee" in note and "wrist" not in note for note in poses.notes)
    arms = [11, 12, 13, 14, 15, 16]
    assert np.linalg.norm(poses.positions[:, arms] - whole.positions[:, arms], axis=-1).mean() < 0.3


def test_notes_say_what_is_extrapolated(lifter, detected):
    joints = conversion(get_skeleton("body_25"), H36M_17).joints
    expected = ", ".join(joint.name for joint in joints if joint.kind == "extrapolated")
    assert f"Extrapolated, as body_25 has no such joint: {expected}." in lifter(detected, "body_25").notes
    assert not any("xtrapolated" in note for note in lifter(np.ones((0, 17, 2))).notes)


@pytest.mark.parametrize(
    ("keypoints", "arguments", "message"),
    [
        (np.ones((5, 17, 2)), {"skeleton": "coco_18"}, "skeleton 'coco_18' is unknown; known: h36m_17"),
        (np.ones((5, 18, 2)), {"skeleton": "coco_17"}, "keypoints: received 18 joints, expected 17 for coco_17"),
        (np.ones(17), {}, r"keypoints: received \(17,\), expected \(J, 2 or 3\)"),
        (np.ones((1, 1, 5, 17, 2)), {}, r"keypoints: received \(1, 1, 5, 17, 2\), expected"),
        (np.ones((5, 17, 4)), {}, r"keypoints: received \(5, 17, 4\), expected"),
        (np.full((5, 17, 2), "x"), {}, "keypoints: received <U1, expected numbers"),
        (torch.ones(5, 17, 2, dtype=torch.complex64), {}, "keypoints: received complex64, expected numbers"),
        (np.full((5, 17, 2), np.inf), {}, "keypoints: received infinite numbers"),
        ([[1, 2], [3]], {}, "keypoints: expected an array of numbers"),
        (np.zeros((17, 3)), {}, "keypoints: 0 of the lifter's joints are seen, expected at least 4"),
        (np.ones((17, 2)), {}, "keypoints: 17 of the lifter's joints are seen, expected at least 4 that do not coin"),
        (np.ones((5, 17, 2)), {"image_size": (0, 5)}, "image_size: expected two positive numbers"),
        (np.ones((5, 17, 2)), {"fov": 60}, "fov: needs image_size"),
        (np.ones((5, 17, 2)), {"height": 180}, "180 cm are 1.80"),
        (np.ones((5, 17, 2)), {"min_confidence": 30}, "min_confidence: expected a number from 0 to 1, got 30"),
        (np.ones((5, 17, 2)), {"min_confidence": "low"}, "min_confidence: expected a number from 0 to 1, got 'low'"),
        (np.ones((5, 17, 2)), {"batch_size": 0}, "batch_size: expected a positive whole number, got 0"),
        (np.ones((5, 17, 2)), {"batch_size": 1.5}, "batch_size: expected a positive whole number, got 1.5"),
        (np.ones((5, 17, 2)), {"skeleton": None}, "skeleton: expected a name, a YAML file or a Skeleton, got NoneType"),
        (np.ones((5, 17, 2)), {"fps": "fast"}, "fps: expected a positive number, got 'fast'"),
        (np.ones((5, 17, 2)), {"fps": 0}, "fps: expected a positive number, got 0"),
        (np.ones((5, 17, 2)), {"smooth": "kalman"}, "smooth: expected None or one of one_euro, savitzky_golay"),
    ],
)
def test_what_is_refused(lifter, keypoints, arguments, message):
    with pytest.raises(InputError, match=message):
        lifter(keypoints, **arguments)


def test_keypoints_outside_any_sense(lifter, views):
    given = np.tile(views.pose_2d[:1].astype(np.float64), (5, 1, 1))
    given[1, 3] = 1e300
    given[2, 3] = -1e30
    given[3] *= 1e-30
    given[4] += 1e9
    poses = lifter(given, camera=views.cameras[0])
    assert np.isfinite(poses.positions[[0, 1]]).all()
    assert poses.confidence[1, 3] == 0
    assert (np.isfinite(poses.positions).all((1, 2)) | np.isnan(poses.positions).all((1, 2))).all()


NUMBERS = st.one_of(
    st.floats(allow_infinity=False, width=32), st.floats(0, 1000, width=32), st.sampled_from([0.0, np.nan, 1e30])
)


@settings(max_examples=150, deadline=None)
@given(
    keypoints=arrays(np.float32, st.tuples(st.integers(0, 3), st.just(17), st.integers(2, 3)), elements=NUMBERS),
    arguments=st.sampled_from(
        [
            {},
            {"image_size": (640, 480)},
            {"camera": Camera((500, 500), (320, 240), radial=(-0.3, 0.1, 0.0))},
            {"height": 1.7, "smooth": "savitzky_golay", "constant_bones": True, "consistent_depth": True},
        ]
    ),
)
def test_any_numbers_give_poses_or_none(lifter, keypoints, arguments):
    poses = lifter(keypoints, **arguments)
    finite = np.isfinite(poses.positions)
    assert (finite.all((1, 2)) | np.isnan(poses.positions).all((1, 2))).all()
    assert ((poses.confidence >= 0) & (poses.confidence <= 1)).all()
    assert (poses.confidence[~finite.all((1, 2))] == 0).all()
    there = finite.all((1, 2))
    assert ((poses.ambiguity[there] >= 0) & (poses.ambiguity[there] <= 1)).all()


def test_skeletons_of_a_file(lifter, views, tmp_path):
    """The joints of h36m_17 backwards, and a joint that it does not have."""
    joints = [f"  - {{name: {H36M_17.joint_names[a]}, parent: {H36M_17.joint_names[b]}}}" for a, b in H36M_17.edges]
    joints = ["  - {name: third_hand, parent: hip}", *reversed(joints), "  - {name: hip, parent: null}"]
    path = tmp_path / "mine.yaml"
    path.write_text("\n".join(["name: mine", "mapping: {mid_hip: hip, head_top: head}", "joints:", *joints]))
    pixels = np.concatenate([np.zeros((5, 1, 2), np.float32), views.pose_2d[:5, ::-1]], 1)
    expected = lifter(views.pose_2d[:5]).positions
    for skeleton in (str(path), get_skeleton(path)):
        np.testing.assert_allclose(lifter(pixels, skeleton).positions, expected, atol=1e-5)
