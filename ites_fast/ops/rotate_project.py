"""Operator ``rotate_project``: Triton on CUDA, PyTorch elsewhere. Formula: ``ites_fast.reference.rotate_project``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton


def rotate_project(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    """Rotate root-relative poses and project them with a unit-focal pinhole camera.

    Differentiable in ``pose``, whose gradient is summed over the draws, and in ``rotation``. See
    ``reference.rotate_project``. On CUDA one Triton kernel forward and one backward, up to 256 joints, with float32
    arithmetic for float32, float16 and bfloat16; float64 and more joints run in PyTorch, as everything does on the CPU.

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


def _project(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    return reference.rotate_project(pose, rotation, camera_depth).contiguous()


_forward = torch.library.custom_op("ites_fast::rotate_project", _project, mutates_args=())


@register_triton(_forward)
def _forward_cuda(pose, rotation, camera_depth):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.rotate_project import rotate_project_fwd

    if not pose_tile.fits(pose, rotation):
        return _project(pose, rotation, camera_depth)
    return rotate_project_fwd(pose, rotation, camera_depth, reference.MIN_DEPTH)


@_forward.register_fake
def _(pose, rotation, camera_depth):
    return pose.new_empty(*rotation.shape[:2], pose.shape[1], 2)


@_forward.register_vmap
def _(info, in_dims, pose, rotation, camera_depth):
    pose, rotation = fold(pose, in_dims[0], 0, info), fold(rotation, in_dims[1], 1, info)
    return unfold(_forward(pose, rotation, camera_depth), 1, info), 1


def fold(tensor: Tensor, mapped: int | None, batch: int, info) -> Tensor:
    """``tensor`` with what ``vmap`` maps over made part of its dimension ``batch``, the batch of poses."""
    if mapped is None:
        tensor = tensor.unsqueeze(batch).expand(*tensor.shape[:batch], info.batch_size, *tensor.shape[batch:])
    else:
        tensor = tensor.movedim(mapped, batch)
    return tensor.flatten(batch, batch + 1).contiguous()


def unfold(tensor: Tensor, batch: int, info) -> Tensor:
    """The inverse of ``fold``; what is mapped over is then dimension ``batch``."""
    return tensor.unflatten(batch, (info.batch_size, tensor.shape[batch] // info.batch_size))


def unfold_gradients(gradients: tuple[Tensor, Tensor], info) -> tuple[tuple[Tensor, Tensor], tuple[int, int | None]]:
    """As ``unfold``, for gradients of the pose and the rotation, with the dimensions that are mapped over."""
    grad_pose, grad_rotation = gradients
    if grad_rotation.ndim == 1:  # not wanted
        return (unfold(grad_pose, 0, info), grad_rotation), (0, None)
    return (unfold(grad_pose, 0, info), unfold(grad_rotation, 1, info)), (0, 1)


def _gradients(
    grad_uv: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float, with_rotation: bool
) -> tuple[Tensor, Tensor]:
    """Gradients of the pose and, where it is wanted, of the rotation; the latter is empty elsewhere."""
    grad_rotated = project_backward(grad_uv, uv, distance(pose, rotation, camera_depth))
    if with_rotation:
        return rotate_backward(grad_rotated, pose, rotation)
    return pose_gradient(grad_rotated, rotation), rotation.new_empty(0)


_backward = torch.library.custom_op("ites_fast::rotate_project_backward", _gradients, mutates_args=())


@register_triton(_backward)
def _backward_cuda(grad_uv, uv, pose, rotation, camera_depth, with_rotation):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.rotate_project import rotate_project_bwd

    if not pose_tile.fits(pose, rotation):
        return _gradients(grad_uv, uv, pose, rotation, camera_depth, with_rotation)
    return rotate_project_bwd(grad_uv, pose, rotation, camera_depth, reference.MIN_DEPTH, with_rotation)


@_backward.register_fake
def _(grad_uv, uv, pose, rotation, camera_depth, with_rotation):
    return torch.empty_like(pose), torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)


@_backward.register_vmap
def _(info, in_dims, grad_uv, uv, pose, rotation, camera_depth, with_rotation):
    folded = (fold(*each, info) for each in zip((grad_uv, uv, pose, rotation), in_dims[:4], (1, 1, 0, 1), strict=True))
    return unfold_gradients(_backward(*folded, camera_depth, with_rotation), info)


def distance(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    """Distance along the camera's axis (S, B, J) of poses (B, J, 3) turned by (S, B, 3, 3), before the clamp."""
    return torch.einsum("sbk,bjk->sbj", rotation[:, :, 2], pose) + camera_depth


def project_backward(grad_uv: Tensor, uv: Tensor, distance: Tensor) -> Tensor:
    """Gradient of the turned poses (S, B, J, 3) from that of their projection (S, B, J, 2)."""
    grad_rotated = grad_uv.new_empty(*grad_uv.shape[:3], 3)
    grad_x, grad_y, grad_z = grad_rotated.unbind(dim=-1)
    factor = distance.clamp(min=reference.MIN_DEPTH).reciprocal()
    torch.mul(grad_uv[..., 0], factor, out=grad_x)
    torch.mul(grad_uv[..., 1], factor, out=grad_y)
    torch.mul(grad_x, uv[..., 0], out=grad_z).addcmul_(grad_y, uv[..., 1])
    grad_z.mul_(distance >= reference.MIN_DEPTH).neg_()
    return grad_rotated


def rotate_backward(grad_rotated: Tensor, pose: Tensor, rotation: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of the pose (B, J, 3), summed over draws, and of the rotations (S, B, 3, 3)."""
    grad_rotation = torch.einsum("sbji,bjk->sbik", grad_rotated, pose)
    return pose_gradient(grad_rotated, rotation), grad_rotation.contiguous()


def pose_gradient(grad_rotated: Tensor, rotation: Tensor) -> Tensor:
    """Gradient of the pose (B, J, 3) from that of the turned poses (S, B, J, 3), summed over draws."""
    return torch.einsum("sbji,sbik->bjk", grad_rotated, rotation).contiguous()


def _setup_context(ctx, inputs, output) -> None:
    pose, rotation, ctx.camera_depth = inputs
    ctx.save_for_backward(output, pose, rotation)


def _autograd(ctx, grad_uv: Tensor):
    with_rotation = ctx.needs_input_grad[1]
    grad_pose, grad_rotation = _backward(grad_uv.contiguous(), *ctx.saved_tensors, ctx.camera_depth, with_rotation)
    return grad_pose, grad_rotation if with_rotation else None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
