"""Triton kernels of ``random_rotate_project``. Formula: ``ites_fast.reference.random_rotate_project``.

As ``rotate_project``, with rotations that are drawn in registers and never written: the backward draws them again. A
program is one warp. Each of its lanes draws the rotation of one pose and one draw, and lanes pass it on by shuffles.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.philox import philox_rotation, pick
from ites_fast.kernels.pose_tile import (
    WARP,
    load_image,
    load_joints,
    project,
    project_back,
    store_image,
    store_joints,
    tile,
    tile_joints,
    turn,
    turn_back,
)


@triton.jit(do_not_specialize=["S", "B"])
def _random_rotate_project_fwd_kernel(
    pose_ptr,  # (B, J, 3)
    counter_ptr,  # one int64 that is added to the offset, or None
    uv_ptr,  # (S, B, J, 2), written
    rotated_ptr,  # (S, B, J, 3), written, or None
    seed: tl.int64,
    offset: tl.int64,
    camera_depth: tl.float32,
    min_depth: tl.float32,
    S,
    B,
    J: tl.constexpr,
    VERTICAL: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    _b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    joints = load_joints(pose_ptr, joint, mask)
    for start in range(0, S, BLOCK_S):
        rotations = _draw(seed, offset, counter_ptr, start, B, VERTICAL, BLOCK_B, BLOCK_S)
        for s in range(start, tl.minimum(start + BLOCK_S, S)):
            rotation = pick(rotations, _place(s - start, BLOCK_B, LANES, BLOCK_S))
            turned = turn(rotation, joints)
            u, v, _, _ = project(turned, camera_depth, min_depth)
            drawn = tl.cast(s, tl.int64) * B * J + joint
            store_image(uv_ptr, drawn, u, v, mask)
            if rotated_ptr is not None:
                store_joints(rotated_ptr, drawn, turned, mask)


@triton.jit(do_not_specialize=["S", "B"])
def _random_rotate_project_bwd_kernel(
    grad_uv_ptr,  # (S, B, J, 2)
    grad_rotated_ptr,  # (S, B, J, 3) or None
    pose_ptr,  # (B, J, 3)
    counter_ptr,  # one int64 that is added to the offset, or None
    grad_pose_ptr,  # (B, J, 3), written
    seed: tl.int64,
    offset: tl.int64,
    camera_depth: tl.float32,
    min_depth: tl.float32,
    S,
    B,
    J: tl.constexpr,
    VERTICAL: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
    BLOCK_S: tl.constexpr,
):
    _b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    joints = load_joints(pose_ptr, joint, mask)
    sum_x = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    sum_y = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    sum_z = tl.zeros((BLOCK_C, BLOCK_B * LANES), tl.float32)
    for start in range(0, S, BLOCK_S):
        rotations = _draw(seed, offset, counter_ptr, start, B, VERTICAL, BLOCK_B, BLOCK_S)
        for s in range(start, tl.minimum(start + BLOCK_S, S)):
            rotation = pick(rotations, _place(s - start, BLOCK_B, LANES, BLOCK_S))
            u, v, inverse, clamped = project(turn(rotation, joints), camera_depth, min_depth)
            drawn = tl.cast(s, tl.int64) * B * J + joint
            grad_u, grad_v = load_image(grad_uv_ptr, drawn, mask)
            grad_x, grad_y, grad_z = project_back(grad_u, grad_v, u, v, inverse, clamped)
            if grad_rotated_ptr is not None:
                x, y, z = load_joints(grad_rotated_ptr, drawn, mask)
                grad_x, grad_y, grad_z = grad_x + x, grad_y + y, grad_z + z
            x, y, z = turn_back(rotation, (grad_x, grad_y, grad_z))
            sum_x += x
            sum_y += y
            sum_z += z
    store_joints(grad_pose_ptr, joint, (sum_x, sum_y, sum_z), mask)


@triton.jit
def _draw(seed, offset, counter_ptr, start, B, VERTICAL: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_S: tl.constexpr):
    """The rotations of this program's poses in BLOCK_S draws from ``start`` on, (BLOCK_B * BLOCK_S,)."""
    offset = tl.cast(offset, tl.int64)
    if counter_ptr is not None:
        offset += tl.load(counter_ptr)
    pair = tl.arange(0, BLOCK_B * BLOCK_S)
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + pair // BLOCK_S
    number = (start + pair % BLOCK_S).to(tl.int64) * B + b
    return philox_rotation(tl.cast(seed, tl.int64), offset, number, VERTICAL)


