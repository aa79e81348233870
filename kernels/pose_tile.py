"""What the geometry kernels share: a tile of whole poses, its joints in memory, and rotations in registers.

A program owns BLOCK_B poses with all of their joints, so that sums over joints and over the draws of a pose stay inside
it. A tile is (BLOCK_C, BLOCK_B * LANES): LANES neighbouring lanes share a pose, and joint c * LANES + l is entry c of
its lane l. So a lane holds one rotation for several joints, and most of a sum over joints needs no other lane. Joints
are three such tensors x, y, z; a rotation is nine tensors (BLOCK_B * LANES,), row by row.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.joints import load_joint, store_joint

MAX_JOINTS = 256
DTYPES = (torch.float32, torch.float16, torch.bfloat16)  # in memory; the arithmetic is float32
WARP = 32


def fits(pose: Tensor, *others: Tensor) -> bool:
    """Whether the kernels take poses (B, J, 3) of this size, and of the type of every other tensor."""
    return pose.shape[1] <= MAX_JOINTS and pose.dtype in DTYPES and all(each.dtype == pose.dtype for each in others)


def tile(J: int) -> dict[str, int]:
    """BLOCK_C, BLOCK_B and LANES for poses of J joints: two warps of lanes, four joints a lane up to 128 joints."""
    joints = triton.next_power_of_2(max(J, 1))
    lanes = min(joints, max(8, joints // 4), WARP)
    return {"BLOCK_C": joints // lanes, "BLOCK_B": 2 * WARP // lanes, "LANES": lanes}


@triton.jit
def tile_joints(B, J: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """Numbers of this program's poses (BLOCK_B * LANES,) and joints (BLOCK_C, BLOCK_B * LANES), and which exist."""
    lane = tl.arange(0, BLOCK_B * LANES)
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + lane // LANES
    j = tl.arange(0, BLOCK_C)[:, None] * LANES + (lane % LANES)[None, :]
    return b, b[None, :] * J + j, (b < B)[None, :] & (j < J)


@triton.jit
def sum_over_joints(x, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """(BLOCK_C, BLOCK_B * LANES) to (BLOCK_B,)."""
    return tl.sum(tl.reshape(tl.sum(x, axis=0), [BLOCK_B, LANES]), axis=1)


@triton.jit
def load_joints(pointer, joint, mask):
    """The joints with these numbers of (..., 3): x, y, z as float32, zero where masked."""
    x, y, z = load_joint(pointer, _flat(joint), _flat(mask), 3)
    return tl.reshape(x, joint.shape), tl.reshape(y, joint.shape), tl.reshape(z, joint.shape)


@triton.jit
def store_joints(pointer, joint, joints, mask):
    """Write x, y, z to the joints with these numbers of (..., 3)."""
    store_joint(pointer, joint, mask, joints, 3)


@triton.jit
def load_image(pointer, joint, mask):
    """The image coordinates with these numbers of (..., 2), in one wide load: u, v, zero where masked."""
    at = _flat(joint)[:, None] * 2 + tl.arange(0, 2)[None, :]
    u, v = tl.split(tl.load(pointer + at, mask=_flat(mask)[:, None], other=0.0).to(tl.float32))
    return tl.reshape(u, joint.shape), tl.reshape(v, joint.shape)


@triton.jit
def store_image(pointer, joint, u, v, mask):
    """Write u, v to the image coordinates with these numbers of (..., 2), in one wide store."""
    at = _flat(joint)[:, None] * 2 + tl.arange(0, 2)[None, :]
    tl.store(pointer + at, tl.join(_flat(u), _flat(v)), mask=_flat(mask)[:, None])


@triton.jit
def _flat(x):
    """In one dimension neighbouring lanes are neighbours in memory; of two, compilers choose one by its position."""
    return tl.reshape(x, [x.numel])


@triton.jit
def load_rotation(pointer, number, mask):
    """The rotations with these numbers (N,) of (..., 3, 3): nine (N,) tensors as float32, zero where masked."""
    at = pointer + number * 9
    a = tl.load(at, mask=mask, other=0.0).to(tl.float32)
    b = tl.load(at + 1, mask=mask, other=0.0).to(tl.float32)
    c = tl.load(at + 2, mask=mask, other=0.0).to(tl.float32)
    d = tl.load(at + 3, mask=mask, other=0.0).to(tl.float32)
    e = tl.load(at + 4, mask=mask, other=0.0).to(tl.float32)
    f = tl.load(at + 5, mask=mask, other=0.0).to(tl.float32)
    g = tl.load(at + 6, mask=mask, other=0.0).to(tl.float32)
    h = tl.load(at + 7, mask=mask, other=0.0).to(tl.float32)
    i = tl.load(at + 8, mask=mask, other=0.0).to(tl.float32)
    return a, b, c, d, e, f, g, h, i


@triton.jit
def store_rotation_gradient(pointer, first, B, gradient, joints, BLOCK_B: tl.constexpr, LANES: tl.constexpr):
    """Write the sum over joints of g x^T, with g the gradient of the turned joint x, for this program's poses.

    ``first`` is the number of the batch's first rotation in (..., 3, 3).
    """
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)
    for i in tl.static_range(3):
        for k in tl.static_range(3):
            value = sum_over_joints(gradient[i] * joints[k], BLOCK_B, LANES)
            tl.store(pointer + (first + b) * 9 + (3 * i + k), value, mask=b < B)


@triton.jit
def turn(rotation, joints):
    """R x."""
    a, b, c, d, e, f, g, h, i = rotation
    x, y, z = joints
    return (
        a[None, :] * x + b[None, :] * y + c[None, :] * z,
        d[None, :] * x + e[None, :] * y + f[None, :] * z,
        g[None, :] * x + h[None, :] * y + i[None, :] * z,
    )


@triton.jit
def turn_back(rotation, joints):
    """R^T x."""
    a, b, c, d, e, f, g, h, i = rotation
    return turn((a, d, g, b, e, h, c, f, i), joints)


@triton.jit
def project(joints, camera_depth, min_depth):
    """Image coordinates u, v of turned joints, the reciprocal of their depth, and whether it was clamped."""
    x, y, z = joints
    depth = z + camera_depth
    clamped = depth < min_depth
    inverse = 1.0 / tl.where(clamped, min_depth, depth)  # the depth of a NaN stays NaN, as in the reference
    return x * inverse, y * inverse, inverse, clamped


@triton.jit
def project_back(grad_u, grad_v, u, v, inverse, clamped):
    """Gradient of the turned joints from that of their image."""
    grad_x, grad_y = grad_u * inverse, grad_v * inverse
    return grad_x, grad_y, tl.where(clamped, 0.0, -(grad_x * u + grad_y * v))
