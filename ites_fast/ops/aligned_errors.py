"""Operator ``aligned_errors``. Formulas: ``ites_fast.reference.aligned_errors``.

It runs where ``procrustes`` does, on the CPU and on CUDA: all fits of a pose and of its mirror image come from one pass
over its joints, in double precision.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.extension import extension
from ites_fast.ops.compiled import register_compiled
from ites_fast.reference.aligned_errors import FITS, Fit

DTYPES = (torch.float32, torch.float64)
FLIPS = ("none", "best", "both")  # in the order of `Flip` in csrc/procrustes_batch.h


def aligned_errors(
    source: Tensor,
    target: Tensor,
    fits: Sequence[Fit],
    *,
    flip: Literal["none", "both"] = "none",
    root: int = 0,
) -> Tensor:
    """Distances of joints from their targets under several alignments, without a gradient.

    Args:
        source: poses (N, J, 3), float32 or float64.
        target: poses (N, J, 3) in any unit, of the same dtype and device.
        fits: names of the fits (F), each at most once: see ``reference.aligned_errors``.
        flip: "both": also for the mirror image in depth of each pose, which gets fits of its own.
        root: index of the root joint.

    Returns:
        Distances (F, C, N, J) in the unit of ``target``, detached; C is 1, or 2 with ``flip="both"``: as given,
        mirrored. A joint that is not finite spoils distances of its own pose only.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit, or an unknown fit, flip or root.
    """
    check_poses(source, target)
    if not fits or len(set(fits)) != len(fits) or not set(fits) <= set(FITS):
        raise ValueError(f"fits must be different ones of {', '.join(FITS)}, got {', '.join(fits) or 'none'}")
    if flip not in ("none", "both"):
        raise ValueError(f"flip must be none or both, got {flip!r}")
    if not 0 <= root < source.shape[1]:
        raise ValueError(f"root must be the index of one of {source.shape[1]} joints, got {root}")
    numbers = [FITS.index(fit) for fit in fits]
    return _errors(source.detach().contiguous(), target.detach().contiguous(), numbers, flip == "both", root)


def check_poses(source: Tensor, target: Tensor) -> None:
    """Raise ValueError unless both are poses (N, J, 3) of one shape, dtype and device."""
    if source.ndim != 3 or source.shape[1] == 0 or source.shape[2] != 3:
        raise ValueError(f"source must be (N, J, 3) with at least one joint, got {tuple(source.shape)}")
    if target.shape != source.shape:
        raise ValueError(f"target must be {tuple(source.shape)} like source, got {tuple(target.shape)}")
    if source.dtype not in DTYPES or target.dtype != source.dtype:
        raise ValueError(f"source and target must both be float32 or float64, got {source.dtype} and {target.dtype}")
    if target.device != source.device:
        raise ValueError(f"source and target must be on one device, got {source.device} and {target.device}")


def arguments(source: Tensor, target: Tensor, outputs: dict[str, Tensor]) -> dict[str, int]:
    """What the extension takes of poses and of what it writes: pointers, sizes and the dtype."""
    tensors = {"source": source, "target": target, **outputs}
    assert all(tensor.is_contiguous() for tensor in tensors.values())
    pointers = {name: tensor.data_ptr() for name, tensor in tensors.items()}
    return {"float64": source.dtype == torch.float64, "poses": len(source), "joints": source.shape[1], **pointers}


def launch(name: str, source: Tensor, batch: dict[str, Any]) -> None:
    """Call a function of the extension where the poses are: ``name`` with _cpu or _cuda."""
    if source.device.type == "cpu":
        getattr(extension, f"{name}_cpu")(**batch, threads=torch.get_num_threads())
    else:
        stream = torch.cuda.current_stream(source.device).cuda_stream
        getattr(extension, f"{name}_cuda")(**batch, device=source.device.index, stream=stream)


def compiled_errors(source: Tensor, target: Tensor, fits: Sequence[int], flip: str, root: int) -> tuple[Tensor, Tensor]:
    """Run the extension where the poses are: errors (F, C, N, J), and with "best" whether a pose was flipped (N)."""
    N, J, _ = source.shape
    outputs = {"errors": source.new_empty(len(fits), 2 if flip == "both" else 1, N, J)}
    if flip == "best":
        outputs["flipped"] = source.new_empty(N, dtype=torch.bool)
    batch = arguments(source, target, outputs) | {"fits": list(fits), "flip": FLIPS.index(flip), "root": root}
    launch("aligned_errors", source, batch)
    return outputs["errors"], outputs.get("flipped")


@torch.library.custom_op("ites_fast::aligned_errors", mutates_args=())
def _errors(source: Tensor, target: Tensor, fits: Sequence[int], both: bool, root: int) -> Tensor:
    names = [FITS[number] for number in fits]
    return reference.aligned_errors(source, target, names, "both" if both else "none", root)


@_errors.register_fake
def _(source, target, fits, both, root):
    return source.new_empty(len(fits), 2 if both else 1, *source.shape[:2])


def _compiled(source, target, fits, both, root):
    return compiled_errors(source, target, fits, "both" if both else "none", root)[0]


if extension is not None:
    register_compiled(_errors, "cpu", "C++")(_compiled)
if extension is not None and extension.cuda_version is not None:
    register_compiled(_errors, "cuda", "CUDA")(_compiled)
