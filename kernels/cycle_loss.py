"""Triton kernels of ``cycle_loss`` and ``depth_cycle_loss``. Formulas: ``ites_fast.reference.cycle_loss``.

Each program owns BLOCK joints, whatever their poses, and goes through the S draws of each: the gradients of target and
pose are summed over draws inside one program. Only the gradient of a rotation is a sum over the joints of a pose; its
kernel owns whole poses, and runs where that gradient is wanted.

The forward kernels compute the loss alone and the backward kernels start again from the inputs. Both together read and
write 3 (S + 1) D numbers for a joint of D components, and 9 (S + 1) + 18 S / J in the depth cycle. A forward that also
wrote gradients, and a backward that scaled them, would take 4 (S + 1) D and 12 (S + 1) + 9 S / J: a third more, or a
quarter with S = 4 and J = 17, and would keep the gradients in memory in between.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels import reduce
from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.joints import load_joint, norm, norm_gradient, store_joint
from ites_fast.kernels.pose_tile import (
    DTYPES,
    MAX_JOINTS,
    load_rotation,
    store_rotation_gradient,
    tile,
    tile_joints,
    turn,
    turn_back,
)

BLOCK = 128  # joints of a program
POSE_WARPS = 2  # of a program that owns poses, whose tile has as many lanes


@triton.jit(do_not_specialize=["S", "joints"])
def _cycle_loss_fwd_kernel(
    prediction_ptr,  # (S, joints, D)
    target_ptr,  # (joints, D)
    partial_ptr,  # (programs,), float32, written
    S,
    joints,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    total = tl.zeros([BLOCK], tl.float32)
    start = tl.program_id(0).to(tl.int64) * BLOCK
    step = tl.num_programs(0).to(tl.int64) * BLOCK
    for first in range(start, joints, step):
        joint = first + tl.arange(0, BLOCK)
        mask = joint < joints
        x, y, z = load_joint(target_ptr, joint, mask, D)
        for _ in range(S):
            px, py, pz = load_joint(prediction_ptr, joint, mask, D)
            total += norm((px - x, py - y, pz - z))
            joint += joints
    tl.store(partial_ptr + tl.program_id(0), tl.sum(total))


@triton.jit(do_not_specialize=["S", "joints"])
def _cycle_loss_bwd_kernel(
    grad_loss_ptr,  # ()
    prediction_ptr,  # (S, joints, D)
    target_ptr,  # (joints, D)
    grad_prediction_ptr,  # (S, joints, D), written
    grad_target_ptr,  # (joints, D), written, or None
    S,
    joints,
    count,
    D: tl.constexpr,
    BLOCK: tl.constexpr,
):
    target = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = target < joints
    grad_loss = tl.load(grad_loss_ptr).to(tl.float32) / count
    x, y, z = load_joint(target_ptr, target, mask, D)
    sum_x, sum_y, sum_z = tl.zeros_like(x), tl.zeros_like(x), tl.zeros_like(x)
    joint = target
    for _ in range(S):
        px, py, pz = load_joint(prediction_ptr, joint, mask, D)
        gx, gy, gz = norm_gradient((px - x, py - y, pz - z), grad_loss)
        store_joint(grad_prediction_ptr, joint, mask, (gx, gy, gz), D)
        sum_x -= gx
        sum_y -= gy
        sum_z -= gz
        joint += joints
    if grad_target_ptr is not None:
        store_joint(grad_target_ptr, target, mask, (sum_x, sum_y, sum_z), D)


@triton.jit
def _lift_error(depth_ptr, uv_ptr, joint, mask, turned, camera_depth, min_depth):
    """Lifted joint minus turned joint (x, y, z); then u, v, the clamped distance and whether it was clamped."""
    depth = tl.load(depth_ptr + joint, mask=mask, other=0.0).to(tl.float32)
    u, v, _ = load_joint(uv_ptr, joint, mask, 2)
    clamped = depth + camera_depth < min_depth
    distance = tl.where(clamped, min_depth, depth + camera_depth)
    error = distance * u - turned[0], distance * v - turned[1], depth - turned[2]
    return error, u, v, distance, clamped


@triton.jit
def poses_of(first, J: tl.constexpr, BLOCK: tl.constexpr):
    """Which poses (BLOCK,) the joints from number ``first`` on belong to. Only the scalar division has 64 bits."""
    return first // J + (tl.cast(first % J, tl.int32) + tl.arange(0, BLOCK)) // J


@triton.jit(do_not_specialize=["S", "B", "joints"])
def _depth_cycle_loss_fwd_kernel(
    depth_ptr,  # (S, B, J)
    uv_ptr,  # (S, B, J, 2)
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    partial_ptr,  # (programs,), float32, written
    S,
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
        in_batch = pose < B
        own = load_joint(pose_ptr, joint, mask, 3)
        for _ in range(S):
            turned = turn(load_rotation(rotation_ptr, pose, in_batch), own)
            error, _, _, _, _ = _lift_error(depth_ptr, uv_ptr, joint, mask, turned, camera_depth, min_depth)
            total += tl.where(mask, norm(error), 0.0)
            joint += joints
            pose += B
    tl.store(partial_ptr + tl.program_id(0), tl.sum(tl.sum(total, 0), 0))


@triton.jit(do_not_specialize=["S", "B", "joints"])
def _depth_cycle_loss_bwd_kernel(
    grad_loss_ptr,  # ()
    depth_ptr,  # (S, B, J)
    uv_ptr,  # (S, B, J, 2)
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    grad_depth_ptr,  # (S, B, J), written
    grad_uv_ptr,  # (S, B, J, 2), written
    grad_pose_ptr,  # (B, J, 3), written
    S,
    B,
    joints,  # B * J
    count,
    camera_depth,
    min_depth,
    J: tl.constexpr,
    BLOCK: tl.constexpr,
):
    first = tl.program_id(0).to(tl.int64) * BLOCK
    target = (first + tl.arange(0, BLOCK))[None, :]  # (1, BLOCK)
    mask = target < joints
    pose = poses_of(first, J, BLOCK)
    in_batch = pose < B
    grad_loss = tl.load(grad_loss_ptr).to(tl.float32) / count
    own = load_joint(pose_ptr, target, mask, 3)
    sum_x, sum_y, sum_z = tl.zeros_like(own[0]), tl.zeros_like(own[0]), tl.zeros_like(own[0])
    joint = target
    for _ in range(S):
        rotation = load_rotation(rotation_ptr, pose, in_batch)
        error, u, v, distance, clamped = _lift_error(
            depth_ptr, uv_ptr, joint, mask, turn(rotation, own), camera_depth, min_depth
        )
        gx, gy, gz = norm_gradient(error, grad_loss)
        store_joint(grad_uv_ptr, joint, mask, (gx * distance, gy * distance, gz), 2)
        tl.store(grad_depth_ptr + joint, gz + tl.where(clamped, 0.0, gx * u + gy * v), mask=mask)
        x, y, z = turn_back(rotation, (gx, gy, gz))
        sum_x -= x
        sum_y -= y
        sum_z -= z
        joint += joints
        pose += B
    store_joint(grad_pose_ptr, target, mask, (sum_x, sum_y, sum_z), 3)


@triton.jit(do_not_specialize=["B", "views"])
def _depth_cycle_loss_rotation_bwd_kernel(
    grad_loss_ptr,  # ()
    depth_ptr,  # (S, B, J)
    uv_ptr,  # (S, B, J, 2)
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    grad_rotation_ptr,  # (S, B, 3, 3), written
    B,
    views,  # S * B
    count,
    camera_depth,
    min_depth,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    view, joint, mask = tile_joints(views, J, BLOCK_C, BLOCK_B, LANES)
    grad_loss = tl.load(grad_loss_ptr).to(tl.float32) / count
    own = load_joint(pose_ptr, joint - (view - view % B)[None, :] * J, mask, 3)
    turned = turn(load_rotation(rotation_ptr, view, view < views), own)
    error, _, _, _, _ = _lift_error(depth_ptr, uv_ptr, joint, mask, turned, camera_depth, min_depth)
    gradient = norm_gradient(error, -grad_loss)
    store_rotation_gradient(grad_rotation_ptr, 0, views, gradient, own, BLOCK_B, LANES)


def takes(*tensors: Tensor, joints: int = 1) -> bool:
    """Whether the kernels take these tensors: one supported dtype, none of them empty, joints of a pose."""
    dtype = tensors[0].dtype
    supported = dtype in DTYPES and joints <= MAX_JOINTS
    return supported and all(tensor.dtype == dtype and tensor.numel() > 0 for tensor in tensors)


def cycle_loss_fwd(prediction: Tensor, target: Tensor) -> Tensor:
    """The loss, a scalar, of contiguous predictions (S, B, J, D) and targets (B, J, D), none of them empty."""
    assert all(tensor.is_contiguous() for tensor in (prediction, target))
    S, B, J, D = prediction.shape
    partial = reduce.partial_sums(triton.cdiv(B * J, BLOCK), prediction)
    with torch.cuda.device_of(prediction):
        _cycle_loss_fwd_kernel[(len(partial),)](prediction, target, partial, S, B * J, D=D, BLOCK=BLOCK)
        return reduce.mean(partial, S * B * J, prediction.dtype)


def cycle_loss_bwd(grad_loss: Tensor, prediction: Tensor, target: Tensor, with_target: bool) -> tuple[Tensor, Tensor]:
    """Gradients of the prediction and, where it is wanted, of the target; the latter is empty elsewhere."""
    assert all(tensor.is_contiguous() for tensor in (prediction, target))
    S, B, J, D = prediction.shape
    grad_prediction = torch.empty_like(prediction)
    grad_target = torch.empty_like(target) if with_target else target.new_empty(0)
    with torch.cuda.device_of(prediction):
        _cycle_loss_bwd_kernel[(triton.cdiv(B * J, BLOCK),)](
            *(grad_loss, prediction, target, grad_prediction, grad_target if with_target else None),
            *(S, B * J, float(S * B * J), D, BLOCK),
        )
    return grad_prediction, grad_target


def depth_cycle_loss_fwd(
    depth: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float, min_depth: float
) -> Tensor:
    """The loss, a scalar, of contiguous inputs, none of them empty. Shapes: ``reference.depth_cycle_loss``."""
    assert all(tensor.is_contiguous() for tensor in (depth, uv, pose, rotation))
    S, B, J = depth.shape
    partial = reduce.partial_sums(triton.cdiv(B * J, BLOCK), depth)
    with torch.cuda.device_of(depth):
        _depth_cycle_loss_fwd_kernel[(len(partial),)](
            depth, uv, pose, rotation, partial, S, B, B * J, float(camera_depth), float(min_depth), J=J, BLOCK=BLOCK
        )
        return reduce.mean(partial, S * B * J, depth.dtype)


def depth_cycle_loss_bwd(
    grad_loss: Tensor,
    depth: Tensor,
    uv: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    min_depth: float,
    with_rotation: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Gradients of depth, uv, pose and, where it is wanted, of the rotation; the last is empty elsewhere."""
    inputs = depth, uv, pose, rotation
    assert all(tensor.is_contiguous() for tensor in inputs)
    S, B, J = depth.shape
    count, cameras = float(S * B * J), (float(camera_depth), float(min_depth))
    gradients = torch.empty_like(depth), torch.empty_like(uv), torch.empty_like(pose)
    grad_rotation = torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)
    with torch.cuda.device_of(depth):
        _depth_cycle_loss_bwd_kernel[(triton.cdiv(B * J, BLOCK),)](
            grad_loss, *inputs, *gradients, S, B, B * J, count, *cameras, J=J, BLOCK=BLOCK
        )
        if with_rotation:
            blocks = tile(J)
            _depth_cycle_loss_rotation_bwd_kernel[(triton.cdiv(S * B, blocks["BLOCK_B"]),)](
                grad_loss, *inputs, grad_rotation, B, S * B, count, *cameras, J, **blocks, num_warps=POSE_WARPS
            )
    return *gradients, grad_rotation


