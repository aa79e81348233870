r"""Moments of a batch by channel, for the kernels that end in a batch norm.

The N rows of a batch are cut into at most ``MAX_PROGRAMS`` consecutive ranges. One program takes the mean of its range
and the sum of squares around that mean, and a second kernel merges the ranges in their order:
:math:`M = \sum_p M_p + n_p (\mu_p - \mu)^2`. Nothing is the difference of two large numbers, and no atomic makes two
runs differ. The ranges do not depend on the device, so neither do the results.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

MAX_PROGRAMS = 512  # about 4 for each multiprocessor of an H200; merging 512 ranges of 128 channels reads 0.5 MB


def rows_per_program(rows: int, multiple: int) -> int:
    """Rows of one range: a multiple of ``multiple``, and as few as ``MAX_PROGRAMS`` ranges allow."""
    return multiple * max(1, triton.cdiv(rows, MAX_PROGRAMS * multiple))


def matmul_precision() -> str:
    """``input_precision`` of ``tl.dot`` for float32, as PyTorch's own products on CUDA are set."""
    return "tf32" if torch.backends.cuda.matmul.fp32_precision == "tf32" else "ieee"


def contiguous(*tensors: Tensor) -> bool:
    """Whether all tensors are contiguous."""
    return all(tensor.is_contiguous() for tensor in tensors)


def block_of(size: int, largest: int) -> int:
    """The smallest power of two that holds ``size``, but at least 16 and at most ``largest``."""
    return min(max(16, triton.next_power_of_2(size)), largest)


def channel_block(C: int, largest: int) -> int:
    """The largest power of two that divides C, but at most ``largest``."""
    return min(C & -C, largest)


@triton.jit
def rows_of_ranges(p, range_rows, N):
    """Number of rows in each of the ranges ``p``; 0 for a range that does not exist."""
    return tl.minimum(tl.maximum(N - p * range_rows, 0), range_rows).to(tl.float32)


@triton.jit
def merge_means(means_ptr, stride, range_rows, N, mask_c, BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr):
    """Mean (BLOCK_C,) of N rows from the means of their ranges, ``means_ptr`` (BLOCK_C,) and then ``stride`` apart."""
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for start in range(0, tl.cdiv(N, range_rows), BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        rows = rows_of_ranges(p, range_rows, N)[:, None]
        total += rows * tl.load(means_ptr[None, :] + p[:, None] * stride, mask=(rows > 0) & mask_c[None, :], other=0.0)
    return tl.sum(total, axis=0) / N


@triton.jit
def merge_products(
    products_ptr, first_ptr, second_ptr, first, second, stride, range_rows, N, mask_c,
    BLOCK_P: tl.constexpr, BLOCK_C: tl.constexpr,
):  # fmt: skip
    """Covariance (BLOCK_C,) from the ranges' centred sums of products, means, and the means of all rows."""
    total = tl.zeros((BLOCK_P, BLOCK_C), tl.float32)
    for start in range(0, tl.cdiv(N, range_rows), BLOCK_P):
        p = start + tl.arange(0, BLOCK_P)
        rows = rows_of_ranges(p, range_rows, N)[:, None]
        mask = (rows > 0) & mask_c[None, :]
        at = p[:, None] * stride
        first_offset = tl.load(first_ptr[None, :] + at, mask=mask, other=0.0) - first[None, :]
        second_offset = tl.load(second_ptr[None, :] + at, mask=mask, other=0.0) - second[None, :]
        products = tl.load(products_ptr[None, :] + at, mask=mask, other=0.0)
        total += tl.where(mask, products + rows * first_offset * second_offset, 0.0)
    return tl.sum(total, axis=0) / N


@triton.jit
def channel_factor(scale, var, eps):
    """What a batch norm multiplies a centred channel by."""
    return scale * tl.rsqrt(var + eps)
