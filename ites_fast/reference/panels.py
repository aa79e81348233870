"""How weights lie in memory for the kernels of inference: matrices in panels, and all parts one after the other.

A matrix (K, N) of K inputs and N outputs is stored as panels (N / 16, K, 16), the outputs filled up with zeros: what
computes 16 outputs reads their weights from one end to the other. Parts start at multiples of 16 values, which are
cache lines in float32; what is between them is zero.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

PANEL = 16


def to_panels(matrix: Tensor) -> Tensor:
    """Panels (..., ceil(N / 16), K, 16) of matrices (..., K, N)."""
    padded = torch.nn.functional.pad(matrix, (0, -matrix.shape[-1] % PANEL))
    return padded.unflatten(-1, (-1, PANEL)).transpose(-3, -2).contiguous()


def from_panels(panels: Tensor) -> Tensor:
    """Matrices (..., K, N) of panels (..., N / 16, K, 16)."""
    return panels.transpose(-3, -2).flatten(-2)


def join_parts(parts: Sequence[Tensor]) -> Tensor:
    """Put parts one after the other in one vector, each from a multiple of 16 values on."""
    return torch.cat([torch.nn.functional.pad(part.flatten(), (0, -part.numel() % PANEL)) for part in parts])


def split_parts(vector: Tensor, shapes: Sequence[tuple[int, ...]]) -> list[Tensor]:
    """The parts of these shapes, as views of the vector that ``join_parts`` made of them."""
    views, start = [], 0
    for shape in shapes:
        size = math.prod(shape)
        views.append(vector[start : start + size].view(shape))
        start += padded(size)
    return views


def joined_size(shapes: Sequence[tuple[int, ...]]) -> int:
    """The number of values that ``join_parts`` makes of parts of these shapes."""
    return sum(padded(math.prod(shape)) for shape in shapes)


def padded(size: int) -> int:
    """The next multiple of 16."""
    return -(-size // PANEL) * PANEL
