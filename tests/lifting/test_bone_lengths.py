"""Constant bone lengths: what is kept, what becomes constant, and what it does to real sequences."""

import numpy as np
import pytest
import torch

from ites_fast.errors import InputError
from ites_fast.lifting.bone_lengths import BoneLengths, constant_bone_lengths, weighted_median
from ites_fast.metrics import p_mpjpe
from ites_fast.skeleton import H36M_17

CHILD, PARENT = (list(joints) for joints in zip(*H36M_17.edges, strict=True))


def lengths(poses):
    return np.linalg.norm(poses[:, CHILD] - poses[:, PARENT], axis=-1)  # (T, 16)


def directions(poses):
    bones = poses[:, CHILD] - poses[:, PARENT]
    return bones / np.linalg.norm(bones, axis=-1, keepdims=True)


def test_lengths_become_constant_and_symmetric_and_directions_stay(clean):
    poses = clean[0].positions + np.float32([0.3, -0.2, 4.0])
    result = constant_bone_lengths(poses, H36M_17)
    of_result = lengths(result)
    np.testing.assert_allclose(of_result, np.repeat(of_result[:1], len(poses), 0), rtol=1e-4)
    for left, right in H36M_17.symmetric_bones:
        np.testing.assert_allclose(of_result[0, left], of_result[0, right], rtol=1e-4)
    np.testing.assert_allclose(directions(result), directions(poses), atol=2e-4)
    np.testing.assert_array_equal(result[:, 0], poses[:, 0])
    median = np.median(lengths(poses), 0)
    expected = median.copy()
    for left, right in H36M_17.symmetric_bones:
        expected[[left, right]] = (median[left] + median[right]) / 2
    np.testing.assert_allclose(of_result[0], expected, rtol=1e-4)


def test_a_rigid_symmetric_body_stays_as_it_is(clean):
    rigid = constant_bone_lengths(clean[0].positions, H36M_17)
    np.testing.assert_allclose(constant_bone_lengths(rigid, H36M_17), rigid, atol=1e-5)


def test_bad_frames_and_joints_that_were_not_seen_do_not_count(clean):
    poses = clean[0].positions
    expected = lengths(constant_bone_lengths(poses, H36M_17))[0]
    bad = poses.copy()
    bad[3] *= 20  # one frame
    np.testing.assert_allclose(lengths(constant_bone_lengths(bad, H36M_17))[0], expected, rtol=0.02)
    guessed = poses.copy()
    wrist = H36M_17.joint_names.index("left_wrist")
    elbow = H36M_17.parents[wrist]
    two_thirds = len(poses) * 2 // 3
    guessed[:two_thirds, wrist] += 3 * (guessed[:two_thirds, wrist] - guessed[:two_thirds, elbow])
    confidence = np.ones(poses.shape[:2], np.float32)
    confidence[:two_thirds, wrist] = 0
    with_confidence = constant_bone_lengths(guessed, H36M_17, confidence)
    without = constant_bone_lengths(guessed, H36M_17)
    bone = CHILD.index(wrist)
    np.testing.assert_allclose(lengths(with_confidence)[0, bone], expected[bone], rtol=0.1)
    assert lengths(without)[0, bone] > 2 * expected[bone]
    never = confidence.copy()
    never[:, wrist] = 0
    assert np.isfinite(constant_bone_lengths(poses, H36M_17, never)).all()


def test_weighted_medians():
    values = np.array([[1.0, 5], [2, 6], [3, 7], [10, 8]])
    np.testing.assert_allclose(weighted_median(values, np.ones((4, 2))), np.median(values, 0))
    np.testing.assert_allclose(weighted_median(values[:3], np.ones((3, 2))), np.median(values[:3], 0))
    repeated = np.repeat(values, [1, 2, 5, 1], 0)
    weight = np.repeat([[1.0], [2], [5], [1]], 2, 1)
    np.testing.assert_allclose(weighted_median(values, weight), np.median(repeated, 0))
    np.testing.assert_allclose(weighted_median(values[::-1], weight[::-1]), np.median(repeated, 0))
    np.testing.assert_allclose(weighted_median(values, np.eye(4)[:, [3, 0]]), [10, 5])


