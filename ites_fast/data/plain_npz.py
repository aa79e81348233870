"""Our own plain npz file: the arrays of ``PoseDataset`` and nothing pickled. Keys: docs/DATA.md."""

import os
from pathlib import Path

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.npz_file import Arrays, npz_keys
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.skeleton import H36M_17, get_body

REQUIRED = frozenset({"pose_2d", "camera_focal", "camera_principal"})
CAMERA_SHAPES = {
    "camera_focal": ("cameras", 2),
    "camera_principal": ("cameras", 2),
    "camera_image_size": ("cameras", 2),
    "camera_radial": ("cameras", 3),
    "camera_tangential": ("cameras", 2),
    "camera_tangential_factor": ("cameras",),
    "camera_rotation": ("cameras", 3, 3),
    "camera_position": ("cameras", 3),
}
INDEX_KEYS = ("camera", "subject", "action", "sequence", "frame")


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the key "pose_2d"."""
    return "pose_2d" in npz_keys(path)


def read(path: Path, split: str) -> PoseDataset:
    """The views of a split. A file without the key ``split`` is test data: "test" and "all" give all of it.

    Raises:
        InputError: a key is missing, has another shape or numbers a camera, subject or action that does not exist.
    """
    arrays = Arrays(path)
    pose_2d = arrays.numbers("pose_2d")
    skeleton = get_body(str(arrays.get("skeleton"))) if "skeleton" in arrays else H36M_17
    if pose_2d.ndim != 3 or pose_2d.shape[1:] != (skeleton.num_joints, 2):
        raise InputError(f"{path}: pose_2d has shape {pose_2d.shape}, expected (N, {skeleton.num_joints}, 2)")
    views = len(pose_2d)
    index = {key: arrays.integers(key, views) if key in arrays else np.zeros(views, np.int32) for key in INDEX_KEYS}
    if "frame" not in arrays:
        index["frame"] = np.arange(views, dtype=np.int32)
    cameras = _read_cameras(arrays)
    subjects = _names(arrays, "subjects")
    actions = _names(arrays, "actions")
    for key, names in (("camera", cameras), ("subject", subjects), ("action", actions)):
        if views and not (index[key].min() >= 0 and index[key].max() < len(names)):
            raise InputError(f"{path}: {key} numbers up to {index[key].max()}, there are {len(names)}")
    pose_3d = arrays.numbers("pose_3d").astype(np.float32, copy=False) if "pose_3d" in arrays else None
    dataset = PoseDataset(
        name=str(path),
        skeleton=skeleton,
        pose_2d=pose_2d.astype(np.float32, copy=False),
        pose_3d=pose_3d,
        cameras=cameras,
        subjects=subjects,
        actions=actions,
        fps=arrays.number("fps") if "fps" in arrays else None,
        allow_missing="allow_missing" in arrays and arrays.number("allow_missing") != 0,
        **index,
    )
    if split == "all" or (split == "test" and "split" not in arrays):
        return dataset
    if "split" not in arrays:
        raise InputError(f"{path}: the {split} split is empty: the file has no key 'split', so all of it is test data")
    splits = arrays.get("split")
    if splits.shape != (views,):
        raise InputError(f"{path}: split has shape {splits.shape}, expected ({views},)")
    # A wrong length must be told before the mask cuts it.
    if pose_3d is not None and len(pose_3d) != views:
        dataset.check()
    return dataset.subset(splits == split)


def save_npz(dataset: PoseDataset, path: str | os.PathLike, split: np.ndarray | None = None) -> None:
    """Write a data set, atomically.

    Args:
        dataset: what to write.
        path: where; an existing file is replaced.
        split: "train" or "test" for each view (N,); without it the file is test data.
    """
    content = {
        "skeleton": np.array(dataset.skeleton.name),
        "pose_2d": dataset.pose_2d,
        "subjects": np.array(dataset.subjects),
        "actions": np.array(dataset.actions),
        **{key: getattr(dataset, key) for key in INDEX_KEYS},
    }
    for key in CAMERA_SHAPES:
        content[key] = np.array([getattr(camera, key.removeprefix("camera_")) for camera in dataset.cameras])
    if dataset.pose_3d is not None:
        content["pose_3d"] = dataset.pose_3d
    if dataset.fps is not None:
        content["fps"] = np.array(dataset.fps)
    if dataset.allow_missing:
        content["allow_missing"] = np.array(1)
    if split is not None:
        content["split"] = np.asarray(split)
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.savez_compressed(file, **content)


def _read_cameras(arrays: Arrays) -> tuple[Camera, ...]:
    keys = [key for key in CAMERA_SHAPES if key in arrays or key in REQUIRED]
    values = {key: arrays.numbers(key) for key in keys}
    arrays.check_shapes(values, {key: CAMERA_SHAPES[key] for key in keys})
    fields = {key.removeprefix("camera_"): value for key, value in values.items()}
    sizes = fields.pop("image_size", np.zeros((len(fields["focal"]), 2), np.int64))
    try:
        return tuple(
            Camera(image_size=(int(size[0]), int(size[1])), **{name: value[i] for name, value in fields.items()})
            for i, size in enumerate(sizes)
        )
    except (ValueError, OverflowError) as error:
        raise InputError(f"{arrays.path}: {error}") from error


def _names(arrays: Arrays, key: str) -> tuple[str, ...]:
    return tuple(str(name) for name in arrays.get(key).reshape(-1)) if key in arrays else ("unknown",)
