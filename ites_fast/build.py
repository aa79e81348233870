"""What this installation holds: versions, the compiled extension, and the implementation behind each operator."""

import importlib.metadata
import platform
from typing import Any

import torch

from ites_fast.extension import extension
from ites_fast.ops.compiled import language_of  # the import of ites_fast.ops registers the operators

NAMESPACE = "ites_fast::"


def build_info() -> dict[str, Any]:
    """Describe this installation in plain values that JSON can hold.

    Returns:
        Versions (``triton`` is None where it is not installed), ``cuda_available`` to torch, the number of
        ``threads``, the compiled ``extension`` or None, and ``operators``: for each operator what the dispatcher
        would run on ``cpu`` and on ``cuda``: what was compiled from ``C++``, ``CUDA`` or ``Triton``, or ``PyTorch``.
    """
    return {
        "ites_fast": importlib.metadata.version("ites_fast"),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "triton": _triton_version(),
        "cuda_available": torch.cuda.is_available(),
        "threads": torch.get_num_threads(),
        "extension": _extension_info(),
        "operators": {name: {device: _implementation(name, device) for device in ("cpu", "cuda")} for name in _names()},
    }


def _triton_version() -> str | None:
    try:
        return importlib.metadata.version("triton")
    except importlib.metadata.PackageNotFoundError:
        return None


def _extension_info() -> dict[str, Any] | None:
    if extension is None:
        return None
    supported = extension.supported_instruction_sets()
    return {
        "compiler": extension.compiler,
        "instruction_sets": extension.compiled_instruction_sets(),
        "instruction_set": supported[0],
        "cuda": extension.cuda_version,
        "cuda_architectures": extension.cuda_architectures,
    }


def _names() -> list[str]:
    """The registered operators, without those that are only the gradient of another."""
    names = (name for name in torch._C._dispatch_get_all_op_names() if name.startswith(NAMESPACE))
    return sorted(name.removeprefix(NAMESPACE) for name in names if not name.endswith("_backward"))


def _implementation(name: str, device: str) -> str:
    language = language_of(NAMESPACE + name, device)
    if language is None:
        return "PyTorch"
    return f"{language} ({extension.supported_instruction_sets()[0]})" if device == "cpu" else language