def test_frames_with_nan_stay_and_a_bone_of_no_length_does_no_harm(clean):
    poses = clean[0].positions.copy()
    poses[5] = np.nan
    poses[7, 3] = poses[7, 2]
    result = constant_bone_lengths(poses, H36M_17)
    assert np.isnan(result[5]).all()
    assert np.isfinite(np.delete(result, 5, 0)).all()
    np.testing.assert_allclose(result[7, 3], result[7, 2], atol=1e-6)
    np.testing.assert_array_equal(np.isnan(constant_bone_lengths(poses[5:6], H36M_17)), True)
    with pytest.raises(InputError, match=r"expected \(T, 17, 3\)"):
        constant_bone_lengths(poses[:, :5], H36M_17)


def test_errors_of_real_sequences(clean, noisy):
    """It costs little and gains where poses are noisy; the error does not grow towards the hands and feet."""
    for recordings in (clean, noisy):
        before = np.concatenate([one.errors(one.positions) for one in recordings])
        rigid = [constant_bone_lengths(one.positions, H36M_17) for one in recordings]
        after = np.concatenate([one.errors(poses) for one, poses in zip(recordings, rigid, strict=True)])
        assert after.mean() < before.mean() + 1
        truth = torch.from_numpy(np.concatenate([one.truth for one in recordings]))
        lifted = torch.from_numpy(np.concatenate([one.positions for one in recordings]))
        aligned = p_mpjpe(torch.from_numpy(np.concatenate(rigid)), truth).mean()
        assert aligned < p_mpjpe(lifted, truth).mean()


def test_running_lengths_settle_at_the_median_and_stay_there():
    generator = np.random.default_rng(0)
    pose = generator.standard_normal((17, 3)).astype(np.float32)
    bones = BoneLengths(H36M_17)
    truth = lengths(constant_bone_lengths(pose[None], H36M_17))[0]
    for frame in range(3000):
        scale = 1 + 0.1 * generator.standard_normal() if generator.random() > 0.1 else 5.0
        seen = (pose * scale).astype(np.float32)[None]
        result = bones(seen.copy())
        np.testing.assert_allclose(directions(result), directions(seen), atol=1e-3)
        if frame > 300:
            np.testing.assert_allclose(lengths(result)[0], truth, rtol=0.06)


def test_running_lengths_of_people_do_not_mix_and_can_be_forgotten(clean):
    a, b = clean[0].positions, 2 * clean[1].positions
    together, alone = BoneLengths(H36M_17), BoneLengths(H36M_17)
    for t in range(30):
        pair = together(np.stack([b[t], a[t]]), people=np.array([4, 2]))
        np.testing.assert_allclose(pair[1], alone(a[t : t + 1].copy())[0], atol=1e-6)
    together.reset(2)
    anew = together(b[:1].copy(), people=np.array([2]))
    np.testing.assert_allclose(anew, BoneLengths(H36M_17)(b[:1].copy()), atol=1e-6)


def test_running_lengths_pass_over_nan_and_learn_nothing_from_joints_that_were_not_seen(clean):
    poses = clean[0].positions
    wrist = H36M_17.joint_names.index("left_wrist")
    bone = CHILD.index(wrist)
    confidence = np.ones((1, 17), np.float32)
    bones, without = BoneLengths(H36M_17), BoneLengths(H36M_17)
    for t in range(60):
        if t == 20:
            assert np.isnan(bones(np.full((1, 17, 3), np.nan, np.float32))).all()
        pose = poses[t % 30 : t % 30 + 1]
        long = pose.copy()
        long[:, wrist] += 5 * (pose[:, wrist] - pose[:, H36M_17.parents[wrist]])
        confidence[0, wrist] = t < 5
        guessed = bones(long if t >= 5 else pose.copy(), confidence)
        expected = without(pose.copy())
    assert lengths(guessed)[0, bone] < 1.5 * lengths(expected)[0, bone]
