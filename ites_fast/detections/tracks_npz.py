"""Tracks of several videos in one npz: OpenPose BODY_25 and the number of the track, row by row.

Keys: ``body25`` (N, 25, 3) pixels and confidence, ``track`` (N,) indices into ``track_name`` (S,), and ``joints17``
(N, 17, 3), the same as h36m_17, which is read where that skeleton is asked for. The rows of a track are its frames
0, 1, 2... Tracks are separate videos: side by side in the detections they say nothing about each other.
``FILE::NAME`` reads one of them.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from ites_fast.data.npz_file import npz_keys
from ites_fast.detections.bounded_npz import BoundedArrays
from ites_fast.detections.choice import MAX_LISTED, choose, split_choice
from ites_fast.detections.keypoint_rows import choose_skeleton, clean_keypoints
from ites_fast.detections.tracks import Detections, Track
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the keys "body25" and "track"."""
    return npz_keys(split_choice(path)[0]) >= {"body25", "track"}


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """All tracks, each as one person from its own frame 0, or the chosen one.

    Raises:
        InputError: a key has another shape or dtype, or the chosen track does not exist.
    """
    file, choice = split_choice(path)
    arrays = BoundedArrays(file)
    key = "joints17" if skeleton is not None and skeleton.name == "h36m_17" and "joints17" in arrays else "body25"
    points = arrays.numbers(key)
    if points.ndim != 3 or points.shape[-1] != 3 or not len(points):
        raise InputError(f"{file}: {key} is {points.shape}, expected (N, joints, 3)")
    skeleton = choose_skeleton(points.shape[1], skeleton, "body_25", file)
    number = arrays.integers("track", len(points))
    names = _names(arrays, number)
    keypoints = clean_keypoints(points, f"{file}: {key}")
    tracks, frames = [], []
    for index, name in enumerate(names):
        rows = np.flatnonzero(number == index)
        seen = np.flatnonzero((keypoints[rows, :, 2] > 0).any(-1))
        tracks.append(Track(name, seen, keypoints[rows[seen]]))
        frames.append(len(rows))
    detections = Detections(str(path), skeleton, tuple(tracks), max(frames))
    if choice is not None or len(tracks) == 1:
        chosen = choose(names, choice, file, "tracks")
        return replace(detections, tracks=(tracks[chosen],), frames=frames[chosen])
    note = f"{len(names)} separate videos side by side, not people of one: {', '.join(names[:MAX_LISTED])}"
    return replace(detections, notes=(note,))


def _names(arrays: BoundedArrays, number: np.ndarray) -> list[str]:
    """A name for each number of a track."""
    if number.min() < 0:
        raise InputError(f"{arrays.path}: track is {number.min()}, expected 0 or more")
    if "track_name" not in arrays:
        if number.max() >= len(number):
            raise InputError(f"{arrays.path}: track is {number.max()}, expected less than the {len(number)} rows")
        return [str(index) for index in range(number.max() + 1)]
    names = arrays.get("track_name")
    if names.ndim != 1 or names.dtype.kind != "U" or len(set(names.tolist())) < len(names):
        raise InputError(f"{arrays.path}: track_name is {names.dtype} {names.shape}, expected different texts (S,)")
    if number.max() >= len(names):
        raise InputError(f"{arrays.path}: track is {number.max()}, there are {len(names)} names")
    return names.tolist()
