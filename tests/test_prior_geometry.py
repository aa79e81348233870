"""Geometry of the recipe "prior": mirror images, cameras above the horizon, headings, and depths that reproject."""

import math

import pytest
import torch

from ites_fast.ops import rotate, rotate_project, vertical_rotation
from ites_fast.sides import heading, mirror_half, mirrored
from ites_fast.skeleton import H36M_17
from ites_fast.teaching import depth_in_view
from ites_fast.views import camera_axes, tilt

C, J = 5.0, 17
UP = torch.tensor([0.0, -1.0, 0.0], dtype=torch.float64)  # y points down


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


def bodies(B=8):
    """Root-relative poses of about the size of a body."""
    pose = 0.4 * draw(B, J, 3)
    return pose - pose[:, H36M_17.root, None]


def project(pose):
    return pose[..., :2] / (pose[..., 2:] + C)


def test_mirrored_twice_is_as_it_was_and_the_pose_that_was_given_stays():
    pose = bodies()
    before = pose.clone()
    assert torch.equal(mirrored(mirrored(pose, H36M_17), H36M_17), pose)
    assert torch.equal(pose, before)
    assert not torch.equal(mirrored(pose, H36M_17), pose)


def test_a_mirror_image_swaps_sides():
    pose = bodies(1)[0]
    image = mirrored(pose, H36M_17)
    left, right = H36M_17.joint_names.index("left_wrist"), H36M_17.joint_names.index("right_wrist")
    assert image[left].tolist() == [-pose[right, 0], pose[right, 1], pose[right, 2]]
    assert image[H36M_17.head].tolist() == [-pose[H36M_17.head, 0], *pose[H36M_17.head, 1:].tolist()]


def test_the_mirror_image_of_a_pose_is_seen_as_the_mirror_image_of_its_view():
    pose = bodies()
    torch.testing.assert_close(project(mirrored(pose, H36M_17)), mirrored(project(pose), H36M_17))


def test_half_of_the_poses_are_mirrored_each_as_a_whole():
    pose = bodies(1).expand(4000, J, 3)
    mixed = mirror_half(pose, H36M_17, generator())
    as_it_was = (mixed == pose).all(-1).all(-1)
    assert torch.equal(mixed[~as_it_was], mirrored(pose, H36M_17)[~as_it_was])
    assert as_it_was.double().mean().item() == pytest.approx(0.5, abs=0.03)


@pytest.mark.parametrize("degrees", [-20, 0, 35])
def test_a_camera_above_the_horizon_sees_up_come_towards_it(degrees):
    angle = math.radians(degrees)
    up = camera_axes(torch.tensor(angle).double()) @ UP
    torch.testing.assert_close(up, torch.tensor([0.0, -math.cos(angle), -math.sin(angle)], dtype=torch.float64))


def test_axes_without_roll_are_the_tilt_and_roll_turns_the_image():
    elevation, roll = draw(3, 5), draw(3, 5, seed=1)
    torch.testing.assert_close(camera_axes(elevation), tilt(elevation))
    torch.testing.assert_close(camera_axes(elevation, torch.zeros_like(elevation)), tilt(elevation))
    point = draw(3, 5, 3, 1, seed=2)
    level, rolled = (camera_axes(elevation) @ point).squeeze(-1), (camera_axes(elevation, roll) @ point).squeeze(-1)
    torch.testing.assert_close(rolled[..., 2], level[..., 2])
    turned = torch.view_as_complex(level[..., :2].contiguous()) * torch.exp(1j * roll)
    torch.testing.assert_close(rolled[..., :2], torch.view_as_real(turned))


def test_camera_axes_are_rotations_with_gradients():
    elevation, roll = draw(4).requires_grad_(), draw(4, seed=1).requires_grad_()
    axes = camera_axes(elevation, roll)
    torch.testing.assert_close(axes @ axes.mT, torch.eye(3, dtype=torch.float64).expand(4, 3, 3))
    torch.testing.assert_close(torch.linalg.det(axes), torch.ones(4, dtype=torch.float64))
    assert torch.autograd.gradcheck(camera_axes, (elevation, roll))


def test_a_virtual_view_keeps_heights_about_the_vertical():
    """Seen from elsewhere, a joint is as high above the root as it was: only the body's heading has changed."""
    pose, elevation, other, turn = bodies(), 0.5 * draw(8), 0.5 * draw(8, seed=1), draw(8, seed=2)
    roll, other_roll = 0.2 * draw(8, seed=3), 0.2 * draw(8, seed=4)
    upright, new = camera_axes(elevation, roll), camera_axes(other, other_roll)
    turned = rotate(pose, new @ vertical_rotation(turn) @ upright.mT)
    before, after = pose @ upright, turned @ new
    torch.testing.assert_close(after[..., 1], before[..., 1])
    torch.testing.assert_close(after, before @ vertical_rotation(turn).mT)
    assert not torch.allclose(after, before)


def test_turning_back_by_the_heading_lets_the_body_face_the_camera():
    pose = bodies()
    angle = heading(pose, H36M_17)
    turned = pose @ vertical_rotation(-angle).mT
    torch.testing.assert_close(heading(turned, H36M_17), torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    across = turned[:, list(H36M_17.left)].mean(1) - turned[:, list(H36M_17.right)].mean(1)
    torch.testing.assert_close(across[:, 2], torch.zeros(8, dtype=torch.float64), rtol=0, atol=1e-12)
    assert (across[:, 0] > 0).all()


@pytest.mark.parametrize("degrees", [30, 120, -90])
def test_the_heading_is_the_angle_that_the_body_was_turned_by(degrees):
    facing = torch.zeros(1, J, 3, dtype=torch.float64)
    facing[:, list(H36M_17.left), 0], facing[:, list(H36M_17.right), 0] = 0.2, -0.2
    angle = torch.tensor([math.radians(degrees)], dtype=torch.float64)
    turned = facing @ vertical_rotation(angle).mT + torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64)
    torch.testing.assert_close(heading(turned, H36M_17), angle)


@pytest.mark.parametrize("unit", [1.0, 1000.0, 0.02])
def test_the_depth_of_an_exact_projection_is_recovered_in_any_unit(unit):
    pose = bodies()
    torch.testing.assert_close(depth_in_view(unit * pose, project(pose), C), pose[..., 2])


def test_the_depth_of_an_inexact_projection_is_that_of_the_best_scale():
    """Of the scales k, none brings x (c + k z) closer to k (X, Y)."""
    pose = bodies()
    pose_2d = project(pose) * 1.2 + 0.01 * draw(8, J, 2, seed=5)

    def misfit(k):
        k = k[:, None, None]
        return (pose_2d * (C + k * pose[..., 2:]) - k * pose[..., :2]).square().sum((1, 2))

    head = H36M_17.head
    scale = depth_in_view(pose, pose_2d, C)[:, head] / pose[:, head, 2]
    torch.testing.assert_close(scale[:, None] * pose[..., 2], depth_in_view(pose, pose_2d, C))
    for factor in (0.999, 1.001):
        assert (misfit(scale) < misfit(factor * scale)).all()


def test_a_turned_pose_is_seen_in_the_same_place_by_a_turned_camera():
    """No turn about the vertical, and the same elevation: the view that was lifted."""
    pose, elevation = bodies(), 0.3 * draw(8)
    upright = camera_axes(elevation)
    rotation = upright @ vertical_rotation(torch.zeros(8, dtype=torch.float64)) @ upright.mT
    torch.testing.assert_close(rotate_project(pose, rotation, C), project(pose))
