r"""Triton kernels for a training step of one layer of the released code.

Formulas: ``ites_fast.reference.agcn``, re-expressed as in ``ites_fast.ops.agcn_official``. Products with weights of all
features, and the gradients of these weights, are PyTorch's own (cuBLAS). What lies between them is fused. Poses are the
unit: a program owns one after the other, since a joint meets only the joints of its pose.

* Forward, 4 launches: ``hidden``; everything up to the two sums of graphs q = x + physical and w = aggregated, with the
  moments of both and of their product, from which both batch norms follow, so that the batch is reduced once; merging
  the moments of the ranges; normalisation.
* Backward, 9 launches: four sums by channel, again for both norms at once; their coefficients; everything from the
  gradient of the output to that of ``hidden``; merging the small gradients; five products and sums of cuBLAS.

For 17 joints, 128 channels, 64 inner channels in float32 the tensors of a pose that go through memory add up to 135 KB
forward and 221 KB backward, counted from the shapes. The PyTorch operations take 44 launches and 309 KB forward, 75
launches and 566 KB backward, counted by a dispatch mode.

Joints are padded to 16 or 32 rows and pairs to 16, the smallest block of a matrix product. What does not exist is
loaded as zero and never written. Channels are cut into blocks that divide them. In float32 the inner dimension of a
product is at most 32, because a thread that computes without tensor cores holds all of it in registers, and what
does not depend on the pose is loaded again for each one (``disable_licm``), which keeps it in the cache instead.
"""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import (
    block_of,
    channel_block,
    channel_factor,
    contiguous,
    matmul_precision,
    merge_means,
    merge_products,
    rows_per_program,
)
from ites_fast.kernels.norm_relu import normalise

PAIRS = 16  # of joints, of a skeleton of 32; the smallest block of a matrix product
MAX_JOINTS, MAX_INNER = 2 * PAIRS, 128
BLOCK_R, BLOCK_C, BLOCK_K = 32, 64, 32
BLOCK_P, MERGED_C, WARPS = 32, 16, 8


