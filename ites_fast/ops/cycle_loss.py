"""Operators ``cycle_loss`` and ``depth_cycle_loss``. Formulas: ``ites_fast.reference.cycle_loss``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.reference.rotate_project import rotate, unproject


def cycle_loss(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean distance between predicted and target joints; the gradient of a zero distance is zero.

    Args:
        prediction: joints (B, J, D), or S predictions for each target (S, B, J, D).
        target: joints (B, J, D), D = 2 in the image and 3 in space. Differentiable, as is the prediction.

    Returns:
        A scalar in the units of the joints. See ``reference.cycle_loss``.

    Raises:
        ValueError: the shapes do not fit.
    """
    if target.ndim != 3:
        raise ValueError(f"target must be (B, J, D), got {tuple(target.shape)}")
    if prediction.ndim not in (3, 4) or prediction.shape[-3:] != target.shape:
        raise ValueError(f"prediction must be {tuple(target.shape)} or S of these, got {tuple(prediction.shape)}")
    draws = prediction if prediction.ndim == 4 else prediction[None]
    return _forward(draws.contiguous(), target.contiguous())


def depth_cycle_loss(depth: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    """Rotation equivariance of a network that answers ``depth`` to ``uv = rotate_project(pose, rotation)``.

    Differentiable in everything but the camera's depth. See ``reference.depth_cycle_loss``.

    Args:
        depth: predicted depth offsets (S, B, J).
        uv: the projected poses that were given to the network (S, B, J, 2).
        pose: the poses before their rotation (B, J, 3).
        rotation: the rotations, acting on column vectors (S, B, 3, 3).
        camera_depth: distance from the camera to the root joint.

    Returns:
        A scalar in the units of ``pose``.

    Raises:
        ValueError: the shapes do not fit.
    """
    if depth.ndim != 3:
        raise ValueError(f"depth must be (S, B, J), got {tuple(depth.shape)}")
    S, B, J = depth.shape
    expected = {"uv": (uv, (S, B, J, 2)), "pose": (pose, (B, J, 3)), "rotation": (rotation, (S, B, 3, 3))}
    for name, (tensor, shape) in expected.items():
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {shape} for depth {(S, B, J)}, got {tuple(tensor.shape)}")
    return _depth_forward(depth.contiguous(), uv.contiguous(), pose.contiguous(), rotation.contiguous(), camera_depth)


@torch.library.custom_op("ites_fast::cycle_loss", mutates_args=())
def _forward(prediction: Tensor, target: Tensor) -> Tensor:
    return reference.cycle_loss(prediction, target)


@register_triton(_forward)
def _forward_cuda(prediction, target):
    from ites_fast.kernels.cycle_loss import cycle_loss_fwd, takes

    if prediction.shape[-1] in (2, 3) and takes(prediction, target):
        return cycle_loss_fwd(prediction, target)
    return reference.cycle_loss(prediction, target)


@_forward.register_fake
def _(prediction, target):
    return prediction.new_empty(())


def _gradients(grad_loss: Tensor, prediction: Tensor, target: Tensor, with_target: bool) -> tuple[Tensor, Tensor]:
    grad_prediction = distance_gradient(prediction - target, grad_loss)
    return grad_prediction, -grad_prediction.sum(dim=0) if with_target else target.new_empty(0)


@torch.library.custom_op("ites_fast::cycle_loss_backward", mutates_args=())
def _backward(grad_loss: Tensor, prediction: Tensor, target: Tensor, with_target: bool) -> tuple[Tensor, Tensor]:
    """Gradients of the prediction and, where it is wanted, of the target; the latter is empty elsewhere."""
    return _gradients(grad_loss, prediction, target, with_target)


@register_triton(_backward)
def _backward_cuda(grad_loss, prediction, target, with_target):
    from ites_fast.kernels.cycle_loss import cycle_loss_bwd, takes

    if prediction.shape[-1] in (2, 3) and takes(prediction, target):
        return cycle_loss_bwd(grad_loss, prediction, target, with_target)
    return _gradients(grad_loss, prediction, target, with_target)


@_backward.register_fake
def _(grad_loss, prediction, target, with_target):
    return torch.empty_like(prediction), torch.empty_like(target) if with_target else target.new_empty(0)


@torch.library.custom_op("ites_fast::depth_cycle_loss", mutates_args=())
def _depth_forward(depth: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    return reference.depth_cycle_loss(depth, uv, pose, rotation, camera_depth)


@register_triton(_depth_forward)
def _depth_forward_cuda(depth, uv, pose, rotation, camera_depth):
    from ites_fast.kernels.cycle_loss import depth_cycle_loss_fwd, takes

    if takes(depth, uv, pose, rotation, joints=depth.shape[2]):
        return depth_cycle_loss_fwd(depth, uv, pose, rotation, camera_depth, reference.MIN_DEPTH)
    return reference.depth_cycle_loss(depth, uv, pose, rotation, camera_depth)


@_depth_forward.register_fake
def _(depth, uv, pose, rotation, camera_depth):
    return depth.new_empty(())


def _depth_gradients(
    grad_loss: Tensor,
    depth: Tensor,
    uv: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    with_rotation: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    error = unproject(uv, depth, camera_depth) - rotate(pose, rotation)  # (S, B, J, 3)
    grad_joint = distance_gradient(error, grad_loss)
    grad_xy, grad_z = grad_joint[..., :2], grad_joint[..., 2]
    distance = depth + camera_depth
    grad_uv = grad_xy * distance.clamp(min=reference.MIN_DEPTH)[..., None]
    grad_depth = grad_z + (grad_xy * uv).sum(dim=-1) * (distance >= reference.MIN_DEPTH)
    grad_pose = torch.einsum("sbji,sbik->bjk", -grad_joint, rotation).contiguous()
    if not with_rotation:
        return grad_depth, grad_uv, grad_pose, rotation.new_empty(0)
    return grad_depth, grad_uv, grad_pose, torch.einsum("sbji,bjk->sbik", -grad_joint, pose).contiguous()


@torch.library.custom_op("ites_fast::depth_cycle_loss_backward", mutates_args=())
def _depth_backward(
    grad_loss: Tensor,
    depth: Tensor,
    uv: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    with_rotation: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the tensors; that of the rotation is empty where it is not wanted."""
    return _depth_gradients(grad_loss, depth, uv, pose, rotation, camera_depth, with_rotation)


@register_triton(_depth_backward)
def _depth_backward_cuda(grad_loss, depth, uv, pose, rotation, camera_depth, with_rotation):
    from ites_fast.kernels.cycle_loss import depth_cycle_loss_bwd, takes

    inputs = depth, uv, pose, rotation
    if takes(*inputs, joints=depth.shape[2]):
        return depth_cycle_loss_bwd(grad_loss, *inputs, camera_depth, reference.MIN_DEPTH, with_rotation)
    return _depth_gradients(grad_loss, *inputs, camera_depth, with_rotation)


@_depth_backward.register_fake
def _(grad_loss, depth, uv, pose, rotation, camera_depth, with_rotation):
    grad_rotation = torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)
    return torch.empty_like(depth), torch.empty_like(uv), torch.empty_like(pose), grad_rotation


def distance_gradient(error: Tensor, grad_loss: Tensor) -> Tensor:
    """Gradient of the mean norm of ``error`` (..., D) with respect to it: unit vectors over their number."""
    norm = torch.linalg.vector_norm(error, dim=-1, keepdim=True)
    unit = (error / norm).masked_fill_(norm == 0, 0)
    return (unit * (grad_loss / max(norm.numel(), 1))).contiguous()


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, grad_loss: Tensor):
    with_target = ctx.needs_input_grad[1]
    grad_prediction, grad_target = _backward(grad_loss, *ctx.saved_tensors, with_target)
    return grad_prediction, grad_target if with_target else None


def _depth_setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.camera_depth = inputs
    ctx.save_for_backward(*tensors)


def _depth_autograd(ctx, grad_loss: Tensor):
    with_rotation = ctx.needs_input_grad[3]
    *gradients, grad_rotation = _depth_backward(grad_loss, *ctx.saved_tensors, ctx.camera_depth, with_rotation)
    return *gradients, grad_rotation if with_rotation else None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
_depth_forward.register_autograd(_depth_autograd, setup_context=_depth_setup_context)
