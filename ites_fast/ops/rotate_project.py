"""Operator ``rotate_project``. Formula: ``ites_fast.reference.rotate_project``."""

import torch
from torch import Tensor

from ites_fast import reference


def rotate_project(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    """Rotate root-relative poses and project them with a unit-focal pinhole camera.

    Differentiable in ``pose``, whose gradient is summed over the draws, and in ``rotation``. See
    ``reference.rotate_project``.

    Args:
        pose: root-relative joints (B, J, 3), in body units.
        rotation: rotations acting on column vectors, one a pose (B, 3, 3) or S draws a pose (S, B, 3, 3).
        camera_depth: distance from the camera to the root joint, in body units.

    Returns:
        Normalised image coordinates (B, J, 2) or (S, B, J, 2).

    Raises:
        ValueError: the shapes do not fit.
    """
    if pose.ndim != 3 or pose.shape[-1] != 3:
        raise ValueError(f"pose must be (B, J, 3), got {tuple(pose.shape)}")
    if rotation.ndim not in (3, 4) or rotation.shape[-3:] != (pose.shape[0], 3, 3):
        expected = f"({pose.shape[0]}, 3, 3) or (S, {pose.shape[0]}, 3, 3)"
        raise ValueError(f"rotation must be {expected} for pose {tuple(pose.shape)}, got {tuple(rotation.shape)}")
    draws = rotation if rotation.ndim == 4 else rotation[None]
    uv = _forward(pose.contiguous(), draws.contiguous(), camera_depth)
    return uv if rotation.ndim == 4 else uv.squeeze(0)


@torch.library.custom_op("ites_fast::rotate_project", mutates_args=())
def _forward(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    return reference.rotate_project(pose, rotation, camera_depth).contiguous()


@_forward.register_fake
def _(pose, rotation, camera_depth):
    return pose.new_empty(*rotation.shape[:2], pose.shape[1], 2)


@torch.library.custom_op("ites_fast::rotate_project_backward", mutates_args=())
def _backward(
    grad_uv: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float
) -> tuple[Tensor, Tensor]:
    z = torch.einsum("sbk,bjk->sbj", rotation[:, :, 2], pose)  # (S, B, J)
    distance = z[..., None] + camera_depth
    grad_xy = grad_uv / distance.clamp(min=reference.MIN_DEPTH)  # (S, B, J, 2)
    grad_z = -(grad_xy * uv).sum(dim=-1, keepdim=True) * (distance >= reference.MIN_DEPTH)
    return rotate_backward(torch.cat([grad_xy, grad_z], dim=-1), pose, rotation)


@_backward.register_fake
def _(grad_uv, uv, pose, rotation, camera_depth):
    return torch.empty_like(pose), torch.empty_like(rotation)


def rotate_backward(grad_rotated: Tensor, pose: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the pose (B, J, 3), summed over draws, and of the rotations (S, B, 3, 3)."""
    grad_pose = torch.einsum("sbji,sbik->bjk", grad_rotated, rotation)
    grad_rotation = torch.einsum("sbji,bjk->sbik", grad_rotated, pose)
    return grad_pose.contiguous(), grad_rotation.contiguous()


def _setup_context(ctx, inputs, output) -> None:
    pose, rotation, ctx.camera_depth = inputs
    ctx.save_for_backward(output, pose, rotation)


def _autograd(ctx, grad_uv: Tensor):
    return *_backward(grad_uv.contiguous(), *ctx.saved_tensors, ctx.camera_depth), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
