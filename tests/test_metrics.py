"""Metrics against their definitions in numpy, float64, one pose at a time."""

import numpy as np
import pytest
import torch

from ites_fast import measures, metrics
from ites_fast.errors import InputError
from ites_fast.measures import Measure, evaluate_poses
from ites_fast.protocols import PROTOCOLS
from ites_fast.skeleton import H36M_17

SCALES = ["none", "lstsq", "procrustes", "unsigned", "norm", "xy"]
MIRROR = np.array([1.0, 1.0, -1.0])


def oracle_similarity(source, target, *, signed=True):
    """Umeyama, IEEE TPAMI 1991: scale and the joint errors after alignment."""
    source_0, target_0 = source - source.mean(0), target - target.mean(0)
    U, singular, Vh = np.linalg.svd(target_0.T @ source_0)
    sign = np.sign(np.linalg.det(U @ Vh))
    rotation = U @ np.diag([1.0, 1.0, sign]) @ Vh
    last = sign if signed else 1.0
    scale = (singular * [1.0, 1.0, last]).sum() / np.square(source_0).sum()
    return scale, np.linalg.norm(scale * source_0 @ rotation.T - target_0, axis=1)


def oracle_scale(pred, target, scale):
    pred_0, target_0 = pred - pred[0], target - target[0]
    return {
        "none": lambda: 1.0,
        "lstsq": lambda: np.vdot(pred_0, target_0) / np.vdot(pred_0, pred_0),
        "procrustes": lambda: oracle_similarity(pred, target)[0],
        "unsigned": lambda: oracle_similarity(pred, target, signed=False)[0],
        "norm": lambda: np.linalg.norm(target_0) / np.linalg.norm(pred_0),
        "xy": lambda: np.vdot(pred_0[:, :2], target_0[:, :2]) / np.vdot(pred_0[:, :2], pred_0[:, :2]),
    }[scale]()


def oracle_errors(pred, target, scale):
    factor = oracle_scale(pred, target, scale)
    return np.linalg.norm(factor * (pred - pred[0]) - (target - target[0]), axis=1)


def oracle_statistic(metric, errors):
    if metric == "pck@150":
        return np.mean(errors < 150)
    if metric == "auc":
        return np.mean([np.mean(errors < threshold) for threshold in range(0, 151, 5)])
    return errors.mean()


def oracle(measure, pred, target):
    """One pose, one figure, from the words in the docstring of ``Measure``."""
    both = []
    for candidate in (pred, pred * MIRROR):
        if measure.metric == "p_mpjpe":
            errors = oracle_similarity(candidate, target)[1]
        elif measure.metric == "stress":
            factor = oracle_scale(candidate, target, measure.scale)
            pairs = [(i, j) for i in range(len(pred)) for j in range(i)]
            both.append(
                np.array(
                    [
                        abs(
                            factor * np.linalg.norm(candidate[i] - candidate[j]) - np.linalg.norm(target[i] - target[j])
                        )
                        for i, j in pairs
                    ]
                )
            )
            continue
        else:
            errors = oracle_errors(candidate, target, measure.scale)
        both.append(errors if measure.joints is None else errors[list(measure.joints)])
    as_is, flipped = (oracle_statistic(measure.metric, errors) for errors in both)
    if measure.metric == "flip_rate":
        return float(flipped < as_is)
    if measure.flip == "none":
        return as_is
    if measure.flip == "reflection":
        return as_is if np.square(both[0]).sum() <= np.square(both[1]).sum() else flipped
    if measure.flip == "best_joint":
        return oracle_statistic(measure.metric, np.minimum(*both))
    return max(as_is, flipped) if measure.metric in ("pck@150", "auc") else min(as_is, flipped)


