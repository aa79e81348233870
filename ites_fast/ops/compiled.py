"""Which operators run compiled code, and on which devices. Everywhere else they are PyTorch."""

from collections.abc import Callable

from torch.library import CustomOpDef

_compiled: set[tuple[str, str]] = set()


def register_compiled(operator: CustomOpDef, device: str) -> Callable[[Callable], Callable]:
    """As ``operator.register_kernel(device)``, for a function that launches compiled code."""
    _compiled.add((operator._qualname, device))
    return operator.register_kernel(device)


def is_compiled(operator: str, device: str) -> bool:
    """Whether ``operator``, named with its namespace, runs compiled code on ``device``, "cpu" or "cuda"."""
    return (operator, device) in _compiled
