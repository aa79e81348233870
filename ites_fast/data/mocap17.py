"""The bundled sample, and any other file in its format: world positions and four virtual cameras a sequence."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.npz_file import Arrays, npz_keys
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

BUNDLED = Path(__file__).with_name("mocap17.npz")
SHAPES = {
    "positions_mm": ("F", 17, 3),
    "sequence": ("F",),
    "frame": ("F",),
    "sequence_name": ("S",),
    "sequence_subject": ("S",),
    "sequence_split": ("S",),
    "camera_rotation": ("S", "K", 3, 3),
    "camera_position": ("S", "K", 3),
    "focal_px": (),
    "principal_px": (),
    "image_px": (),
    "fps": (),
}
NAMES = frozenset({"sequence_name", "sequence_subject", "sequence_split"})  # all others are numbers


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the format's own keys."""
    return npz_keys(path) >= {"positions_mm", "camera_rotation", "sequence_split"}


def read(path: Path, split: str, name: str | None = None) -> PoseDataset:
    """Every pose seen by the four cameras of its sequence: sequence by sequence, camera by camera, frame by frame.

    The action of a view is its sequence's label, or the sequence's name when there are no labels.

    Args:
        path: a file in the bundled format.
        split: "train", "test" or "all", from the file's own ``sequence_split``.
        name: what to call the data set, the path by default.

    Raises:
        InputError: a key is missing or has another shape, or a camera or sequence does not exist.
    """
    arrays = Arrays(path)
    data = {key: arrays.get(key) if key in NAMES else arrays.numbers(key) for key in SHAPES}
    arrays.check_shapes(data, SHAPES)
    sequence, frame = (arrays.integers(key, len(data["positions_mm"])) for key in ("sequence", "frame"))
    splits = data["sequence_split"]
    sequences, num_cameras = data["camera_rotation"].shape[:2]
    if len(sequence) and not (sequence.min() >= 0 and sequence.max() < sequences):
        raise InputError(f"{path}: sequence numbers {sequence.max()}, expected 0 to {sequences - 1}")
    order = np.lexsort((frame, sequence))
    if split != "all":
        order = order[splits[sequence[order]] == split]
    source, camera = _views(sequence[order], num_cameras)
    source = order[source]

    position = data["camera_position"].reshape(-1, 3)
    rotation = data["camera_rotation"].reshape(-1, 3, 3)
    pose_3d = np.empty((len(source), 17, 3), np.float32)
    for c, at in _runs(camera):
        world = data["positions_mm"][source[at]] / np.float32(1000)
        pose_3d[at] = (world - position[c]) @ rotation[c].T
    focal, principal, size = (arrays.number(key) for key in ("focal_px", "principal_px", "image_px"))
    pose_2d = pose_3d[..., :2] / pose_3d[..., 2:] * np.float32(focal) + np.float32(principal)

    intrinsics = {"focal": np.full(2, focal), "principal": np.full(2, principal), "image_size": (int(size), int(size))}
    try:
        cameras = tuple(Camera(**intrinsics, rotation=r, position=p) for r, p in zip(rotation, position, strict=True))
    except ValueError as error:
        raise InputError(f"{path}: {error}") from error
    subjects, subject = np.unique(data["sequence_subject"], return_inverse=True)
    labels = arrays.get("sequence_label") if "sequence_label" in arrays else data["sequence_name"]
    actions, action = np.unique(labels, return_inverse=True)
    return PoseDataset(
        name=name or str(path),
        skeleton=H36M_17,
        pose_2d=pose_2d,
        pose_3d=pose_3d,
        cameras=cameras,
        camera=camera.astype(np.int32),
        subjects=tuple(str(s) for s in subjects),
        subject=subject[sequence[source]].astype(np.int32),
        actions=tuple(str(a) for a in actions),
        action=action[sequence[source]].astype(np.int32),
        sequence=sequence[source],
        frame=frame[source],
        fps=arrays.number("fps"),
    )


def _views(sequence: np.ndarray, num_cameras: int) -> tuple[np.ndarray, np.ndarray]:
    """Index of the pose and of the camera of each view, for poses sorted by sequence."""
    source, camera = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for number, run in _runs(sequence):
        source.append(np.tile(np.arange(run.start, run.stop), num_cameras))
        camera.append(np.repeat(number * num_cameras + np.arange(num_cameras), run.stop - run.start))
    return np.concatenate(source), np.concatenate(camera)


def _runs(values: np.ndarray) -> Iterator[tuple[int, slice]]:
    """Slices of equal neighbours, with their value; values are not negative."""
    starts = np.flatnonzero(np.diff(values, prepend=-1))
    for start, stop in pairwise([*starts.tolist(), len(values)]):
        yield int(values[start]), slice(start, stop)
