"""OpenPose BODY_25B detections of one person by several calibrated cameras, one of which is read.

The layout is that of an export of a Pose2Sim project; keys: docs/DATA.md. ``FILE::2`` is its second camera.
"""

from pathlib import Path

import numpy as np

from ites_fast.data.npz_file import npz_keys
from ites_fast.detections.bounded_npz import BoundedArrays
from ites_fast.detections.choice import choose, split_choice
from ites_fast.detections.keypoint_rows import choose_skeleton, clean_keypoints, tracks_of_rows
from ites_fast.detections.opencv_camera import camera_of, image_size_of
from ites_fast.detections.own_npz import MAX_FPS
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

SHAPES = {
    "body25b": ("cameras", "frames", 25, 3),
    "K": ("cameras", 3, 3),
    "dist": ("cameras", 4),
    "R": ("cameras", 3, 3),
    "T": ("cameras", 3),
    "size": ("cameras", 2),
}


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the keys of these files."""
    return npz_keys(split_choice(path)[0]) >= set(SHAPES)


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """What the chosen camera sees, with its intrinsics, its distortion and its place in the world.

    Raises:
        InputError: a key has another shape, the camera is none, or there are several and none was chosen.
    """
    file, choice = split_choice(path)
    arrays = BoundedArrays(file)
    values = {key: arrays.numbers(key) for key in SHAPES}
    arrays.check_shapes(values, SHAPES)
    skeleton = choose_skeleton(25, skeleton, "body_25b", file)
    cameras, frames = values["body25b"].shape[:2]
    if not frames:
        raise InputError(f"{file}: body25b is {values['body25b'].shape}, expected at least one frame")
    chosen = choose([str(number) for number in range(1, cameras + 1)], choice, file, "cameras")
    where = f"{file}: camera {chosen + 1}"
    points, K, dist, R, T, size = (values[key][chosen] for key in SHAPES)
    keypoints = clean_keypoints(points, f"{where}: body25b")
    image_size = image_size_of(size, f"{where}: size")
    fps = arrays.number("fps") if "fps" in arrays else None
    if fps is not None and not 0 < fps <= MAX_FPS:
        raise InputError(f"{file}: fps is {fps:g}, expected a positive number up to {MAX_FPS}")
    return Detections(
        source=str(path),
        skeleton=skeleton,
        tracks=tracks_of_rows(np.ones(frames, np.int64), np.arange(frames), keypoints, file),
        frames=frames,
        fps=fps,
        image_size=image_size,
        camera=camera_of(K, dist, image_size, where, rotation=R, translation=T),
    )
