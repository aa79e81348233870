"""Ceilings of the machine, measured by a copy and by matrix products, and the least time that counted work takes.

Percent of the roofline is that least time over the measured one. Above 100 it says that data stayed in a cache, which
a copy of a quarter of a gigabyte does not.
"""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

COPIED_BYTES = 256 << 20
MATRIX_SIZE = {"cpu": 1024, "cuda": 8192}
REPETITIONS = 7
DTYPES = {
    "float64": torch.float64,
    "float32": torch.float32,
    "tf32": torch.float32,
    "float16": torch.float16,
    "bfloat16": torch.bfloat16,
}


@dataclass(frozen=True)
class Ceilings:
    """What the machine reaches.

    Args:
        bytes_per_second: read and written by a copy.
        flops_per_second: of a matrix product, by precision.
    """

    bytes_per_second: float
    flops_per_second: Mapping[str, float]

    def least_seconds(self, moved_bytes: float, flops: float, precision: str) -> float:
        """The time of work that moves so many bytes and computes so much, and reaches one of the ceilings."""
        return max(moved_bytes / self.bytes_per_second, flops / self.flops_per_second[precision])


def measure_ceilings(device: torch.device, threads: int) -> Ceilings:
    """The best of a few repetitions, with ``threads`` threads on a CPU.

    A CPU computes in float32 and float64; its other precisions depend too much on the kind to be one number.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        precisions = list(DTYPES) if device.type == "cuda" else ["float64", "float32"]
        return Ceilings(_copied(device), {name: _multiplied(device, name) for name in precisions})
    finally:
        torch.set_num_threads(before)


def synchronise(device: torch.device) -> None:
    """Wait for a GPU."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def nbytes(*tensors: Tensor | None) -> int:
    """Bytes that the elements of tensors take, each counted once."""
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors if tensor is not None)


def _copied(device: torch.device) -> float:
    source = torch.ones(COPIED_BYTES // 4, device=device)
    target = torch.empty_like(source)
    return 2 * COPIED_BYTES / _least_seconds(lambda: target.copy_(source), device)


def _multiplied(device: torch.device, precision: str) -> float:
    size = MATRIX_SIZE[device.type] // (4 if precision == "float64" and device.type == "cuda" else 1)
    # random: a GPU draws less power for zeros and ones, and is then faster than it ever is on data
    matrix = torch.randn(size, size, device=device).to(DTYPES[precision])
    product = torch.empty_like(matrix)
    before = torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = precision == "tf32"
    try:
        return 2 * size**3 / _least_seconds(lambda: torch.mm(matrix, matrix, out=product), device)
    finally:
        torch.backends.cuda.matmul.allow_tf32 = before


def _least_seconds(run: Callable[[], object], device: torch.device) -> float:
    times = []
    for _ in range(REPETITIONS + 1):  # the first one warms up
        synchronise(device)
        start = time.perf_counter()
        run()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return min(times[1:])