@triton.jit
def load_pairs(hidden_ptr, pose, column, mask, J: tl.constexpr, H: tl.constexpr, PAIRS: tl.constexpr):
    """Hidden features of the even and of the odd joints (PAIRS, len(column)) of all pairs of a pose."""
    k = tl.arange(0, PAIRS)
    mask = (k < J // 2)[:, None] & mask[None, :]
    even_ptr = hidden_ptr + (pose * J + 2 * k)[:, None] * H + column[None, :]
    return tl.load(even_ptr, mask=mask, other=0.0), tl.load(even_ptr + H, mask=mask, other=0.0)


@triton.jit
def pair_maximum(even, odd):
    # bfloat16 would come back as float32
    return tl.maximum(even, odd, tl.PropagateNan.ALL).to(even.dtype)


@triton.jit
def pose_affinity(
    features_ptr, hidden_ptr, query_ptr, query_bias_ptr, key_ptr, b,
    J: tl.constexpr, C: tl.constexpr, INNER: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr, BLOCK_I: tl.constexpr, PAIRS: tl.constexpr,
):  # fmt: skip
    """Affinity (BLOCK_J, PAIRS) of the joints to the pairs of pose ``b``, zero where there is no joint or no pair."""
    j, k = tl.arange(0, BLOCK_J), tl.arange(0, PAIRS)
    t = tl.zeros((BLOCK_J,), tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        features = tl.load(features_ptr + (b * J + j)[:, None] * C + c[None, :], mask=(j < J)[:, None], other=0.0)
        query = tl.load(query_ptr + c).to(tl.float32)
        t += tl.sum(features.to(tl.float32) * query[None, :], axis=1)
    t += tl.load(query_bias_ptr).to(tl.float32)
    s = tl.zeros((PAIRS,), tl.float32)
    for start in range(0, INNER, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        even, odd = load_pairs(hidden_ptr, b, 2 * C + INNER + i, i < INNER, J, 2 * C + 2 * INNER, PAIRS)
        key = tl.load(key_ptr + i, mask=i < INNER, other=0.0).to(tl.float32)
        s += tl.sum(pair_maximum(even, odd).to(tl.float32) * key[None, :], axis=1)
    K: tl.constexpr = J // 2 if J > 1 else 1
    affinity = tl.maximum(t[:, None] + s[None, :], 0.0, tl.PropagateNan.ALL) / K
    return tl.where((j < J)[:, None] & (k < J // 2)[None, :], affinity, 0.0)


@triton.jit
def project_pairs(
    hidden_ptr, output_weight_ptr, output_offset_ptr, b, c,
    J: tl.constexpr, C: tl.constexpr, INNER: tl.constexpr,
    BLOCK_I: tl.constexpr, PAIRS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Output projection (PAIRS, len(c)) of the pairs' values of pose ``b``."""
    offset = tl.load(output_offset_ptr + c).to(tl.float32)
    pair_values = tl.zeros((PAIRS, c.shape[0]), tl.float32) + offset[None, :]
    for start in range(0, INNER, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        even, odd = load_pairs(hidden_ptr, b, 2 * C + i, i < INNER, J, 2 * C + 2 * INNER, PAIRS)
        weight = tl.load(output_weight_ptr + c[:, None] * INNER + i[None, :], mask=(i < INNER)[None, :], other=0.0)
        pair_values = tl.dot(pair_maximum(even, odd), tl.trans(weight), pair_values, input_precision=PRECISION)
    return pair_values


@triton.jit
def physical_sum(
    features_ptr, hidden_ptr, mixing_ptr, b, c,
    J: tl.constexpr, C: tl.constexpr, H: tl.constexpr,
    BLOCK_J: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Features and physical graph (BLOCK_J, len(c)) of pose ``b``; joints that do not exist are zero."""
    j = tl.arange(0, BLOCK_J)
    mask = (j < J)[:, None]
    row = (b * J + j)[:, None]
    features = tl.load(features_ptr + row * C + c[None, :], mask=mask, other=0.0)
    own = tl.load(hidden_ptr + row * H + c[None, :], mask=mask, other=0.0).to(tl.float32)
    own_mixing = tl.load(mixing_ptr + j * (J + 1), mask=j < J, other=0.0).to(tl.float32)
    edges = mask & (j < J)[None, :] & (j[:, None] != j[None, :])
    weights = tl.load(mixing_ptr + j[:, None] * J + j[None, :], mask=edges, other=0.0)
    neighbours = tl.load(hidden_ptr + row * H + C + c[None, :], mask=mask, other=0.0)
    total = features.to(tl.float32) + own_mixing[:, None] * own
    return tl.dot(weights.to(neighbours.dtype), neighbours, total, input_precision=PRECISION)


@triton.jit
def _agcn_official_fwd_kernel(
    features_ptr,  # (B, J, C)
    hidden_ptr,  # (B, J, 2 C + 2 I)
    mixing_ptr,  # (J, J)
    query_ptr,  # (C,)
    query_bias_ptr,  # ()
    key_ptr,  # (I,)
    output_weight_ptr,  # (C, I)
    output_offset_ptr,  # (C,)
    affinity_ptr,  # (B, J, K), written
    pair_values_ptr,  # (B, K, C), written
    summed_ptr,  # (B, J, C), written: features and physical graph
    aggregated_ptr,  # (B, J, C), written
    partial_ptr,  # (P, 5, C), written: of the range's summed and aggregated the means, squares and their product
    B,
    range_poses,
    J: tl.constexpr,
    C: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    PAIRS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    K: tl.constexpr = J // 2
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    j, k = tl.arange(0, BLOCK_J), tl.arange(0, PAIRS)
    mean_q, mean_w = tl.zeros((BLOCK_C,), tl.float32), tl.zeros((BLOCK_C,), tl.float32)
    squares_q, squares_w, products = mean_q, mean_w, mean_q
    first = p * range_poses
    for b in tl.range(first, tl.minimum(first + range_poses, B), disable_licm=True):
        affinity = pose_affinity(
            features_ptr, hidden_ptr, query_ptr, query_bias_ptr, key_ptr, b,
            J, C, INNER, BLOCK_J, BLOCK_C, BLOCK_I, PAIRS,
        )  # fmt: skip
        pair_values = project_pairs(
            hidden_ptr, output_weight_ptr, output_offset_ptr, b, c, J, C, INNER, BLOCK_I, PAIRS, PRECISION
        ).to(pair_values_ptr.dtype.element_ty)
        tl.store(pair_values_ptr + (b * K + k)[:, None] * C + c[None, :], pair_values, mask=(k < K)[:, None])
        affinity = affinity.to(affinity_ptr.dtype.element_ty)
        if tl.program_id(1) == 0:
            mask = (j < J)[:, None] & (k < K)[None, :]
            tl.store(affinity_ptr + (b * J + j)[:, None] * K + k[None, :], affinity, mask=mask)
        at = (b * J + j)[:, None] * C + c[None, :]
        w = tl.dot(affinity, pair_values, input_precision=PRECISION)
        tl.store(aggregated_ptr + at, w, mask=(j < J)[:, None])
        q = physical_sum(
            features_ptr, hidden_ptr, mixing_ptr, b, c, J, C, 2 * C + 2 * INNER, BLOCK_J, PRECISION
        )  # fmt: skip
        tl.store(summed_ptr + at, q, mask=(j < J)[:, None])

        # rows of joints that do not exist are zero in q and w, so that they count in no sum
        rows = (b - first).to(tl.float32) * J
        gap_q, gap_w = tl.sum(q, axis=0) / J - mean_q, tl.sum(w, axis=0) / J - mean_w
        offset_q = tl.where((j < J)[:, None], q - (mean_q + gap_q)[None, :], 0.0)
        offset_w = tl.where((j < J)[:, None], w - (mean_w + gap_w)[None, :], 0.0)
        share = J / (rows + J)
        squares_q += tl.sum(offset_q * offset_q, axis=0) + gap_q * gap_q * rows * share
        squares_w += tl.sum(offset_w * offset_w, axis=0) + gap_w * gap_w * rows * share
        products += tl.sum(offset_q * offset_w, axis=0) + gap_q * gap_w * rows * share
        mean_q += gap_q * share
        mean_w += gap_w * share
    partial_ptr += 5 * p * C + c
    tl.store(partial_ptr, mean_q)
    tl.store(partial_ptr + C, mean_w)
    tl.store(partial_ptr + 2 * C, squares_q)
    tl.store(partial_ptr + 3 * C, squares_w)
    tl.store(partial_ptr + 4 * C, products)


@triton.jit
def _agcn_official_merge_kernel(
    partial_ptr,  # (P, 5, C)
    inner_scale_ptr,  # (C,)
    mean_ptr,  # (C,), written
    var_ptr,  # (C,), written
    inner_mean_ptr,  # (C,), written
    inner_var_ptr,  # (C,), written
    N,
    range_rows,
    eps,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = c < C
    q_ptr, w_ptr = partial_ptr + c, partial_ptr + C + c
    mean_q = merge_means(q_ptr, 5 * C, range_rows, N, mask, BLOCK_P, BLOCK_C)
    mean_w = merge_means(w_ptr, 5 * C, range_rows, N, mask, BLOCK_P, BLOCK_C)
    var_q = merge_products(
        q_ptr + 2 * C, q_ptr, q_ptr, mean_q, mean_q, 5 * C, range_rows, N, mask, BLOCK_P, BLOCK_C
    )  # fmt: skip
    var_w = merge_products(
        q_ptr + 3 * C, w_ptr, w_ptr, mean_w, mean_w, 5 * C, range_rows, N, mask, BLOCK_P, BLOCK_C
    )  # fmt: skip
    covariance = merge_products(
        q_ptr + 4 * C, q_ptr, w_ptr, mean_q, mean_w, 5 * C, range_rows, N, mask, BLOCK_P, BLOCK_C
    )  # fmt: skip
    factor = channel_factor(tl.load(inner_scale_ptr + c, mask=mask, other=0.0).to(tl.float32), var_w, eps)
    var = var_q + factor * (2 * covariance + factor * var_w)
    tl.store(mean_ptr + c, mean_q, mask=mask)
    tl.store(var_ptr + c, tl.maximum(var, 0.0, tl.PropagateNan.ALL), mask=mask)
    tl.store(inner_mean_ptr + c, mean_w, mask=mask)
    tl.store(inner_var_ptr + c, var_w, mask=mask)


@triton.jit
def _agcn_official_normalise_kernel(
    mixed_ptr,  # (N, C): features and physical graph; overwritten with the sum of both graphs without its mean
    aggregated_ptr,  # (N, C), without its mean afterwards
    mean_ptr,  # (C,), of features and physical graph
    var_ptr,  # (C,)
    inner_mean_ptr,  # (C,)
    inner_var_ptr,  # (C,)
    inner_scale_ptr,  # (C,)
    scale_ptr,  # (C,)
    shift_ptr,  # (C,)
    output_ptr,  # (N, C), written
    N,
    eps,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = (r < N)[:, None]
    at = r[:, None] * C + c[None, :]
    inner_var = tl.load(inner_var_ptr + c).to(tl.float32)
    factor = channel_factor(tl.load(inner_scale_ptr + c).to(tl.float32), inner_var, eps)
    mean = tl.load(mean_ptr + c).to(tl.float32)
    inner_mean = tl.load(inner_mean_ptr + c).to(tl.float32)
    aggregated = tl.load(aggregated_ptr + at, mask=mask, other=0.0).to(tl.float32) - inner_mean[None, :]
    mixed = tl.load(mixed_ptr + at, mask=mask, other=0.0).to(tl.float32) - mean[None, :]
    mixed += factor[None, :] * aggregated
    # the output is that of the rounded tensor, so that the backward sees the same joints behind the ReLU
    mixed = mixed.to(mixed_ptr.dtype.element_ty)
    tl.store(mixed_ptr + at, mixed, mask=mask)
    tl.store(aggregated_ptr + at, aggregated, mask=mask)
    normalised = normalise(mixed.to(tl.float32), c, c < C, var_ptr, scale_ptr, shift_ptr, eps)
    tl.store(output_ptr + at, tl.maximum(normalised, 0.0, tl.PropagateNan.ALL), mask=mask)


def agcn_official_fwd(
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    query_bias: Tensor,
    key: Tensor,
    output_weight: Tensor,
    output_offset: Tensor,
    inner_scale: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
) -> tuple[Tensor, ...]:
    """One layer in training; arguments and results of ``ites_fast.ops.agcn_official.forward``."""
    assert contiguous(features, mixing, query, key, output_weight, output_offset, inner_scale, scale, shift)
    (B, J, C), inner = features.shape, key.shape[0]
    K, N = J // 2, B * J
    hidden = torch.nn.functional.linear(features, projection)
    affinity, pair_values = features.new_empty(B, J, K), features.new_empty(B, K, C)
    mixed, aggregated, output = (torch.empty_like(features) for _ in range(3))
    mean, var, inner_mean, inner_var = (torch.empty_like(scale) for _ in range(4))
    range_poses = rows_per_program(B, 1)
    P, block_c = triton.cdiv(B, range_poses), channel_block(C, BLOCK_C)
    partial = features.new_empty(P, 5, C, dtype=torch.float32)
    with torch.cuda.device_of(features):
        _agcn_official_fwd_kernel[P, C // block_c](
            features, hidden, mixing, query, query_bias, key, output_weight, output_offset,
            affinity, pair_values, mixed, aggregated, partial, B, range_poses,
            J, C, inner, block_of(J, MAX_JOINTS), block_c, BLOCK_K, PAIRS, matmul_precision(), num_warps=WARPS,
        )  # fmt: skip
        _agcn_official_merge_kernel[(triton.cdiv(C, MERGED_C),)](
            partial, inner_scale, mean, var, inner_mean, inner_var, N, range_poses * J, eps, C, BLOCK_P, MERGED_C
        )
        _agcn_official_normalise_kernel[triton.cdiv(N, BLOCK_R), C // block_c](
            mixed, aggregated, mean, var, inner_mean, inner_var, inner_scale, scale, shift, output,
            N, eps, C, BLOCK_R, block_c,
        )  # fmt: skip
    return output, mean, var, inner_mean, inner_var, hidden, affinity, pair_values, aggregated, mixed


def types_of(kernel, data: str) -> dict[str, str]:
    """Types of a kernel's arguments: sums, statistics and norms in float32, other tensors in ``data``."""
    in_float32 = ("partial_ptr", "coefficients_ptr", "mean_ptr", "var_ptr", "scale_ptr", "shift_ptr")
    numbers = {"eps": "fp32"} | dict.fromkeys(("N", "P", "B", "range_rows", "range_poses"), "i32")
    types = {name: "*fp32" if name.endswith(in_float32) else f"*{data}" for name in kernel.arg_names}
    types = {name: kind for name, kind in types.items() if name.endswith("_ptr")} | numbers
    return {name: types[name] for name in kernel.arg_names if name in types}


def _builds() -> Iterator[Build]:
    kernel = _agcn_official_merge_kernel
    yield Build(kernel, types_of(kernel, "fp32"), {"C": 128, "BLOCK_P": BLOCK_P, "BLOCK_C": MERGED_C}, max_registers=64)
    kernel = _agcn_official_normalise_kernel
    for data in ("fp32", "bf16"):
        rows = {"C": 128, "BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C}
        yield Build(kernel, types_of(kernel, data), rows, max_registers=80)
    kernel = _agcn_official_fwd_kernel
    blocks = {"BLOCK_J": 32, "BLOCK_C": BLOCK_C, "BLOCK_I": BLOCK_K, "PAIRS": PAIRS}
    for data, precision in (("fp32", "ieee"), ("fp32", "tf32"), ("bf16", "ieee")):
        layer = {"J": 17, "C": 128, "INNER": 64, "PRECISION": precision}
        yield Build(kernel, types_of(kernel, data), layer | blocks, WARPS, max_registers=144)


BUILDS = tuple(_builds())
