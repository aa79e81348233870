"""Operators ``joint_errors`` and ``reprojection_loss``. Formulas: ``ites_fast.reference.pose_error``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.ops.cycle_loss import distance_gradient
from ites_fast.ops.rotate_project import distance, project_backward, rotate_backward


def joint_errors(pred: Tensor, target: Tensor, *, root: int | None = 0, with_scale: bool = False) -> Tensor:
    """Distance of each joint from its true place, relative to the root joint. See ``reference.joint_errors``.

    Differentiable in both poses; the gradient of a zero distance is zero, and so is that of the scale of a prediction
    without extent.

    Args:
        pred: predicted joints (N, J, 3).
        target: true joints (N, J, 3), same frame.
        root: index of the root joint; None: the poses are compared where they are.
        with_scale: whether to fit one least-squares scale to each pose.

    Returns:
        Distances (N, J) in the unit of ``target``. A joint that is not finite spoils its own pose only.

    Raises:
        ValueError: the shapes do not fit, or there is no such root joint.
    """
    return _errors(pred, target, root, with_scale, per_joint=True)


def mpjpe(pred: Tensor, target: Tensor, *, root: int | None = 0) -> Tensor:
    """Mean of ``joint_errors`` over the joints of each pose (N,), without a scale."""
    return _errors(pred, target, root, with_scale=False, per_joint=False)


def n_mpjpe(pred: Tensor, target: Tensor, *, root: int | None = 0) -> Tensor:
    """Mean of ``joint_errors`` over the joints of each pose (N,), after one least-squares scale for each pose."""
    return _errors(pred, target, root, with_scale=True, per_joint=False)


def reprojection_loss(canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float) -> Tensor:
    """Mean distance in the image between projected joints and their input. See ``reference.reprojection_loss``.

    Differentiable in everything but the camera's depth; the gradient of a zero distance is zero.

    Args:
        canonical: poses in the dictionary's frame (B, J, 3).
        rotation: from that frame to the camera's, acting on column vectors (B, 3, 3).
        pose_2d: the normalised input (B, J, 2).
        camera_depth: distance from the camera to the root joint.

    Returns:
        A scalar in normalised image coordinates.

    Raises:
        ValueError: the shapes do not fit.
    """
    if canonical.ndim != 3 or canonical.shape[2] != 3:
        raise ValueError(f"canonical must be (B, J, 3), got {tuple(canonical.shape)}")
    B, J, _ = canonical.shape
    for name, tensor, shape in (("rotation", rotation, (B, 3, 3)), ("pose_2d", pose_2d, (B, J, 2))):
        if tensor.shape != shape:
            raise ValueError(f"{name} must be {shape} for canonical {(B, J, 3)}, got {tuple(tensor.shape)}")
    return _loss(canonical.contiguous(), rotation.contiguous(), pose_2d.contiguous(), camera_depth)


def _errors(pred: Tensor, target: Tensor, root: int | None, with_scale: bool, per_joint: bool) -> Tensor:
    if pred.ndim != 3 or pred.shape[2] != 3:
        raise ValueError(f"pred must be (N, J, 3), got {tuple(pred.shape)}")
    if target.shape != pred.shape:
        raise ValueError(f"target must be {tuple(pred.shape)} like pred, got {tuple(target.shape)}")
    if root is not None and not 0 <= root < pred.shape[1]:
        raise ValueError(f"root must be one of {pred.shape[1]} joints, got {root}")
    return _forward(pred.contiguous(), target.contiguous(), root, with_scale, per_joint)


def _reference_errors(pred: Tensor, target: Tensor, root: int | None, with_scale: bool, per_joint: bool) -> Tensor:
    errors = reference.joint_errors(pred, target, root, with_scale)
    return errors if per_joint else errors.mean(dim=1)


@torch.library.custom_op("ites_fast::joint_errors", mutates_args=())
def _forward(pred: Tensor, target: Tensor, root: int | None, with_scale: bool, per_joint: bool) -> Tensor:
    """Errors (N, J), or their mean over joints (N,)."""
    return _reference_errors(pred, target, root, with_scale, per_joint)


@register_triton(_forward)
def _forward_cuda(pred, target, root, with_scale, per_joint):
    from ites_fast.kernels.cycle_loss import takes
    from ites_fast.kernels.pose_error import joint_errors_fwd

    if takes(pred, target, joints=pred.shape[1]):
        return joint_errors_fwd(pred, target, root, with_scale, per_joint)
    return _reference_errors(pred, target, root, with_scale, per_joint)


@_forward.register_fake
def _(pred, target, root, with_scale, per_joint):
    return pred.new_empty(pred.shape[:2] if per_joint else pred.shape[:1])


def _gradients(
    grad_errors: Tensor,
    pred: Tensor,
    target: Tensor,
    root: int | None,
    with_scale: bool,
    per_joint: bool,
    with_target: bool,
) -> tuple[Tensor, Tensor]:
    if not per_joint:
        grad_errors = (grad_errors / pred.shape[1])[:, None].expand(pred.shape[:2])
    if root is not None:
        pred, target = pred - pred[:, root : root + 1], target - target[:, root : root + 1]
    if not with_scale:
        grad_pred = _weighted_units(pred - target, grad_errors)
        grad_target = -grad_pred
    else:
        size = pred.square().sum(dim=(1, 2), keepdim=True)  # (N, 1, 1)
        reciprocal = torch.where(size == 0, 0, 1 / size)
        scale = (pred * target).sum(dim=(1, 2), keepdim=True) * reciprocal
        unit = _weighted_units(scale * pred - target, grad_errors)
        # the scale's own gradient, over the size
        grad_scale = (unit * pred).sum(dim=(1, 2), keepdim=True) * reciprocal
        grad_pred = scale * unit + grad_scale * (target - 2 * scale * pred)
        grad_target = grad_scale * pred - unit
    if root is not None:
        for grad in (grad_pred, grad_target) if with_target else (grad_pred,):
            grad[:, root] -= grad.sum(dim=1)
    return grad_pred.contiguous(), grad_target.contiguous() if with_target else target.new_empty(0)


def _weighted_units(error: Tensor, weight: Tensor) -> Tensor:
    """Unit vectors along ``error`` (N, J, 3) times weights (N, J), and zero where the error has no length."""
    norm = torch.linalg.vector_norm(error, dim=-1)
    return error * torch.where(norm == 0, 0, weight / norm)[..., None]


@torch.library.custom_op("ites_fast::joint_errors_backward", mutates_args=())
def _backward(
    grad_errors: Tensor,
    pred: Tensor,
    target: Tensor,
    root: int | None,
    with_scale: bool,
    per_joint: bool,
    with_target: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the prediction and, where it is wanted, of the target; the latter is empty elsewhere."""
    return _gradients(grad_errors, pred, target, root, with_scale, per_joint, with_target)


