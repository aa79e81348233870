"""From what a user writes after ``--data`` to a checked data set."""

from pathlib import Path
from typing import Literal, get_args

from ites_fast.data import mocap17
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError

Split = Literal["train", "test", "all"]


def load(data: str | Path, split: Split = "all") -> PoseDataset:
    """Read poses.

    Args:
        data: "mocap17" (bundled) or a file.
        split: which part of the subjects.

    Returns:
        At least one view, every joint finite.

    Raises:
        InputError: what cannot be read or used; the message names the file.
    """
    if split not in get_args(Split):
        raise InputError(f"split must be one of {get_args(Split)}, got {split!r}")
    if str(data) == "mocap17":
        dataset = mocap17.read(mocap17.BUNDLED, split, name="mocap17")
    else:
        dataset = mocap17.read(Path(data), split)
    if len(dataset) == 0:
        raise InputError(f"{data}: the {split} split is empty")
    dataset.check()
    return dataset
