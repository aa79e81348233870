"""Triton kernel of a fully connected network in eval mode. Formula and weights: ``ites_fast.reference.mlp_infer``.

One program lifts BLOCK_B poses through all layers. Their features (BLOCK_B, BLOCK_W) never leave its registers, so no
barrier has to order anything. One loop runs over the hidden layers and, inside a layer, over BLOCK_K of its inputs, and
loads nothing but weights: those of the next steps are on their way while a step, and the end of a layer, compute.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.panels import column_part, dot, load_panels, load_row, nan_maximum, part_starts, precision_of

MAX_WIDTH = 512  # the features of wider layers do not fit in the registers
MAX_OUTPUTS = 128
TENSOR_ROWS = 16  # that tensor cores multiply at once, however few there are
WARPS, STAGES = 8, 3


@triton.jit
def _input_layer(
    features_ptr, weight_ptr, factor_ptr, shift_ptr, b, valid, F: tl.constexpr, W: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_B: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    w = tl.arange(0, BLOCK_W)
    product = tl.zeros([BLOCK_B, BLOCK_W], tl.float32)
    for start in tl.range(0, F, BLOCK_K, num_stages=STAGES):
        f = start + tl.arange(0, BLOCK_K)
        features = tl.load(features_ptr + b * F + f[None, :], mask=valid & (f < F)[None, :], other=0.0)
        weight = load_panels(weight_ptr, f[:, None], w[None, :], F, (f < F)[:, None] & (w < W)[None, :])
        product = dot(features.to(tl.float32), weight, product, PRECISION)
    return nan_maximum(product * load_row(factor_ptr, w, W) + load_row(shift_ptr, w, W), 0.0)


@triton.jit
def _output_layer(
    x, weight_ptr, shift_ptr, W: tl.constexpr, OUT: tl.constexpr,
    PRECISION: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    PARTS: tl.constexpr = x.shape[1] // BLOCK_K
    o = tl.arange(0, BLOCK_O)
    product = tl.zeros([x.shape[0], BLOCK_O], tl.float32)
    for part in tl.range(PARTS, num_stages=STAGES):
        row = part * BLOCK_K + tl.arange(0, BLOCK_K)
        weight = load_panels(weight_ptr, row[:, None], o[None, :], W, (row < W)[:, None] & (o < OUT)[None, :])
        product = dot(column_part(x, part, PARTS), weight, product, PRECISION)
    return product + load_row(shift_ptr, o, OUT)


@triton.jit(do_not_specialize=["B"])
def _mlp_infer_fwd_kernel(
    features_ptr,  # (B, F)
    weights_ptr,  # the matrices of the hidden layers, one after the other
    head_ptr,  # all else, likewise
    output_ptr,  # (B, O), written
    B,
    F: tl.constexpr, W: tl.constexpr, L: tl.constexpr, OUT: tl.constexpr, PRECISION: tl.constexpr,
    BLOCK_B: tl.constexpr, BLOCK_W: tl.constexpr, BLOCK_O: tl.constexpr, BLOCK_K: tl.constexpr, STAGES: tl.constexpr,
):  # fmt: skip
    PARTS: tl.constexpr = BLOCK_W // BLOCK_K
    WEIGHTS: tl.constexpr = part_starts(F * W)  # in the order of MLPWeights
    HEAD: tl.constexpr = part_starts(W, W, L * W, L * W, (OUT + 15) // 16 * 16 * W)  # in the order of MLPHead
    b = tl.program_id(0).to(tl.int64) * BLOCK_B + tl.arange(0, BLOCK_B)[:, None]
    w = tl.arange(0, BLOCK_W)
    x = _input_layer(
        features_ptr, weights_ptr, head_ptr, head_ptr + HEAD[1], b, b < B, F, W,
        PRECISION, BLOCK_B, BLOCK_W, BLOCK_K, STAGES,
    )  # fmt: skip
    block_input = x
    product = tl.zeros([BLOCK_B, BLOCK_W], tl.float32)
    for step in tl.range(L * PARTS, num_stages=STAGES):
        layer = step // PARTS
        row = step % PARTS * BLOCK_K + tl.arange(0, BLOCK_K)
        valid = (row < W)[:, None] & (w < W)[None, :]
        weight = load_panels(weights_ptr + WEIGHTS[1] + layer * (W * W), row[:, None], w[None, :], W, valid)
        product = dot(column_part(x, step % PARTS, PARTS), weight, product, PRECISION)
        if step % PARTS == PARTS - 1:
            factor = load_row(head_ptr + HEAD[2] + layer * W, w, W)
            shift = load_row(head_ptr + HEAD[3] + layer * W, w, W)
            x = nan_maximum(product * factor + shift, 0.0)
            if layer % 2 == 1:
                x += block_input
                block_input = x
            product = tl.zeros([BLOCK_B, BLOCK_W], tl.float32)
    output = _output_layer(x, head_ptr + HEAD[4], head_ptr + HEAD[5], W, OUT, PRECISION, BLOCK_O, BLOCK_K, STAGES)
    o = tl.arange(0, BLOCK_O)[None, :]
    tl.store(output_ptr + b * OUT + o, output, mask=(b < B) & (o < OUT))


def fits(features: Tensor, width: int, outputs: int) -> bool:
    """Whether the kernel can take features of this dtype and a network of this size."""
    return features.dtype != torch.float64 and width <= MAX_WIDTH and outputs <= MAX_OUTPUTS


def mlp_infer_fwd(features: Tensor, weights: Tensor, head: Tensor, width: int, layers: int, outputs: int) -> Tensor:
    """Launch the kernel on contiguous features (B, F), packed weights and head; returns (B, ``outputs``)."""
    assert features.is_contiguous()
    assert weights.is_contiguous()
    assert head.is_contiguous()
    assert fits(features, width, outputs)
    B, F = features.shape
    output = features.new_empty(B, outputs)
    if B > 0:
        precision = precision_of(features.dtype)
        constants = _constants(B, F, width, layers, outputs, precision, weights.element_size())
        with torch.cuda.device_of(features):
            _mlp_infer_fwd_kernel[(triton.cdiv(B, constants["BLOCK_B"]),)](
                features, weights, head, output, B, **constants, num_warps=WARPS
            )
    return output


def _constants(B: int, F: int, W: int, L: int, OUT: int, precision: str, weight_bytes: int) -> dict[str, int | str]:
    BLOCK_B, BLOCK_K = (TENSOR_ROWS, 64 // weight_bytes)  # steps of 32 KB for the widest layers
    if precision == "ieee":
        # without tensor cores every row is work: that of 8 takes about as long as the weights are on their way
        BLOCK_B, BLOCK_K = (1 if B == 1 else 8, 16)
    sizes = {"F": F, "W": W, "L": L, "OUT": OUT, "PRECISION": precision, "BLOCK_B": BLOCK_B}
    blocks = {"BLOCK_W": max(32, triton.next_power_of_2(W)), "BLOCK_O": max(16, triton.next_power_of_2(OUT))}
    return sizes | blocks | {"BLOCK_K": BLOCK_K, "STAGES": STAGES}


def _build(B: int, F: int, W: int, OUT: int, precision: str, dtype: str, weights: str, max_registers: int) -> Build:
    types = dict.fromkeys(("features_ptr", "head_ptr", "output_ptr"), f"*{dtype}")
    types |= {"weights_ptr": f"*{weights}", "B": "i32"}
    constants = _constants(B, F, W, 4, OUT, precision, 4 if weights == "fp32" else 2)
    return Build(_mlp_infer_fwd_kernel, types, constants, WARPS, max_registers)


BUILDS = (
    _build(16, 51, 480, 51, "bf16", "bf16", "bf16", 176),
    _build(16, 51, 480, 51, "tf32", "fp32", "fp16", 200),
    _build(1, 51, 480, 51, "ieee", "fp32", "fp16", 80),
    _build(8, 51, 480, 51, "ieee", "fp32", "fp16", 176),
    _build(16, 34, 512, 17, "bf16", "bf16", "bf16", 176),
    _build(16, 34, 512, 17, "tf32", "fp32", "fp32", 176),
    _build(1, 34, 512, 17, "ieee", "fp32", "fp32", 56),
    _build(8, 34, 512, 17, "ieee", "fp32", "fp32", 128),
)
