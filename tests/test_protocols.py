"""Each protocol does what its source does, and says what it does."""

import numpy as np
import pytest
import torch

from ites_fast import metrics
from ites_fast.errors import InputError
from ites_fast.measures import Measure, evaluate_poses
from ites_fast.protocols import C3DPO, ELEPOSE, ITES, ITES_PCK_JOINTS, PROTOCOLS, STRICT, get_protocol


@pytest.fixture
def poses():
    """Noisy poses in the frame of the target, every second one mirrored in depth (N, 17, 3), mm."""
    random = np.random.default_rng(3)
    target = random.normal(size=(40, 17, 3)) * [180, 400, 160]
    pred = target + random.normal(size=target.shape) * 60
    pred[::2, :, 2] *= -1
    return torch.from_numpy(pred), torch.from_numpy(target)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_scale_in_a_name_is_explained(name, poses):
    protocol = get_protocol(name)
    keys = set(evaluate_poses(*poses, protocol.measures).per_pose)
    assert set(protocol.headline) <= keys
    named = {key.split("scale=")[1].split("/")[0] for key in keys if "scale=" in key}
    assert named <= set(protocol.scales)


def test_strict_reports_no_oracle():
    assert all("flip=none" in key and "allowed" not in key for key in STRICT.headline)


def test_ites_scale_ignores_the_sign_of_the_determinant(poses):
    """A mirrored pose gets the larger scale that a reflection would have; any other pose keeps its own."""
    pred, target = poses
    signed = metrics.fit_scale(pred, target, "procrustes")
    unsigned = metrics.fit_scale(pred, target, "unsigned")
    singular = np.linalg.svd(
        ((target - target.mean(1, keepdim=True)).mT @ (pred - pred.mean(1, keepdim=True))).numpy(), compute_uv=False
    )
    size = (pred - pred.mean(1, keepdim=True)).square().sum((1, 2))
    torch.testing.assert_close(unsigned, torch.from_numpy(singular.sum(1)) / size)
    mirrored = torch.arange(40) % 2 == 0
    assert (unsigned[mirrored] > signed[mirrored] * 1.02).all()
    torch.testing.assert_close(unsigned[~mirrored], signed[~mirrored])
    torch.testing.assert_close(metrics.fit_scale(metrics.flip_depth(pred), target, "unsigned"), unsigned)


def test_ites_headline_uses_that_scale_for_both_candidates(poses):
    pred, target = poses
    pred = pred + torch.tensor([10.0, 20.0, 30.0])  # the release scales before it subtracts the root
    scale = metrics.fit_scale(pred, target, "unsigned")[:, None, None]
    errors = []
    for candidate in (pred, metrics.flip_depth(pred)):
        candidate = candidate * scale
        candidate = candidate - candidate[:, :1]
        errors.append((candidate - target + target[:, :1]).norm(dim=-1).mean(1))
    result = evaluate_poses(pred, target, ITES.measures).per_pose
    torch.testing.assert_close(result["mpjpe/flip=best/scale=procrustes"], torch.minimum(*errors))
    torch.testing.assert_close(result["mpjpe/flip=none/scale=procrustes"], errors[0])
    strict = evaluate_poses(pred, target, STRICT.measures).per_pose
    assert (strict["mpjpe/flip=none/scale=procrustes"] - errors[0]).abs().max() > 1


def test_ites_pck_takes_the_better_candidate_for_each_of_14_joints(poses):
    pred, target = poses
    candidates = [
        metrics.joint_errors(candidate, target, scale="unsigned") for candidate in (pred, metrics.flip_depth(pred))
    ]
    best = torch.minimum(*candidates)[:, list(ITES_PCK_JOINTS)]
    result = evaluate_poses(pred, target, ITES.measures)
    torch.testing.assert_close(result.per_pose["pck@150/flip=best_joint/joints=14"], metrics.pck(best))
    torch.testing.assert_close(result.per_pose["auc/flip=best_joint/joints=14"], metrics.auc(best))
    ignored = result.per_joint["auc/flip=best_joint/joints=14"].isnan()
    assert ignored.nonzero().flatten().tolist() == [0, 1, 4]


def test_elepose_alignment_may_reflect(poses):
    """The orthogonal matrix is the best in the least squares sense, even where the other one has the smaller mean."""
    noise = torch.randn(500, 17, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    pred, target = (torch.cat(pair) for pair in zip(poses, (noise[:250] * 100, noise[250:] * 100), strict=True))
    result = evaluate_poses(pred, target, ELEPOSE.measures).per_pose
    pred_0, target_0 = (pose - pose.mean(1, keepdim=True) for pose in (pred, target))
    U, singular, Vh = torch.linalg.svd(target_0.mT @ pred_0)
    scale = singular.sum(1) / pred_0.square().sum((1, 2))
    aligned = scale[:, None, None] * pred_0 @ (U @ Vh).mT
    expected = (aligned - target_0).norm(dim=-1).mean(1)
    torch.testing.assert_close(result["p_mpjpe/flip=none/reflection=allowed"], expected)
    assert (result["p_mpjpe/flip=none"] - expected)[:40:2].min() > 1
    assert (result["p_mpjpe/flip=best"] < expected - 1e-6).any()


def test_elepose_scale_is_the_ratio_of_norms(poses):
    pred, target = (metrics.root_relative(pose) for pose in poses)
    ratio = target.flatten(1).norm(dim=1) / pred.flatten(1).norm(dim=1)
    expected = (pred * ratio[:, None, None] - target).norm(dim=-1)
    result = evaluate_poses(*poses, ELEPOSE.measures).per_pose
    torch.testing.assert_close(result["n_mpjpe/flip=none/scale=norm"], expected.mean(1))
    torch.testing.assert_close(result["pck@150/flip=none"], metrics.pck(expected))


def test_c3dpo_scale_does_not_look_at_depth(poses):
    pred, target = poses
    deeper = pred.clone()
    deeper[..., 2] *= 3
    torch.testing.assert_close(metrics.fit_scale(deeper, target, "xy"), metrics.fit_scale(pred, target, "xy"))
    pred_0, target_0 = metrics.root_relative(pred), metrics.root_relative(target)
    scaled = pred_0 * metrics.fit_scale(pred, target, "xy")[:, None, None]
    pairs = torch.triu_indices(17, 17, offset=1)
    lengths = [(pose[:, pairs[0]] - pose[:, pairs[1]]).norm(dim=-1) for pose in (scaled, target_0)]
    result = evaluate_poses(pred, target, C3DPO.measures).per_pose
    torch.testing.assert_close(result["stress/flip=none/scale=xy"], (lengths[0] - lengths[1]).abs().mean(1))
    torch.testing.assert_close(metrics.stress(pred, target, scale="xy"), result["stress/flip=none/scale=xy"])
    assert C3DPO.mean_over == "actions"


def test_keys_name_everything_that_was_granted():
    assert Measure("mpjpe").key == "mpjpe/flip=none/scale=none"
    assert Measure("n_mpjpe", "lstsq", "best").key == "n_mpjpe/flip=best/scale=lstsq"
    assert Measure("mpjpe", "unsigned", "best").key == "mpjpe/flip=best/scale=procrustes"
    assert Measure("auc", "lstsq", "best_joint", (1, 2)).key == "auc/flip=best_joint/joints=2"


def test_unknown_protocol():
    with pytest.raises(InputError, match="protocol 'mine' is unknown; known: strict, ites, c3dpo, elepose"):
        get_protocol("mine")