@triton.jit
def _place(s, BLOCK_B: tl.constexpr, LANES: tl.constexpr, BLOCK_S: tl.constexpr):
    """Where ``_draw`` put draw s of the pose of each lane, (BLOCK_B * LANES,)."""
    return tl.arange(0, BLOCK_B * LANES) // LANES * BLOCK_S + s


def _tile(J: int) -> dict[str, int]:
    """As ``pose_tile.tile``, and the number of draws whose rotations a warp computes together."""
    shape = tile(J)
    return shape | {"BLOCK_S": max(WARP // shape["BLOCK_B"], 1)}


def random_rotate_project_fwd(
    pose: Tensor,
    seed: int,
    offset: int,
    counter: Tensor | None,
    draws: int,
    vertical: bool,
    camera_depth: float,
    min_depth: float,
    with_rotated: bool,
) -> tuple[Tensor, Tensor]:
    """Launch the forward kernel on contiguous poses (B, J, 3): uv (S, B, J, 2) and turned poses (S, B, J, 3).

    ``counter``, one int64 on the poses' device, is added to ``offset``. Without ``with_rotated`` the turned poses are
    empty (0,).
    """
    assert pose.is_contiguous()
    B, J, _ = pose.shape
    uv = pose.new_empty(draws, B, J, 2)
    rotated = pose.new_empty((draws, B, J, 3) if with_rotated else 0)
    shape = _tile(J)
    if uv.numel() > 0:
        with torch.cuda.device_of(pose):
            _random_rotate_project_fwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
                *(pose, counter, uv, rotated if with_rotated else None, seed, offset, camera_depth, min_depth),
                *(draws, B, J, vertical),
                **shape,
                num_warps=1,
            )
    return uv, rotated


def random_rotate_project_bwd(
    grad_uv: Tensor,
    grad_rotated: Tensor | None,
    pose: Tensor,
    seed: int,
    offset: int,
    counter: Tensor | None,
    vertical: bool,
    camera_depth: float,
    min_depth: float,
) -> Tensor:
    """Launch the backward kernel on contiguous tensors: the gradient of the pose (B, J, 3)."""
    assert all(tensor is None or tensor.is_contiguous() for tensor in (grad_uv, grad_rotated, pose))
    S, (B, J, _) = len(grad_uv), pose.shape
    grad_pose = torch.empty_like(pose)
    shape = _tile(J)
    if grad_pose.numel() > 0:
        with torch.cuda.device_of(pose):
            _random_rotate_project_bwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
                *(grad_uv, grad_rotated, pose, counter, grad_pose, seed, offset, camera_depth, min_depth),
                *(S, B, J, vertical),
                **shape,
                num_warps=1,
            )
    return grad_pose


def _builds():
    scalars = dict.fromkeys(("seed", "offset"), "i64") | dict.fromkeys(("camera_depth", "min_depth"), "fp32")
    scalars |= dict.fromkeys("SB", "i32")
    for J, vertical, rotated, registers in (
        (17, True, None, (72, 112)),
        (17, False, None, (72, 144)),
        (17, False, "*fp32", (136, 176)),
        (133, False, "*fp32", (160, 216)),
    ):
        constants = {"J": J, "VERTICAL": vertical, **_tile(J), "counter_ptr": None}
        forward = scalars | dict.fromkeys(("pose_ptr", "uv_ptr"), "*fp32")
        backward = scalars | dict.fromkeys(("grad_uv_ptr", "pose_ptr", "grad_pose_ptr"), "*fp32")
        for kernel, types, name, most in (
            (_random_rotate_project_fwd_kernel, forward, "rotated_ptr", registers[0]),
            (_random_rotate_project_bwd_kernel, backward, "grad_rotated_ptr", registers[1]),
        ):
            if rotated is None:
                yield Build(kernel, types, constants | {name: None}, 1, most)
            else:
                yield Build(kernel, types | {name: rotated}, constants, 1, most)


BUILDS = tuple(_builds())
