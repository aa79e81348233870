"""The One-Euro filter against its formulas, Savitzky-Golay against scipy, and both on lifted sequences."""

import numpy as np
import pytest
from scipy.signal import savgol_filter

from ites_fast.errors import InputError
from ites_fast.lifting.smoothing import OneEuro, default_window, one_euro, savitzky_golay

FPS = 30.0


def moving(frames=60, joints=5, seed=0):
    """Joints on smooth paths with noise (T, J, 3)."""
    generator = np.random.default_rng(seed)
    time = np.arange(frames)[:, None, None] / FPS
    path = np.sin(2 * np.pi * (generator.uniform(0.2, 2, (joints, 3)) * time + generator.random((joints, 3))))
    return (path + 0.05 * generator.standard_normal(path.shape)).astype(np.float32)


def by_the_paper(values, times, min_cutoff, beta, derivative_cutoff):
    """Algorithm 1 of Casiez et al. for one joint (T, 3), its speed that of a vector."""

    def alpha(dt, cutoff):
        return 1 / (1 + 1 / (2 * np.pi * cutoff) / dt)

    filtered, derivative, result = values[0].astype(float), np.zeros(3), [values[0]]
    for before, now, value in zip(times[:-1], times[1:], values[1:], strict=True):
        a = alpha(now - before, derivative_cutoff)
        derivative = a * (value - filtered) / (now - before) + (1 - a) * derivative
        a = alpha(now - before, min_cutoff + beta * np.linalg.norm(derivative))
        filtered = a * value + (1 - a) * filtered
        result.append(filtered)
    return np.array(result)


def test_one_euro_is_the_papers_algorithm():
    poses = moving()
    frame = np.cumsum(np.random.default_rng(1).choice([1, 1, 1, 2, 9], len(poses)))
    got = one_euro(poses, frame, FPS, min_cutoff=0.8, beta=2.5, derivative_cutoff=1.7, max_step=np.inf)
    for joint in range(poses.shape[1]):
        np.testing.assert_allclose(got[:, joint], by_the_paper(poses[:, joint], frame / FPS, 0.8, 2.5, 1.7), atol=1e-5)


@pytest.mark.parametrize("frequency", [0.5, 2.0, 6.0])
def test_one_euro_without_beta_has_the_gain_and_phase_of_a_first_order_filter(frequency):
    cutoff, frames = 1.5, 900
    wave = np.exp(2j * np.pi * frequency * np.arange(frames) / FPS)
    poses = np.zeros((frames, 1, 3), np.float32)
    poses[:, 0, 0], poses[:, 0, 1] = wave.real, wave.imag
    got = one_euro(poses, np.arange(frames), FPS, min_cutoff=cutoff, beta=0.0)
    response = (got[..., 0] + 1j * got[..., 1])[600:, 0] / wave[600:]
    r = 2 * np.pi * cutoff / FPS
    alpha = r / (1 + r)
    expected = alpha / (1 - (1 - alpha) * np.exp(-2j * np.pi * frequency / FPS))
    np.testing.assert_allclose(response, np.full(300, expected), atol=1e-4)


def test_one_euro_does_not_follow_a_joint_that_is_elsewhere_for_a_frame():
    poses = 0.2 * moving()
    spoilt = poses.copy()
    spoilt[[12, 30, 47], [0, 1, 2]] += 1.0
    expected = one_euro(poses, np.arange(60), FPS)
    limited, plain = (one_euro(spoilt, np.arange(60), FPS, max_step=step) for step in (3.0, np.inf))
    assert np.abs(plain - expected).max() > 0.5
    assert np.abs(limited - expected).max() < 0.25
    np.testing.assert_array_equal(limited[:12], expected[:12])