@pytest.fixture
def poses():
    """Predictions of mixed quality in another scale and origin, a third of them mirrored in depth (N, 17, 3), mm."""
    random = np.random.default_rng(7)
    target = random.normal(size=(60, 17, 3)) * [180, 400, 160]
    pred = target + random.normal(size=target.shape) * random.uniform(5, 200, (60, 1, 1))
    pred[::3] *= MIRROR
    pred = pred * random.uniform(0.5, 2, (60, 1, 1)) + random.normal(size=(60, 1, 3)) * 1000
    return torch.from_numpy(pred), torch.from_numpy(target + np.array([0, 0, 4000]))


ALL_MEASURES = sorted({m for protocol in PROTOCOLS.values() for m in protocol.measures}, key=lambda m: repr(m))


@pytest.mark.parametrize("measure", ALL_MEASURES, ids=lambda m: f"{m.key}-{m.scale}")
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_every_measure_matches_its_definition(measure, dtype, poses):
    pred, target = poses
    # float32 poses four metres away lose digits when the root is subtracted: the oracle sees the same rounded input.
    pred, target = pred.to(dtype), target.to(dtype)
    expected = [oracle(measure, *pair) for pair in zip(pred.double().numpy(), target.double().numpy(), strict=True)]
    result = evaluate_poses(pred, target, [measure])
    tolerance = {"rtol": 1e-9, "atol": 1e-9} if dtype == torch.float64 else {"rtol": 1e-4, "atol": 1e-2}
    torch.testing.assert_close(
        result.per_pose[measure.key].double(), torch.tensor(expected, dtype=torch.float64), **tolerance
    )
    assert result.per_pose[measure.key].dtype == dtype


@pytest.mark.parametrize("flip", ["none", "best"])
@pytest.mark.parametrize("scale", SCALES)
def test_single_functions_agree_with_the_combined_one(scale, flip, poses):
    pred, target = poses
    combined = evaluate_poses(
        pred, target, [Measure("mpjpe", scale, flip), Measure("p_mpjpe", "none", flip)]
    ).per_pose.values()
    single = metrics.mpjpe(pred, target, scale=scale, flip=flip), metrics.p_mpjpe(pred, target, flip=flip)
    for one, other in zip(single, combined, strict=True):
        torch.testing.assert_close(one, other)
    as_is = metrics.joint_errors(pred, target, scale=scale)
    values = evaluate_poses(pred, target, [Measure("pck@150", scale), Measure("auc", scale)]).per_pose
    torch.testing.assert_close(metrics.pck(as_is), values["pck@150/flip=none"])
    torch.testing.assert_close(metrics.auc(as_is), values["auc/flip=none"])


def test_chunks_do_not_change_the_result(poses, monkeypatch):
    whole = evaluate_poses(*poses)
    monkeypatch.setattr(measures, "CHUNK", 7)
    parts = evaluate_poses(*poses)
    for key in whole.per_pose:
        torch.testing.assert_close(parts.per_pose[key], whole.per_pose[key], rtol=0, atol=1e-12)
        torch.testing.assert_close(parts.per_joint[key], whole.per_joint[key])


def test_means_over_joints_and_over_poses_are_the_same_mean(poses):
    result = evaluate_poses(*poses, PROTOCOLS["strict"].measures)
    for key, values in result.per_pose.items():
        torch.testing.assert_close(result.per_joint[key].mean(), values.mean())


def test_root_joint_can_be_another(poses):
    pred, target = poses
    expected = (pred - pred[:, 8:9] - target + target[:, 8:9]).norm(dim=-1).mean(1)
    torch.testing.assert_close(metrics.mpjpe(pred, target, root=8), expected)


def proper_rotation(matrix):
    Q = np.linalg.qr(matrix)[0]
    return Q * np.sign(np.linalg.det(Q))


def test_p_mpjpe_ignores_similarities_and_notices_reflections(poses):
    pred, target = poses
    rotation = torch.from_numpy(proper_rotation(np.random.default_rng(1).normal(size=(3, 3))))
    moved = 0.3 * pred @ rotation.mT + torch.tensor([1.0, -2.0, 30.0], dtype=torch.float64)
    torch.testing.assert_close(metrics.p_mpjpe(moved, target), metrics.p_mpjpe(pred, target))
    assert metrics.p_mpjpe(0.3 * target @ rotation.mT, target).max() < 1e-9
    mirrored = metrics.flip_depth(target)
    assert metrics.p_mpjpe(mirrored, target).min() > 10
    assert metrics.p_mpjpe(mirrored @ rotation.mT, target, flip="best").max() < 1e-9


