r"""Triton kernels for a training step of one layer of the paper. Formulas: ``ites_fast.reference.agcn``.

Products with weights, and their gradients, are PyTorch's own (cuBLAS); what lies between them is fused. A program owns
a pose, or one after the other, and a block of channels.

* Forward, 8 launches: ``hidden``; bias and ReLU of both perceptrons; their second layers, two products; the mixing
  laid out for the kernels; softmax attention, mixing along the edges, their sum and its moments; merging the moments of
  the ranges; normalisation. The affinity is computed again for each block of channels, from cached queries and keys.
* Backward, 19 launches, six of them over whole features: sums by channel; everything from the gradient of the output
  to those of values, queries and keys; mixing along the reversed edges; the gradient of the mixing; ReLU of the
  perceptrons; products and sums of cuBLAS.

For 17 joints, 128 channels, 64 inner channels in float32 the tensors of a pose that go through memory add up to 140 KB
forward and 267 KB backward, counted from the shapes. The PyTorch operations take 32 launches and 268 KB forward, 47
launches and 490 KB backward, counted by a dispatch mode.

Joints are padded to 16 or 32 rows. What does not exist is loaded as zero and never written, and gets no attention.
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
    contiguous,
    matmul_precision,
    rows_per_program,
)
from ites_fast.kernels.channel_mix import channel_mix_bwd, channel_mix_fwd, joints_first, mix_pose
from ites_fast.kernels.norm_relu import behind_relu, merge_moments, norm_gradient, norm_relu_sums, normalise_relu

MAX_JOINTS, MAX_INNER = 32, 128
BLOCK_R, BLOCK_C, BLOCK_I = 32, 32, 32


@triton.jit
def _agcn_paper_hidden_kernel(
    hidden_ptr,  # (N, 2 D + 2 I)
    query_bias_ptr,  # (I,), of the hidden layer
    key_bias_ptr,  # (I,), of the hidden layer
    query_hidden_ptr,  # (N, I), written
    key_hidden_ptr,  # (N, I), written
    N,
    D: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_I: tl.constexpr,
):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    i = tl.arange(0, BLOCK_I)
    mask = (r < N)[:, None] & (i < INNER)[None, :]
    at = r[:, None] * (2 * D + 2 * INNER) + 2 * D + i[None, :]
    to = r[:, None] * INNER + i[None, :]
    query_bias = tl.load(query_bias_ptr + i, mask=i < INNER, other=0.0).to(tl.float32)
    query_hidden = tl.load(hidden_ptr + at, mask=mask, other=0.0).to(tl.float32) + query_bias[None, :]
    tl.store(query_hidden_ptr + to, tl.maximum(query_hidden, 0.0, tl.PropagateNan.ALL), mask=mask)
    key_bias = tl.load(key_bias_ptr + i, mask=i < INNER, other=0.0).to(tl.float32)
    key_hidden = tl.load(hidden_ptr + at + INNER, mask=mask, other=0.0).to(tl.float32) + key_bias[None, :]
    tl.store(key_hidden_ptr + to, tl.maximum(key_hidden, 0.0, tl.PropagateNan.ALL), mask=mask)


@triton.jit
def pose_softmax(
    queries_ptr, keys_ptr, b,
    J: tl.constexpr, INNER: tl.constexpr, BLOCK_J: tl.constexpr, BLOCK_I: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Affinity (BLOCK_J, BLOCK_J) between the joints of pose ``b``; a joint that does not exist is never a source."""
    j = tl.arange(0, BLOCK_J)
    mask_j = (j < J)[:, None]
    logits = tl.zeros((BLOCK_J, BLOCK_J), tl.float32)
    for start in range(0, INNER, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        at = (b * J + j)[:, None] * INNER + i[None, :]
        mask = mask_j & (i < INNER)[None, :]
        queries = tl.load(queries_ptr + at, mask=mask, other=0.0)
        keys = tl.load(keys_ptr + at, mask=mask, other=0.0)
        logits = tl.dot(queries, tl.trans(keys), logits, input_precision=PRECISION)
    logits = tl.where((j < J)[None, :], logits, float("-inf"))
    exponential = tl.exp(logits - tl.max(logits, axis=1)[:, None])
    return exponential / tl.sum(exponential, axis=1)[:, None]


@triton.jit
def _agcn_paper_fwd_kernel(
    hidden_ptr,  # (B, J, 2 D + 2 I)
    weights_ptr,  # (J, J, D)
    adjacency_ptr,  # (J, J), boolean
    queries_ptr,  # (B, J, I)
    keys_ptr,  # (B, J, I)
    affinity_ptr,  # (B, J, J), written
    physical_ptr,  # (B, J, D), written
    mixed_ptr,  # (B, J, D), written
    partial_ptr,  # (P, 2, D), written: mean and centred sum of squares of the range's mixed
    B,
    range_poses,
    J: tl.constexpr,
    D: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    PRECISION: tl.constexpr,
):
    H: tl.constexpr = 2 * D + 2 * INNER
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    j = tl.arange(0, BLOCK_J)
    mask_j = (j < J)[:, None]
    mean = tl.zeros((BLOCK_C,), tl.float32)
    squares = tl.zeros((BLOCK_C,), tl.float32)
    first = p * range_poses
    for b in tl.range(first, tl.minimum(first + range_poses, B), disable_licm=True):
        affinity = pose_softmax(queries_ptr, keys_ptr, b, J, INNER, BLOCK_J, BLOCK_I, PRECISION)
        affinity = affinity.to(affinity_ptr.dtype.element_ty)
        row = (b * J + j)[:, None]
        if tl.program_id(1) == 0:
            tl.store(affinity_ptr + row * J + j[None, :], affinity, mask=mask_j & (j < J)[None, :])
        values = tl.load(hidden_ptr + row * H + D + c[None, :], mask=mask_j, other=0.0)
        attention = tl.dot(affinity, values, input_precision=PRECISION)
        physical = mix_pose(hidden_ptr, H, weights_ptr, adjacency_ptr, b, c, c < D, J, D, BLOCK_J, False)
        physical = tl.maximum(physical, 0.0, tl.PropagateNan.ALL)
        tl.store(physical_ptr + row * D + c[None, :], physical, mask=mask_j)
        mixed = tl.where(mask_j, physical + attention, 0.0)
        tl.store(mixed_ptr + row * D + c[None, :], mixed, mask=mask_j)

        rows = (b - first).to(tl.float32) * J
        gap = tl.sum(mixed, axis=0) / J - mean
        offset = tl.where(mask_j, mixed - (mean + gap)[None, :], 0.0)
        squares += tl.sum(offset * offset, axis=0) + gap * gap * rows * (J / (rows + J))
        mean += gap * (J / (rows + J))
    tl.store(partial_ptr + 2 * p * D + c, mean)
    tl.store(partial_ptr + (2 * p + 1) * D + c, squares)


def perceptrons(
    hidden: Tensor,
    query_hidden_bias: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_hidden_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Hidden queries and keys (B, J, I) after their ReLU, queries and keys, from ``hidden`` (B, J, 2 D + 2 I)."""
    (B, J, H), inner = hidden.shape, len(query_bias)
    N, D = B * J, H // 2 - inner
    query_hidden, key_hidden = hidden.new_empty(B, J, inner), hidden.new_empty(B, J, inner)
    with torch.cuda.device_of(hidden):
        _agcn_paper_hidden_kernel[(triton.cdiv(N, BLOCK_R),)](
            *(hidden, query_hidden_bias, key_hidden_bias, query_hidden, key_hidden, N),
            *(D, inner, BLOCK_R, block_of(inner, MAX_INNER)),
        )
    queries = torch.nn.functional.linear(query_hidden, query_weight, query_bias)
    keys = torch.nn.functional.linear(key_hidden, key_weight, key_bias)
    return query_hidden, key_hidden, queries, keys


def agcn_paper_fwd(
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_hidden_bias: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_hidden_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    scale: Tensor,
    shift: Tensor,
    eps: float,
) -> tuple[Tensor, ...]:
    """One layer in training; arguments and results of ``ites_fast.ops.agcn_paper.forward``."""
    assert contiguous(features, mixing, adjacency, query_hidden_bias, key_hidden_bias, scale, shift)
    (B, J, _), D, inner = features.shape, mixing.shape[0], query_bias.shape[0]
    N, block_c = B * J, channel_block(D, BLOCK_C)
    hidden = torch.nn.functional.linear(features, projection)
    query_hidden, key_hidden, queries, keys = perceptrons(
        hidden, query_hidden_bias, query_weight, query_bias, key_hidden_bias, key_weight, key_bias
    )
    affinity = features.new_empty(B, J, J)
    physical, mixed = features.new_empty(B, J, D), features.new_empty(B, J, D)
    range_poses = rows_per_program(B, 1)
    P = triton.cdiv(B, range_poses)
    partial = features.new_empty(P, 2, D, dtype=torch.float32)
    with torch.cuda.device_of(features):
        _agcn_paper_fwd_kernel[P, D // block_c](
            hidden, joints_first(mixing), adjacency, queries, keys, affinity, physical, mixed, partial, B, range_poses,
            J, D, inner, block_of(J, MAX_JOINTS), block_c, BLOCK_I, matmul_precision(),
        )  # fmt: skip
    mean, var = merge_moments(partial, N, range_poses * J, scale)
    output = normalise_relu(mixed, mean, var, scale, shift, eps, centre=True)
    return output, mean, var, mixed, hidden, query_hidden, key_hidden, queries, keys, affinity, physical


@triton.jit
def _agcn_paper_bwd_kernel(
    grad_output_ptr,  # (B, J, D)
    mixed_ptr,  # (B, J, D), centred
    physical_ptr,  # (B, J, D)
    hidden_ptr,  # (B, J, 2 D + 2 I)
    affinity_ptr,  # (B, J, J)
    queries_ptr,  # (B, J, I)
    keys_ptr,  # (B, J, I)
    sums_ptr,  # (2, D), of ``norm_relu_sums``
    var_ptr,  # (D,)
    scale_ptr,  # (D,)
    shift_ptr,  # (D,)
    grad_hidden_ptr,  # (B, J, 2 D + 2 I), the values' columns are written
    grad_physical_ptr,  # (B, J, D), written: before the ReLU of the physical graph
    grad_queries_ptr,  # (B, J, I), written
    grad_keys_ptr,  # (B, J, I), written
    grad_scale_ptr,  # (D,), written
    grad_shift_ptr,  # (D,), written
    N,
    eps,
    J: tl.constexpr,
    D: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    PRECISION: tl.constexpr,
):
    H: tl.constexpr = 2 * D + 2 * INNER
    data = hidden_ptr.dtype.element_ty
    b = tl.program_id(0).to(tl.int64)
    j = tl.arange(0, BLOCK_J)
    mask_j = (j < J)[:, None]
    row = (b * J + j)[:, None]
    affinity = tl.load(affinity_ptr + row * J + j[None, :], mask=mask_j & (j < J)[None, :], other=0.0)
    grad_affinity = tl.zeros((BLOCK_J, BLOCK_J), tl.float32)
    for start in range(0, D, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        mask_c = c < D
        at = row * D + c[None, :]
        grad, mixed = behind_relu(
            grad_output_ptr, mixed_ptr, None, var_ptr, scale_ptr, shift_ptr, at, mask_j, c, mask_c, eps
        )  # fmt: skip
        grad_mixed, grad_scale = norm_gradient(grad, mixed, c, mask_c, sums_ptr, var_ptr, scale_ptr, N, D, eps)
        if b == 0:
            tl.store(grad_scale_ptr + c, grad_scale)
            tl.store(grad_shift_ptr + c, tl.load(sums_ptr + c))
        grad_mixed = tl.where(mask_j, grad_mixed, 0.0)
        physical = tl.load(physical_ptr + at, mask=mask_j, other=0.0)
        tl.store(grad_physical_ptr + at, tl.where(physical <= 0, 0.0, grad_mixed), mask=mask_j)
        values = tl.load(hidden_ptr + row * H + D + c[None, :], mask=mask_j, other=0.0)
        grad_affinity = tl.dot(grad_mixed.to(data), tl.trans(values), grad_affinity, input_precision=PRECISION)
        grad_values = tl.dot(tl.trans(affinity), grad_mixed.to(data), input_precision=PRECISION)
        tl.store(grad_hidden_ptr + row * H + D + c[None, :], grad_values, mask=mask_j)
    weighted = affinity.to(tl.float32) * grad_affinity
    grad_logits = (weighted - affinity.to(tl.float32) * tl.sum(weighted, axis=1)[:, None]).to(data)
    for start in range(0, INNER, BLOCK_I):
        i = start + tl.arange(0, BLOCK_I)
        at = row * INNER + i[None, :]
        mask = mask_j & (i < INNER)[None, :]
        keys = tl.load(keys_ptr + at, mask=mask, other=0.0)
        tl.store(grad_queries_ptr + at, tl.dot(grad_logits, keys, input_precision=PRECISION), mask=mask)
        queries = tl.load(queries_ptr + at, mask=mask, other=0.0)
        tl.store(grad_keys_ptr + at, tl.dot(tl.trans(grad_logits), queries, input_precision=PRECISION), mask=mask)


@triton.jit
def _agcn_paper_hidden_bwd_kernel(
    grad_query_hidden_ptr,  # (N, I), after the ReLU
    grad_key_hidden_ptr,  # (N, I), after the ReLU
    query_hidden_ptr,  # (N, I)
    key_hidden_ptr,  # (N, I)
    grad_hidden_ptr,  # (N, 2 D + 2 I), the last 2 I columns are written
    N,
    D: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_I: tl.constexpr,
):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    i = tl.arange(0, BLOCK_I)
    mask = (r < N)[:, None] & (i < INNER)[None, :]
    at = r[:, None] * INNER + i[None, :]
    to = r[:, None] * (2 * D + 2 * INNER) + 2 * D + i[None, :]
    query_hidden = tl.load(query_hidden_ptr + at, mask=mask, other=0.0)
    grad = tl.load(grad_query_hidden_ptr + at, mask=mask, other=0.0)
    tl.store(grad_hidden_ptr + to, tl.where(query_hidden <= 0, 0.0, grad), mask=mask)
    key_hidden = tl.load(key_hidden_ptr + at, mask=mask, other=0.0)
    grad = tl.load(grad_key_hidden_ptr + at, mask=mask, other=0.0)
    tl.store(grad_hidden_ptr + to + INNER, tl.where(key_hidden <= 0, 0.0, grad), mask=mask)


def agcn_paper_bwd(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    var: Tensor,
    mixed: Tensor,
    hidden: Tensor,
    query_hidden: Tensor,
    key_hidden: Tensor,
    queries: Tensor,
    keys: Tensor,
    affinity: Tensor,
    physical: Tensor,
    eps: float,
) -> tuple[Tensor, ...]:
    """Gradients of the arguments of ``agcn_paper_fwd`` but the adjacency, in their order."""
    assert contiguous(grad_output, features, mixing, adjacency, scale, shift, var, mixed, hidden, physical)
    assert contiguous(query_hidden, key_hidden, queries, keys, affinity)
    (B, J, C), D, inner = features.shape, mixing.shape[0], query_weight.shape[0]
    N = B * J
    sums = norm_relu_sums(grad_output, mixed, None, var, scale, shift, eps)
    grad_hidden, grad_physical = torch.empty_like(hidden), torch.empty_like(physical)
    grad_queries, grad_keys = torch.empty_like(queries), torch.empty_like(keys)
    grad_scale, grad_shift = torch.empty_like(scale), torch.empty_like(shift)
    with torch.cuda.device_of(features):
        _agcn_paper_bwd_kernel[(B,)](
            grad_output, mixed, physical, hidden, affinity, queries, keys, sums, var, scale, shift,
            grad_hidden, grad_physical, grad_queries, grad_keys, grad_scale, grad_shift, N, eps,
            J, D, inner, block_of(J, MAX_JOINTS), channel_block(D, BLOCK_C), BLOCK_I, matmul_precision(),
        )  # fmt: skip
    channel_mix_fwd(grad_physical, joints_first(mixing), adjacency, transposed=True, output=grad_hidden[..., :D])
    grad_query_rows, grad_key_rows = grad_queries.view(N, inner), grad_keys.view(N, inner)
    grad_query_hidden, grad_key_hidden = grad_query_rows @ query_weight, grad_key_rows @ key_weight
    with torch.cuda.device_of(features):
        _agcn_paper_hidden_bwd_kernel[(triton.cdiv(N, BLOCK_R),)](
            grad_query_hidden, grad_key_hidden, query_hidden, key_hidden, grad_hidden,
            N, D, inner, BLOCK_R, block_of(inner, MAX_INNER),
        )  # fmt: skip
    grad_rows = grad_hidden.view(N, -1)
    return (
        (grad_rows @ projection).view(B, J, C),
        channel_mix_bwd(grad_physical, hidden[..., :D], adjacency),
        grad_rows.mT @ features.view(N, C),
        grad_rows[:, 2 * D : 2 * D + inner].sum(dim=0),
        grad_query_rows.mT @ query_hidden.view(N, inner),
        grad_query_rows.sum(dim=0),
        grad_rows[:, 2 * D + inner :].sum(dim=0),
        grad_key_rows.mT @ key_hidden.view(N, inner),
        # what is added to all keys adds one constant to all logits of a joint, which the softmax cancels
        grad_keys.new_zeros(inner),
        grad_scale,
        grad_shift,
    )


def types_of(kernel, data: str) -> dict[str, str]:
    """Types of a kernel's arguments: sums, statistics and norms in float32, other tensors in ``data``."""
    in_float32 = ("partial_ptr", "sums_ptr", "var_ptr", "scale_ptr", "shift_ptr")
    numbers = {"eps": "fp32"} | dict.fromkeys(("N", "B", "range_poses"), "i32")
    types = {name: "*fp32" if name.endswith(in_float32) else f"*{data}" for name in kernel.arg_names}
    types = {name: kind for name, kind in types.items() if name.endswith("_ptr")}
    types |= {"adjacency_ptr": "*i1"} | numbers
    return {name: types[name] for name in kernel.arg_names if name in types}


def _builds() -> Iterator[Build]:
    for data in ("fp32", "bf16"):
        rows = {"D": 128, "INNER": 64, "BLOCK_R": BLOCK_R, "BLOCK_I": 64}
        for kernel in (_agcn_paper_hidden_kernel, _agcn_paper_hidden_bwd_kernel):
            yield Build(kernel, types_of(kernel, data), rows, max_registers=64)
    for data, precision in (("fp32", "ieee"), ("fp32", "tf32"), ("bf16", "ieee")):
        layer = {"J": 17, "D": 128, "INNER": 64, "BLOCK_J": 32, "BLOCK_C": BLOCK_C, "BLOCK_I": BLOCK_I}
        layer["PRECISION"] = precision
        most = 176 if precision == "ieee" and data == "fp32" else 104
        yield Build(_agcn_paper_fwd_kernel, types_of(_agcn_paper_fwd_kernel, data), layer, max_registers=most)
        yield Build(_agcn_paper_bwd_kernel, types_of(_agcn_paper_bwd_kernel, data), layer, max_registers=160)


BUILDS = tuple(_builds())
