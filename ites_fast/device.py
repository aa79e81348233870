"""Which device a command runs on, and how exactly it multiplies."""

import contextlib
from collections.abc import Iterator
from typing import Literal

import torch

from ites_fast.errors import InputError

Device = Literal["auto", "cpu", "cuda"]
MatmulPrecision = Literal["highest", "high", "medium"]


def choose_device(name: Device) -> torch.device:
    """The device that an option names; "auto" takes CUDA where there is a GPU.

    Raises:
        InputError: CUDA was asked for and there is none.
    """
    if name == "cuda" and not torch.cuda.is_available():
        raise InputError("--device cuda: PyTorch sees no CUDA device here; use --device cpu or auto")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


@contextlib.contextmanager
def matmul_precision(precision: MatmulPrecision) -> Iterator[None]:
    """Let float32 matrix products use faster formats inside the block, see ``torch.set_float32_matmul_precision``."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision(precision)
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)
