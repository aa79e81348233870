"""Our own npz of detections: plain arrays, nothing pickled.

========== ================================= =====================================================================
key        shape                             meaning
========== ================================= =====================================================================
keypoints  (T, J, 2 or 3), (P, T, J, 2 or 3) x, y in pixels, and confidence; not detected: NaN, or confidence 0
skeleton   text                              name of a registered skeleton; needed where several have J joints
frame      (T,) integers                     numbers of the frames, from 0; 0, 1, 2... without it
track      (T,) or (P,), integers or text    whose each row is; one person without it. With it, a frame may come as
                                             often as there are people in it
frames     integer                           how many frames there are; up to the last one without it
fps        number                            frames a second
image_size (2,)                              width and height, pixels
K, dist    (3, 3), (4,) or (5,)              intrinsics, and distortion k1 k2 p1 p2 k3, as OpenCV has them
========== ================================= =====================================================================

Only ``keypoints`` is needed.
"""

import os
from pathlib import Path

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.npz_file import npz_keys
from ites_fast.detections.bounded_npz import BoundedArrays
from ites_fast.detections.keypoint_rows import (
    MAX_FRAMES,
    check_frames,
    choose_skeleton,
    clean_keypoints,
    tracks_of_rows,
)
from ites_fast.detections.opencv_camera import camera_of, image_size_of
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.skeleton import Skeleton

MAX_FPS = 100_000


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the key "keypoints" and without 3D positions."""
    names = npz_keys(path)
    return "keypoints" in names and "positions" not in names


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """What the file holds; the docstring of this module has the keys.

    Raises:
        InputError: a key has another shape or dtype, an unknown skeleton, a person is in a frame twice.
    """
    arrays = BoundedArrays(path)
    points = arrays.numbers("keypoints")
    if points.ndim not in (3, 4) or points.shape[-1] not in (2, 3):
        raise InputError(f"{path}: keypoints is {points.shape}, expected (T, J, 2 or 3) or (P, T, J, 2 or 3)")
    if not len(points) and "frames" in arrays:
        points = points.reshape(0, *points.shape[-2:])  # what is written where nobody was seen
    elif not points.size:
        raise InputError(f"{path}: keypoints is {points.shape}, expected at least one frame")
    named = arrays.text("skeleton") if "skeleton" in arrays else None
    skeleton = choose_skeleton(points.shape[-2], skeleton, named, path)
    frame = _frame(arrays, points.shape[-3])
    names = _names(arrays, points.shape)
    if points.ndim == 4:
        frame, points = np.tile(frame, len(points)), points.reshape(-1, *points.shape[2:])
    keypoints = clean_keypoints(points, f"{path}: keypoints")
    image_size = image_size_of(arrays.numbers("image_size"), f"{path}: image_size") if "image_size" in arrays else None
    return Detections(
        source=str(path),
        skeleton=skeleton,
        tracks=tracks_of_rows(names, frame, keypoints, path),
        frames=_frames(arrays, frame),
        fps=_fps(arrays),
        image_size=image_size,
        camera=_camera(arrays, image_size),
    )


def write(detections: Detections, path: str | os.PathLike) -> None:
    """Write detections, atomically, so that ``read`` gives them back; the video and a camera's pose are not kept.

    Args:
        detections: what to write.
        path: where, a name that ends in .npz; an existing file is replaced.

    Raises:
        InputError: another suffix, or a camera that OpenCV's matrices cannot say.
        OSError: the folder cannot be written, or the disk is full.
    """
    if Path(path).suffix.lower() != ".npz":
        raise InputError(f"{path}: expected a name that ends in .npz")
    tracks, joints = detections.tracks, detections.skeleton.num_joints
    content: dict[str, np.ndarray] = {
        "keypoints": np.concatenate([np.empty((0, joints, 3), np.float32), *(t.keypoints for t in tracks)]),
        "frame": np.concatenate([np.empty(0, np.int64), *(t.frame for t in tracks)]),
        "track": np.repeat(np.array([t.name for t in tracks], str), [len(t) for t in tracks]),
        "skeleton": np.array(detections.skeleton.name),
        "frames": np.array(detections.frames),
    }
    if detections.fps is not None:
        content["fps"] = np.array(detections.fps)
    if detections.image_size is not None:
        content["image_size"] = np.array(detections.image_size)
    if detections.camera is not None:
        content |= _matrices(detections.camera, path)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def _frame(arrays: BoundedArrays, rows: int) -> np.ndarray:
    if "frame" not in arrays:
        return check_frames(np.arange(rows), arrays.path)
    frame = arrays.get("frame")
    if frame.shape != (rows,):
        raise InputError(f"{arrays.path}: frame is {frame.shape}, expected ({rows},) as the keypoints")
    return check_frames(frame, arrays.path)


def _names(arrays: BoundedArrays, shape: tuple[int, ...]) -> np.ndarray:
    """Whose each row is: (T,), or (P T,) for people by people."""
    people = shape[0] if len(shape) == 4 else 1
    names = arrays.get("track") if "track" in arrays else np.arange(1, people + 1)
    wanted = shape[0] if "track" in arrays else people
    if names.shape != (wanted,) or names.dtype.kind not in "iuU":
        raise InputError(
            f"{arrays.path}: track is {names.dtype} {names.shape}, expected integers or text ({shape[0]},)"
        )
    if len(shape) == 4 and len(np.unique(names)) < people:
        raise InputError(f"{arrays.path}: track names a person twice: {names.tolist()[:20]}")
    return np.repeat(names, shape[-3] if len(names) == people else 1)


def _frames(arrays: BoundedArrays, frame: np.ndarray) -> int:
    last = int(frame.max(initial=-1)) + 1
    if "frames" not in arrays:
        return last
    frames = arrays.number("frames")
    if not (frames.is_integer() and last <= frames <= MAX_FRAMES):
        raise InputError(f"{arrays.path}: frames is {frames:g}, expected an integer from {last} to {MAX_FRAMES}")
    return int(frames)


def _fps(arrays: BoundedArrays) -> float | None:
    if "fps" not in arrays:
        return None
    fps = arrays.number("fps")
    if not 0 < fps <= MAX_FPS:
        raise InputError(f"{arrays.path}: fps is {fps:g}, expected a positive number up to {MAX_FPS}")
    return fps


def _camera(arrays: BoundedArrays, image_size: tuple[int, int] | None) -> Camera | None:
    if "K" not in arrays:
        if "dist" in arrays:
            raise InputError(f"{arrays.path}: has dist but no K; the distortion needs the intrinsics")
        return None
    dist = arrays.numbers("dist") if "dist" in arrays else np.zeros(0)
    return camera_of(arrays.numbers("K"), dist, image_size, str(arrays.path))


def _matrices(camera: Camera, path: str | os.PathLike) -> dict[str, np.ndarray]:
    if camera.tangential.any() and camera.tangential_factor != 2:
        raise InputError(f"{path}: the lens has the tangential factor {camera.tangential_factor}, OpenCV's is 2")
    K = np.eye(3)
    K[[0, 1], [0, 1]], K[:2, 2] = camera.focal, camera.principal
    return {"K": K, "dist": np.array([*camera.radial[:2], *camera.tangential, camera.radial[2]])}
