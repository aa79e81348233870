"""Triton kernels of ``virtual_view``. Formula: ``ites_fast.reference.virtual_view``.

A program owns whole poses (``pose_tile``) and goes through their draws one after the other, so the size of a view and
the gradient of a pose are sums inside it. The backward computes the views again; nothing but the inputs is kept.
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
    sum_over_joints,
    tile,
    tile_joints,
    turn,
    turn_back,
)

WARPS = 2


@triton.jit(do_not_specialize=["S", "B"])
def _virtual_view_fwd_kernel(
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    view_ptr,  # (S, B, J, 2), written
    turned_ptr,  # (S, B, J, 3), written
    camera_depth: tl.float32,
    rms: tl.float32,
    min_depth: tl.float32,
    min_square: tl.float32,
    S,
    B,
    J: tl.constexpr,
    RESCALE: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_B: tl.constexpr,
    LANES: tl.constexpr,
):
    b, joint, mask = tile_joints(B, J, BLOCK_C, BLOCK_B, LANES)
    joints = load_joints(pose_ptr, joint, mask)
    for s in range(S):
        draw = tl.cast(s, tl.int64) * B
        x, y, z = turn(load_rotation(rotation_ptr, draw + b, b < B), joints)
        u, v, _, _ = project((x, y, z), camera_depth, min_depth)
        if RESCALE:
            _, _, scale = _scale(u, v, rms, min_square, J, BLOCK_B, LANES)
            x, y, z, u, v = scale * x, scale * y, scale * z, scale * u, scale * v
        store_image(view_ptr, draw * J + joint, u, v, mask)
        store_joints(turned_ptr, draw * J + joint, (x, y, z), mask)


@triton.jit(do_not_specialize=["S", "B"])
def _virtual_view_bwd_kernel(
    grad_view_ptr,  # (S, B, J, 2)
    grad_turned_ptr,  # (S, B, J, 3)
    pose_ptr,  # (B, J, 3)
    rotation_ptr,  # (S, B, 3, 3)
    grad_pose_ptr,  # (B, J, 3), written
    grad_rotation_ptr,  # (S, B, 3, 3), written, or None
    camera_depth: tl.float32,
    rms: tl.float32,
    min_depth: tl.float32,
    min_square: tl.float32,
    S,
    B,
    J: tl.constexpr,
    RESCALE: tl.constexpr,
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
        x, y, z = turn(rotation, joints)
        u, v, inverse, clamped = project((x, y, z), camera_depth, min_depth)
        grad_u, grad_v = load_image(grad_view_ptr, draw * J + joint, mask)
        grad_x, grad_y, grad_z = load_joints(grad_turned_ptr, draw * J + joint, mask)
        if RESCALE:
            square, small, scale = _scale(u, v, rms, min_square, J, BLOCK_B, LANES)
            product = grad_u * u + grad_v * v + grad_x * x + grad_y * y + grad_z * z
            grad_scale = _to_lanes(sum_over_joints(product, BLOCK_B, LANES), BLOCK_B, LANES)
            inwards = tl.where(small, 0.0, scale * grad_scale / (J * square))  # along -u: a larger view is scaled down
            grad_u, grad_v = scale * grad_u - inwards * u, scale * grad_v - inwards * v
            grad_x, grad_y, grad_z = scale * grad_x, scale * grad_y, scale * grad_z
        through_x, through_y, through_z = project_back(grad_u, grad_v, u, v, inverse, clamped)
        gradient = (grad_x + through_x, grad_y + through_y, grad_z + through_z)
        x, y, z = turn_back(rotation, gradient)
        sum_x += x
        sum_y += y
        sum_z += z
        if grad_rotation_ptr is not None:
            store_rotation_gradient(grad_rotation_ptr, draw, B, gradient, joints, BLOCK_B, LANES)
    store_joints(grad_pose_ptr, joint, (sum_x, sum_y, sum_z), mask)


@triton.jit
def _scale(u, v, rms, min_square, J: tl.constexpr, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """Clamped mean square of each view, whether it was clamped, and the view's scale, each (1, BLOCK_B * LANES)."""
    square = sum_over_joints(u * u + v * v, BLOCK_B, LANES) / J
    small = square < min_square
    square = tl.where(small, min_square, square)  # NaN stays NaN
    scale = rms / tl.sqrt(square)
    return _to_lanes(square, BLOCK_B, LANES), _to_lanes(small, BLOCK_B, LANES), _to_lanes(scale, BLOCK_B, LANES)


