"""The ambiguity score, and one sign of depth for sequences in which some frames are flipped."""

import itertools

import numpy as np
import pytest
import torch

from ites_fast import load_lifter
from ites_fast.corruption import Corruption
from ites_fast.lifting.flips import (
    EVIDENCE,
    LEAST_DOUBT,
    LONGEST_STEP,
    NOISE,
    SPEED,
    DepthSigns,
    ambiguity,
    consistent_depth,
)
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.placement import choose_view
from ites_fast.metrics import flip_rate, n_mpjpe
from ites_fast.skeleton import H36M_17

FLIP = np.array([1, 1, -1], np.float32)


def flipped_frames(recording, seed, *, runs):
    """Single frames and runs of frames that are not longer than a quarter of the recording (T,)."""
    generator = np.random.default_rng(seed)
    T = len(recording.positions)
    chosen = generator.random(T) < 0.08
    if runs:
        length = int(generator.integers(3, max(4, min(T // 4, recording.fps))))
        start = int(generator.integers(0, T - length))
        chosen[start : start + length] = True
    return chosen


def turned(positions, which):
    return np.where(which[:, None, None], positions * FLIP, positions)


def test_ambiguity_knows_agreement_from_contradiction():
    z = np.random.default_rng(0).standard_normal((4, 17)).astype(np.float32)
    mirrored = np.stack([z[0], 0.8 * z[1], 0.2 * z[2], -z[3]])
    score = ambiguity(z, mirrored)
    assert (np.diff(score) > 0).all()
    assert score[0] < 0.01
    assert score[-1] > 0.99
    np.testing.assert_allclose(ambiguity(50 * z, 50 * mirrored), score, rtol=1e-5)  # any unit
    np.testing.assert_allclose(ambiguity(mirrored, z), score, rtol=1e-6)
    assert ambiguity(0 * z, 0 * z).min() > 0.99  # a flat pose has no sign
    assert score.dtype == np.float32


def test_the_score_predicts_flips_of_people_it_was_not_fitted_to(views):
    every_third = Corruption(noise_px=6).apply(views.subset(np.arange(0, len(views), 3)))
    lifted = FrameLifter(load_lifter(), H36M_17, view=choose_view(views.cameras[0]))(every_third.pose_2d)
    pose = torch.from_numpy(lifted.positions)
    truth = torch.from_numpy(every_third.pose_3d - every_third.pose_3d[:, :1])
    flipped = flip_rate(pose, truth).numpy() > 0
    large = n_mpjpe(pose, truth).numpy() > 0.1
    assert area_under_curve(lifted.ambiguity, flipped) > 0.85
    assert area_under_curve(lifted.ambiguity, large) > 0.65
    # the score is twice a probability, of the right order of magnitude for other people too
    assert 1 / 3 < (lifted.ambiguity / 2).mean() / flipped.mean() < 3


def area_under_curve(score, label):
    """Probability that a positive has a higher score than a negative."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    positives = label.sum()
    return (rank[label].sum() - positives * (positives + 1) / 2) / (positives * (len(label) - positives))


@pytest.mark.parametrize("seed", range(6))
def test_the_path_is_the_cheapest_of_all(clean, seed):
    one = clean[seed]
    positions = turned(one.positions[:9], np.array([0, 1, 0, 0, 1, 1, 0, 0, 1], bool))
    score = np.random.default_rng(seed).random(9)
    frame = np.array([0, 1, 2, 3, 5, 6, 7, 8, 9])
    elapsed = np.diff(frame) / one.fps
    size = np.linalg.norm(positions, axis=-1).mean(1)
    scale = (size[1:] + size[:-1]) / 2 * (NOISE + SPEED * elapsed)
    wrong = np.clip(score / 2, LEAST_DOUBT, 0.5)
    doubt = np.log((1 - wrong) / wrong) * EVIDENCE * np.append(1 / one.fps, elapsed).clip(max=LONGEST_STEP)

    def cost(path):
        poses = turned(positions, np.array(path))
        return (np.linalg.norm(np.diff(poses, axis=0), axis=-1).mean(1) / scale).sum() + doubt[np.array(path)].sum()

    best = min(itertools.product([False, True], repeat=9), key=cost)
    result, negated = consistent_depth(positions, score, one.fps, frame)
    np.testing.assert_array_equal(negated, best)
    np.testing.assert_array_equal(result, turned(positions, negated))


@pytest.mark.parametrize("runs", [False, True])
@pytest.mark.parametrize("noise", ["clean", "noisy"])
def test_flips_that_were_put_in_are_taken_out(request, noise, runs):
    recordings = request.getfixturevalue(noise)
    put_in = undone = wrong = frames = 0
    for seed, one in enumerate(recordings * 3):
        which = flipped_frames(one, seed, runs=runs)
        _, own = consistent_depth(one.positions, one.ambiguity, one.fps, one.frame)
        _, negated = consistent_depth(turned(one.positions, which), one.ambiguity, one.fps, one.frame)
        put_in, undone = put_in + which.sum(), undone + (negated != own)[which].sum()
        frames, wrong = frames + (~which).sum(), wrong + (negated != own)[~which].sum()
    assert put_in > 100
    assert undone > 0.95 * put_in
    assert wrong < 0.02 * frames


@pytest.mark.parametrize("noise", ["clean", "noisy"])
def test_it_does_no_harm(request, noise):
    before, after, causal = [], [], []
    for one in request.getfixturevalue(noise):
        positions, _ = consistent_depth(one.positions, one.ambiguity, one.fps, one.frame)
        before.append(one.errors(one.positions))
        after.append(one.errors(positions))
        causal.append(one.errors(followed(one, one.positions)))
    before, after, causal = (np.concatenate(errors).mean() for errors in (before, after, causal))
    assert after < before + 0.5
    assert causal < before + 0.5


def followed(recording, positions):
    signs = DepthSigns()
    positions = positions.copy()
    for t, frame in enumerate(recording.frame):
        signs(positions[t : t + 1], recording.ambiguity[t : t + 1], frame / recording.fps)
    return positions


def test_a_stream_undoes_single_flips_at_once(clean):
    put_in = undone = 0
    for seed, one in enumerate(clean):
        which = flipped_frames(one, seed, runs=False)
        which[0] = False  # it believes the first frame
        result = followed(one, turned(one.positions, which))
        undone += (np.abs(result - one.positions).max((1, 2)) < 1e-6)[which].sum()
        put_in += which.sum()
    assert put_in > 30
    assert undone > 0.9 * put_in


def test_a_stream_is_not_changed_by_what_comes_later_and_people_do_not_mix(clean):
    a, b = clean[0], clean[1]
    which = flipped_frames(a, 0, runs=True)[:30]
    alone = DepthSigns()
    together = DepthSigns()
    first = turned(a.positions[:30], which)
    for t in range(30):
        expected = first[t : t + 1].copy()
        negated = alone(expected, a.ambiguity[t : t + 1], t / a.fps)
        pair = np.stack([b.positions[t], first[t]])
        got = together(pair, np.array([b.ambiguity[t], a.ambiguity[t]]), t / a.fps, np.array([3, 1]))
        assert got[1] == negated[0]
        np.testing.assert_array_equal(pair[1], expected[0])


def test_a_long_run_of_certain_poses_convinces_a_stream(clean):
    one = clean[0]
    which = np.zeros(len(one.positions), bool)
    which[0] = True  # only the first frame, which a stream has to believe
    result = followed(one, turned(one.positions, which))
    np.testing.assert_array_equal(result[0], one.positions[0] * FLIP)
    np.testing.assert_array_equal(result[-10:], one.positions[-10:])


def test_poses_with_nan_are_passed_over(clean):
    one = clean[0]
    which = flipped_frames(one, 0, runs=False)
    gap = turned(one.positions, which)
    gap[20:24] = np.nan
    result, negated = consistent_depth(gap, one.ambiguity, one.fps)
    kept = np.r_[:20, 24 : len(gap)]
    expected, of_kept = consistent_depth(gap[kept], one.ambiguity[kept], one.fps, kept)
    np.testing.assert_array_equal(result[kept], expected)
    np.testing.assert_array_equal(negated[kept], of_kept)
    assert np.isnan(result[20:24]).all()
    assert not negated[20:24].any()
    signs, without = DepthSigns(), DepthSigns()
    for t in range(40):
        pose, same = gap[t : t + 1].copy(), gap[t : t + 1].copy()
        negated = signs(pose, None, t / one.fps)
        if 20 <= t < 24:
            assert not negated[0]
        else:
            assert negated == without(same, None, t / one.fps)
            np.testing.assert_array_equal(pose, same)
    nobody, none = consistent_depth(gap[20:24], one.ambiguity[20:24], one.fps)
    assert np.isnan(nobody).all()
    assert not none.any()


def test_after_a_long_pause_the_past_says_nothing(clean):
    one = clean[0]
    second = one.positions[1:2] * FLIP
    score = np.array([0.0, 0.0])
    pair = np.concatenate([one.positions[:1], second])
    assert consistent_depth(pair, score, 30, np.array([0, 1]))[1].any()
    assert not consistent_depth(pair, score, 30, np.array([0, 3000]))[1].any()
