"""Triton kernel of ``agcn_official_inference``: everything of one layer behind its product with the weights, at once.

The product of the features with all projections is PyTorch's own (cuBLAS). A program owns one pose and a block of
channels; both batch norms have become a factor for each graph and a constant, so nothing is reduced over the batch.
"""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.agcn_official import (
    BLOCK_C,
    BLOCK_K,
    MAX_JOINTS,
    PAIRS,
    physical_sum,
    pose_affinity,
    project_pairs,
    types_of,
)
from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import block_of, channel_block, contiguous, matmul_precision

WARPS = 8


@triton.jit
def _agcn_official_inference_fwd_kernel(
    features_ptr,  # (B, J, C)
    hidden_ptr,  # (B, J, 2 C + 2 I)
    mixing_ptr,  # (J, J)
    query_ptr,  # (C,)
    query_bias_ptr,  # ()
    key_ptr,  # (I,)
    output_weight_ptr,  # (C, I)
    output_offset_ptr,  # (C,)
    inner_factor_ptr,  # (C,)
    factor_ptr,  # (C,)
    constant_ptr,  # (C,)
    output_ptr,  # (B, J, C), written
    J: tl.constexpr,
    C: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    PAIRS: tl.constexpr,
    PRECISION: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    j = tl.arange(0, BLOCK_J)
    pair_values = project_pairs(
        hidden_ptr, output_weight_ptr, output_offset_ptr, b, c, J, C, INNER, BLOCK_I, PAIRS, PRECISION
    ).to(output_ptr.dtype.element_ty)
    affinity = pose_affinity(
        features_ptr, hidden_ptr, query_ptr, query_bias_ptr, key_ptr, b,
        J, C, INNER, BLOCK_J, BLOCK_C, BLOCK_I, PAIRS,
    ).to(output_ptr.dtype.element_ty)  # fmt: skip
    aggregated = tl.dot(affinity, pair_values, input_precision=PRECISION)
    total = physical_sum(features_ptr, hidden_ptr, mixing_ptr, b, c, J, C, 2 * C + 2 * INNER, BLOCK_J, PRECISION)
    total += tl.load(inner_factor_ptr + c).to(tl.float32)[None, :] * aggregated
    factor, constant = tl.load(factor_ptr + c).to(tl.float32), tl.load(constant_ptr + c).to(tl.float32)
    output = tl.maximum(total * factor[None, :] + constant[None, :], 0.0, tl.PropagateNan.ALL)
    tl.store(output_ptr + (b * J + j)[:, None] * C + c[None, :], output, mask=(j < J)[:, None])


def agcn_official_inference_fwd(
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    query_bias: Tensor,
    key: Tensor,
    output_weight: Tensor,
    output_offset: Tensor,
    inner_factor: Tensor,
    factor: Tensor,
    constant: Tensor,
) -> Tensor:
    """One layer in inference: features (B, J, C); arguments of ``ites_fast.ops.agcn_official.inference``."""
    assert contiguous(features, mixing, query, key, output_weight, output_offset, inner_factor, factor, constant)
    (B, J, C), inner = features.shape, key.shape[0]
    output = torch.empty_like(features)
    if output.numel() > 0:
        hidden = torch.nn.functional.linear(features, projection)
        block_c = channel_block(C, BLOCK_C)
        with torch.cuda.device_of(features):
            _agcn_official_inference_fwd_kernel[B, C // block_c](
                features, hidden, mixing, query, query_bias, key, output_weight, output_offset,
                inner_factor, factor, constant, output,
                J, C, inner, block_of(J, MAX_JOINTS), block_c, BLOCK_K, PAIRS, matmul_precision(), num_warps=WARPS,
            )  # fmt: skip
    return output


def _builds() -> Iterator[Build]:
    kernel = _agcn_official_inference_fwd_kernel
    blocks = {"BLOCK_J": 32, "BLOCK_C": BLOCK_C, "BLOCK_I": BLOCK_K, "PAIRS": PAIRS}
    for data, precision, registers in (("fp32", "ieee", 184), ("fp32", "tf32", 72), ("bf16", "ieee", 72)):
        layer = {"J": 17, "C": 128, "INNER": 64, "PRECISION": precision}
        yield Build(kernel, types_of(kernel, data), layer | blocks, WARPS, registers)


BUILDS = tuple(_builds())
