"""Triton kernels of ``joint_errors`` and ``reprojection_loss``. Formulas: ``ites_fast.reference.pose_error``.

A program owns whole poses, for their root, their scale, and the gradients of those and of a rotation are sums over the
joints of a pose. Poses are read once forward and once backward, and only gradients, errors or their mean are written.
The forward of the reprojection needs no such sum and takes joints of any pose, as the kernels of ``cycle_loss`` do.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels import reduce
from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.cycle_loss import BLOCK, POSE_WARPS, poses_of
from ites_fast.kernels.joints import load_joint, norm, norm_gradient, store_joint
from ites_fast.kernels.pose_tile import (
    load_rotation,
    project,
    project_back,
    store_rotation_gradient,
    sum_over_joints,
    tile,
    tile_joints,
    turn,
    turn_back,
)


@triton.jit
def _centred(ptr, n, N, joint, mask, root, J: tl.constexpr):
    """Joints of a tile, relative to the root joint of their pose n where there is one, and 0 where masked."""
    x, y, z = load_joint(ptr, joint, mask, 3)
    if root is not None:
        root_x, root_y, root_z = load_joint(ptr, (n * J + root)[None, :], (n < N)[None, :], 3)
        x = tl.where(mask, x - root_x, 0.0)
        y = tl.where(mask, y - root_y, 0.0)
        z = tl.where(mask, z - root_z, 0.0)
    return x, y, z


@triton.jit
def _total(x, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """The sum over the joints of each pose, in every lane of the pose: (1, BLOCK_B * LANES)."""
    total = tl.broadcast_to(sum_over_joints(x, BLOCK_B, LANES)[:, None], [BLOCK_B, LANES])
    return tl.reshape(total, [1, BLOCK_B * LANES])


@triton.jit
def _dot(a, b, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """Sum of the products of two poses (1, BLOCK_B * LANES)."""
    return _total(a[0] * b[0] + a[1] * b[1] + a[2] * b[2], BLOCK_B, LANES)


@triton.jit
def _over_size(x, size):
    """What was multiplied with a prediction, over its size; of one without extent, whose size is 0, it is 0 already."""
    return x / tl.where(size == 0, 1.0, size)


@triton.jit(do_not_specialize=["N", "root"])
def _joint_errors_fwd_kernel(
    pred_ptr,  # (N, J, 3)
    target_ptr,  # (N, J, 3)
    errors_ptr,  # (N, J), or (N,) without PER_JOINT, written
    N,
    root,  # or None
    WITH_SCALE: tl.constexpr,
    PER_JOINT: tl.constexpr,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    n, joint, mask = tile_joints(N, J, BLOCK_C, BLOCK_B, LANES)
    pred = _centred(pred_ptr, n, N, joint, mask, root, J)
    target = _centred(target_ptr, n, N, joint, mask, root, J)
    scale = 1.0
    if WITH_SCALE:
        scale = _over_size(_dot(pred, target, BLOCK_B, LANES), _dot(pred, pred, BLOCK_B, LANES))
    errors = norm((scale * pred[0] - target[0], scale * pred[1] - target[1], scale * pred[2] - target[2]))
    if PER_JOINT:
        tl.store(errors_ptr + joint, errors, mask=mask)
    else:
        own = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)  # n has a pose in each of its lanes
        tl.store(errors_ptr + own, sum_over_joints(errors, BLOCK_B, LANES) / J, mask=own < N)


@triton.jit
def _store_gradient(ptr, n, joint, mask, gradient, root, J: tl.constexpr, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """Store the gradient of centred joints, after the root gave back what centring took from all joints."""
    x, y, z = gradient
    if root is not None:
        is_root = joint == (n * J + root)[None, :]
        x -= tl.where(is_root, _total(x, BLOCK_B, LANES), 0.0)
        y -= tl.where(is_root, _total(y, BLOCK_B, LANES), 0.0)
        z -= tl.where(is_root, _total(z, BLOCK_B, LANES), 0.0)
    store_joint(ptr, joint, mask, (x, y, z), 3)


@triton.jit(do_not_specialize=["N", "root"])
def _joint_errors_bwd_kernel(
    grad_errors_ptr,  # (N, J), or (N,) without PER_JOINT
    pred_ptr,  # (N, J, 3)
    target_ptr,  # (N, J, 3)
    grad_pred_ptr,  # (N, J, 3), written
    grad_target_ptr,  # (N, J, 3), written, or None
    N,
    root,  # or None
    WITH_SCALE: tl.constexpr,
    PER_JOINT: tl.constexpr,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    n, joint, mask = tile_joints(N, J, BLOCK_C, BLOCK_B, LANES)
    px, py, pz = _centred(pred_ptr, n, N, joint, mask, root, J)
    tx, ty, tz = _centred(target_ptr, n, N, joint, mask, root, J)
    if PER_JOINT:
        grad_errors = tl.load(grad_errors_ptr + joint, mask=mask, other=0.0).to(tl.float32)
    else:
        grad_errors = tl.load(grad_errors_ptr + n, mask=n < N, other=0.0).to(tl.float32)[None, :] / J
    if WITH_SCALE:
        size = _dot((px, py, pz), (px, py, pz), BLOCK_B, LANES)
        scale = _over_size(_dot((px, py, pz), (tx, ty, tz), BLOCK_B, LANES), size)
        gx, gy, gz = norm_gradient((scale * px - tx, scale * py - ty, scale * pz - tz), grad_errors)
        # the scale's own gradient goes to the prediction times (t - 2 s p) / size, to the target times p / size
        grad_scale = _over_size(_dot((gx, gy, gz), (px, py, pz), BLOCK_B, LANES), size)
        grad_pred = (
            scale * gx + grad_scale * (tx - 2 * scale * px),
            scale * gy + grad_scale * (ty - 2 * scale * py),
            scale * gz + grad_scale * (tz - 2 * scale * pz),
        )
        grad_target = grad_scale * px - gx, grad_scale * py - gy, grad_scale * pz - gz
    else:
        gx, gy, gz = norm_gradient((px - tx, py - ty, pz - tz), grad_errors)
        grad_pred = gx, gy, gz
        grad_target = -gx, -gy, -gz
    _store_gradient(grad_pred_ptr, n, joint, mask, grad_pred, root, J, BLOCK_B, LANES)
    if grad_target_ptr is not None:
        _store_gradient(grad_target_ptr, n, joint, mask, grad_target, root, J, BLOCK_B, LANES)


@triton.jit(do_not_specialize=["B", "joints"])
def _reprojection_loss_fwd_kernel(
    canonical_ptr,  # (B, J, 3)
    rotation_ptr,  # (B, 3, 3)
    pose_2d_ptr,  # (B, J, 2)
    partial_ptr,  # (programs,), float32, written
    B,
    joints,  # B * J
    camera_depth,
    min_depth,
    J: tl.constexpr,
    BLOCK: tl.constexpr,
):
    total = tl.zeros([1, BLOCK], tl.float32)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    step = tl.num_programs(0).to(tl.int64) * BLOCK
    for first in range(start, joints, step):
        joint = (first + tl.arange(0, BLOCK))[None, :]  # (1, BLOCK)
        mask = joint < joints
        pose = poses_of(first, J, BLOCK)
        rotation = load_rotation(rotation_ptr, pose, pose < B)
        turned = turn(rotation, load_joint(canonical_ptr, joint, mask, 3))
        u, v, _, _ = project(turned, camera_depth, min_depth)
        x, y, zero = load_joint(pose_2d_ptr, joint, mask, 2)
        total += tl.where(mask, norm((u - x, v - y, zero)), 0.0)
    tl.store(partial_ptr + tl.program_id(0), tl.sum(tl.sum(total, 0), 0))


@triton.jit(do_not_specialize=["B"])
def _reprojection_loss_bwd_kernel(
    grad_loss_ptr,  # ()
    canonical_ptr,  # (B, J, 3)
    rotation_ptr,  # (B, 3, 3)
    pose_2d_ptr,  # (B, J, 2)
    grad_canonical_ptr,  # (B, J, 3), written
    grad_rotation_ptr,  # (B, 3, 3), written
    grad_pose_2d_ptr,  # (B, J, 2), written, or None
    B,
    count,
    camera_depth,
    min_depth,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    grad_loss = tl.load(grad_loss_ptr).to(tl.float32) / count
    canonical = load_joint(canonical_ptr, joint, mask, 3)
    rotation = load_rotation(rotation_ptr, b, b < B)
    u, v, inverse, clamped = project(turn(rotation, canonical), camera_depth, min_depth)
    x, y, zero = load_joint(pose_2d_ptr, joint, mask, 2)
    gu, gv, _ = norm_gradient((u - x, v - y, zero), grad_loss)
    gradient = project_back(gu, gv, u, v, inverse, clamped)
    store_joint(grad_canonical_ptr, joint, mask, turn_back(rotation, gradient), 3)
    store_rotation_gradient(grad_rotation_ptr, 0, B, gradient, canonical, BLOCK_B, LANES)
    if grad_pose_2d_ptr is not None:
        store_joint(grad_pose_2d_ptr, joint, mask, (-gu, -gv, zero), 2)


def joint_errors_fwd(pred: Tensor, target: Tensor, root: int | None, with_scale: bool, per_joint: bool) -> Tensor:
    """Errors (N, J), or their mean (N,), of contiguous poses (N, J, 3), none of them empty."""
    assert all(tensor.is_contiguous() for tensor in (pred, target))
    N, J, _ = pred.shape
    errors, blocks = pred.new_empty((N, J) if per_joint else N), tile(J)
    with torch.cuda.device_of(pred):
        _joint_errors_fwd_kernel[(triton.cdiv(N, blocks["BLOCK_B"]),)](
            pred, target, errors, N, root, with_scale, per_joint, J, **blocks, num_warps=POSE_WARPS
        )
    return errors


def joint_errors_bwd(
    grad_errors: Tensor,
    pred: Tensor,
    target: Tensor,
    root: int | None,
    with_scale: bool,
    per_joint: bool,
    with_target: bool,
) -> tuple[Tensor, Tensor]:
    """Gradients of the prediction and, where it is wanted, of the target; the latter is empty elsewhere."""
    assert all(tensor.is_contiguous() for tensor in (grad_errors, pred, target))
    N, J, _ = pred.shape
    grad_pred, blocks = torch.empty_like(pred), tile(J)
    grad_target = torch.empty_like(target) if with_target else None
    with torch.cuda.device_of(pred):
        _joint_errors_bwd_kernel[(triton.cdiv(N, blocks["BLOCK_B"]),)](
            *(grad_errors, pred, target, grad_pred, grad_target),
            *(N, root, with_scale, per_joint, J),
            **blocks,
            num_warps=POSE_WARPS,
        )
    return grad_pred, grad_target if with_target else target.new_empty(0)


def reprojection_loss_fwd(
    canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float, min_depth: float
) -> Tensor:
    """The loss, a scalar, of contiguous inputs, none of them empty. Shapes: ``reference.reprojection_loss``."""
    inputs = canonical, rotation, pose_2d
    assert all(tensor.is_contiguous() for tensor in inputs)
    B, J, _ = canonical.shape
    partial = reduce.partial_sums(triton.cdiv(B * J, BLOCK), canonical)
    with torch.cuda.device_of(canonical):
        _reprojection_loss_fwd_kernel[(len(partial),)](
            *inputs, partial, B, B * J, float(camera_depth), float(min_depth), J, BLOCK
        )
        return reduce.mean(partial, B * J, canonical.dtype)


def reprojection_loss_bwd(
    grad_loss: Tensor,
    canonical: Tensor,
    rotation: Tensor,
    pose_2d: Tensor,
    camera_depth: float,
    min_depth: float,
    with_pose_2d: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of pose, rotation and, where it is wanted, of the input; the last is empty elsewhere."""
    inputs = canonical, rotation, pose_2d
    assert all(tensor.is_contiguous() for tensor in inputs)
    B, J, _ = canonical.shape
    grads = torch.empty_like(canonical), torch.empty_like(rotation)
    grad_pose_2d = torch.empty_like(pose_2d) if with_pose_2d else None
    scalars, blocks = (float(B * J), float(camera_depth), float(min_depth)), tile(J)
    with torch.cuda.device_of(canonical):
        _reprojection_loss_bwd_kernel[(triton.cdiv(B, blocks["BLOCK_B"]),)](
            grad_loss, *inputs, *grads, grad_pose_2d, B, *scalars, J, **blocks, num_warps=POSE_WARPS
        )
    return *grads, grad_pose_2d if with_pose_2d else pose_2d.new_empty(0)