@pytest.mark.parametrize("scale", SCALES)
def test_a_flip_oracle_never_hurts(scale, poses):
    for name in ("mpjpe", "pck@150", "auc"):
        result = evaluate_poses(*poses, [Measure(name, scale), Measure(name, scale, "best")])
        none, best = result.per_pose.values()
        assert (best <= none if name == "mpjpe" else best >= none).all()
        assert (best != none).any()


def test_n_mpjpe_ignores_scale_and_origin(poses):
    pred, target = poses
    moved = 3 * pred + 100
    for scale in ("lstsq", "procrustes", "norm", "xy"):
        expected = metrics.n_mpjpe(pred, target, scale=scale)
        torch.testing.assert_close(metrics.n_mpjpe(moved, target, scale=scale), expected)


def test_flip_rate_counts_mirrored_poses(poses):
    target = poses[1]
    pred = target.clone()
    pred[:15] = metrics.flip_depth(target[:15])
    assert metrics.flip_rate(pred, target).tolist() == [1.0] * 15 + [0.0] * 45
    flat = target.clone()
    flat[..., 2] = 0
    assert metrics.flip_rate(flat, target).sum() == 0  # a flat pose is its own mirror image


def test_auc_counts_thresholds_exactly():
    steps = np.arange(0, 160, 5, dtype=np.float32)
    errors = np.concatenate(
        [
            steps,
            np.nextafter(steps, np.float32(1e9)),
            np.nextafter(steps[1:], np.float32(0)),
            [1e-30, 149.99, 3e38, np.inf],
        ]
    ).astype(np.float32)
    expected = (errors[:, None] < np.arange(0, 151, 5, dtype=np.float32)).sum(1)
    shares = metrics.threshold_shares(torch.from_numpy(errors))
    torch.testing.assert_close(shares * 31, torch.from_numpy(expected).float())


def test_a_hit_is_nearer_than_the_threshold():
    errors = torch.tensor([0.0, 149.99, 150.0, 1e9, torch.inf, torch.nan])
    torch.testing.assert_close(
        metrics.hits(errors), torch.tensor([1.0, 1.0, 0.0, 0.0, 0.0, torch.nan]), equal_nan=True, rtol=0, atol=0
    )


def test_perfect_poses():
    target = torch.randn(4, 17, 3, generator=torch.Generator().manual_seed(0)) * 300
    values = evaluate_poses(target, target).per_pose
    for key in ("mpjpe/flip=none/scale=none", "n_mpjpe/flip=none/scale=lstsq", "p_mpjpe/flip=none"):
        torch.testing.assert_close(values[key], torch.zeros(4), atol=1e-3, rtol=0)
    assert values["pck@150/flip=none"].tolist() == [1.0] * 4
    # the threshold 0 is never met: an error is below it only if it is negative
    torch.testing.assert_close(values["auc/flip=none"], torch.full((4,), 30 / 31))


@pytest.mark.parametrize("name", PROTOCOLS)
@pytest.mark.parametrize("spoiled", ["pred", "target"])
def test_nan_spoils_its_own_pose_only(name, spoiled, poses):
    pred, target = (pose.clone() for pose in poses)
    rows = PROTOCOLS[name].measures
    clean = evaluate_poses(pred, target, rows).per_pose
    (pred if spoiled == "pred" else target)[5, 3, 1] = torch.nan
    for key, values in evaluate_poses(pred, target, rows).per_pose.items():
        others = torch.arange(60) != 5
        assert values[5].isnan(), key
        torch.testing.assert_close(values[others], clean[key][others])