def test_a_joint_that_stays_elsewhere_is_soon_followed_and_after_a_pause_at_once():
    poses = np.repeat(moving(1), 60, 0)
    poses[20:, 2] += 2.0
    filtered = one_euro(poses, np.arange(60), FPS)
    assert np.abs(filtered[24, 2] - poses[24, 2]).max() > 0.5
    np.testing.assert_allclose(filtered[50], poses[50], atol=0.02)
    paused = np.r_[:20, 40:80]
    limited, plain = (one_euro(poses, paused, FPS, max_step=step) for step in (3.0, np.inf))
    np.testing.assert_array_equal(limited[:21], plain[:21])


def test_what_stands_still_stays():
    poses = np.repeat(moving(1), 30, 0)
    np.testing.assert_allclose(one_euro(poses, np.arange(30), FPS), poses, atol=1e-6)
    np.testing.assert_allclose(savitzky_golay(poses, np.arange(30), 7), poses, atol=1e-6)


def test_one_euro_does_not_look_ahead():
    poses, other = moving(), moving(seed=1)
    other[:40] = poses[:40]
    a, b = (one_euro(sequence, np.arange(60), FPS) for sequence in (poses, other))
    np.testing.assert_array_equal(a[:40], b[:40])
    assert (a[40:] != b[40:]).any()


def test_one_euro_turns_with_the_body():
    poses = moving()
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((3, 3)))[0].astype(np.float32)
    turned = one_euro(poses @ rotation, np.arange(60), FPS)
    np.testing.assert_allclose(turned, one_euro(poses, np.arange(60), FPS) @ rotation, atol=1e-5)


def test_people_do_not_mix_and_may_come_in_any_order():
    a, b = moving(seed=1), moving(seed=2)
    together, alone = OneEuro(), {name: OneEuro() for name in "ab"}
    for t in range(30):
        swapped = t % 3 == 1
        frame = np.stack([b[t], a[t]] if swapped else [a[t], b[t]])
        got = together(frame, t / FPS, np.array([1, 0]) if swapped else np.array([0, 1]))
        for name, result in zip("ba" if swapped else "ab", got, strict=True):
            source = {"a": a, "b": b}[name]
            np.testing.assert_allclose(result, alone[name](source[t : t + 1], t / FPS)[0], atol=1e-6)


def test_a_person_who_is_reset_starts_anew():
    poses, smooth = moving(), OneEuro()
    for t in range(10):
        smooth(np.stack([poses[t], poses[t + 20]]), t / FPS)
    smooth.reset(np.array([1]))
    got = smooth(np.stack([poses[10], poses[50]]), 10 / FPS)
    np.testing.assert_array_equal(got[1], poses[50])
    assert not np.array_equal(got[0], poses[10])


def test_frames_without_a_pose_stay_without_and_count_as_time():
    poses = moving()
    gap = poses.copy()
    gap[20:23] = np.nan
    kept = np.r_[:20, 23:60]
    for smooth in (lambda p, f: one_euro(p, f, FPS), lambda p, f: savitzky_golay(p, f, 9)):
        got = smooth(gap, np.arange(60))
        assert np.isnan(got[20:23]).all()
        np.testing.assert_array_equal(got[kept], smooth(poses[kept], kept))


def test_time_must_increase():
    smooth = OneEuro()
    smooth(moving(1), 1.0)
    with pytest.raises(InputError, match=r"time: .* after 1\.0"):
        smooth(moving(1), 1.0)
    with pytest.raises(InputError, match="min_cutoff"):
        OneEuro(min_cutoff=0)


@pytest.mark.parametrize(("window", "order"), [(5, 2), (9, 3), (13, 3), (1, 0)])
def test_savitzky_golay_is_scipys(window, order):
    poses = moving().astype(np.float64)
    expected = savgol_filter(poses, window, order, axis=0, mode="interp")
    np.testing.assert_allclose(
        savitzky_golay(poses, np.arange(7, 67), window, order, robust=False), expected, atol=1e-10
    )


