"""Checkpoints: safetensors with a JSON description in the header. Nothing is ever unpickled.

Three kinds of file: a *model* (``lifter.safetensors``, ``teacher.safetensors``, ``student.safetensors``) holds a
network with its architecture, skeleton and normalisation; a *flow* (``flow.safetensors``) a density of 2D poses; a
*state* (``state.safetensors``) all that a stopped run needs to continue: the network, the optimizer, the random state
and the history of the losses.
"""

import json
import os
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from ites_fast.completion import Completion
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.models import PoseDensity, ViewLifter, build_network, lifter_of
from ites_fast.normalization import Normalization
from ites_fast.skeleton import Skeleton, get_body
from ites_fast.weights import BUNDLED

HEADER = "ites_fast"
FORMAT = 1
LIFTER_FILE = "lifter.safetensors"
COMPLETION = "completion."  # what its tensors' names start with in a model file


def save_model(
    path: str | os.PathLike,
    lifter: ViewLifter,
    architecture: dict[str, Any],
    training: dict[str, Any],
    *,
    dtype: torch.dtype | None = None,
) -> None:
    """Write a model file, atomically.

    Args:
        path: the file.
        lifter: network, skeleton, normalisation and completion.
        architecture: ``{"network": name, "options": {...}}``, what ``build_network`` takes.
        training: how it was trained, for the reader; not needed to load it.
        dtype: what the network's floating point numbers are stored as, for example ``torch.float16`` for half the
            size; as they are without it. A loaded model computes in float32 all the same.

    Raises:
        OSError: the disk is full or the folder cannot be written.
        ValueError: a weight is too large for ``dtype``.
    """
    tensors = lifter.network.state_dict()
    if dtype is not None:
        tensors = {name: _stored_as(dtype, name, tensor) for name, tensor in tensors.items()}
    description = {
        "kind": "model",
        "architecture": architecture,
        "skeleton": lifter.skeleton.name,
        "normalization": lifter.normalization.to_dict(),
        "training": training,
    }
    if lifter.completion is not None:
        description["completion"] = {"noise": lifter.completion.noise}
        tensors |= {f"{COMPLETION}{name}": getattr(lifter.completion, name) for name in ("mean", "covariance")}
    write_tensors(path, tensors, description)


def load_lifter(path: str | os.PathLike | None = None, device: torch.device | str = "cpu") -> ViewLifter:
    """Load a model file, or the ``lifter.safetensors`` of a run's folder, in eval mode and float32.

    A network that sees several frames comes as a ``SequenceLifter``, which lifts clips.

    Args:
        path: the file or folder; the weights that the package bundles without it.
        device: where the network goes.

    Raises:
        InputError: the file is missing, damaged, not a model, or of an architecture or skeleton unknown here.
    """
    if path is None and not BUNDLED.is_file():
        raise InputError(
            f"this copy of ites_fast has no bundled weights ({BUNDLED}: no such file); "
            "expected a checkpoint: a run's folder or a .safetensors file of a model"
        )
    path = BUNDLED if path is None else Path(path)
    if path.is_dir():
        path = path / LIFTER_FILE
    tensors, description = read_tensors(path, kind="model")
    try:
        skeleton = get_body(description["skeleton"])
        architecture = description["architecture"]
        network = build_network(architecture["network"], skeleton, architecture["options"])
        normalization = Normalization.from_dict(description["normalization"])
    except (KeyError, TypeError, ValueError, RuntimeError, ZeroDivisionError) as error:
        raise InputError(f"{path}: a checkpoint of another architecture or skeleton: {error}") from error
    completion = _completion(tensors, description, skeleton, path)
    load_weights(network, tensors, path)
    lifter = lifter_of(network, skeleton, normalization).eval().to(device)
    lifter.completion = completion
    return lifter


def _completion(
    tensors: dict[str, Tensor], description: dict[str, Any], skeleton: Skeleton, path: str | os.PathLike
) -> Completion | None:
    """Take the completion of a model file, if it has one, out of its tensors."""
    if "completion" not in description:
        return None
    size = 2 * skeleton.num_joints
    parts = [tensors.pop(f"{COMPLETION}{name}", None) for name in ("mean", "covariance")]
    shapes = [None if part is None else tuple(part.shape) for part in parts]
    if shapes != [(size,), (size, size)]:
        raise InputError(f"{path}: its completion has the shapes {shapes}, expected {[(size,), (size, size)]}")
    try:
        return Completion(*parts, **description["completion"])
    except TypeError as error:
        raise InputError(f"{path}: a completion of another version: {error}") from error


