"""Triton kernels of ``rotate_project``. Formula: ``ites_fast.reference.rotate_project``.

A program owns whole poses (``pose_tile``) and goes through their draws one after the other: it reads each pose once,
and sums the gradient of a pose over its draws in registers. The backward computes the turned joints again.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.pose_tile import (
    load_image,
    load_joints,
    load_rotation,
    project,
    project_back,
    store_image,
    store_joints,
    store_rotation_gradient,
    tile,
    tile_joints,
    turn,
    turn_back,
)

WARPS = 2


@triton.jit(do_not_specialize=["S", "B"])
def _rotate_project_fwd_kernel(
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    uv_ptr,  # (S, B, J, 2), written
    camera_depth: tl.float32,
    min_depth: tl.float32,
    S,
    B,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    joints = load_joints(pose_ptr, joint, mask)
    for s in range(S):
        draw = tl.cast(s, tl.int64) * B
        turned = turn(load_rotation(rotation_ptr, draw + b, b < B), joints)
        u, v, _, _ = project(turned, camera_depth, min_depth)
        store_image(uv_ptr, draw * J + joint, u, v, mask)


@triton.jit(do_not_specialize=["S", "B"])
def _rotate_project_bwd_kernel(
    grad_uv_ptr,  # (S, B, J, 2)
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    grad_pose_ptr,  # (B, J, 3), written
    grad_rotation_ptr,  # (S, B, 3, 3), written, or None
    camera_depth: tl.float32,
    min_depth: tl.float32,
    S,
    B,
    J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    joints = load_joints(pose_ptr, joint, mask)
    sum_x = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    sum_y = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    sum_z = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    for s in range(S):
        draw = tl.cast(s, tl.int64) * B
        rotation = load_rotation(rotation_ptr, draw + b, b < B)
        u, v, inverse, clamped = project(turn(rotation, joints), camera_depth, min_depth)
        grad_u, grad_v = load_image(grad_uv_ptr, draw * J + joint, mask)
        gradient = project_back(grad_u, grad_v, u, v, inverse, clamped)
        x, y, z = turn_back(rotation, gradient)
        sum_x += x
        sum_y += y
        sum_z += z
        if grad_rotation_ptr is not None:
            store_rotation_gradient(grad_rotation_ptr, draw, B, gradient, joints, BLOCK_B, LANES)
    store_joints(grad_pose_ptr, joint, (sum_x, sum_y, sum_z), mask)


def rotate_project_fwd(pose: Tensor, rotation: Tensor, camera_depth: float, min_depth: float) -> Tensor:
    """Launch the forward kernel on contiguous poses (B, J, 3) and rotations (S, B, 3, 3): uv (S, B, J, 2)."""
    assert all(tensor.is_contiguous() for tensor in (pose, rotation))
    S, (B, J, _) = len(rotation), pose.shape
    uv = pose.new_empty(S, B, J, 2)
    shape = tile(J)
    if uv.numel() > 0:
        with torch.cuda.device_of(pose):
            _rotate_project_fwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
                *(pose, rotation, uv, camera_depth, min_depth, S, B),
                J,
                **shape,
                num_warps=WARPS,
            )
    return uv


def rotate_project_bwd(
    grad_uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float, min_depth: float, with_rotation: bool
) -> tuple[Tensor, Tensor]:
    """Launch the backward kernel: gradients of the pose (B, J, 3) and of the rotations (S, B, 3, 3).

    The gradient of the rotations is empty (0,) without ``with_rotation``.
    """
    assert all(tensor.is_contiguous() for tensor in (grad_uv, pose, rotation))
    S, (B, J, _) = len(rotation), pose.shape
    grad_pose = torch.empty_like(pose)
    grad_rotation = torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)
    shape = tile(J)
    if B > 0:
        with torch.cuda.device_of(pose):
            _rotate_project_bwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
                *(grad_uv, pose, rotation, grad_pose, grad_rotation if with_rotation else None),
                *(camera_depth, min_depth, S, B),
                J,
                **shape,
                num_warps=WARPS,
            )
    return grad_pose, grad_rotation


def _builds():
    scalars = {"camera_depth": "fp32", "min_depth": "fp32", "S": "i32", "B": "i32"}
    for J, dtype in ((17, "fp32"), (17, "bf16"), (32, "fp32"), (133, "fp32")):
        constants = {"J": J, **tile(J)}
        inputs = dict.fromkeys(("pose_ptr", "rotation_ptr"), f"*{dtype}") | scalars
        yield Build(_rotate_project_fwd_kernel, inputs | {"uv_ptr": f"*{dtype}"}, constants, WARPS, 48)
        both = inputs | dict.fromkeys(("grad_uv_ptr", "grad_pose_ptr", "grad_rotation_ptr"), f"*{dtype}")
        registers = 112 if J > 32 else 80
        yield Build(_rotate_project_bwd_kernel, both, constants, WARPS, registers)
        pose_alone = {name: kind for name, kind in both.items() if name != "grad_rotation_ptr"}
        yield Build(_rotate_project_bwd_kernel, pose_alone, constants | {"grad_rotation_ptr": None}, WARPS, registers)


BUILDS = tuple(_builds())
