"""Sums in two stages and a fixed order, so that the same input gives the same bits.

A kernel strides over its input with at most ``MAX_PROGRAMS`` programs and writes one partial sum each; one more program
adds these. The number does not depend on the device, and one H200 holds that many programs of four warps at once.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build

MAX_PROGRAMS = 2048


def partial_sums(tiles: int, like: Tensor) -> Tensor:
    """Room for one float32 sum of each program that shares ``tiles`` tiles, on the device of ``like``."""
    return torch.empty(min(tiles, MAX_PROGRAMS), dtype=torch.float32, device=like.device)


@triton.jit
def _mean_kernel(
    partial_ptr,  # (partials,), float32
    mean_ptr,  # (), written
    partials,
    count,
    BLOCK: tl.constexpr,
):
    i = tl.arange(0, BLOCK)
    total = tl.sum(tl.load(partial_ptr + i, mask=i < partials, other=0.0))
    tl.store(mean_ptr, total / count)


def mean(partial: Tensor, count: int, dtype: torch.dtype) -> Tensor:
    """The sum of at most ``MAX_PROGRAMS`` partial sums, divided by ``count``: a scalar."""
    assert len(partial) <= MAX_PROGRAMS
    result = torch.empty((), dtype=dtype, device=partial.device)
    _mean_kernel[(1,)](partial, result, len(partial), float(count), BLOCK=MAX_PROGRAMS)
    return result


BUILDS = [
    Build(
        _mean_kernel,
        {"partial_ptr": "*fp32", "mean_ptr": "*fp32", "partials": "i32", "count": "fp32"},
        {"BLOCK": MAX_PROGRAMS},
        max_registers=32,
    ),
]
