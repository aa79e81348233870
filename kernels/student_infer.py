"""Triton kernel of a whole student in eval mode. Formula and weights: ``ites_fast.reference.student_infer``.

One program lifts one pose, from its coordinates to its depths. The features (BLOCK_J joints, BLOCK_C channels) never
leave its registers: nothing but depths is written, so no barrier has to order anything, and a NaN stays in its pose.

One loop runs over the layers and, inside a layer, over BLOCK_K of its input channels. A step multiplies these channels
with all weights that meet them, and the layer ends after its last step. The loop itself loads nothing but weights:
those of the next steps are on their way while a step, and the end of a layer, compute.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.panels import column_part, dot, load_panels, load_row, nan_maximum, part_starts, precision_of

MAX_CHANNELS = 128  # the accumulators of more channels do not fit in the registers
MAX_JOINTS = 32
WARPS = 8
STEPS = {"ieee": (16, 2), "tf32": (16, 3), "bf16": (32, 3), "fp16": (32, 3)}  # BLOCK_K and stages; 99 KB at most


@triton.jit
def _load_square(square_ptr, J: tl.constexpr, BLOCK_J: tl.constexpr):
    """A matrix (J, J) in float32 with zeros around it."""
    i = tl.arange(0, BLOCK_J)[:, None]
    j = tl.arange(0, BLOCK_J)[None, :]
    return tl.load(square_ptr + i * J + j, mask=(i < J) & (j < J), other=0.0).to(tl.float32)


@triton.jit
def _input_layer(
    pose_ptr, mixing_ptr, weight_ptr, shift_ptr,
    J: tl.constexpr, C: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    j = tl.arange(0, BLOCK_J)
    c = tl.arange(0, BLOCK_C)
    features = load_row(shift_ptr, c, C)
    for graph in tl.static_range(2):
        mixing = _load_square(mixing_ptr + graph * J * J, J, BLOCK_J)
        for axis in tl.static_range(2):
            coordinate = tl.load(pose_ptr + j * 2 + axis, mask=j < J, other=0.0).to(tl.float32)
            mixed = tl.sum(mixing * coordinate[None, :], axis=1)
            weight = load_panels(weight_ptr, 2 * graph + axis, c, 4, c < C).to(tl.float32)
            features += mixed[:, None] * weight[None, :]
    return nan_maximum(features, 0.0)


@triton.jit
def _end_layer(
    x, own, neighbours, values_keys,  # (BLOCK_J, BLOCK_C): input of the layer, and its products with the weights
    mixing_ptr, query_ptr, query_bias_ptr, key_ptr, pair_weight_ptr, pair_shift_ptr, factor_ptr, shift_ptr,
    J: tl.constexpr, C: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    PAIRS: tl.constexpr = BLOCK_J // 2
    INNER: tl.constexpr = C // 2
    j = tl.arange(0, BLOCK_J)
    k = tl.arange(0, PAIRS)
    c = tl.arange(0, BLOCK_C)
    i = tl.arange(0, BLOCK_C // 2)
    pair_weight = load_panels(pair_weight_ptr, i[:, None], c[None, :], INNER, (i < INNER)[:, None] & (c < C)[None, :])
    pooled = tl.reduce(tl.reshape(values_keys, [PAIRS, 2, BLOCK_C]), 1, nan_maximum)
    t = tl.sum(x * load_row(query_ptr, c, C), axis=1) + tl.load(query_bias_ptr).to(tl.float32)
    s = tl.sum(column_part(pooled, 1, 2) * load_row(key_ptr, i, INNER), axis=1)
    affinity = tl.where((k < J // 2)[None, :], nan_maximum(t[:, None] + s[None, :], 0.0), 0.0)
    pair_shift = tl.broadcast_to(load_row(pair_shift_ptr, c, C), [PAIRS, BLOCK_C])
    pair_values = dot(column_part(pooled, 0, 2), pair_weight, pair_shift, PRECISION)
    mixing = _load_square(mixing_ptr, J, BLOCK_J)
    diagonal = j[:, None] == j[None, :]
    mixed = x * load_row(factor_ptr, c, C) + load_row(shift_ptr, c, C)
    mixed += tl.sum(tl.where(diagonal, mixing, 0.0), axis=1)[:, None] * own
    mixed = dot(tl.where(diagonal, 0.0, mixing), neighbours, mixed, PRECISION)
    mixed = dot(affinity, pair_values, mixed, PRECISION)
    # joints that fill up the block stay zero, so that they cannot overflow
    return tl.where((j < J)[:, None], nan_maximum(mixed, 0.0), 0.0)


@triton.jit
def _store_depth(
    x, depth_ptr, weight_ptr, mixing_ptr, shift_ptr,
    J: tl.constexpr, C: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    j = tl.arange(0, BLOCK_J)
    c = tl.arange(0, BLOCK_C)
    depth = tl.zeros([BLOCK_J], tl.float32) + tl.load(shift_ptr).to(tl.float32)
    for graph in tl.static_range(2):
        projected = tl.sum(x * load_row(weight_ptr + graph * C, c, C), axis=1)
        mixing = _load_square(mixing_ptr + graph * J * J, J, BLOCK_J)
        depth += tl.sum(mixing * projected[None, :], axis=1)
    tl.store(depth_ptr + j, depth, mask=j < J)


@triton.jit
def _student_infer_fwd_kernel(
    pose_ptr,  # (B, J, 2)
    weights_ptr,  # the parts of the student, one after the other
    depth_ptr,  # (B, J), written
    J: tl.constexpr, C: tl.constexpr, L: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    INNER: tl.constexpr = C // 2
    PARTS: tl.constexpr = BLOCK_C // BLOCK_K
    # in the order of StudentParts
    START: tl.constexpr = part_starts(
        2 * J * J, 4 * C, C, L * J * J, L * 2 * C * C, L * C * C, L * C, L,
        L * INNER, L * INNER * C, L * C, L * C, L * C, 2 * C, 2 * J * J,
    )  # fmt: skip
    pose = tl.program_id(0).to(tl.int64)
    k = tl.arange(0, BLOCK_K)[:, None]
    c = tl.arange(0, BLOCK_C)[None, :]
    # the halves of a block are values and keys; where they do not fill it, each half ends with zeros
    inner = c % (BLOCK_C // 2)
    value_or_key = c if C == BLOCK_C else c // (BLOCK_C // 2) * INNER + inner
    x = _input_layer(
        pose_ptr + pose * (J * 2), weights_ptr, weights_ptr + START[1], weights_ptr + START[2], J, C, BLOCK_J, BLOCK_C
    )
    block_input = x
    own = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
    neighbours = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
    values_keys = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
    for step in tl.range(L * PARTS, num_stages=STAGES):
        layer = step // PARTS
        row = step % PARTS * BLOCK_K + k
        physical = weights_ptr + START[4] + layer * (2 * C * C)
        own_weight = load_panels(physical, row, c, 2 * C, (row < C) & (c < C))
        neighbour_weight = load_panels(physical, C + row, c, 2 * C, (row < C) & (c < C))
        value_key_weight = load_panels(
            weights_ptr + START[5] + layer * (C * C), row, value_or_key, C, (row < C) & (inner < INNER)
        )
        channels = column_part(x, step % PARTS, PARTS)
        own = dot(channels, own_weight, own, PRECISION)
        neighbours = dot(channels, neighbour_weight, neighbours, PRECISION)
        values_keys = dot(channels, value_key_weight, values_keys, PRECISION)
        if step % PARTS == PARTS - 1:
            x = _end_layer(
                x, own, neighbours, values_keys,
                weights_ptr + START[3] + layer * (J * J), weights_ptr + START[6] + layer * C,
                weights_ptr + START[7] + layer, weights_ptr + START[8] + layer * INNER,
                weights_ptr + START[9] + layer * (INNER * C), weights_ptr + START[10] + layer * C,
                weights_ptr + START[11] + layer * C, weights_ptr + START[12] + layer * C,
                J, C, BLOCK_J, BLOCK_C, PRECISION,
            )  # fmt: skip
            if layer % 2 == 1:
                x += block_input
                block_input = x
            own = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
            neighbours = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
            values_keys = tl.zeros([BLOCK_J, BLOCK_C], tl.float32)
    _store_depth(
        x, depth_ptr + pose * J, weights_ptr + START[13], weights_ptr + START[14], weights_ptr + START[15],
        J, C, BLOCK_J, BLOCK_C,
    )  # fmt: skip


def fits(pose_2d: Tensor, channels: int) -> bool:
    """Whether the kernel can take poses (B, J, 2) of this dtype."""
    return pose_2d.dtype != torch.float64 and pose_2d.shape[1] <= MAX_JOINTS and channels <= MAX_CHANNELS


def student_infer_fwd(pose_2d: Tensor, weights: Tensor, channels: int, layers: int) -> Tensor:
    """Launch the kernel on contiguous poses (B, J, 2) and packed weights of one dtype: depths (B, J)."""
    assert pose_2d.is_contiguous()
    assert weights.is_contiguous()
    B, J, _ = pose_2d.shape
    assert fits(pose_2d, channels)
    depth = pose_2d.new_empty(B, J)
    if B > 0:
        constants = _constants(J, channels, layers, precision_of(pose_2d.dtype))
        with torch.cuda.device_of(pose_2d):
            _student_infer_fwd_kernel[(B,)](pose_2d, weights, depth, **constants, num_warps=WARPS)
    return depth


def _constants(J: int, C: int, L: int, precision: str) -> dict[str, int | str]:
    BLOCK_C = max(32, 2 * triton.next_power_of_2(C // 2))
    BLOCK_K, STAGES = STEPS[precision]
    sizes = {"J": J, "C": C, "L": L, "PRECISION": precision}
    return sizes | {"BLOCK_J": MAX_JOINTS, "BLOCK_C": BLOCK_C, "BLOCK_K": BLOCK_K, "STAGES": STAGES}


def _build(J: int, C: int, precision: str, dtype: str, max_registers: int, max_stack: int = 0) -> Build:
    types = dict.fromkeys(("pose_ptr", "weights_ptr", "depth_ptr"), f"*{dtype}")
    return Build(_student_infer_fwd_kernel, types, _constants(J, C, 8, precision), WARPS, max_registers, max_stack)


BUILDS = (
    _build(17, 128, "bf16", "bf16", 208),
    _build(17, 128, "fp16", "fp16", 208),
    _build(17, 128, "tf32", "fp32", 208),
    _build(17, 128, "ieee", "fp32", 200),
    _build(25, 96, "ieee", "fp32", 255, max_stack=8),  # the one size of those tried that spills, on sm_90
    _build(25, 128, "ieee", "fp32", 200),
    _build(17, 64, "ieee", "fp32", 128),
)
