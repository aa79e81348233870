"""The losses of the recipe "prior" on cases worked out by hand, and their gradients."""

import math

import pytest
import torch

from ites_fast.models.flow import Density
from ites_fast.prior_losses import (
    LARGEST_NLL,
    LARGEST_RESIDUAL,
    SMALLEST_SPREAD,
    bone_lengths,
    bone_spread_loss,
    deformation_loss,
    likelihood_loss,
    rank_loss,
    residual_loss,
)
from ites_fast.skeleton import H36M_17

EDGES = H36M_17.edges
CHAIN = ((1, 0), (2, 1))


def poses(B=6, seed=0):
    return torch.randn(B, 17, 3, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def chain(lengths):
    """Poses of three joints in a row whose two bones have these lengths (B, 2)."""
    lengths = torch.as_tensor(lengths, dtype=torch.float64)
    pose = torch.zeros(len(lengths), 3, 3, dtype=torch.float64)
    pose[:, 1, 0] = lengths[:, 0]
    pose[:, 2, 0] = lengths[:, 0]
    pose[:, 2, 2] = lengths[:, 1]
    return pose


@pytest.mark.parametrize(
    ("loss_of", "field", "limit"),
    [(likelihood_loss, "nll", LARGEST_NLL), (residual_loss, "residual", LARGEST_RESIDUAL)],
)
def test_what_is_beyond_the_limit_counts_as_the_limit_and_has_no_gradient(loss_of, field, limit):
    values = torch.tensor([3.0, limit - 1, limit + 50, -2.0], requires_grad=True)
    loss = loss_of(Density(**{"nll": None, "residual": None, field: values}))
    assert loss.item() == pytest.approx((3 + limit - 1 + limit - 2) / 4)
    (gradient,) = torch.autograd.grad(loss, values)
    assert gradient.tolist() == [0.25, 0.25, 0, 0.25]


def test_lengths_are_of_the_bones_in_their_order():
    pose = poses()
    expected = torch.stack([(pose[:, child] - pose[:, parent]).square().sum(1).sqrt() for child, parent in EDGES], 1)
    torch.testing.assert_close(bone_lengths(pose, EDGES), expected)
    assert bone_lengths(chain([[3, 4]]), CHAIN).tolist() == [[3, 4]]


def test_spread_by_hand():
    """Shares of the mean bone 2/3, 4/3 and 4/3, 2/3: each bone has mean 1 and standard deviation 1/3."""
    pose = chain([[1, 2], [6, 3]])
    assert bone_spread_loss(pose, CHAIN, "plain").item() == pytest.approx(1 / 3)
    assert bone_spread_loss(pose, CHAIN, "log").item() == pytest.approx(math.log(1 / 3 + SMALLEST_SPREAD))


def test_spread_is_relative_to_the_bone():
    """Shares 2/3, 4/3 and 1/3, 5/3: means 1/2 and 3/2, both with standard deviation 1/6."""
    pose = chain([[1, 2], [1, 5]])
    assert bone_spread_loss(pose, CHAIN, "plain").item() == pytest.approx((1 / 3 + 1 / 9) / 2)
    expected = (math.log(1 / 3 + SMALLEST_SPREAD) + math.log(1 / 9 + SMALLEST_SPREAD)) / 2
    assert bone_spread_loss(pose, CHAIN, "log").item() == pytest.approx(expected)


def test_log_spread_asks_the_same_gain_of_every_bone():
    """The mean of the logarithms, not the logarithm of the mean: spreads of a half, a half and nothing."""
    pose = chain([[1, 3], [3, 1]])
    pose = torch.cat([pose, torch.zeros(2, 1, 3, dtype=torch.float64)], dim=1)
    pose[:, 3, 1] = torch.tensor([2.0, 2.0])  # a third bone that never changes
    edges = (*CHAIN, (3, 0))
    spreads = torch.tensor([0.5, 0.5, 0.0], dtype=torch.float64)
    expected = (spreads + SMALLEST_SPREAD).log().mean()
    torch.testing.assert_close(bone_spread_loss(pose, edges, "log"), expected)
    torch.testing.assert_close(bone_spread_loss(pose, edges, "plain"), spreads.mean())


@pytest.mark.parametrize("kind", ["log", "plain"])
def test_spread_does_not_know_sizes_places_and_directions(kind):
    pose, source = poses(), torch.Generator().manual_seed(1)
    size = 0.5 + torch.rand(len(pose), 1, 1, generator=source, dtype=torch.float64)
    place = torch.randn(len(pose), 1, 3, generator=source, dtype=torch.float64)
    turn = torch.linalg.qr(torch.randn(len(pose), 3, 3, generator=source, dtype=torch.float64)).Q
    torch.testing.assert_close(
        bone_spread_loss(size * pose @ turn + place, EDGES, kind), bone_spread_loss(pose, EDGES, kind)
    )


def test_bodies_of_one_shape_have_no_spread_and_finite_gradients():
    pose = (poses(1) * torch.tensor([1.0, 2.0, 0.3], dtype=torch.float64)[:, None, None]).requires_grad_()
    for kind, expected in {"plain": 0.0, "log": math.log(SMALLEST_SPREAD)}.items():
        loss = bone_spread_loss(pose, EDGES, kind)
        assert loss.item() == pytest.approx(expected, abs=1e-12)
        assert torch.autograd.grad(loss, pose)[0].isfinite().all()


def test_deformation_by_hand():
    """Errors of two poses differ by (3, 4, 0) in one of two joints, whichever of the pair comes first."""
    error = torch.zeros(2, 2, 3, dtype=torch.float64)
    error[:, 0] = torch.tensor([1.0, 1.0, 1.0])
    error[1, 1] = torch.tensor([3.0, 4.0, 0.0])
    assert deformation_loss(error).item() == pytest.approx(5 / 2)


def test_poses_that_err_alike_do_not_deform():
    error = poses(1).expand(5, 17, 3).clone().requires_grad_()
    loss = deformation_loss(error)
    assert loss.item() == 0
    assert torch.autograd.grad(loss, error)[0].tolist() == torch.zeros(5, 17, 3).tolist()


def test_every_pose_is_compared_with_one_other():
    error = torch.zeros(4, 1, 3, dtype=torch.float64)
    error[2] = torch.tensor([0.0, 0.0, 2.0])
    assert deformation_loss(error).item() == pytest.approx(2 * 2 / 4)


def low_rank(B, atoms):
    """A mean pose and ``atoms`` atoms in random amounts."""
    source = torch.Generator().manual_seed(2)
    amounts = torch.randn(B, atoms, generator=source, dtype=torch.float64)
    return poses(1) + torch.einsum("bk,kjd->bjd", amounts, poses(atoms, seed=3))


@pytest.mark.parametrize("atoms", [1, 4])
def test_poses_of_a_dictionary_have_no_variance_outside_as_many_directions(atoms):
    pose = low_rank(40, atoms)
    assert rank_loss(pose, atoms).item() == pytest.approx(0, abs=1e-12)
    assert rank_loss(pose, atoms + 3).item() == pytest.approx(0, abs=1e-12)
    if atoms > 1:
        assert rank_loss(pose, atoms - 1).item() > 1e-3


def test_rank_is_a_share_of_the_variance():
    """Variances 9, 4 and 1 along three coordinates."""
    steps = torch.tensor([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=torch.float64)
    pose = 5 + torch.zeros(4, 17, 3, dtype=torch.float64)
    pose[:, [2, 5, 9], [0, 1, 2]] += steps * torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64)
    assert [rank_loss(pose, rank).item() for rank in (1, 2)] == pytest.approx([5 / 14, 1 / 14])
    assert rank_loss(4 * pose + 1, 2).item() == pytest.approx(1 / 14)


@pytest.mark.parametrize(
    "loss_of",
    [
        lambda pose: bone_spread_loss(pose, EDGES, "log"),
        lambda pose: bone_spread_loss(pose, EDGES, "plain"),
        deformation_loss,
        lambda pose: rank_loss(pose, 2),
    ],
    ids=["log spread", "plain spread", "deformation", "rank"],
)
def test_gradients(loss_of):
    assert torch.autograd.gradcheck(loss_of, poses(4).requires_grad_())