def save_flow(
    path: str | os.PathLike,
    density: PoseDensity,
    skeleton: Skeleton,
    normalization: Normalization,
    options: dict[str, Any],
    training: dict[str, Any],
) -> None:
    """Write the density of 2D poses of the recipe "prior", atomically.

    Args:
        path: the file.
        density: the trained network.
        skeleton: its joints.
        normalization: how its 2D poses were normalised.
        options: what ``PoseDensity`` was built with.
        training: how it was trained, for the reader.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    description = {
        "kind": "flow",
        "options": options,
        "skeleton": skeleton.name,
        "normalization": normalization.to_dict(),
        "training": training,
    }
    write_tensors(path, density.state_dict(), description)


def load_flow(
    path: str | os.PathLike, device: torch.device | str = "cpu"
) -> tuple[PoseDensity, Skeleton, Normalization]:
    """Load a density of 2D poses, in eval mode.

    Raises:
        InputError: the file is missing, damaged, not a density, or of an architecture or skeleton unknown here.
    """
    tensors, description = read_tensors(path, kind="flow")
    try:
        skeleton = get_body(description["skeleton"])
        density = PoseDensity(skeleton, **description["options"])
        normalization = Normalization.from_dict(description["normalization"])
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise InputError(f"{path}: a density of another architecture or skeleton: {error}") from error
    load_weights(density, tensors, path)
    return density.eval().to(device), skeleton, normalization


def load_weights(network: nn.Module, tensors: dict[str, Tensor], path: str | os.PathLike) -> None:
    """Copy ``tensors`` into ``network``.

    Raises:
        InputError: a tensor is missing, left over, or of another shape.
    """
    try:
        network.load_state_dict(tensors)
    except RuntimeError as error:
        # torch's message lists every tensor: the first lines are enough to see which architecture it is
        details = " ".join(str(error).split())[:400]
        raise InputError(f"{path}: the weights are of another architecture or skeleton: {details}") from error


def _stored_as(dtype: torch.dtype, name: str, tensor: Tensor) -> Tensor:
    if not tensor.is_floating_point():
        return tensor
    stored = tensor.to(dtype)
    if not torch.equal(stored.isfinite(), tensor.isfinite()):
        raise ValueError(f"{name} has {tensor.abs().max().item():.3g}, too large to be stored as {dtype}")
    return stored


def write_tensors(path: str | os.PathLike, tensors: dict[str, Tensor], description: dict[str, Any]) -> None:
    """Write tensors with a description in the header, atomically.

    Raises:
        OSError: the disk is full or the folder cannot be written.
    """
    header = json.dumps({"format": FORMAT, **description}, allow_nan=False)
    # a tensor that is a view of another, or shares its memory, cannot be stored as it is
    independent = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in tensors.items()}
    try:
        with atomic_path(path) as temporary:
            save_file(independent, temporary, metadata={HEADER: header})
    except SafetensorError as error:
        raise OSError(f"{path}: could not be written: {error}") from error
    except OSError as error:
        raise OSError(error.errno, f"could not be written: {error.strerror}", str(path)) from error


def read_tensors(path: str | os.PathLike, kind: str) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read the tensors and the description of a file of this ``kind``.

    Raises:
        InputError: the file is missing, damaged, of another program, or of another kind.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}: no such file")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a dict)
    except (SafetensorError, OSError) as error:
        raise InputError(f"checkpoint {path}: not a whole safetensors file ({error})") from error
    if HEADER not in metadata:
        raise InputError(f"checkpoint {path}: safetensors, but not written by ites_fast")
    try:
        description = json.loads(metadata[HEADER])
        found, found_kind = description["format"], description["kind"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"checkpoint {path}: its description is damaged ({error!r})") from error
    if found != FORMAT:
        raise InputError(f"checkpoint {path}: format {found}, this version reads {FORMAT}")
    if found_kind != kind:
        raise InputError(f"checkpoint {path}: a {found_kind} file, expected a {kind} file")
    return tensors, description


def pack_optimizer(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """The tensors of an optimizer's state, by parameter and name. Learning rates are a function of the step."""
    return {
        f"{index}.{name}": torch.as_tensor(value)
        for index, values in optimizer.state_dict()["state"].items()
        for name, value in values.items()
        if value is not None
    }


def unpack_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> None:
    """Give back to a fresh optimizer what ``pack_optimizer`` took."""
    state: dict[int, dict[str, Tensor]] = {}
    for key, value in tensors.items():
        index, name = key.split(".", maxsplit=1)
        state.setdefault(int(index), {})[name] = value
    optimizer.load_state_dict({"state": state, "param_groups": optimizer.state_dict()["param_groups"]})
