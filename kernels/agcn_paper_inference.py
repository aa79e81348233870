"""Triton kernel of ``agcn_paper_inference``: everything of one layer behind the products with its weights, at once.

The products are PyTorch's own (cuBLAS). A program owns one pose and a block of channels; the batch norm has become a
factor and a constant, so nothing is reduced over the batch.
"""

from collections.abc import Iterator

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.agcn_paper import (
    BLOCK_C,
    BLOCK_I,
    MAX_JOINTS,
    perceptrons,
    pose_softmax,
    types_of,
)
from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import block_of, channel_block, contiguous, matmul_precision
from ites_fast.kernels.channel_mix import joints_first, mix_pose


@triton.jit
def _agcn_paper_inference_fwd_kernel(
    hidden_ptr,  # (B, J, 2 D + 2 I)
    weights_ptr,  # (J, J, D)
    adjacency_ptr,  # (J, J), boolean
    queries_ptr,  # (B, J, I)
    keys_ptr,  # (B, J, I)
    factor_ptr,  # (D,)
    constant_ptr,  # (D,)
    output_ptr,  # (B, J, D), written
    J: tl.constexpr,
    D: tl.constexpr,
    INNER: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    BLOCK_I: tl.constexpr,
    PRECISION: tl.constexpr,
):
    H: tl.constexpr = 2 * D + 2 * INNER
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    j = tl.arange(0, BLOCK_J)
    mask_j = (j < J)[:, None]
    row = (b * J + j)[:, None]
    affinity = pose_softmax(queries_ptr, keys_ptr, b, J, INNER, BLOCK_J, BLOCK_I, PRECISION)
    values = tl.load(hidden_ptr + row * H + D + c[None, :], mask=mask_j, other=0.0)
    attention = tl.dot(affinity.to(values.dtype), values, input_precision=PRECISION)
    physical = mix_pose(hidden_ptr, H, weights_ptr, adjacency_ptr, b, c, c < D, J, D, BLOCK_J, False)
    mixed = tl.maximum(physical, 0.0, tl.PropagateNan.ALL) + attention
    factor, constant = tl.load(factor_ptr + c).to(tl.float32), tl.load(constant_ptr + c).to(tl.float32)
    output = tl.maximum(mixed * factor[None, :] + constant[None, :], 0.0, tl.PropagateNan.ALL)
    tl.store(output_ptr + row * D + c[None, :], output, mask=mask_j)


def agcn_paper_inference_fwd(
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
    factor: Tensor,
    constant: Tensor,
) -> Tensor:
    """One layer in inference: features (B, J, D); arguments of ``ites_fast.ops.agcn_paper.inference``."""
    assert contiguous(features, mixing, adjacency, query_hidden_bias, key_hidden_bias, factor, constant)
    (B, J, _), D, inner = features.shape, mixing.shape[0], query_bias.shape[0]
    output = features.new_empty(B, J, D)
    if output.numel() > 0:
        hidden = torch.nn.functional.linear(features, projection)
        *_, queries, keys = perceptrons(
            hidden, query_hidden_bias, query_weight, query_bias, key_hidden_bias, key_weight, key_bias
        )
        block_c = channel_block(D, BLOCK_C)
        with torch.cuda.device_of(features):
            _agcn_paper_inference_fwd_kernel[B, D // block_c](
                hidden, joints_first(mixing), adjacency, queries, keys, factor, constant, output,
                J, D, inner, block_of(J, MAX_JOINTS), block_c, BLOCK_I, matmul_precision(),
            )  # fmt: skip
    return output


def _builds() -> Iterator[Build]:
    kernel = _agcn_paper_inference_fwd_kernel
    for data, precision in (("fp32", "ieee"), ("fp32", "tf32"), ("bf16", "ieee")):
        layer = {"J": 17, "D": 128, "INNER": 64, "BLOCK_J": 32, "BLOCK_C": BLOCK_C, "BLOCK_I": BLOCK_I}
        yield Build(kernel, types_of(kernel, data), layer | {"PRECISION": precision}, max_registers=112)


BUILDS = tuple(_builds())
