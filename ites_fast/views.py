"""Virtual views: the rotations that a pose is seen under, and the scale of what is then seen."""

import math
from typing import Literal

import torch
from torch import Tensor

from ites_fast.ops import random_rotations, rotation_from_vector, vertical_rotation


def draw_views(
    shape: tuple[int, ...],
    axis: Literal["all", "vertical"],
    *,
    elevation: float = 0.0,
    elevation_spread: float = 0.0,
    generator: torch.Generator,
) -> Tensor:
    r"""Draw the rotations of virtual views.

    With ``axis="all"`` a random axis and an angle in [0, pi] (ITES, eq. 3). With ``axis="vertical"`` the camera goes
    around the body, :math:`R = R_x(e')\, R_y(\varphi)\, R_x(-e)`: the view's elevation e is taken out, the body turned
    about the vertical by any angle, and the new view's elevation e' put in. With both elevations zero this is the
    student's rotation (ITES, eq. 6).

    Args:
        shape: batch shape, for example (S, B).
        axis: "all" or "vertical".
        elevation: mean elevation of the cameras above the horizon, in degrees, positive when they look down.
        elevation_spread: standard deviation of e' around it, in degrees.
        generator: source of every random number; the draw happens on its device.

    Returns:
        Rotations acting on column vectors (*shape, 3, 3).
    """
    if axis == "all" or (elevation == 0 and elevation_spread == 0):
        return random_rotations(shape, axis, generator=generator)
    device = generator.device
    turn = vertical_rotation(2 * math.pi * torch.rand(shape, generator=generator, device=device))
    spread = math.radians(elevation_spread) * torch.randn(shape, generator=generator, device=device)
    level = tilt(torch.full(shape, -math.radians(elevation), device=device))
    return tilt(math.radians(elevation) + spread) @ turn @ level


def tilt(angle: Tensor) -> Tensor:
    """Rotations (..., 3, 3) about the camera's x axis by ``angle`` (...,) radians, y towards z."""
    vector = torch.stack([angle, torch.zeros_like(angle), torch.zeros_like(angle)], dim=-1)
    return rotation_from_vector(vector)


def camera_axes(elevation: Tensor, roll: Tensor | None = None) -> Tensor:
    r"""Rotations from a frame whose y axis is the vertical to that of a camera: :math:`R_z(\rho)\, R_x(e)`.

    Args:
        elevation: of the cameras above the horizon (...,), radians, positive when they look down. Differentiable.
        roll: about the camera's axis (...,), radians, x towards y. Differentiable.

    Returns:
        Rotations acting on column vectors (..., 3, 3).
    """
    zero, one = torch.zeros_like(elevation), torch.ones_like(elevation)
    sin, cos = elevation.sin(), elevation.cos()
    level = torch.stack([one, zero, zero, zero, cos, -sin, zero, sin, cos], -1).unflatten(-1, (3, 3))
    if roll is None:
        return level
    sin, cos = roll.sin(), roll.cos()
    return torch.stack([cos, -sin, zero, sin, cos, zero, zero, zero, one], -1).unflatten(-1, (3, 3)) @ level
