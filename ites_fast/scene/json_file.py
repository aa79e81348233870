"""Scenes as JSON (.json): one object, one line a pose. Numbers are rounded to 6 decimals; what is not known is null."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.scene.header import check_format, header, scene_of, skeleton_of
from ites_fast.scene.progress import rows
from ites_fast.scene.scene import MOST_FRAMES, Person, Scene

DECIMALS = 6
ARRAYS = ("positions", "confidence", "ambiguity", "keypoints")


def write(scene: Scene, path: Path) -> list[Path]:
    """Write ``scene``: the fields of ``header`` and ``people``, each with a list a pose.

    Raises:
        InputError: the scene is not what its documentation says.
        OSError: the file cannot be written.
    """
    scene.check()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        start = json.dumps(header(scene), indent=1, allow_nan=False).removesuffix("\n}")
        file.write(f'{start},\n "people": [')
        for number, person in enumerate(scene.people):
            file.write(",\n" if number else "\n")
            file.write(f'  {{"name": {json.dumps(person.name)},\n   "frame": {json.dumps(person.frame.tolist())}')
            for name in ARRAYS:
                file.write(f',\n   "{name}": ')
                file.writelines(_array(getattr(person, name), f"{Path(path).name}: {person.name}, {name}"))
            file.write("}")
        file.write("\n ]\n}\n")
    return [Path(path)]


def _array(values: np.ndarray | None, what: str) -> Iterator[str]:
    if values is None:
        yield "null"
        return
    yield "["
    for first, end in rows(len(values), what):
        rounded = np.round(values[first:end].astype(np.float64), DECIMALS) + 0.0  # no -0.0
        lines = (json.dumps(row).replace("NaN", "null") for row in rounded.tolist())
        yield (",\n    " if first else "\n    ") + ",\n    ".join(lines)
    yield "]"


def read(path: Path) -> Scene:
    """Read a scene.

    Raises:
        InputError: the file is not JSON, was cut, or does not hold what ``write`` writes.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        fields = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:  # not UTF-8, not JSON, or nested without end
        raise InputError(f"{path}: not JSON ({error}); was it truncated?") from error
    if not isinstance(fields, dict):
        raise InputError(f"{path}: holds a {type(fields).__name__}, expected an object")
    check_format(path, fields)
    people = fields.get("people")
    if not isinstance(people, list) or not all(isinstance(person, dict) for person in people):
        raise InputError(f"{path}: people is missing or is no list of objects")
    J = skeleton_of(path, fields).num_joints
    return scene_of(path, fields, tuple(_person(path, person, J) for person in people))


def _person(path: Path, fields: dict[str, Any], J: int) -> Person:
    name, frame = fields.get("name"), fields.get("frame")
    if not isinstance(name, str):
        raise InputError(f"{path}: a person's name is {str(name)[:60]!r}, expected text")
    where = f"{path}: person {name!r}"
    if not isinstance(frame, list) or not all(type(number) is int and 0 <= number < MOST_FRAMES for number in frame):
        raise InputError(f"{where}: frame must be a list of integers from 0 on")
    N = len(frame)
    shapes = {"positions": (N, J, 3), "confidence": (N, J), "ambiguity": (N,), "keypoints": (N, J, 3)}
    arrays = {key: _numbers(where, key, fields.get(key), shape) for key, shape in shapes.items()}
    try:
        return Person(name, np.asarray(frame, dtype=np.int64), **arrays)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error


def _numbers(where: str, key: str, value: Any, shape: tuple[int, ...]) -> np.ndarray | None:
    if value is None and key in ("ambiguity", "keypoints"):
        return None
    try:
        with np.errstate(over="ignore"):
            array = np.asarray(value, dtype=np.float64).astype(np.float32)
    except (ValueError, TypeError, OverflowError, RecursionError) as error:
        raise InputError(f"{where}: {key} must hold numbers, as many in each row") from error
    if array.size == 0 and shape[0] == 0:
        return array.reshape(shape)
    if array.shape != shape:
        raise InputError(f"{where}: {key} is {array.shape}, expected {shape}")
    return array
