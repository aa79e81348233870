"""Rotations along the tree of animation programs, and angles that do not jump."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from ites_fast.data.kinematics import euler_rotation
from ites_fast.scene import armature
from ites_fast.scene.angles import continuous_euler, continuous_quaternions, quaternions, rotation_of
from ites_fast.skeleton import H36M_17

ORDERS = ["zxy", "zyx", "xyz"]


def places(poses):
    """The 17 joints as the tree has them, and the top of the head."""
    lengths = armature.bone_lengths(poses)
    local = armature.local_rotations(poses)
    joints = armature.joint_positions(armature.PARENTS, poses[:, 0], armature.offsets(lengths), local)
    return joints, local, armature.ends(lengths)


@pytest.mark.parametrize("sequence", [0, 35, 147])
def test_no_position_is_lost_where_bones_are_constant(rigid, sequence):
    poses = rigid(sequence, 60)
    joints, local, _ = places(poses)
    for index, joint in enumerate(armature.JOINTS):
        np.testing.assert_allclose(joints[:, index], poses[:, joint.at], atol=1e-7, err_msg=joint.name)
    np.testing.assert_allclose(np.linalg.det(local), 1, atol=1e-9)


def test_a_person_at_rest_needs_no_rotation():
    lengths = np.full(17, 0.3)
    rest = np.zeros((1, 17, 3))
    for child, parent in H36M_17.edges:
        rest[:, child] = rest[:, parent] + armature.REST[child] * lengths[child]
    np.testing.assert_allclose(armature.local_rotations(rest)[0], np.tile(np.eye(3), (22, 1, 1)), atol=1e-9)
    # facing z with y up, the left side is at positive x
    assert rest[0, 4, 0] > 0 > rest[0, 1, 0]


def test_hips_and_chest_turn_with_the_body(motion):
    """Turning the whole person turns the hips alone; all other joints keep their angles."""
    poses = motion(0, 10).astype(np.float64)
    turn = Rotation.from_euler("xyz", [0.4, 1.2, -0.3]).as_matrix()
    before, after = armature.local_rotations(poses), armature.local_rotations(poses @ turn.T)
    np.testing.assert_allclose(after[:, 0], turn @ before[:, 0], atol=1e-9)
    np.testing.assert_allclose(after[:, 1:], before[:, 1:], atol=1e-9)


def test_a_bent_elbow_is_an_angle_of_the_forearm(rigid):
    poses = rigid(0, 40)
    local = armature.local_rotations(poses)
    for name, (shoulder, elbow, wrist) in {"LeftForeArm": (11, 12, 13), "RightLeg": (1, 2, 3)}.items():
        upper, lower = poses[:, elbow] - poses[:, shoulder], poses[:, wrist] - poses[:, elbow]
        cosine = (upper * lower).sum(-1) / np.linalg.norm(upper, axis=-1) / np.linalg.norm(lower, axis=-1)
        index = [joint.name for joint in armature.JOINTS].index(name)
        turned = np.arccos((np.trace(local[:, index], axis1=-2, axis2=-1) - 1) / 2)
        np.testing.assert_allclose(turned, np.arccos(cosine), atol=1e-6)


def test_smallest_rotation_is_smallest_and_arrives():
    rng = np.random.default_rng(0)
    ends = rng.normal(size=(100, 3))
    ends /= np.linalg.norm(ends, axis=-1, keepdims=True)
    for start in np.array([[1.0, 0, 0], [0, -1, 0], [0, 1, 0]]):
        special = np.stack([start, -start, np.zeros(3)])
        rotation = armature.smallest_rotation(start, np.concatenate([special, ends]))
        np.testing.assert_allclose(rotation @ np.swapaxes(rotation, -1, -2), np.tile(np.eye(3), (103, 1, 1)), atol=1e-9)
        np.testing.assert_allclose(np.linalg.det(rotation), 1)
        np.testing.assert_allclose((rotation @ start)[[0, 1, *range(3, 103)]], [*special[:2], *ends], atol=1e-9)
        angle = np.arccos(np.clip(ends @ start, -1, 1))
        np.testing.assert_allclose(Rotation.from_matrix(rotation[3:]).magnitude(), angle, atol=1e-7)
        np.testing.assert_array_equal(rotation[2], np.eye(3))


def test_joints_that_coincide_do_no_harm(motion):
    poses = motion(0, 5)
    poses[:, 12] = poses[:, 11]
    poses[2] = 0
    joints, local, _ = places(poses)
    assert np.isfinite(joints).all()
    np.testing.assert_allclose(np.linalg.det(local), 1, atol=1e-9)


@pytest.mark.parametrize("axes", ORDERS)
@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=20, deadline=None)
def test_angles_and_quaternions_say_the_same_rotation(axes, seed):
    rotation = Rotation.random(30, random_state=seed).as_matrix()
    angles = continuous_euler(rotation, axes)
    np.testing.assert_allclose(euler_rotation(axes, angles), rotation, atol=1e-9)
    found = continuous_quaternions(quaternions(rotation))
    np.testing.assert_allclose(Rotation.from_quat(found).as_matrix(), rotation, atol=1e-9)
    np.testing.assert_allclose(rotation_of(found), rotation, atol=1e-9)
    assert ((found[1:] * found[:-1]).sum(-1) >= 0).all()


@pytest.mark.parametrize("axes", ORDERS)
def test_angles_of_a_smooth_motion_do_not_jump(axes):
    """Through 90 degrees of the middle axis, and through full turns of the outer ones."""
    time = np.linspace(0, 1, 200)
    path = np.stack([300 + 500 * time, 70 + 220 * time, -20 + 90 * time], -1)  # degrees
    path[18, 1] = 90  # locked
    rotation = euler_rotation(axes, path)
    rotation[18] = rotation[18].round(6)  # no trace of the outer angles by themselves
    angles = continuous_euler(rotation, axes)
    np.testing.assert_allclose(euler_rotation(axes, angles), rotation, atol=1e-5)
    assert np.abs(np.diff(angles, axis=0)).max() < 8
    free = np.abs(np.cos(np.radians(path[:, 1]))) > 0.01
    ways = [path, path * [1, -1, 1] + [180, 180, 180]]
    off = [(angles - way)[free] for way in ways]
    assert min(np.abs(o - 360 * np.round(o[0] / 360)).max() for o in off) < 1e-6


@pytest.mark.parametrize("axes", ORDERS)
def test_locked_from_the_first_frame_to_the_last(axes):
    rotation = euler_rotation(axes, np.array([[30.0, 90, 20]] * 3))
    np.testing.assert_allclose(euler_rotation(axes, continuous_euler(rotation, axes)), rotation, atol=1e-9)


def test_angles_of_real_motion_do_not_jump(motion):
    """No angle moves much faster than its joint turns."""
    local = armature.local_rotations(motion(0, 150))
    for index, joint in enumerate(armature.JOINTS):
        steps = np.abs(np.diff(continuous_euler(local[:, index], joint.axes), axis=0)).max(1)
        turned = np.degrees(Rotation.from_matrix(np.swapaxes(local[:-1, index], 1, 2) @ local[1:, index]).magnitude())
        assert (steps <= 3 * turned + 1e-6).all(), joint.name
