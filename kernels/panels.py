"""What the kernels of whole networks share. Layout of a matrix in panels: ``ites_fast.reference.panels``."""

import torch
import triton
import triton.language as tl

from ites_fast.kernels.batch_statistics import matmul_precision

HALF = {torch.bfloat16: "bf16", torch.float16: "fp16"}
PANEL = tl.constexpr(16)  # outputs that lie next to each other in memory


def precision_of(dtype: torch.dtype) -> str:
    """How ``dot`` multiplies for inputs of this dtype, as PyTorch's own products on CUDA are set."""
    return HALF.get(dtype) or matmul_precision()


@triton.constexpr_function
def part_starts(*sizes):
    """Where the parts of a vector begin that have these sizes, and where the vector ends."""
    starts = [0]
    for size in sizes:
        starts.append(starts[-1] + (size + 15) // 16 * 16)
    return tuple(starts)


@triton.jit
def load_panels(panels_ptr, row, column, K: tl.constexpr, valid):
    """Elements of a matrix of K rows in panels, zero where they are not ``valid``."""
    at = (column // PANEL) * (K * PANEL) + row * PANEL + column % PANEL
    return tl.load(panels_ptr + at, mask=valid, other=0.0)


@triton.jit
def load_row(row_ptr, index, size: tl.constexpr):
    """A vector in float32 as a row (1, N), filled up with zeros."""
    return tl.load(row_ptr + index, mask=index < size, other=0.0).to(tl.float32)[None, :]


@triton.jit
def dot(a, b, accumulator, PRECISION: tl.constexpr):
    """``accumulator + a @ b`` of float32 ``a``: "ieee" and "tf32" in float32, "bf16" and "fp16" of rounded operands."""
    if PRECISION == "bf16":
        return tl.dot(a.to(tl.bfloat16), b.to(tl.bfloat16), accumulator)
    elif PRECISION == "fp16":
        return tl.dot(a.to(tl.float16), b.to(tl.float16), accumulator)
    else:
        return tl.dot(a, b.to(tl.float32), accumulator, input_precision=PRECISION)


@triton.jit
def column_part(features, part, PARTS: tl.constexpr):
    """Columns ``[part * size, (part + 1) * size)`` of features (rows, PARTS * size), without a way through memory."""
    rows: tl.constexpr = features.shape[0]
    size: tl.constexpr = features.shape[1] // PARTS
    parts = tl.reshape(features, [rows, PARTS, size])
    return tl.sum(tl.where(tl.arange(0, PARTS)[None, :, None] == part, parts, 0.0), axis=1)


@triton.jit
def nan_maximum(a, b):
    """The larger one; NaN where one of them is, as in PyTorch."""
    return tl.maximum(a, b, propagate_nan=tl.PropagateNan.ALL)