def test_a_pose_without_extent_is_an_error_of_finite_size(poses):
    target = poses[1]
    pred = torch.zeros_like(target)
    for scale in ("none", "lstsq", "norm", "xy"):
        expected = metrics.root_relative(target).norm(dim=-1).mean(1)
        torch.testing.assert_close(metrics.n_mpjpe(pred, target, scale=scale), expected)


def test_empty_and_mismatched_batches():
    nothing = torch.zeros(0, 17, 3)
    assert metrics.mpjpe(nothing, nothing).shape == (0,)
    assert metrics.n_mpjpe(nothing, nothing).shape == (0,)
    with pytest.raises(InputError, match="received none, expected at least one"):
        evaluate_poses(nothing, nothing)
    with pytest.raises(InputError, match=r"\(2, 17, 3\) and \(3, 17, 3\)"):
        metrics.mpjpe(torch.zeros(2, 17, 3), torch.zeros(3, 17, 3))
    with pytest.raises(InputError, match=r"\(17, 3\)"):
        metrics.p_mpjpe(torch.zeros(17, 3), torch.zeros(17, 3))
    with pytest.raises(InputError, match="'median', expected one of none, lstsq"):
        metrics.mpjpe(torch.zeros(2, 17, 3), torch.zeros(2, 17, 3), scale="median")
    with pytest.raises(InputError, match="'worst', expected one of none, best"):
        metrics.p_mpjpe(torch.ones(2, 17, 3), torch.ones(2, 17, 3), flip="worst")


def test_velocity_and_acceleration(poses):
    pred, target = poses[0].numpy(), poses[1].numpy()
    difference = (pred - pred[:, :1]) - (target - target[:, :1])
    velocity = np.linalg.norm(difference[1:] - difference[:-1], axis=-1).mean(1)
    acceleration = np.linalg.norm(difference[2:] - 2 * difference[1:-1] + difference[:-2], axis=-1).mean(1)
    torch.testing.assert_close(metrics.mpjve(*poses), torch.from_numpy(velocity))
    torch.testing.assert_close(metrics.accel(*poses), torch.from_numpy(acceleration))
    with pytest.raises(InputError, match="sequence of 2 poses: differences of order 2 need at least 3"):
        metrics.accel(poses[0][:2], poses[1][:2])


def test_bone_length_spread_matches_its_definition(poses):
    pose = poses[0]
    sequence = torch.tensor([9] * 20 + [4] + [1] * 39)  # the middle one has a single pose
    length = np.stack([np.linalg.norm(pose[:, a] - pose[:, b], axis=-1) for a, b in H36M_17.edges], 1)
    length /= length.mean(1, keepdims=True)
    first, last = length[:20], length[21:]
    expected = (20 * first.std(0) / first.mean(0) + 39 * last.std(0) / last.mean(0)) / 59
    spread = metrics.bone_length_spread(pose, H36M_17.edges, sequence)
    torch.testing.assert_close(spread, torch.from_numpy(expected))
    resized = pose * torch.rand(60, 1, 1, dtype=torch.float64).add(0.5)
    torch.testing.assert_close(metrics.bone_length_spread(resized, H36M_17.edges, sequence), spread)


def test_bone_length_spread_of_rigid_motion_is_zero():
    generator = torch.Generator().manual_seed(3)
    body = torch.randn(17, 3, generator=generator, dtype=torch.float64)
    rotation = torch.linalg.qr(torch.randn(30, 3, 3, generator=generator, dtype=torch.float64))[0]
    pose = body @ rotation.mT
    assert metrics.bone_length_spread(pose, H36M_17.edges).max() < 1e-12
    assert metrics.bone_length_spread(pose[:1], H36M_17.edges).isnan().all()


def test_flip_depth_is_its_own_inverse(poses):
    pose = poses[0]
    flipped = metrics.flip_depth(pose)
    torch.testing.assert_close(flipped[..., :2], pose[..., :2])
    torch.testing.assert_close(flipped[..., 2], -pose[..., 2])
    torch.testing.assert_close(metrics.flip_depth(flipped), pose)