def _builds(J: int, dtype: str, with_scale: bool, per_joint: bool) -> list[Build]:
    inputs = ("pred_ptr", "target_ptr", "errors_ptr", "canonical_ptr", "rotation_ptr", "pose_2d_ptr", "loss_ptr")
    pointers = dict.fromkeys([*inputs, *(f"grad_{name}" for name in inputs)], f"*{dtype}")
    sizes = dict.fromkeys(("N", "B", "joints", "root"), "i32")
    scalars = dict.fromkeys(("count", "camera_depth", "min_depth"), "fp32")
    types = pointers | {"partial_ptr": "*fp32"} | sizes | scalars
    blocks, flags = {"J": J, **tile(J)}, {"WITH_SCALE": with_scale, "PER_JOINT": per_joint}
    fwd, bwd, loss = (56, 80, 112) if J <= 32 else (96, 128, 184)  # registers
    return [
        Build(_joint_errors_fwd_kernel, types, flags | blocks, POSE_WARPS, fwd),
        Build(_joint_errors_bwd_kernel, types, flags | blocks, POSE_WARPS, bwd),
        Build(_reprojection_loss_fwd_kernel, types, {"J": J, "BLOCK": BLOCK}, max_registers=32),
        Build(_reprojection_loss_bwd_kernel, types, blocks, POSE_WARPS, loss),
    ]


BUILDS = [*_builds(17, "fp32", True, False), *_builds(133, "fp32", True, True), *_builds(17, "bf16", False, False)]
