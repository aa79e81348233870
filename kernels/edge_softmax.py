"""Triton kernels of ``edge_softmax``. Formula: ``ites_fast.reference.edge_softmax``.

A program finds the number of each edge once, by counting the edges before it in row-major order, and then goes through
its share of the matrices: all layers and channels are one launch. An edge that has no weight, because there are fewer
weights than edges, counts as none: nothing is read or written out of bounds.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build

MAX_JOINTS = 32
DTYPES = (torch.float32, torch.bfloat16, torch.float16)
MAX_PROGRAMS = 528  # four for each processor of an H200


@triton.jit
def _edges(adjacency_ptr, E, J: tl.constexpr, BLOCK_J: tl.constexpr):
    """Offset of each entry in a matrix (J, J), its number among the edges, and whether it is an edge."""
    i, j = tl.arange(0, BLOCK_J)[:, None], tl.arange(0, BLOCK_J)[None, :]
    inside = (i < J) & (j < J)
    entry = i * J + j
    edge = tl.load(adjacency_ptr + entry, mask=inside, other=0).to(tl.int32)  # (BLOCK_J, BLOCK_J)
    degree = tl.sum(edge, 1)
    number = (tl.cumsum(degree, 0) - degree)[:, None] + tl.cumsum(edge, 1) - edge
    return entry, number, (edge != 0) & (number < E), inside


@triton.jit(do_not_specialize=["matrices"])
def _edge_softmax_fwd_kernel(
    weights_ptr,  # (matrices, E)
    adjacency_ptr,  # (J, J), one byte an entry
    mixing_ptr,  # (matrices, J, J), written
    matrices,
    E,
    J: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    entry, number, is_edge, inside = _edges(adjacency_ptr, E, J, BLOCK_J)
    off_edge = tl.where(tl.arange(0, BLOCK_J) < J, -float("inf"), 0.0)[:, None]  # rows that do not exist stay finite
    for matrix in range(tl.program_id(0), matrices, tl.num_programs(0)):
        at = tl.cast(matrix, tl.int64)
        logits = tl.load(weights_ptr + at * E + number, mask=is_edge, other=off_edge).to(tl.float32)
        power = tl.exp(logits - tl.max(logits, 1)[:, None])
        tl.store(mixing_ptr + at * J * J + entry, power / tl.sum(power, 1)[:, None], mask=inside)


@triton.jit(do_not_specialize=["matrices"])
def _edge_softmax_bwd_kernel(
    grad_mixing_ptr,  # (matrices, J, J)
    mixing_ptr,  # (matrices, J, J)
    adjacency_ptr,  # (J, J), one byte an entry
    grad_weights_ptr,  # (matrices, E), written
    matrices,
    E,
    J: tl.constexpr,
    BLOCK_J: tl.constexpr,
):
    entry, number, is_edge, inside = _edges(adjacency_ptr, E, J, BLOCK_J)
    for matrix in range(tl.program_id(0), matrices, tl.num_programs(0)):
        at = tl.cast(matrix, tl.int64)
        mixing = tl.load(mixing_ptr + at * J * J + entry, mask=inside, other=0.0).to(tl.float32)
        grad_mixing = tl.load(grad_mixing_ptr + at * J * J + entry, mask=inside, other=0.0).to(tl.float32)
        weighted = mixing * grad_mixing
        grad_logits = weighted - mixing * tl.sum(weighted, 1)[:, None]
        tl.store(grad_weights_ptr + at * E + number, grad_logits, mask=is_edge)


def takes(adjacency: Tensor, *tensors: Tensor) -> bool:
    """Whether the kernels take this adjacency and the others, which then have one dtype and none of them is empty."""
    dtype = tensors[0].dtype
    supported = dtype in DTYPES and len(adjacency) <= MAX_JOINTS
    return supported and all(tensor.dtype == dtype and tensor.numel() > 0 for tensor in tensors)


def edge_softmax_fwd(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    """Mixing matrices (..., J, J) of contiguous weights (..., E) and a boolean adjacency (J, J), none of them empty."""
    assert all(tensor.is_contiguous() for tensor in (edge_weights, adjacency))
    *leading, E = edge_weights.shape
    mixing = edge_weights.new_empty(*leading, *adjacency.shape)
    matrices = edge_weights.numel() // E
    with torch.cuda.device_of(edge_weights):
        _edge_softmax_fwd_kernel[(min(matrices, MAX_PROGRAMS),)](
            edge_weights, adjacency, mixing, matrices, E, **_constants(len(adjacency))
        )
    return mixing


def edge_softmax_bwd(grad_mixing: Tensor, mixing: Tensor, adjacency: Tensor, edges: int) -> Tensor:
    """Gradient of the weights (..., E) from contiguous matrices (..., J, J), none of them empty."""
    assert all(tensor.is_contiguous() for tensor in (grad_mixing, mixing, adjacency))
    grad_weights = mixing.new_empty(*mixing.shape[:-2], edges)
    matrices = mixing.numel() // adjacency.numel()
    with torch.cuda.device_of(mixing):
        _edge_softmax_bwd_kernel[(min(matrices, MAX_PROGRAMS),)](
            grad_mixing, mixing, adjacency, grad_weights, matrices, edges, **_constants(len(adjacency))
        )
    return grad_weights


def _constants(J: int) -> dict[str, int]:
    return {"J": J, "BLOCK_J": 16 if J <= 16 else MAX_JOINTS}


def _builds(J: int, dtype: str) -> list[Build]:
    pointers = ("weights_ptr", "mixing_ptr", "grad_weights_ptr", "grad_mixing_ptr")
    types = dict.fromkeys(pointers, f"*{dtype}") | {"adjacency_ptr": "*i1", "matrices": "i32", "E": "i32"}
    return [
        Build(_edge_softmax_fwd_kernel, types, _constants(J), max_registers=72),
        Build(_edge_softmax_bwd_kernel, types, _constants(J), max_registers=80),
    ]


BUILDS = [*_builds(17, "fp32"), *_builds(16, "fp32"), *_builds(32, "bf16")]