@register_triton(_backward)
def _backward_cuda(grad_errors, pred, target, root, with_scale, per_joint, with_target):
    from ites_fast.kernels.cycle_loss import takes
    from ites_fast.kernels.pose_error import joint_errors_bwd

    if takes(pred, target, grad_errors, joints=pred.shape[1]):
        return joint_errors_bwd(grad_errors, pred, target, root, with_scale, per_joint, with_target)
    return _gradients(grad_errors, pred, target, root, with_scale, per_joint, with_target)


@_backward.register_fake
def _(grad_errors, pred, target, root, with_scale, per_joint, with_target):
    return torch.empty_like(pred), torch.empty_like(target) if with_target else target.new_empty(0)


def _setup_context(ctx, inputs, output) -> None:
    pred, target, *ctx.options = inputs
    ctx.save_for_backward(pred, target)


def _autograd(ctx, grad_errors: Tensor):
    with_target = ctx.needs_input_grad[1]
    grad_pred, grad_target = _backward(grad_errors.contiguous(), *ctx.saved_tensors, *ctx.options, with_target)
    return grad_pred, grad_target if with_target else None, None, None, None


@torch.library.custom_op("ites_fast::reprojection_loss", mutates_args=())
def _loss(canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float) -> Tensor:
    return reference.reprojection_loss(canonical, rotation, pose_2d, camera_depth)


@register_triton(_loss)
def _loss_cuda(canonical, rotation, pose_2d, camera_depth):
    from ites_fast.kernels.cycle_loss import takes
    from ites_fast.kernels.pose_error import reprojection_loss_fwd

    if takes(canonical, rotation, pose_2d, joints=canonical.shape[1]):
        return reprojection_loss_fwd(canonical, rotation, pose_2d, camera_depth, reference.MIN_DEPTH)
    return reference.reprojection_loss(canonical, rotation, pose_2d, camera_depth)


@_loss.register_fake
def _(canonical, rotation, pose_2d, camera_depth):
    return canonical.new_empty(())


def _loss_gradients(
    grad_loss: Tensor, canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float, with_pose_2d: bool
) -> tuple[Tensor, Tensor, Tensor]:
    uv = reference.rotate_project(canonical, rotation, camera_depth)  # (B, J, 2)
    grad_uv = distance_gradient(uv - pose_2d, grad_loss)
    draws = rotation[None]  # one a pose
    grad_turned = project_backward(grad_uv[None], uv[None], distance(canonical, draws, camera_depth))
    grad_canonical, grad_rotation = rotate_backward(grad_turned, canonical, draws)
    return grad_canonical, grad_rotation[0], -grad_uv if with_pose_2d else pose_2d.new_empty(0)


@torch.library.custom_op("ites_fast::reprojection_loss_backward", mutates_args=())
def _loss_backward(
    grad_loss: Tensor, canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float, with_pose_2d: bool
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of the tensors; that of the input is empty where it is not wanted."""
    return _loss_gradients(grad_loss, canonical, rotation, pose_2d, camera_depth, with_pose_2d)


@register_triton(_loss_backward)
def _loss_backward_cuda(grad_loss, canonical, rotation, pose_2d, camera_depth, with_pose_2d):
    from ites_fast.kernels.cycle_loss import takes
    from ites_fast.kernels.pose_error import reprojection_loss_bwd

    inputs = canonical, rotation, pose_2d
    if takes(*inputs, joints=canonical.shape[1]):
        return reprojection_loss_bwd(grad_loss, *inputs, camera_depth, reference.MIN_DEPTH, with_pose_2d)
    return _loss_gradients(grad_loss, *inputs, camera_depth, with_pose_2d)


@_loss_backward.register_fake
def _(grad_loss, canonical, rotation, pose_2d, camera_depth, with_pose_2d):
    grad_pose_2d = torch.empty_like(pose_2d) if with_pose_2d else pose_2d.new_empty(0)
    return torch.empty_like(canonical), torch.empty_like(rotation), grad_pose_2d


def _loss_setup_context(ctx, inputs, output) -> None:
    *tensors, ctx.camera_depth = inputs
    ctx.save_for_backward(*tensors)


def _loss_autograd(ctx, grad_loss: Tensor):
    with_pose_2d = ctx.needs_input_grad[2]
    *gradients, grad_pose_2d = _loss_backward(grad_loss, *ctx.saved_tensors, ctx.camera_depth, with_pose_2d)
    return *gradients, grad_pose_2d if with_pose_2d else None, None


_forward.register_autograd(_autograd, setup_context=_setup_context)
_loss.register_autograd(_loss_autograd, setup_context=_loss_setup_context)
