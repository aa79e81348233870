"""Rotation vectors and random rotations. All rotations act on column vectors."""

import math
from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

SMALL_ANGLE_SQUARED = 1e-2
VERTICAL_AXIS = 1


def rotation_from_vector(vector: Tensor) -> Tensor:
    r"""Turn rotation vectors (axis times angle) into rotation matrices, by Rodrigues' formula.

    .. math:: R = I + a K + b (v v^T - \varphi^2 I), \qquad
              a = \frac{\sin\varphi}{\varphi}, \quad b = \frac{1 - \cos\varphi}{\varphi^2}, \quad \varphi = |v|,

    where :math:`K x = v \times x` and :math:`K^2 = v v^T - \varphi^2 I`. Near zero, a and b are their Taylor series
    in :math:`\varphi^2`, so the matrix is orthonormal to rounding at every angle and the gradient at zero is finite.

    Args:
        vector: rotation vectors (..., 3), radians.

    Returns:
        Rotation matrices (..., 3, 3), in the dtype of ``vector``.
    """
    angle_squared = vector.square().sum(dim=-1)  # (...,)
    a, b = rodrigues_factors(angle_squared)
    outer = vector[..., :, None] * vector[..., None, :]  # (..., 3, 3)
    identity = torch.eye(3, dtype=vector.dtype, device=vector.device)
    symmetric = b[..., None, None] * (outer - angle_squared[..., None, None] * identity)
    return identity + a[..., None, None] * cross_matrix(vector) + symmetric


def rodrigues_factors(angle_squared: Tensor) -> tuple[Tensor, Tensor]:
    r"""Return :math:`\sin\varphi / \varphi` and :math:`(1 - \cos\varphi) / \varphi^2` from :math:`\varphi^2`.

    Five terms of each series are exact to 1e-16 below ``SMALL_ANGLE_SQUARED``. Both branches of a ``where`` are
    differentiated, so the closed forms see an angle that is never zero.
    """
    small = angle_squared < SMALL_ANGLE_SQUARED
    x = angle_squared
    a_series = 1 - x / 6 * (1 - x / 20 * (1 - x / 42 * (1 - x / 72)))
    b_series = 0.5 - x / 24 * (1 - x / 30 * (1 - x / 56 * (1 - x / 90)))
    angle = torch.where(small, torch.ones_like(x), x).sqrt()
    a = angle.sin() / angle
    # (1 - cos) = 2 sin^2(angle / 2), without the cancellation
    b = 2 * ((angle / 2).sin() / angle).square()
    return torch.where(small, a_series, a), torch.where(small, b_series, b)


def cross_matrix(vector: Tensor) -> Tensor:
    """Return the matrices (..., 3, 3) whose product with a column x is the cross product ``vector`` x x."""
    x, y, z = vector.unbind(dim=-1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).unflatten(-1, (3, 3))


def random_rotations(
    shape: Sequence[int],
    axis: Literal["all", "vertical"],
    *,
    generator: torch.Generator,
    max_angle: float | None = None,
    device: torch.device | str | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Draw random rotations: an axis, and an angle uniform in [0, max_angle].

    With ``axis="all"`` the axis is uniform on the sphere; this is not the uniform distribution over rotations, which
    favours large angles. With ``axis="vertical"`` the axis is the camera's y, which keeps a standing body upright.

    Args:
        shape: shape of the batch, for example (S, B) for S draws of each of B poses.
        axis: which axes are drawn.
        generator: source of every random number; the draw happens on its device.
        max_angle: largest angle in radians; pi for all axes and 2 pi for the vertical one where not given.
        device: device of the result, the generator's where not given.
        dtype: floating-point type of the result.

    Returns:
        Rotations (*shape, 3, 3).

    Raises:
        ValueError: ``axis`` is neither "all" nor "vertical".
    """
    source = {"generator": generator, "device": generator.device, "dtype": dtype}
    if axis == "all":
        direction = torch.nn.functional.normalize(torch.randn(*shape, 3, **source), dim=-1)  # (*shape, 3)
        angle = torch.rand(*shape, 1, **source) * (math.pi if max_angle is None else max_angle)  # (*shape, 1)
        rotation = rotation_from_vector(direction * angle)
    elif axis == "vertical":
        angle = torch.rand(*shape, **source) * (2 * math.pi if max_angle is None else max_angle)  # (*shape,)
        rotation = vertical_rotation(angle)
    else:
        raise ValueError(f'axis must be "all" or "vertical", got {axis!r}')
    return rotation if device is None else rotation.to(device)


def vertical_rotation(angle: Tensor) -> Tensor:
    """Return rotations (..., 3, 3) about the camera's y axis by ``angle`` (...,) radians, z towards x."""
    sin, cos = angle.sin(), angle.cos()
    rotation = angle.new_zeros(*angle.shape, 3, 3)
    rotation[..., 0, 0] = cos
    rotation[..., 0, 2] = sin
    rotation[..., VERTICAL_AXIS, VERTICAL_AXIS] = 1
    rotation[..., 2, 0] = -sin
    rotation[..., 2, 2] = cos
    return rotation
