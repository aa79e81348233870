"""Operator ``virtual_view``: Triton on CUDA, PyTorch elsewhere. Formula: ``ites_fast.reference.virtual_view``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.ops.rotate_project import (
    fold,
    pose_gradient,
    project_backward,
    rotate_backward,
    unfold,
    unfold_gradients,
)
from ites_fast.reference.rotate_project import rotate
from ites_fast.reference.virtual_view import SMALLEST_RMS


def virtual_view(
    pose: Tensor, rotation: Tensor, camera_depth: float, rms: float, rescale: bool = True
) -> tuple[Tensor, Tensor]:
    """Turn root-relative poses, project them, and scale each view and its pose as real input would be.

    Differentiable in ``pose``, whose gradient is summed over the draws, and in ``rotation``; gradients go through the
    scale, except where a view is so small that its scale is constant. See ``reference.virtual_view``. On CUDA one
    Triton kernel forward and one backward, up to 256 joints, with float32 arithmetic for float32, float16 and bfloat16;
    float64 and more joints run in PyTorch, as everything does on the CPU.

    Args:
        pose: root-relative joints (B, J, 3), in body units, the root at the origin.
        rotation: S draws for each pose, acting on column vectors (S, B, 3, 3).
        camera_depth: distance from the camera to the root joint, in body units.
        rms: root mean square of a view about its root, joints counted alike.
        rescale: False leaves views and poses at their own size.

    Returns:
        The views (S, B, J, 2) and the turned poses (S, B, J, 3).

    Raises:
        ValueError: the shapes do not fit.
    """
    if pose.ndim != 3 or pose.shape[-1] != 3:
        raise ValueError(f"pose must be (B, J, 3), got {tuple(pose.shape)}")
    if rotation.ndim != 4 or rotation.shape[1:] != (pose.shape[0], 3, 3):
        raise ValueError(
            f"rotation must be (S, {pose.shape[0]}, 3, 3) for pose {tuple(pose.shape)}, got {tuple(rotation.shape)}"
        )
    return _forward(pose.contiguous(), rotation.contiguous(), camera_depth, rms, rescale)


def _views(pose: Tensor, rotation: Tensor, camera_depth: float, rms: float, rescale: bool) -> tuple[Tensor, Tensor]:
    view, turned = reference.virtual_view(pose, rotation, camera_depth, rms, rescale)
    return view.contiguous(), turned.contiguous()


_forward = torch.library.custom_op("ites_fast::virtual_view", _views, mutates_args=())


@register_triton(_forward)
def _forward_cuda(pose, rotation, camera_depth, rms, rescale):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.virtual_view import virtual_view_fwd

    if not pose_tile.fits(pose, rotation):
        return _views(pose, rotation, camera_depth, rms, rescale)
    return virtual_view_fwd(pose, rotation, camera_depth, rms, rescale, reference.MIN_DEPTH, SMALLEST_RMS)


@_forward.register_fake
def _(pose, rotation, camera_depth, rms, rescale):
    shape = (*rotation.shape[:2], pose.shape[1])
    return pose.new_empty(*shape, 2), pose.new_empty(*shape, 3)


@_forward.register_vmap
def _(info, in_dims, pose, rotation, camera_depth, rms, rescale):
    pose, rotation = fold(pose, in_dims[0], 0, info), fold(rotation, in_dims[1], 1, info)
    view, turned = _forward(pose, rotation, camera_depth, rms, rescale)
    return (unfold(view, 1, info), unfold(turned, 1, info)), (1, 1)


def _gradients(
    grad_view: Tensor,
    grad_turned: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    rms: float,
    rescale: bool,
    with_rotation: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the pose and, where it is wanted, of the rotation; the latter is empty elsewhere."""
    turned = rotate(pose, rotation)  # (S, B, J, 3)
    distance = turned[..., 2] + camera_depth
    uv = turned[..., :2] / distance.clamp(min=reference.MIN_DEPTH)[..., None]
    if rescale:
        # k = rms / sqrt(q), q = max(mean_j |u_j|^2, eps^2): dk / du_j = -k u_j / (J q), and zero where q is eps^2
        square = uv.square().sum(dim=-1).mean(dim=-1)[..., None, None]  # (S, B, 1, 1)
        small = square < SMALLEST_RMS**2
        square = square.masked_fill(small, SMALLEST_RMS**2)
        scale = rms / square.sqrt()
        grad_scale = (grad_view * uv).sum(dim=(-2, -1)) + (grad_turned * turned).sum(dim=(-2, -1))
        inwards = (scale * grad_scale[..., None, None] / (uv.shape[-2] * square)).masked_fill(small, 0)
        grad_view, grad_turned = torch.addcmul(scale * grad_view, inwards, uv, value=-1), scale * grad_turned
    grad_rotated = project_backward(grad_view, uv, distance).add_(grad_turned)
    if with_rotation:
        return rotate_backward(grad_rotated, pose, rotation)
    return pose_gradient(grad_rotated, rotation), rotation.new_empty(0)


_backward = torch.library.custom_op("ites_fast::virtual_view_backward", _gradients, mutates_args=())


@register_triton(_backward)
def _backward_cuda(grad_view, grad_turned, pose, rotation, camera_depth, rms, rescale, with_rotation):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.virtual_view import virtual_view_bwd

    inputs = grad_view, grad_turned, pose, rotation, camera_depth, rms, rescale
    if not pose_tile.fits(pose, rotation):
        return _gradients(*inputs, with_rotation)
    return virtual_view_bwd(*inputs, reference.MIN_DEPTH, SMALLEST_RMS, with_rotation)


@_backward.register_fake
def _(grad_view, grad_turned, pose, rotation, camera_depth, rms, rescale, with_rotation):
    return torch.empty_like(pose), torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)


@_backward.register_vmap
def _(info, in_dims, grad_view, grad_turned, pose, rotation, camera_depth, rms, rescale, with_rotation):
    tensors = grad_view, grad_turned, pose, rotation
    folded = (fold(*each, info) for each in zip(tensors, in_dims[:4], (1, 1, 0, 1), strict=True))
    return unfold_gradients(_backward(*folded, camera_depth, rms, rescale, with_rotation), info)


def _setup_context(ctx, inputs, output) -> None:
    pose, rotation, *ctx.options = inputs
    ctx.save_for_backward(pose, rotation)


def _autograd(ctx, grad_view: Tensor, grad_turned: Tensor):
    with_rotation = ctx.needs_input_grad[1]
    grads = grad_view.contiguous(), grad_turned.contiguous()
    grad_pose, grad_rotation = _backward(*grads, *ctx.saved_tensors, *ctx.options, with_rotation)
    return grad_pose, grad_rotation if with_rotation else None, None, None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
