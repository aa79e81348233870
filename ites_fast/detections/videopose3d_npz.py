"""2D detections in VideoPose3D's npz: of Human3.6M, or of a user's own videos.

``positions_2d`` is {subject: {action: [(T, J, 2) or (T, J, 3), one a camera]}}; where the videos are a user's, a
subject is a video and its only action is "custom". ``metadata`` names the layout. All of them are different videos, so
one is read: ``FILE::SUBJECT/ACTION/CAMERA``, of which the end may be left out where it is the only one. Both keys are
pickled objects; the unpickler admits numpy arrays and plain containers only.
"""

import math
from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.data.human36m import FPS, IMAGE_SIZES, SPLITS
from ites_fast.data.npz_file import npz_keys
from ites_fast.data.restricted_pickle import load_object_array
from ites_fast.detections.bounded_npz import MAX_BYTES, in_short
from ites_fast.detections.choice import choose, split_choice
from ites_fast.detections.keypoint_rows import MAX_FRAMES, choose_skeleton, clean_keypoints, tracks_of_rows
from ites_fast.detections.opencv_camera import image_size_of
from ites_fast.detections.own_npz import MAX_FPS
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

LAYOUTS = {"h36m": "h36m_17", "coco": "coco_17"}


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the key "positions_2d"."""
    return "positions_2d" in npz_keys(split_choice(path)[0])


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """The chosen video: one person.

    Raises:
        InputError: there are several videos and none was chosen, a shape does not fit, the layout is unknown, or the
            pickle holds more than arrays.
    """
    file, choice = split_choice(path)
    videos = _videos(_load(file, "positions_2d"), file)
    names = list(videos)
    name = names[choose(names, choice, file, "videos")]
    subject, camera, points = videos[name]
    where = f"{file}: {name}"
    points = np.asarray(points) if isinstance(points, np.ndarray) else np.zeros(0)
    if points.ndim != 3 or points.shape[-1] not in (2, 3) or not 0 < len(points) <= MAX_FRAMES:
        raise InputError(f"{where} is {points.dtype} {points.shape}, expected (T, joints, 2 or 3)")
    metadata = _load(file, "metadata") if "metadata" in npz_keys(file) else {}
    if not isinstance(metadata, dict):
        raise InputError(f"{file}: metadata is no dictionary")
    layout = metadata.get("layout_name")
    if layout is not None and not isinstance(layout, str):
        raise InputError(f"{file}: metadata: layout_name is {type(layout).__name__}, expected text")
    skeleton = choose_skeleton(points.shape[1], skeleton, LAYOUTS.get(layout, layout), file)
    fps, image_size = _video_metadata(metadata, subject, file)
    if image_size is None and layout == "h36m" and subject in SPLITS["all"]:
        fps, image_size = FPS, IMAGE_SIZES[camera] if camera < len(IMAGE_SIZES) else None
    frame = np.arange(len(points))
    return Detections(
        source=str(path),
        skeleton=skeleton,
        tracks=tracks_of_rows(np.full(len(points), name), frame, clean_keypoints(points, where), file),
        frames=len(points),
        fps=fps,
        image_size=image_size,
    )


def _load(path: Path, key: str) -> Any:
    if path.is_file() and path.stat().st_size > MAX_BYTES:
        raise InputError(f"{path}: {path.stat().st_size} bytes, expected at most {MAX_BYTES}")
    try:
        return load_object_array(path, key)
    except InputError as error:
        raise InputError(str(error).replace("\n", " ")) from error  # the unpickler's reasons have several lines
    # A damaged zip file can raise nearly anything.
    except Exception as error:
        raise InputError(f"{path}: {key!r} cannot be read ({in_short(error)}); is the file damaged?") from error


def _videos(positions: Any, path: Path) -> dict[str, tuple[str, int, Any]]:
    """subject/action/camera -> subject, number of the camera, keypoints; cameras without keypoints are left out."""
    wrong = InputError(f"{path}: positions_2d is no dictionary of subjects that hold dictionaries of lists of arrays")
    if not isinstance(positions, dict):
        raise wrong
    videos = {}
    for subject, actions in positions.items():
        if not isinstance(subject, str) or not isinstance(actions, dict):
            raise wrong
        for action, cameras in actions.items():
            if not isinstance(action, str) or not isinstance(cameras, (list, tuple, np.ndarray)):
                raise wrong
            for camera, points in enumerate(cameras):
                if isinstance(points, np.ndarray) and points.size:
                    videos[f"{subject}/{action}/{camera}"] = (subject, camera, points)
    return videos


def _video_metadata(metadata: dict, subject: str, path: Path) -> tuple[float | None, tuple[int, int] | None]:
    """Frames a second and image size of a user's video, None where the file does not say."""
    videos = metadata.get("video_metadata", {})
    video = videos.get(subject, {}) if isinstance(videos, dict) else None
    if not isinstance(video, dict):
        raise InputError(f"{path}: metadata: video_metadata of {subject} is no dictionary")
    where = f"{path}: metadata of {subject}"
    fps, width, height = (_number(video.get(key), f"{where}: {key}") for key in ("fps", "w", "h"))
    if width is None or height is None:
        return fps, None
    return fps, image_size_of(np.array([width, height]), f"{where}: w and h")


def _number(value: Any, where: str) -> float | None:
    if value is None:
        return None
    try:
        number = float(value) if isinstance(value, (int, float, np.integer, np.floating)) else math.nan
    except OverflowError:
        number = math.inf
    if not 0 < number <= MAX_FPS:
        raise InputError(f"{where} is {type(value).__name__} {number:g}, expected a positive number up to {MAX_FPS}")
    return number
