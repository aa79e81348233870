"""BVH and ASF/AMC files, alone or in folders, as a data set seen by virtual cameras."""

from collections.abc import Callable
from pathlib import Path

from ites_fast.data import asf_amc, bvh
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.motion import Motion
from ites_fast.data.virtual_cameras import views
from ites_fast.errors import InputError

MOTION_READERS: dict[str, Callable[[Path], Motion]] = {".bvh": bvh.read, ".amc": asf_amc.read}


def find(folder: Path) -> list[Path]:
    """Motion files of a folder and those below it, sorted."""
    return sorted(path for path in folder.rglob("*") if path.suffix.lower() in MOTION_READERS and path.is_file())


def read_motion(path: Path) -> Motion:
    """One BVH or AMC file.

    Raises:
        InputError: the file's suffix is another, or it cannot be read.
    """
    reader = MOTION_READERS.get(path.suffix.lower())
    if reader is None:
        raise InputError(f"{path}: not a motion file, expected {' or '.join(MOTION_READERS)}")
    return reader(path)


def recognise(path: Path) -> bool:
    """Whether ``path`` is a motion file, or a folder with one somewhere below."""
    return bool(find(path)) if path.is_dir() else path.suffix.lower() in MOTION_READERS


def read(path: Path, split: str) -> PoseDataset:
    """Every frame of every file, seen by virtual cameras (seed 0). These files have no split: all is test data.

    Raises:
        InputError: a file cannot be read, or the training split is asked for.
    """
    if split == "train":
        raise InputError(
            f"{path}: the train split is empty: motion files have no split, so all of it is test data; "
            "convert them with python -m ites_fast.prepare and --test-subjects"
        )
    folder = path if path.is_dir() else path.parent
    files = find(path) if path.is_dir() else [path]
    motions = {file.relative_to(folder).as_posix(): read_motion(file) for file in files}
    return views(motions, seed=0, name=str(path))