@pytest.mark.parametrize("robust", [False, True])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_savitzky_golay_keeps_polynomials_of_its_order_on_uneven_frames(order, robust):
    frame = np.cumsum(np.random.default_rng(0).choice([1, 1, 2, 3], 40))
    coefficients = np.random.default_rng(1).standard_normal((order + 1, 4, 3))
    poses = sum(c * (frame[:, None, None] / 40.0) ** power for power, c in enumerate(coefficients))
    np.testing.assert_allclose(savitzky_golay(poses, frame, 9, order, robust=robust), poses, atol=1e-8)


def test_a_long_gap_ends_a_segment_and_short_segments_are_fitted_as_a_whole():
    poses = moving(20).astype(np.float64)
    frame = np.r_[:10, 30:36, 50:52, 60:62]
    got = savitzky_golay(poses, frame, 7, 3, robust=False)
    np.testing.assert_allclose(got[:10], savgol_filter(poses[:10], 7, 3, axis=0), atol=1e-10)
    fit = np.polynomial.Polynomial.fit(frame[10:16], poses[10:16, 0, 0], 3)  # six frames, less than the window
    np.testing.assert_allclose(got[10:16, 0, 0], fit(frame[10:16]), atol=1e-9)
    np.testing.assert_array_equal(got[16:], poses[16:])  # two frames say nothing about a cubic


def test_a_robust_fit_is_the_weighted_one():
    """Two more fits with Cauchy weights, each frame and joint by numpy's own least squares."""
    poses, window, order = moving(30, 2).astype(np.float64), 7, 2
    fitted = savgol_filter(poses, window, order, axis=0, mode="interp")
    for _ in range(2):
        residual = np.linalg.norm(poses - fitted, axis=-1)
        weight = 1 / (1 + (residual / (2 * np.median(residual, 0))) ** 2)
        for t in range(30):
            part = slice(start := min(max(t - 3, 0), 23), start + window)
            for joint, axis in np.ndindex(2, 3):
                polynomial = np.polyfit(
                    np.arange(30)[part] - t, poses[part, joint, axis], order, w=np.sqrt(weight[part, joint])
                )
                fitted[t, joint, axis] = polynomial[-1]
    np.testing.assert_allclose(savitzky_golay(poses, np.arange(30), window, order), fitted, atol=1e-9)


def test_a_robust_fit_does_not_follow_a_joint_that_is_elsewhere_for_a_frame():
    poses = moving()
    spoilt = poses.copy()
    spoilt[[12, 30, 47], [0, 1, 2]] += 3.0
    expected = savitzky_golay(poses, np.arange(60), 9)
    robust, plain = (savitzky_golay(spoilt, np.arange(60), 9, robust=robust) for robust in (True, False))
    assert np.abs(plain - expected).max() > 0.5
    assert np.abs(robust - expected).max() < 0.15


def test_wrong_windows_are_refused():
    for window, order in ((6, 2), (3, 3)):
        with pytest.raises(InputError, match=f"window {window} and order {order}"):
            savitzky_golay(moving(), np.arange(60), window, order)
    with pytest.raises(InputError, match="increase"):
        savitzky_golay(moving(), np.zeros(60), 5)


@pytest.mark.parametrize("filtered", ["one_euro", "savitzky_golay"])
def test_noisy_sequences_get_better(noisy, filtered):
    before, after = [], []
    for one in noisy:
        if filtered == "one_euro":
            smooth = one_euro(one.positions, one.frame, one.fps)
        else:
            smooth = savitzky_golay(one.positions, one.frame, default_window(one.fps))
        for figures, poses in ((before, one.positions), (after, smooth)):
            figures.append((one.errors(poses).mean(), one.acceleration_error(poses)))
    (error, acceleration), (smooth_error, smooth_acceleration) = np.mean(before, 0), np.mean(after, 0)
    assert smooth_acceleration < 0.6 * acceleration
    assert smooth_error < 0.95 * error
