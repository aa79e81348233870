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
    grad_uv: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float, with_rotation: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the pose and, where it is wanted, of the rotation; the latter is empty elsewhere."""
    distance = torch.einsum("sbk,bjk->sbj", rotation[:, :, 2], pose) + camera_depth  # (S, B, J)
    grad_rotated = pose.new_empty(*grad_uv.shape[:3], 3)
    grad_x, grad_y, grad_z = grad_rotated.unbind(dim=-1)
    factor = distance.clamp(min=reference.MIN_DEPTH).reciprocal()
    torch.mul(grad_uv[..., 0], factor, out=grad_x)
    torch.mul(grad_uv[..., 1], factor, out=grad_y)
    torch.mul(grad_x, uv[..., 0], out=grad_z).addcmul_(grad_y, uv[..., 1])
    grad_z.mul_(distance >= reference.MIN_DEPTH).neg_()
    if with_rotation:
        return rotate_backward(grad_rotated, pose, rotation)
    return _pose_gradient(grad_rotated, rotation), rotation.new_empty(0)


@_backward.register_fake
def _(grad_uv, uv, pose, rotation, camera_depth, with_rotation):
    return torch.empty_like(pose), torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)


def rotate_backward(grad_rotated: Tensor, pose: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the pose (B, J, 3), summed over draws, and of the rotations (S, B, 3, 3)."""
    grad_rotation = torch.einsum("sbji,bjk->sbik", grad_rotated, pose)
    return _pose_gradient(grad_rotated, rotation), grad_rotation.contiguous()


def _pose_gradient(grad_rotated: Tensor, rotation: Tensor) -> Tensor:
    return torch.einsum("sbji,sbik->bjk", grad_rotated, rotation).contiguous()


def _setup_context(ctx, inputs, output) -> None:
    pose, rotation, ctx.camera_depth = inputs
    ctx.save_for_backward(output, pose, rotation)


def _autograd(ctx, grad_uv: Tensor):
    with_rotation = ctx.needs_input_grad[1]
    grad_pose, grad_rotation = _backward(grad_uv.contiguous(), *ctx.saved_tensors, ctx.camera_depth, with_rotation)
    return grad_pose, grad_rotation if with_rotation else None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