def _builds(J: int, D: int, dtype: str) -> list[Build]:
    inputs = ("prediction_ptr", "target_ptr", "depth_ptr", "uv_ptr", "pose_ptr", "rotation_ptr", "loss_ptr")
    pointers = dict.fromkeys([*inputs, *(f"grad_{name}" for name in inputs)], f"*{dtype}")
    sizes = dict.fromkeys(("S", "B", "joints", "views"), "i32")
    scalars = dict.fromkeys(("count", "camera_depth", "min_depth"), "fp32")
    types = pointers | {"partial_ptr": "*fp32"} | sizes | scalars
    flat, registers = {"BLOCK": BLOCK}, 64 if J <= 32 else 120
    return [
        Build(_cycle_loss_fwd_kernel, types, {"D": D} | flat, max_registers=32),
        Build(_cycle_loss_bwd_kernel, types, {"D": D} | flat, max_registers=40),
        Build(_depth_cycle_loss_fwd_kernel, types, {"J": J} | flat, max_registers=32),
        Build(_depth_cycle_loss_bwd_kernel, types, {"J": J} | flat, max_registers=40),
        Build(_depth_cycle_loss_rotation_bwd_kernel, types, {"J": J} | tile(J), POSE_WARPS, registers),
    ]


BUILDS = [*_builds(17, 3, "fp32"), *_builds(133, 2, "fp32"), *_builds(17, 2, "bf16")]