@triton.jit
def _to_lanes(x, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """(BLOCK_B,) to the lanes of each pose, (1, BLOCK_B * LANES)."""
    return tl.reshape(tl.broadcast_to(x[:, None], [BLOCK_B, LANES]), [1, BLOCK_B * LANES])


def virtual_view_fwd(
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    rms: float,
    rescale: bool,
    min_depth: float,
    min_rms: float,
) -> tuple[Tensor, Tensor]:
    """Launch the forward kernel on contiguous poses (B, J, 3) and rotations (S, B, 3, 3).

    Returns the views (S, B, J, 2) and the turned poses (S, B, J, 3).
    """
    assert all(tensor.is_contiguous() for tensor in (pose, rotation))
    S, (B, J, _) = len(rotation), pose.shape
    view, turned = pose.new_empty(S, B, J, 2), pose.new_empty(S, B, J, 3)
    shape = tile(J)
    if view.numel() > 0:
        with torch.cuda.device_of(pose):
            _virtual_view_fwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
                *(pose, rotation, view, turned, camera_depth, rms, min_depth, min_rms**2),
                *(S, B, J, rescale),
                **shape,
                num_warps=WARPS,
            )
    return view, turned


def virtual_view_bwd(
    grad_view: Tensor,
    grad_turned: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    rms: float,
    rescale: bool,
    min_depth: float,
    min_rms: float,
    with_rotation: bool,
) -> tuple[Tensor, Tensor]:
    """Launch the backward kernel on contiguous tensors: gradients of the pose (B, J, 3) and rotations (S, B, 3, 3).

    The gradient of the rotations is empty (0,) without ``with_rotation``.
    """
    assert all(tensor.is_contiguous() for tensor in (grad_view, grad_turned, pose, rotation))
    S, (B, J, _) = len(rotation), pose.shape
    grad_pose = torch.empty_like(pose)
    grad_rotation = torch.empty_like(rotation) if with_rotation else rotation.new_empty(0)
    shape = tile(J)
    if pose.numel() == 0:
        return grad_pose, grad_rotation.zero_()
    with torch.cuda.device_of(pose):
        _virtual_view_bwd_kernel[(triton.cdiv(B, shape["BLOCK_B"]),)](
            *(grad_view, grad_turned, pose, rotation, grad_pose, grad_rotation if with_rotation else None),
            *(camera_depth, rms, min_depth, min_rms**2, S, B, J, rescale),
            **shape,
            num_warps=WARPS,
        )
    return grad_pose, grad_rotation


def _builds():
    scalars = dict.fromkeys(("camera_depth", "rms", "min_depth", "min_square"), "fp32") | dict.fromkeys("SB", "i32")
    for J, dtype, rescale in ((17, "fp32", True), (17, "fp32", False), (17, "bf16", True), (133, "fp32", True)):
        constants = {"J": J, "RESCALE": rescale, **tile(J)}
        inputs = dict.fromkeys(("pose_ptr", "rotation_ptr"), f"*{dtype}") | scalars
        outputs = dict.fromkeys(("view_ptr", "turned_ptr"), f"*{dtype}")
        yield Build(_virtual_view_fwd_kernel, inputs | outputs, constants, WARPS, 80)
        names = ("grad_view_ptr", "grad_turned_ptr", "grad_pose_ptr", "grad_rotation_ptr")
        both = inputs | dict.fromkeys(names, f"*{dtype}")
        registers = 192 if J > 32 else 136 if rescale else 88
        yield Build(_virtual_view_bwd_kernel, both, constants, WARPS, registers)
        pose_alone = {name: kind for name, kind in both.items() if name != "grad_rotation_ptr"}
        yield Build(_virtual_view_bwd_kernel, pose_alone, constants | {"grad_rotation_ptr": None}, WARPS, registers)


BUILDS = tuple(_builds())
