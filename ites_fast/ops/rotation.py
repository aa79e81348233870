"""Operator ``rotation_from_vector``. Formula: ``ites_fast.reference.rotation``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.reference.rotation import SMALL_ANGLE_SQUARED, rodrigues_factors


def rotation_from_vector(vector: Tensor) -> Tensor:
    """Turn rotation vectors (..., 3), axis times angle in radians, into rotation matrices (..., 3, 3).

    Exact at every angle, zero and pi included, with a finite gradient everywhere. See
    ``reference.rotation_from_vector``.

    Raises:
        ValueError: the last dimension of ``vector`` is not 3.
    """
    if vector.ndim == 0 or vector.shape[-1] != 3:
        raise ValueError(f"vector must be (..., 3), got {tuple(vector.shape)}")
    return _forward(vector.contiguous())


@torch.library.custom_op("ites_fast::rotation_from_vector", mutates_args=())
def _forward(vector: Tensor) -> Tensor:
    return reference.rotation_from_vector(vector)


@_forward.register_fake
def _(vector):
    return vector.new_empty(*vector.shape, 3)


@torch.library.custom_op("ites_fast::rotation_from_vector_backward", mutates_args=())
def _backward(grad_rotation: Tensor, vector: Tensor) -> Tensor:
    # With G the incoming gradient and ' the derivative by the squared angle t:
    # dv = a vee(G - G^T) + b (G + G^T) v + 2 v (a' <G, K> + b' <G, K^2> - b tr G)
    G, v = grad_rotation, vector
    t = v.square().sum(dim=-1, keepdim=True)  # (..., 1)
    a, b = rodrigues_factors(t)
    a_slope, b_slope = _rodrigues_slopes(t, a, b)
    trace = G.diagonal(dim1=-2, dim2=-1).sum(dim=-1, keepdim=True)  # (..., 1)
    vee = torch.stack(
        [
            G[..., 2, 1] - G[..., 1, 2],
            G[..., 0, 2] - G[..., 2, 0],
            G[..., 1, 0] - G[..., 0, 1],
        ],
        dim=-1,
    )  # (..., 3)
    symmetric = ((G + G.mT) @ v[..., None]).squeeze(-1)  # (..., 3)
    along_cross = (vee * v).sum(dim=-1, keepdim=True)  # <G, K>
    along_square = 0.5 * (symmetric * v).sum(dim=-1, keepdim=True) - t * trace  # <G, K^2>
    radial = a_slope * along_cross + b_slope * along_square - b * trace
    return a * vee + b * symmetric + 2 * radial * v


@_backward.register_fake
def _(grad_rotation, vector):
    return torch.empty_like(vector)


def _rodrigues_slopes(t: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
    """Derivatives of the two Rodrigues factors by the squared angle t, as series near zero."""
    small = t < SMALL_ANGLE_SQUARED
    safe = torch.where(small, torch.ones_like(t), t)
    cos = safe.sqrt().cos()
    a_series = -1 / 6 + t / 60 * (1 - t / 28 * (1 - t / 54))
    b_series = -1 / 24 + t / 360 * (1 - t * 3 / 112 * (1 - t * 2 / 135))
    a_slope = torch.where(small, a_series, (cos - a) / (2 * safe))
    b_slope = torch.where(small, b_series, (a - 2 * b) / (2 * safe))
    return a_slope, b_slope


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, grad_rotation: Tensor):
    (vector,) = ctx.saved_tensors
    return _backward(grad_rotation.contiguous(), vector)


_forward.register_autograd(_autograd, setup_context=_setup_context)
