"""Which operators run compiled code, and on which devices. Everywhere else they are PyTorch."""

import importlib.util
from collections.abc import Callable

from torch.library import CustomOpDef

HAS_TRITON = importlib.util.find_spec("triton") is not None
_languages: dict[tuple[str, str], str] = {}


def register_compiled(operator: CustomOpDef, device: str, language: str) -> Callable[[Callable], Callable]:
    """As ``operator.register_kernel(device)``, for a function that launches code compiled from ``language``."""
    _languages[operator._qualname, device] = language
    return operator.register_kernel(device)


def register_triton(operator: CustomOpDef) -> Callable[[Callable], Callable]:
    """Let a function that launches Triton kernels be ``operator`` on CUDA, where Triton is installed.

    The function imports its launchers when it is called, so that a machine without Triton can import the operator.
    """
    if not HAS_TRITON:
        return lambda function: function
    return register_compiled(operator, "cuda", "Triton")


def language_of(operator: str, device: str) -> str | None:
    """What ``operator``, named with its namespace, is compiled from on "cpu" or "cuda"; None where it is PyTorch."""
    return _languages.get((operator, device))
