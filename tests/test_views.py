"""Virtual views: what stays upright, how high the camera is, and how large the pose is seen."""

import math

import pytest
import torch

from ites_fast.ops import view_scale
from ites_fast.views import draw_views, tilt

UP = torch.tensor([0.0, -1.0, 0.0])  # y points down


def generator():
    return torch.Generator().manual_seed(0)


def camera_looking_down(degrees):
    """The world's up, seen by a camera whose optical axis is that much below the horizon."""
    angle = math.radians(degrees)
    return torch.tensor([0.0, -math.cos(angle), -math.sin(angle)])


def test_vertical_views_without_elevation_keep_up_where_it_is():
    rotation = draw_views((4, 5), "vertical", generator=generator())
    assert rotation.shape == (4, 5, 3, 3)
    torch.testing.assert_close(rotation @ UP, UP.expand(4, 5, 3))


def test_vertical_views_with_elevation_keep_the_elevation():
    up = camera_looking_down(10)
    rotation = draw_views((4, 5), "vertical", elevation=10, generator=generator())
    torch.testing.assert_close(rotation @ up, up.expand(4, 5, 3))


def test_the_spread_of_the_elevation_is_as_asked():
    up = camera_looking_down(10)
    rotation = draw_views((2000,), "vertical", elevation=10, elevation_spread=8, generator=generator())
    seen = rotation @ up
    elevation = torch.rad2deg(torch.asin((-seen[:, 2]).clamp(-1, 1)))
    assert elevation.mean().item() == pytest.approx(10, abs=0.7)
    assert elevation.std().item() == pytest.approx(8, abs=0.7)


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_views_are_rotations_and_the_seed_decides_them(axis):
    first = draw_views((3, 7), axis, elevation=5, generator=generator())
    torch.testing.assert_close(first @ first.mT, torch.eye(3).expand(3, 7, 3, 3))
    torch.testing.assert_close(torch.linalg.det(first), torch.ones(3, 7))
    assert torch.equal(first, draw_views((3, 7), axis, elevation=5, generator=generator()))


def test_tilt_turns_down_towards_forward():
    torch.testing.assert_close(
        tilt(torch.tensor([math.pi / 2])) @ torch.tensor([0.0, 1.0, 0.0]), torch.tensor([[0.0, 0.0, 1.0]])
    )


def test_view_scale_gives_the_root_mean_square():
    uv = torch.randn(4, 6, 17, 2, generator=generator())
    scaled = view_scale(uv, 0.12) * uv
    torch.testing.assert_close(scaled.square().sum(-1).mean(-1).sqrt(), torch.full((4, 6), 0.12))


def test_a_view_of_no_size_is_not_blown_up():
    assert view_scale(torch.zeros(1, 17, 2), 0.12).isfinite().all()
