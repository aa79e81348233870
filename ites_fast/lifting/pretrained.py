"""Weights by name: bundled, in a file or folder, or a model of the Hugging Face hub."""

import os
import re
from pathlib import Path

import torch

from ites_fast.checkpoint import LIFTER_FILE, load_lifter
from ites_fast.errors import InputError
from ites_fast.models import ViewLifter

HUB_NAME = re.compile(r"(?P<repo>[\w.-]+/[\w.-]+)(@(?P<revision>[\w./-]+))?", re.ASCII)


def load_pretrained(name: str | os.PathLike | None, device: torch.device | str) -> tuple[ViewLifter, str]:
    """The lifter that a name means, and where it is from in words.

    A folder or file of this name comes before a model of the hub. Of the hub only ``lifter.safetensors`` is downloaded,
    which holds all that is needed; it stays in the hub's cache.

    Args:
        name: None, a run's folder, a ``.safetensors`` file, "owner/name" or "owner/name@revision".
        device: where the network goes.

    Raises:
        InputError: there is nothing of this name, it is damaged, it cannot be downloaded, or there is no such device.
    """
    device = _device(device)
    if name is None:
        return load_lifter(device=device), "bundled weights"
    match = HUB_NAME.fullmatch(str(name))
    here = Path(name).exists() or (Path(name).parent.name != "" and Path(name).parent.is_dir())  # or its folder is
    if here or match is None or Path(name).suffix == ".safetensors":
        return load_lifter(name, device), str(name)
    return load_lifter(_downloaded(str(name), match["repo"], match["revision"]), device), f"{name} on the hub"


def _device(name: torch.device | str) -> torch.device:
    try:
        device = torch.device(name)
    except (RuntimeError, TypeError) as error:
        raise InputError(f"device: expected a device of PyTorch, such as 'cpu' or 'cuda', got {name!r}") from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise InputError(f"device {name}: PyTorch sees no CUDA device here")
    return device


def _downloaded(name: str, repo: str, revision: str | None) -> Path:
    here = f"{name}: no such file or folder, so it is taken for a model of the Hugging Face hub"
    try:
        from huggingface_hub import hf_hub_download
        from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError, RevisionNotFoundError
    except ImportError as error:
        raise InputError(f'{here}, which needs: pip install "ites_fast[hub]"') from error
    try:
        return Path(hf_hub_download(repo, LIFTER_FILE, revision=revision))
    except RevisionNotFoundError as error:
        raise InputError(f"{name}: the model {repo} has no revision {revision}") from error
    except RepositoryNotFoundError as error:
        raise InputError(f"{here}; there is none of this name that can be read") from error
    except EntryNotFoundError as error:
        raise InputError(_not_there(here, repo, error)) from error
    except (OSError, ValueError) as error:  # no network, no room on the disk, a name that the hub does not allow
        raise InputError(f"{here}; it cannot be downloaded: {_first_line(error)}") from error


def _not_there(here: str, repo: str, error: Exception) -> str:
    from huggingface_hub.errors import LocalEntryNotFoundError

    if isinstance(error, LocalEntryNotFoundError):  # neither in the cache nor in reach
        return f"{here}; it is not in the cache, and the hub cannot be reached: {_first_line(error)}"
    return f"{here}; {repo} has no file {LIFTER_FILE}"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0] or type(error).__name__
