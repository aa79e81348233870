"""The four losses against their formulas, written out with loops."""

import math

import pytest
import torch

from ites_fast.losses import (
    distillation_loss,
    reprojection_loss,
    rotation_equivariance_loss,
    rotation_invariance_loss,
)
from ites_fast.ops import random_rotations, rotation_from_vector

CAMERA_DEPTH = 5.0
B, J, S = 3, 17, 2


@pytest.fixture
def generator():
    return torch.Generator().manual_seed(0)


@pytest.fixture
def pose(generator):
    return 0.4 * torch.randn(B, J, 3, generator=generator, dtype=torch.float64)


@pytest.fixture
def rotation(generator):
    return random_rotations((S, B), "all", generator=generator, dtype=torch.float64)


def project(joint):
    return joint[:2] / max(float(joint[2]) + CAMERA_DEPTH, 1.0)


def test_reprojection_is_the_mean_distance_in_the_image(pose, generator):
    rotation = random_rotations((B,), "all", generator=generator, dtype=torch.float64)
    pose_2d = torch.randn(B, J, 2, generator=generator, dtype=torch.float64)
    distances = [torch.dist(project(rotation[b] @ pose[b, j]), pose_2d[b, j]) for b in range(B) for j in range(J)]
    expected = torch.stack(distances).mean()
    torch.testing.assert_close(reprojection_loss(pose, rotation, pose_2d, CAMERA_DEPTH), expected)


def test_a_perfect_projection_has_no_reprojection_loss_and_finite_gradients(pose):
    rotation = rotation_from_vector(torch.zeros(B, 3, dtype=torch.float64, requires_grad=True))
    pose.requires_grad_()
    pose_2d = torch.stack([torch.stack([project(joint) for joint in one]) for one in pose.detach()])
    loss = reprojection_loss(pose, rotation, pose_2d, CAMERA_DEPTH)
    (gradient,) = torch.autograd.grad(loss, pose)
    assert loss.item() < 1e-15
    assert gradient.isfinite().all()


def fake_teacher(views):
    """Any function from views to canonical poses: here a fixed linear one."""
    return torch.cat([2 * views, views.sum(-1, keepdim=True)], dim=-1)


def fake_student(views):
    return views[..., 0] - 0.5 * views[..., 1]


def test_invariance_compares_the_canonical_pose_of_every_view(pose, rotation):
    expected = []
    for s in range(S):
        for b in range(B):
            view = torch.stack([project(rotation[s, b] @ joint) for joint in pose[b]])
            expected.append((fake_teacher(view) - pose[b]).norm(dim=-1).mean())
    loss = rotation_invariance_loss(fake_teacher, pose, pose, rotation, CAMERA_DEPTH)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_equivariance_compares_the_lifted_view_with_the_turned_pose(pose, rotation):
    expected = []
    for s in range(S):
        for b in range(B):
            turned = torch.stack([rotation[s, b] @ joint for joint in pose[b]])
            view = torch.stack([project(joint) for joint in turned])
            depth = fake_student(view)
            lifted = torch.cat([view * (depth + CAMERA_DEPTH).clamp(min=1)[:, None], depth[:, None]], dim=1)
            expected.append((lifted - turned).norm(dim=-1).mean())
    loss = rotation_equivariance_loss(fake_student, pose, rotation, CAMERA_DEPTH)
    torch.testing.assert_close(loss, torch.stack(expected).mean())


def test_both_sides_of_a_scaled_equivariance_are_at_the_scale_of_the_view(pose, rotation):
    """A lifter that knows the scaled depths is wrong only by what perspective adds across the image."""
    pose = pose - pose[:, :1]
    rms = 0.1
    turned = torch.einsum("sbij,bkj->sbki", rotation, pose)
    view = turned[..., :2] / (turned[..., 2:] + CAMERA_DEPTH).clamp(min=1)
    scale = rms / view.square().sum(-1).mean(-1).sqrt()
    truth = (scale[..., None] * turned[..., 2]).flatten(0, 1)
    loss = rotation_equivariance_loss(lambda _: truth, pose, rotation, CAMERA_DEPTH, rms=rms)
    lifted = (scale[..., None, None] * view).flatten(0, 1) * (truth + CAMERA_DEPTH)[..., None]
    expected = (lifted - (scale[..., None, None] * turned[..., :2]).flatten(0, 1)).norm(dim=-1).mean()
    torch.testing.assert_close(loss, expected)


def test_views_are_given_to_the_network_at_the_size_of_real_input(pose, rotation):
    seen = []

    def student(views):
        seen.append(views)
        return fake_student(views)

    rotation_equivariance_loss(student, pose - pose[:, :1], rotation, CAMERA_DEPTH, rms=0.1)
    sizes = seen[0].square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(sizes, torch.full((S * B,), 0.1, dtype=torch.float64))


def test_gradients_run_through_both_sides_of_the_cycles(pose, rotation):
    for loss_of in (
        lambda p: rotation_invariance_loss(fake_teacher, p, p, rotation, CAMERA_DEPTH),
        lambda p: rotation_invariance_loss(fake_teacher, p, p, rotation, CAMERA_DEPTH, rms=0.1),
        lambda p: rotation_equivariance_loss(fake_student, p, rotation, CAMERA_DEPTH),
        lambda p: rotation_equivariance_loss(fake_student, p, rotation, CAMERA_DEPTH, rms=0.1),
    ):
        assert torch.autograd.gradcheck(loss_of, (pose - pose[:, :1]).requires_grad_())


def test_distillation_is_the_mean_absolute_difference_of_depths():
    depth = torch.tensor([[0.0, 1.0], [2.0, -1.0]])
    teacher = torch.tensor([[0.5, 1.0], [0.0, 1.0]])
    assert math.isclose(distillation_loss(depth, teacher).item(), (0.5 + 0 + 2 + 2) / 4)
