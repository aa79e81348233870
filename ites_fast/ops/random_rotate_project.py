"""Operator ``random_rotate_project``: Triton on CUDA, PyTorch elsewhere.

Formula: ``ites_fast.reference.random_rotate_project``.
"""

from typing import Literal

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.ops.rotate_project import distance, pose_gradient, project_backward
from ites_fast.reference.philox import philox_rotations


def random_rotate_project(
    pose: Tensor,
    seed: int,
    offset: int | Tensor,
    draws: int,
    axis: Literal["all", "vertical"],
    camera_depth: float,
    with_rotated: bool = False,
) -> tuple[Tensor, Tensor | None]:
    """Turn each root-relative pose by ``draws`` random rotations and project the results.

    The rotations are ``philox_rotations(seed, offset, (draws, B), axis)``: a function of their arguments, so nothing of
    them is kept for the backward, which draws them again. Differentiable in ``pose``. See
    ``reference.random_rotate_project``. On CUDA one Triton kernel forward and one backward, up to 256 joints, with
    float32 arithmetic for float32, float16 and bfloat16: rotations exist in registers only. float64 and more joints run
    in PyTorch, as everything does on the CPU.

    Every call of a run needs an ``offset`` of its own. An integer that counts calls does that, but a CUDA graph would
    replay it. There, let the offset be an int64 tensor on the poses' device and capture ``offset.add_(1)`` after the
    backward: each replay then turns the poses anew. Advanced between forward and backward, it raises an error.

    Args:
        pose: root-relative joints (B, J, 3), in body units.
        seed: 64-bit key of the generator, any integer that int64 holds.
        offset: counter of calls, an integer or an int64 tensor with one element on the poses' device.
        draws: number S of views of each pose.
        axis: "all" for an axis uniform on the sphere and an angle uniform in [0, pi), "vertical" for the camera's y and
            an angle uniform in [0, 2 pi).
        camera_depth: distance from the camera to the root joint, in body units.
        with_rotated: return the turned poses as well.

    Returns:
        Normalised image coordinates (S, B, J, 2), and the turned poses (S, B, J, 3) or None.

    Raises:
        ValueError: ``pose``, ``offset``, ``draws`` or ``axis`` is not as above.
    """
    if pose.ndim != 3 or pose.shape[-1] != 3:
        raise ValueError(f"pose must be (B, J, 3), got {tuple(pose.shape)}")
    if axis not in ("all", "vertical"):
        raise ValueError(f'axis must be "all" or "vertical", got {axis!r}')
    if draws < 0:
        raise ValueError(f"draws must not be negative, got {draws}")
    counter = offset if isinstance(offset, Tensor) else None
    if counter is not None and (counter.dtype, counter.numel(), counter.device) != (torch.int64, 1, pose.device):
        received = f"{counter.dtype} {tuple(counter.shape)} on {counter.device}"
        raise ValueError(f"offset must be an integer or one int64 on {pose.device}, got {received}")
    vertical = axis == "vertical"
    number = 0 if counter is not None else offset
    uv, rotated = _forward(pose.contiguous(), seed, number, counter, draws, vertical, camera_depth, with_rotated)
    return uv, rotated if with_rotated else None


def _draw(
    pose: Tensor,
    seed: int,
    offset: int,
    counter: Tensor | None,
    draws: int,
    vertical: bool,
    camera_depth: float,
    with_rotated: bool,
) -> tuple[Tensor, Tensor]:
    """The projections, and the turned poses where they are wanted; the latter are empty elsewhere."""
    offset, axis = offset if counter is None else counter, "vertical" if vertical else "all"
    uv, rotated = reference.random_rotate_project(pose, seed, offset, draws, axis, camera_depth)
    return uv.contiguous(), rotated.contiguous() if with_rotated else pose.new_empty(0)


_forward = torch.library.custom_op("ites_fast::random_rotate_project", _draw, mutates_args=())


@register_triton(_forward)
def _forward_cuda(pose, seed, offset, counter, draws, vertical, camera_depth, with_rotated):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.random_rotate_project import random_rotate_project_fwd

    inputs = pose, seed, offset, counter, draws, vertical, camera_depth
    if not pose_tile.fits(pose):
        return _draw(*inputs, with_rotated)
    return random_rotate_project_fwd(*inputs, reference.MIN_DEPTH, with_rotated)


@_forward.register_fake
def _(pose, seed, offset, counter, draws, vertical, camera_depth, with_rotated):
    rotated = pose.new_empty(draws, *pose.shape) if with_rotated else pose.new_empty(0)
    return pose.new_empty(draws, *pose.shape[:2], 2), rotated


def _gradient(
    grad_uv: Tensor,
    grad_rotated: Tensor | None,
    uv: Tensor,
    pose: Tensor,
    seed: int,
    offset: int,
    counter: Tensor | None,
    vertical: bool,
    camera_depth: float,
) -> Tensor:
    offset, axis = offset if counter is None else counter, "vertical" if vertical else "all"
    rotation = philox_rotations(seed, offset, uv.shape[:2], axis, device=pose.device, dtype=pose.dtype)
    gradient = project_backward(grad_uv, uv, distance(pose, rotation, camera_depth))
    return pose_gradient(gradient if grad_rotated is None else gradient.add_(grad_rotated), rotation)


_backward = torch.library.custom_op("ites_fast::random_rotate_project_backward", _gradient, mutates_args=())


@register_triton(_backward)
def _backward_cuda(grad_uv, grad_rotated, uv, pose, seed, offset, counter, vertical, camera_depth):
    from ites_fast.kernels import pose_tile
    from ites_fast.kernels.random_rotate_project import random_rotate_project_bwd

    if not pose_tile.fits(pose):
        return _gradient(grad_uv, grad_rotated, uv, pose, seed, offset, counter, vertical, camera_depth)
    drawn = seed, offset, counter, vertical
    return random_rotate_project_bwd(grad_uv, grad_rotated, pose, *drawn, camera_depth, reference.MIN_DEPTH)


@_backward.register_fake
def _(grad_uv, grad_rotated, uv, pose, seed, offset, counter, vertical, camera_depth):
    return torch.empty_like(pose)


def _setup_context(ctx, inputs, output) -> None:
    pose, ctx.seed, ctx.offset, counter, _, ctx.vertical, ctx.camera_depth, ctx.with_rotated = inputs
    ctx.save_for_backward(output[0], pose, counter)


def _autograd(ctx, grad_uv: Tensor, grad_rotated: Tensor):
    uv, pose, counter = ctx.saved_tensors
    grads = grad_uv.contiguous(), grad_rotated.contiguous() if ctx.with_rotated else None
    grad_pose = _backward(*grads, uv, pose, ctx.seed, ctx.offset, counter, ctx.vertical, ctx.camera_depth)
    return grad_pose, *[None] * 7


_forward.register_autograd(_autograd, setup_context=_setup_context)
