"""From what a user writes after ``--data`` to a checked data set."""

import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Protocol, get_args

import numpy as np

from ites_fast.data import body25b_npz, human36m, mocap17, motion_files, mpi_inf_3dhp, plain_npz, synthetic
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError

Split = Literal["train", "test", "all"]


class Reader(Protocol):
    """A module that reads one format."""

    def recognise(self, path: Path) -> bool:
        """Whether the content of a file or folder that exists is this format. It raises nothing."""

    def read(self, path: Path, split: str) -> PoseDataset:
        """The views of a split, possibly none."""


READERS: dict[str, Reader] = {
    "mocap17 npz": mocap17,
    "plain npz": plain_npz,
    "Human3.6M npz": human36m,
    "MPI-INF-3DHP test set": mpi_inf_3dhp,
    "BODY_25B npz with cameras": body25b_npz,
    "BVH or ASF/AMC": motion_files,
}


def load(data: str | Path, split: Split = "all", *, subjects: Sequence[str] | None = None) -> PoseDataset:
    """Read poses.

    Args:
        data: "mocap17" (bundled), "synthetic:N" or "synthetic:N:SEED", or a file or folder whose format is
            recognised from its content (docs/DATA.md).
        split: which part of the subjects.
        subjects: only these of them, by name.

    Returns:
        At least one view, every joint finite; where ``allow_missing`` is set, joints of ``pose_2d`` may be NaN.

    Raises:
        InputError: what cannot be read or used; the message names the file.
    """
    if split not in get_args(Split):
        raise InputError(f"split must be one of {get_args(Split)}, got {split!r}")
    if str(data) == "mocap17":
        dataset = mocap17.read(mocap17.BUNDLED, split, name="mocap17")
    elif str(data).startswith("synthetic:"):
        dataset = synthetic.generate(str(data), split)
    else:
        dataset = reader_of(Path(data)).read(Path(data), split)
    if len(dataset) == 0:
        raise InputError(f"{data}: the {split} split is empty")
    if subjects is not None:
        dataset = _only(dataset, subjects)
    dataset.check()
    return dataset


def reader_of(path: Path) -> Reader:
    """The reader that recognises a file or folder.

    Raises:
        InputError: it does not exist, is damaged or has none of the known formats.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file or folder, and not 'mocap17' or 'synthetic:N'")
    for reader in READERS.values():
        if reader.recognise(path):
            return reader
    if path.suffix == ".npz" and not zipfile.is_zipfile(path):
        raise InputError(f"{path}: not a whole npz file; was it truncated?")
    raise InputError(f"{path}: not recognised, expected one of: {', '.join(READERS)}; see docs/DATA.md in the source")


def _only(dataset: PoseDataset, subjects: Sequence[str]) -> PoseDataset:
    present = {dataset.subjects[index] for index in np.unique(dataset.subject)}
    unknown = [name for name in subjects if name not in present]
    if unknown or not subjects:
        raise InputError(
            f"{dataset.name}: subjects {', '.join(unknown) or 'none'} are not in this split; "
            f"it has {', '.join(sorted(present))}"
        )
    wanted = np.array([name in subjects for name in dataset.subjects])
    return dataset.subset(wanted[dataset.subject])
