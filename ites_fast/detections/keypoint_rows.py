"""Keypoints as files of arrays and tables hold them, one row a person and frame, made into tracks."""

from pathlib import Path

import numpy as np

from ites_fast.detections.tracks import Track
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS, Skeleton

MAX_FRAMES = 10_000_000  # 92 hours at 30 fps; a larger number is a damaged file, and lists of frames are made of it
MAX_PIXEL = 1e6  # no image is as large; farther away squares of pixels lose their digits


def clean_keypoints(points: np.ndarray, where: str) -> np.ndarray:
    """Keypoints as ``Track`` holds them.

    Args:
        points: x, y in pixels (..., J, 2), or x, y, confidence (..., J, 3), of any kind of number. NaN, or a confidence
            that is NaN or not positive, means not detected.
        where: file and array, for messages.

    Returns:
        x, y, confidence (..., J, 3) float32: NaN, NaN, 0 for a joint that was not detected, confidence 1 at most, and 1
        where the file has none.

    Raises:
        InputError: another shape or dtype, or a coordinate that is infinite or beyond a million pixels.
    """
    if points.dtype.kind not in "iuf" or points.ndim < 2 or points.shape[-1] not in (2, 3):
        raise InputError(f"{where} is {points.dtype} {points.shape}, expected numbers (..., joints, 2 or 3)")
    keypoints = np.ones((*points.shape[:-1], 3), np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        keypoints[..., : points.shape[-1]] = points
        seen = np.isfinite(keypoints[..., :2]).all(-1) & (keypoints[..., 2] > 0)
        far = (np.abs(keypoints[..., :2]) > MAX_PIXEL).any(-1) & (keypoints[..., 2] > 0)
    if far.any():
        index = tuple(int(i) for i in np.argwhere(far)[0])
        raise InputError(f"{where}{list(index)} is {keypoints[index].tolist()}, expected pixels below {MAX_PIXEL:.0f}")
    keypoints[~seen] = np.nan, np.nan, 0
    np.minimum(keypoints[..., 2], 1, out=keypoints[..., 2])
    return keypoints


def choose_skeleton(joints: int, given: Skeleton | None, named: str | None, path: Path) -> Skeleton:
    """The skeleton of a file with so many joints: the one given, or the one it names, or the only one of this size.

    Raises:
        InputError: the number of joints is another, the name is unknown, or several skeletons have this many joints.
    """
    if given is None and named is not None:
        if named not in SKELETONS:  # never a file: a file's content may not name other files
            raise InputError(f"{path}: its skeleton {named[:40]!r} is unknown; known: {', '.join(SKELETONS)}")
        given = SKELETONS[named]
    if given is not None:
        if given.num_joints != joints:
            raise InputError(f"{path}: {joints} joints, expected {given.num_joints} for {given.name}")
        return given
    same = [skeleton for skeleton in SKELETONS.values() if skeleton.num_joints == joints]
    if len(same) != 1:
        names = ", ".join(skeleton.name for skeleton in same) or f"none of those known: {', '.join(SKELETONS)}"
        raise InputError(f"{path}: it does not say which skeleton its {joints} joints are; name it: {names}")
    return same[0]


def check_frames(frame: np.ndarray, path: Path) -> np.ndarray:
    """Numbers of frames (N,) as int64.

    Raises:
        InputError: not integers, negative, or too large.
    """
    if frame.ndim != 1 or frame.dtype.kind not in "iu":
        raise InputError(f"{path}: frame is {frame.dtype} {frame.shape}, expected integers (N,)")
    wrong = (frame < 0) | (frame >= MAX_FRAMES)
    if wrong.any():
        raise InputError(f"{path}: frame {frame[wrong][0]}, expected 0 to {MAX_FRAMES - 1}")
    return frame.astype(np.int64)


def tracks_of_rows(names: np.ndarray, frame: np.ndarray, keypoints: np.ndarray, path: Path) -> tuple[Track, ...]:
    """People in the order of their first rows; rows in which nothing was detected are left out.

    Args:
        names: whose each row is (N,), integers or text.
        frame: of each row (N,) int64.
        keypoints: as ``clean_keypoints`` gives them (N, J, 3).
        path: for messages.

    Raises:
        InputError: a person is in a frame twice.
    """
    seen = (keypoints[..., 2] > 0).any(-1)
    names, frame, keypoints = names[seen], frame[seen], keypoints[seen]
    unique, first, number = np.unique(names, return_index=True, return_inverse=True)
    order = np.lexsort((frame, number))
    ends = np.cumsum(np.bincount(number, minlength=len(unique)))[:-1]
    parts = np.split(order, ends) if len(unique) else []
    tracks = []
    for index in np.argsort(first):
        rows, name = parts[index], str(unique[index])
        twice = np.flatnonzero(np.diff(frame[rows]) == 0)
        if len(twice):
            raise InputError(f"{path}: person {name} is in frame {frame[rows][twice[0]]} twice")
        tracks.append(Track(name, frame[rows], keypoints[rows]))
    return tuple(tracks)
