"""From a detector's file or folder to checked detections."""

import math
import os
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from ites_fast.detections import (
    alphapose,
    calibrated_npz,
    coco_json,
    csv_file,
    mediapipe_json,
    mmpose_json,
    openpose,
    own_npz,
    tracks_npz,
    video,
    videopose3d_npz,
)
from ites_fast.detections.choice import split_choice
from ites_fast.detections.frames import webcam_number
from ites_fast.detections.json_file import why_not_json
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton, get_skeleton


class Reader(Protocol):
    """A module that reads one format."""

    def recognise(self, path: Path) -> bool:
        """Whether the content of a file or folder that exists is this format. It raises nothing."""

    def read(self, path: Path, skeleton: Skeleton | None) -> Detections:
        """What the file holds; ``skeleton`` replaces the one that the format or the file names."""


READERS: dict[str, Reader] = {
    "openpose": openpose,
    "alphapose": alphapose,
    "coco": coco_json,
    "mmpose": mmpose_json,
    "mediapipe": mediapipe_json,
    "npz": own_npz,
    "videopose3d": videopose3d_npz,
    "tracks_npz": tracks_npz,
    "calibrated_npz": calibrated_npz,
    "csv": csv_file,
    "video": video,
}


def read_detections(
    path: str | os.PathLike,
    *,
    format: str | None = None,
    skeleton: str | os.PathLike | Skeleton | None = None,
    fps: float | None = None,
    image_size: tuple[int, int] | None = None,
) -> Detections:
    """Read what a detector wrote.

    Args:
        path: a file or folder in one of the formats of ``READERS``, "FILE::NAME" for one of the videos, cameras or
            people in a file that holds several, or "webcam:0" (docs/DETECTIONS.md).
        format: its format; without it, it is recognised from the content.
        skeleton: joints of the keypoints, a name, a YAML file or a skeleton; replaces what the file says.
        fps: frames a second; replaces what the file says.
        image_size: width and height, pixels; replaces what the file says. Files with coordinates from 0 to 1 that
            do not say it need it.

    Returns:
        At least one person, seen in at least one frame.

    Raises:
        InputError: what cannot be read or used; the message names the file or argument.
        OSError: the file system refuses to give a file.
    """
    path = Path(path)
    if fps is not None and not (_is_number(fps) and 0 < fps < math.inf):
        raise InputError(f"fps must be a positive number, got {fps!r}")
    if image_size is not None:
        image_size = _checked_size(image_size)
    if skeleton is not None and not isinstance(skeleton, Skeleton):
        skeleton = get_skeleton(os.fspath(skeleton))
    name = format if format is not None else recognised_format(path)
    if name not in READERS:
        raise InputError(f"format {name!r} is unknown; known: {', '.join(READERS)}")
    _check_exists(path)
    if path.is_dir() and name != "openpose":
        raise InputError(f"{path}: a folder, expected a file of the format {name}")
    if name == "mediapipe":
        # the only format whose coordinates mean nothing without the size of the picture
        detections = mediapipe_json.read(path, skeleton, image_size)
    else:
        detections = READERS[name].read(path, skeleton)
    if not any(len(track) for track in detections.tracks):
        raise InputError(f"{path}: nobody is seen in any of its {detections.frames} frames")
    return replace(
        detections,
        fps=detections.fps if fps is None else float(fps),
        image_size=detections.image_size if image_size is None else image_size,
    )


def recognised_format(path: Path) -> str:
    """Name of the one format that a file or folder has.

    Raises:
        InputError: it does not exist, or none or several of the formats fit.
    """
    _check_exists(path)
    names = [name for name, reader in READERS.items() if reader.recognise(path)]
    if len(names) == 1:
        return names[0]
    if names:
        raise InputError(f"{path}: could be {' or '.join(names)}; say which with --format")
    raise InputError(
        f"{path}: {_why_unknown(path)}; if its format is one of {', '.join(READERS)}, say which with --format"
    )


def _check_exists(path: Path) -> None:
    file = split_choice(path)[0]
    if webcam_number(path) is not None or file.is_file() or file.is_dir():
        return
    raise InputError(f"{path}: {'neither a file nor a folder' if file.exists() else 'no such file or folder'}")


def _why_unknown(path: Path) -> str:
    path = split_choice(path)[0]
    if path.is_dir():
        files = [entry for entry in path.iterdir() if entry.is_file()]
        if not files:
            return "an empty folder"
        if not any(entry.suffix.lower() == ".json" for entry in files):
            return f"a folder of {len(files)} files without JSON"
        return "a folder whose JSON files are not those of a known detector"
    if path.stat().st_size == 0:
        return "an empty file"
    return why_not_json(path) or "its content is not recognised"


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _checked_size(size: tuple[int, int]) -> tuple[int, int]:
    try:
        width, height = (int(side) for side in size)
    except (TypeError, ValueError, OverflowError):
        width = height = 0
    if not (0 < width < 2**20 and 0 < height < 2**20):
        raise InputError(f"image_size must be width and height in pixels, got {size!r}")
    return width, height
