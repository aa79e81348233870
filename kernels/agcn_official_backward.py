"""Triton kernels for the backward of the released code's layer; see ``ites_fast.kernels.agcn_official``."""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.agcn_official import (
    BLOCK_C,
    BLOCK_P,
    BLOCK_R,
    MAX_INNER,
    MAX_JOINTS,
    MERGED_C,
    PAIRS,
    WARPS,
    load_pairs,
    pair_maximum,
    types_of,
)
from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import (
    block_of,
    channel_block,
    contiguous,
    matmul_precision,
    rows_per_program,
)
from ites_fast.kernels.norm_relu import behind_relu

BACKWARD_C = 32


@triton.jit
def _agcn_official_sums_kernel(
    grad_output_ptr,  # (N, C)
    mixed_ptr,  # (N, C), centred
    aggregated_ptr,  # (N, C), centred
    var_ptr,  # (C,)
    scale_ptr,  # (C,)
    shift_ptr,  # (C,)
    partial_ptr,  # (P, 4, C), written: sums of g, g * mixed, g * aggregated and mixed * aggregated
    N,
    range_rows,
    eps,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    last = tl.minimum((p + 1) * range_rows, N)
    sum_g = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    sum_gm, sum_ga, sum_ma = sum_g, sum_g, sum_g
    for start in range(p * range_rows, last, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        mask = (r < last)[:, None]
        at = r[:, None] * C + c[None, :]
        grad, mixed = behind_relu(
            grad_output_ptr, mixed_ptr, None, var_ptr, scale_ptr, shift_ptr, at, mask, c, c < C, eps
        )  # fmt: skip
        aggregated = tl.load(aggregated_ptr + at, mask=mask, other=0.0).to(tl.float32)
        sum_g += grad
        sum_gm += grad * mixed
        sum_ga += grad * aggregated
        sum_ma += mixed * aggregated
    partial_ptr += 4 * p * C + c
    tl.store(partial_ptr, tl.sum(sum_g, axis=0))
    tl.store(partial_ptr + C, tl.sum(sum_gm, axis=0))
    tl.store(partial_ptr + 2 * C, tl.sum(sum_ga, axis=0))
    tl.store(partial_ptr + 3 * C, tl.sum(sum_ma, axis=0))


@triton.jit
def sum_ranges(partial_ptr, stride, P, mask, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Sum over P ranges of ``partial_ptr`` (BLOCK_C,) and then ``stride`` apart."""
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for start in range(0, P, BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        total += tl.load(partial_ptr[None, :] + p[:, None] * stride, mask=(p < P)[:, None] & mask[None, :], other=0.0)
    return tl.sum(total, axis=0)


@triton.jit
def _agcn_official_coefficients_kernel(
    partial_ptr,  # (P, 4, C)
    var_ptr,  # (C,)
    inner_var_ptr,  # (C,)
    scale_ptr,  # (C,)
    inner_scale_ptr,  # (C,)
    coefficients_ptr,  # (5, C), written; see ``graph_gradients``
    grad_scale_ptr,  # (C,), written
    grad_shift_ptr,  # (C,), written
    grad_inner_scale_ptr,  # (C,), written
    P,
    N,
    eps,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = c < C
    sum_g = sum_ranges(partial_ptr + c, 4 * C, P, mask, BLOCK_P, BLOCK_C)
    sum_gm = sum_ranges(partial_ptr + C + c, 4 * C, P, mask, BLOCK_P, BLOCK_C)
    sum_ga = sum_ranges(partial_ptr + 2 * C + c, 4 * C, P, mask, BLOCK_P, BLOCK_C)
    sum_ma = sum_ranges(partial_ptr + 3 * C + c, 4 * C, P, mask, BLOCK_P, BLOCK_C)
    rstd = tl.rsqrt(tl.load(var_ptr + c, mask=mask, other=0.0).to(tl.float32) + eps)
    inner_rstd = tl.rsqrt(tl.load(inner_var_ptr + c, mask=mask, other=0.0).to(tl.float32) + eps)
    factor = tl.load(scale_ptr + c, mask=mask, other=0.0).to(tl.float32) * rstd
    inner_factor = tl.load(inner_scale_ptr + c, mask=mask, other=0.0).to(tl.float32) * inner_rstd
    slope = -factor * rstd * rstd * sum_gm / N
    # aggregated sums to zero over each channel
    grad_inner_scale = inner_rstd * (factor * sum_ga + slope * sum_ma)
    inner_slope = -inner_factor * inner_rstd * grad_inner_scale / N
    coefficients_ptr += c
    tl.store(coefficients_ptr, factor, mask=mask)
    tl.store(coefficients_ptr + C, -factor * sum_g / N, mask=mask)
    tl.store(coefficients_ptr + 2 * C, slope, mask=mask)
    tl.store(coefficients_ptr + 3 * C, inner_factor, mask=mask)
    tl.store(coefficients_ptr + 4 * C, inner_slope, mask=mask)
    tl.store(grad_scale_ptr + c, rstd * sum_gm, mask=mask)
    tl.store(grad_shift_ptr + c, sum_g, mask=mask)
    tl.store(grad_inner_scale_ptr + c, grad_inner_scale, mask=mask)


@triton.jit
def grad_of_mixed(grad_output_ptr, mixed_ptr, coefficients_ptr, shift_ptr, at, mask, c, C: tl.constexpr):
    """Gradient (BLOCK_J, BLOCK_C) of the sum of both graphs: linear in the gradient before the ReLU and the sum."""
    factor = tl.load(coefficients_ptr + c)
    constant = tl.load(coefficients_ptr + C + c)
    slope = tl.load(coefficients_ptr + 2 * C + c)
    shift = tl.load(shift_ptr + c).to(tl.float32)
    mixed = tl.load(mixed_ptr + at, mask=mask, other=0.0).to(tl.float32)
    grad = tl.load(grad_output_ptr + at, mask=mask, other=0.0).to(tl.float32)
    grad = tl.where(mixed * factor[None, :] + shift[None, :] <= 0, 0.0, grad)
    return tl.where(mask, grad * factor[None, :] + constant[None, :] + mixed * slope[None, :], 0.0)


@triton.jit
def grad_of_aggregated(grad_mixed, aggregated_ptr, coefficients_ptr, at, mask, c, C: tl.constexpr):
    """Gradient (BLOCK_J, BLOCK_C) of aggregated: linear in the gradient of mixed and in aggregated."""
    inner_factor = tl.load(coefficients_ptr + 3 * C + c)
    inner_slope = tl.load(coefficients_ptr + 4 * C + c)
    aggregated = tl.load(aggregated_ptr + at, mask=mask, other=0.0).to(tl.float32)
    return grad_mixed * inner_factor[None, :] + aggregated * inner_slope[None, :]


@triton.jit
def affinity_gradient(
    grad_output_ptr, mixed_ptr, aggregated_ptr, pair_values_ptr, coefficients_ptr, shift_ptr, b, data: tl.constexpr,
    J: tl.constexpr, C: tl.constexpr,
    BLOCK_J: tl.constexpr, BLOCK_C: tl.constexpr, PAIRS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradient (BLOCK_J, PAIRS) of the affinity of pose ``b``, summed over all channels."""
    j, k = tl.arange(0, BLOCK_J), tl.arange(0, PAIRS)
    mask_j = (j < J)[:, None]
    total = tl.zeros((BLOCK_J, PAIRS), tl.float32)
    for start in range(0, C, BLOCK_C):
        c = start + tl.arange(0, BLOCK_C)
        at = (b * J + j)[:, None] * C + c[None, :]
        grad_mixed = grad_of_mixed(grad_output_ptr, mixed_ptr, coefficients_ptr, shift_ptr, at, mask_j, c, C)
        grad_aggregated = grad_of_aggregated(grad_mixed, aggregated_ptr, coefficients_ptr, at, mask_j, c, C)
        pair_at = (b * (J // 2) + k)[:, None] * C + c[None, :]
        pair_values = tl.load(pair_values_ptr + pair_at, mask=(k < J // 2)[:, None], other=0.0)
        total = tl.dot(grad_aggregated.to(data), tl.trans(pair_values), total, input_precision=PRECISION)
    return total


@triton.jit
def store_pair_gradient(grad, even, odd, grad_hidden_ptr, pose, column, mask, J: tl.constexpr, H: tl.constexpr):
    """Store the gradient of a maximum over pairs: all of it goes to the even joint where both are equal."""
    k = tl.arange(0, grad.shape[0])
    mask = (k < J // 2)[:, None] & mask[None, :]
    even_ptr = grad_hidden_ptr + (pose * J + 2 * k)[:, None] * H + column[None, :]
    grad_odd = tl.where(odd.to(tl.float32) - even.to(tl.float32) <= 0, 0.0, grad)
    tl.store(even_ptr, grad - grad_odd, mask=mask)
    tl.store(even_ptr + H, grad_odd, mask=mask)
    if J % 2 == 1:
        last_ptr = grad_hidden_ptr + (pose * J + J - 1) * H + column
        tl.store(last_ptr, tl.zeros(column.shape, tl.float32), mask=column < H)


@triton.jit
def _agcn_official_bwd_kernel(
    grad_output_ptr,  # (B, J, C)
    mixed_ptr,  # (B, J, C), centred
    aggregated_ptr,  # (B, J, C), centred
    hidden_ptr,  # (B, J, 2 C + 2 I)
    affinity_ptr,  # (B, J, K)
    pair_values_ptr,  # (B, K, C)
    coefficients_ptr,  # (5, C)
    shift_ptr,  # (C,)
    mixing_ptr,  # (J, J)
    query_ptr,  # (C,)
    key_ptr,  # (I,)
    output_weight_ptr,  # (C, I)
    grad_hidden_ptr,  # (B, J, 2 C + 2 I), written
    grad_features_ptr,  # (B, J, C), written: all but what comes through hidden
    grad_t_ptr,  # (B, J), written
    pooled_ptr,  # (B, K, I), written: maximum of the pairs' values
    grad_pair_values_ptr,  # (B, K, C), written
    partial_ptr,  # (P, J * J + I + 1), written: the range's gradients of mixing, key and query bias
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
    H: tl.constexpr = 2 * C + 2 * INNER
    data = hidden_ptr.dtype.element_ty
    p = tl.program_id(0).to(tl.int64)
    j, k, i = tl.arange(0, BLOCK_J), tl.arange(0, PAIRS), tl.arange(0, BLOCK_I)
    mask_j, mask_k = (j < J)[:, None], (k < K)[:, None]
    edges = mask_j & (j < J)[None, :] & (j[:, None] != j[None, :])
    own_mixing = tl.load(mixing_ptr + j * (J + 1), mask=j < J, other=0.0).to(tl.float32)
    key = tl.load(key_ptr + i, mask=i < INNER, other=0.0).to(tl.float32)
    grad_mixing = tl.zeros((BLOCK_J, BLOCK_J), tl.float32)
    grad_own_mixing = tl.zeros((BLOCK_J,), tl.float32)
    grad_key = tl.zeros((BLOCK_I,), tl.float32)
    grad_query_bias = 0.0
    for b in tl.range(p * range_poses, tl.minimum((p + 1) * range_poses, B), disable_licm=True):
        row = (b * J + j)[:, None]
        affinity_at = row * K + k[None, :]
        affinity = tl.load(affinity_ptr + affinity_at, mask=mask_j & (k < K)[None, :], other=0.0)
        grad_affinity = affinity_gradient(
            grad_output_ptr, mixed_ptr, aggregated_ptr, pair_values_ptr, coefficients_ptr, shift_ptr, b, data,
            J, C, BLOCK_J, BLOCK_C, PAIRS, PRECISION,
        )  # fmt: skip
        grad_affinity = tl.where(affinity <= 0, 0.0, grad_affinity) / (K if K > 0 else 1)
        grad_t, grad_s = tl.sum(grad_affinity, axis=1), tl.sum(grad_affinity, axis=0)
        tl.store(grad_t_ptr + b * J + j, grad_t, mask=j < J)
        grad_query_bias += tl.sum(grad_t)

        grad_pooled = tl.zeros((PAIRS, BLOCK_I), tl.float32)
        for start in range(0, C, BLOCK_C):
            c = start + tl.arange(0, BLOCK_C)
            at = row * C + c[None, :]
            grad_mixed = grad_of_mixed(grad_output_ptr, mixed_ptr, coefficients_ptr, shift_ptr, at, mask_j, c, C)
            query = tl.load(query_ptr + c).to(tl.float32)
            tl.store(grad_features_ptr + at, grad_mixed + grad_t[:, None] * query[None, :], mask=mask_j)
            hidden_at = row * H + c[None, :]
            own = tl.load(hidden_ptr + hidden_at, mask=mask_j, other=0.0).to(tl.float32)
            grad_own_mixing += tl.sum(grad_mixed * own, axis=1)
            tl.store(grad_hidden_ptr + hidden_at, own_mixing[:, None] * grad_mixed, mask=mask_j)
            neighbours = tl.load(hidden_ptr + hidden_at + C, mask=mask_j, other=0.0)
            grad_mixing = tl.dot(grad_mixed.to(data), tl.trans(neighbours), grad_mixing, input_precision=PRECISION)
            reversed_mixing = tl.load(mixing_ptr + j[None, :] * J + j[:, None], mask=edges, other=0.0).to(data)
            grad_neighbours = tl.dot(reversed_mixing, grad_mixed.to(data), input_precision=PRECISION)
            tl.store(grad_hidden_ptr + hidden_at + C, grad_neighbours, mask=mask_j)
            grad_aggregated = grad_of_aggregated(grad_mixed, aggregated_ptr, coefficients_ptr, at, mask_j, c, C)
            grad_pair_values = tl.dot(tl.trans(affinity), grad_aggregated.to(data), input_precision=PRECISION).to(data)
            pair_at = (b * K + k)[:, None] * C + c[None, :]
            tl.store(grad_pair_values_ptr + pair_at, grad_pair_values, mask=mask_k)
            weight = tl.load(output_weight_ptr + c[:, None] * INNER + i[None, :], mask=(i < INNER)[None, :], other=0.0)
            grad_pooled = tl.dot(grad_pair_values, weight, grad_pooled, input_precision=PRECISION)

        even, odd = load_pairs(hidden_ptr, b, 2 * C + i, i < INNER, J, H, PAIRS)
        pooled_at = (b * K + k)[:, None] * INNER + i[None, :]
        tl.store(pooled_ptr + pooled_at, pair_maximum(even, odd), mask=mask_k & (i < INNER)[None, :])
        store_pair_gradient(grad_pooled, even, odd, grad_hidden_ptr, b, 2 * C + i, i < INNER, J, H)
        even, odd = load_pairs(hidden_ptr, b, 2 * C + INNER + i, i < INNER, J, H, PAIRS)
        grad_key += tl.sum(pair_maximum(even, odd).to(tl.float32) * grad_s[:, None], axis=0)
        grad_keys = grad_s[:, None] * key[None, :]
        store_pair_gradient(grad_keys, even, odd, grad_hidden_ptr, b, 2 * C + INNER + i, i < INNER, J, H)
    partial_ptr += p * (J * J + INNER + 1)
    grad_mixing = tl.where(j[:, None] == j[None, :], grad_own_mixing[:, None], grad_mixing)
    tl.store(partial_ptr + j[:, None] * J + j[None, :], grad_mixing, mask=mask_j & (j < J)[None, :])
    tl.store(partial_ptr + J * J + i, grad_key, mask=i < INNER)
    tl.store(partial_ptr + J * J + INNER, grad_query_bias)


@triton.jit
def _agcn_official_finish_kernel(
    partial_ptr,  # (P, M + I + 1)
    grad_mixing_ptr,  # (M,), written
    grad_key_ptr,  # (I,), written
    grad_query_bias_ptr,  # (), written
    P,
    M: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    total = sum_ranges(partial_ptr + c, M + INNER + 1, P, c < M + INNER + 1, BLOCK_P, BLOCK_C)
    tl.store(grad_mixing_ptr + c, total, mask=c < M)
    tl.store(grad_key_ptr + c - M, total, mask=(c >= M) & (c < M + INNER))
    tl.store(grad_query_bias_ptr + c - (M + INNER), total, mask=c == M + INNER)


def agcn_official_bwd(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    key: Tensor,
    output_weight: Tensor,
    inner_scale: Tensor,
    scale: Tensor,
    shift: Tensor,
    var: Tensor,
    inner_var: Tensor,
    hidden: Tensor,
    affinity: Tensor,
    pair_values: Tensor,
    aggregated: Tensor,
    mixed: Tensor,
    eps: float,
) -> tuple[Tensor, ...]:
    """Gradients of the arguments of ``agcn_official_fwd``, in their order."""
    assert contiguous(grad_output, features, mixing, query, key, output_weight, inner_scale, scale, shift)
    assert contiguous(var, inner_var, hidden, affinity, pair_values, aggregated, mixed)
    (B, J, C), inner = features.shape, key.shape[0]
    K, N, block_c = J // 2, B * J, channel_block(C, BLOCK_C)
    range_rows, range_poses = rows_per_program(N, BLOCK_R), rows_per_program(B, 1)
    P, P_poses = triton.cdiv(N, range_rows), triton.cdiv(B, range_poses)
    sums = features.new_empty(P, 4, C, dtype=torch.float32)
    coefficients = features.new_empty(5, C, dtype=torch.float32)
    partial = features.new_empty(P_poses, J * J + inner + 1, dtype=torch.float32)
    grad_scale, grad_shift, grad_inner_scale = (torch.empty_like(scale) for _ in range(3))
    grad_hidden, grad_features = torch.empty_like(hidden), torch.empty_like(features)
    grad_t, pooled, grad_pair_values = (
        features.new_empty(N),
        features.new_empty(B * K, inner),
        torch.empty_like(pair_values),
    )
    grad_mixing, grad_key, grad_query_bias = torch.empty_like(mixing), torch.empty_like(key), query.new_empty(())
    with torch.cuda.device_of(features):
        _agcn_official_sums_kernel[P, C // block_c](
            grad_output, mixed, aggregated, var, scale, shift, sums, N, range_rows, eps, C, BLOCK_R, block_c
        )
        _agcn_official_coefficients_kernel[(triton.cdiv(C, MERGED_C),)](
            sums, var, inner_var, scale, inner_scale, coefficients, grad_scale, grad_shift, grad_inner_scale,
            P, N, eps, C, BLOCK_P, MERGED_C,
        )  # fmt: skip
        _agcn_official_bwd_kernel[(P_poses,)](
            grad_output, mixed, aggregated, hidden, affinity, pair_values, coefficients, shift,
            mixing, query, key, output_weight,
            grad_hidden, grad_features, grad_t, pooled, grad_pair_values, partial, B, range_poses,
            J, C, inner, block_of(J, MAX_JOINTS), channel_block(C, BACKWARD_C), block_of(inner, MAX_INNER), PAIRS,
            matmul_precision(), num_warps=WARPS,
        )  # fmt: skip
        _agcn_official_finish_kernel[(triton.cdiv(J * J + inner + 1, MERGED_C),)](
            partial, grad_mixing, grad_key, grad_query_bias, P_poses, J * J, inner, BLOCK_P, MERGED_C
        )
    rows, grad_hidden = features.view(N, C), grad_hidden.view(N, -1)
    grad_features.view(N, C).addmm_(grad_hidden, projection)
    grad_pair_rows = grad_pair_values.view(B * K, C)
    return (
        grad_features,
        grad_mixing,
        grad_hidden.mT @ rows,
        rows.mT @ grad_t,
        grad_query_bias,
        grad_key,
        grad_pair_rows.mT @ pooled,
        grad_pair_rows.sum(dim=0),
        grad_inner_scale,
        grad_scale,
        grad_shift,
    )


def _builds() -> Iterator[Build]:
    kernel = _agcn_official_coefficients_kernel
    yield Build(kernel, types_of(kernel, "fp32"), {"C": 128, "BLOCK_P": BLOCK_P, "BLOCK_C": MERGED_C}, max_registers=64)
    kernel = _agcn_official_finish_kernel
    sizes = {"M": 17 * 17, "INNER": 64, "BLOCK_P": BLOCK_P, "BLOCK_C": MERGED_C}
    yield Build(kernel, types_of(kernel, "fp32"), sizes, max_registers=40)
    kernel = _agcn_official_sums_kernel
    for data in ("fp32", "bf16"):
        rows = {"C": 128, "BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C}
        yield Build(kernel, types_of(kernel, data), rows, max_registers=128)
    kernel = _agcn_official_bwd_kernel
    blocks = {"BLOCK_J": 32, "BLOCK_C": BACKWARD_C, "BLOCK_I": 64, "PAIRS": PAIRS}
    for data, precision in (("fp32", "ieee"), ("fp32", "tf32"), ("bf16", "ieee")):
        layer = {"J": 17, "C": 128, "INNER": 64, "PRECISION": precision}
        most = 248 if precision == "tf32" else 192
        yield Build(kernel, types_of(kernel, data), layer | blocks, WARPS, max_registers=most)


BUILDS = tuple(_builds())
