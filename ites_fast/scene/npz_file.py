"""Scenes as numpy archives (.npz): plain arrays, nothing lost, nothing pickled."""

from pathlib import Path

import numpy as np

from ites_fast.detections.bounded_npz import BoundedArrays
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.scene.header import FIELDS, header, scene_of
from ites_fast.scene.scene import Person, Scene

# Of one pose; J joints each. Those that not all people have are NaN where they are missing.
SHAPES = {
    "positions": ("N", "J", 3),
    "confidence": ("N", "J"),
    "ambiguity": ("N",),
    "keypoints": ("N", "J", 3),
}
OPTIONAL = ("ambiguity", "keypoints")


def write(scene: Scene, path: Path) -> list[Path]:
    """Write ``scene``: the poses of all people one after the other, and the fields of ``header``, one array each.

    Raises:
        InputError: the scene is not what its documentation says.
        OSError: the file cannot be written.
    """
    scene.check()
    J = scene.skeleton.num_joints
    arrays = {key: np.asarray(value) for key, value in header(scene).items() if value is not None}
    arrays["notes"] = np.asarray(scene.notes, dtype=str)
    arrays["person_name"] = np.asarray([person.name for person in scene.people], dtype=str)
    arrays["person"] = np.repeat(np.arange(len(scene.people)), [len(person) for person in scene.people])
    arrays["frame"] = np.concatenate([np.zeros(0, np.int64), *(person.frame for person in scene.people)])
    for key, shape in SHAPES.items():
        if key in OPTIONAL and all(getattr(person, key) is None for person in scene.people):
            continue
        shape = tuple(J if size == "J" else size for size in shape[1:])
        parts = [np.zeros((0, *shape), np.float32)]
        for person in scene.people:
            value = getattr(person, key)
            parts.append(np.full((len(person), *shape), np.nan, np.float32) if value is None else value)
        arrays[key] = np.concatenate(parts)
    with atomic_path(path) as temporary, temporary.open("wb") as file:  # a path could be given another suffix
        np.savez(file, **arrays)
    return [Path(path)]


def read(path: Path) -> Scene:
    """Read a scene.

    Raises:
        InputError: the file is not whole, an array is missing or has another shape or type than it should.
    """
    file = BoundedArrays(Path(path))
    fields = {key: file.get(key).tolist() for key in FIELDS if key in file}
    arrays = {key: file.numbers(key) for key in SHAPES if key not in OPTIONAL or key in file}
    names = file.get("person_name").tolist()
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        names = []
    file.check_shapes(arrays, {key: SHAPES[key] for key in arrays})
    N = len(arrays["positions"])
    number, frame = file.integers("person", N), file.get("frame")
    if frame.shape != (N,) or frame.dtype.kind not in "iu":
        raise InputError(f"{path}: frame is {frame.dtype} {frame.shape}, expected integers ({N},)")
    if N and ((np.diff(number) < 0).any() or number[0] < 0 or number[-1] >= len(names)):
        raise InputError(f"{path}: person must rise from 0 to {len(names) - 1}")
    ends = np.searchsorted(number, np.arange(len(names) + 1))
    arrays = {key: array.astype(np.float32, copy=False) for key, array in arrays.items()}
    people = []
    for name, first, end in zip(names, ends[:-1], ends[1:], strict=True):
        values = {key: array[first:end] for key, array in arrays.items()}
        known = {key: value for key, value in values.items() if key not in OPTIONAL or not np.isnan(value).all()}
        try:
            people.append(Person(name, frame[first:end].astype(np.int64), **known))
        except ValueError as error:
            raise InputError(f"{path}: person {name!r}: {error}") from error
    return scene_of(Path(path), fields, tuple(people))
