"""Scenes as a table (.csv): a line for each joint of each pose, below comments that say units, axes and the rest."""

import csv
import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import numpy as np

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.scene.header import header, scene_of, skeleton_of
from ites_fast.scene.progress import bar, rows
from ites_fast.scene.scene import MOST_FRAMES, Person, Scene
from ites_fast.skeleton import Skeleton

COLUMNS = ("frame", "time", "person", "joint", "x", "y", "z", "confidence")
NUMBERS = ("frame", "x", "y", "z", "confidence")
CHUNK = 50_000  # lines read at a time


def write(scene: Scene, path: Path) -> list[Path]:
    """Write ``scene``, person after person; without ambiguity and keypoints, for which a table has no place.

    Raises:
        InputError: the scene is not what its documentation says.
        OSError: the file cannot be written.
    """
    scene.check()
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        fields = header(scene) | {"poses": scene.poses}
        file.writelines(f"# {key}: {json.dumps(value)}\n" for key, value in fields.items())
        file.write(",".join(COLUMNS) + "\n")
        for person in scene.people:
            file.writelines(_poses(person, scene, Path(path).name))
    return [Path(path)]


def _poses(person: Person, scene: Scene, what: str) -> Iterator[str]:
    names = [f"{_cell(person.name)},{_cell(joint)}".replace("%", "%%") for joint in scene.skeleton.joint_names]
    pose = "".join(f"%d,%.6f,{name},%.6f,%.6f,%.6f,%.6f\n" for name in names)
    shape = person.confidence.shape
    for first, end in rows(len(person), f"{what}: {person.name}"):
        frame = np.broadcast_to(person.frame[first:end, None], (end - first, shape[1]))
        numbers = np.concatenate([person.positions[first:end], person.confidence[first:end, :, None]], -1)
        values = np.concatenate([np.stack([frame, frame / scene.fps], -1), numbers.astype(np.float64)], -1)
        yield (pose * (end - first)) % tuple((np.round(values, 6) + 0.0).ravel().tolist())  # no -0.0


def _cell(text: str) -> str:
    line = io.StringIO()
    csv.writer(line, lineterminator="").writerow([text])
    return line.getvalue()


def read(path: Path) -> Scene:
    """Read a scene.

    Raises:
        InputError: the comments or columns of ``write`` are missing, or a line is not what it should be.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            fields, columns = _head(path, file)
            skeleton = skeleton_of(path, fields)
            people, table = _table(path, csv.reader(file), columns, skeleton)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a table in UTF-8 ({error})") from error
    J = skeleton.num_joints
    if fields.get("poses", len(table) / J) != len(table) / J:
        raise InputError(f"{path}: {len(table)} lines, expected {fields['poses']} poses of {J}; was it truncated?")
    return scene_of(path, fields, tuple(_person(path, name, table[table[:, 0] == i], J) for name, i in people.items()))


def _head(path: Path, file: TextIO) -> tuple[dict[str, Any], list[str]]:
    """The fields of the comments, and the names of the columns."""
    fields: dict[str, Any] = {}
    for line in file:
        if not line.startswith("#"):
            return fields, next(csv.reader([line]), [])
        key, _, value = line.lstrip("# ").partition(":")
        try:
            fields[key.strip()] = json.loads(value)
        except (ValueError, RecursionError):
            continue  # a comment of somebody else
    return fields, []


def _table(
    path: Path, lines: Iterator[list[str]], columns: list[str], skeleton: Skeleton
) -> tuple[dict[str, int], np.ndarray]:
    """Numbers of the people, and a row a joint: person, joint, frame, x, y, z, confidence, as float64."""
    missing = [name for name in COLUMNS if name not in columns and name != "time"]
    if missing:
        raise InputError(f"{path}: columns {', '.join(missing)} are missing; it has {str(columns)[:200]}")
    joints = {name: index for index, name in enumerate(skeleton.joint_names)}
    people: dict[str, int] = {}
    person, joint = columns.index("person"), columns.index("joint")
    numbers = [columns.index(name) for name in NUMBERS]
    parts = [np.zeros((0, 2 + len(NUMBERS)))]
    progress = bar(None, path.name)
    while chunk := list(itertools.islice(lines, CHUNK)):
        progress.update(len(chunk))
        try:
            who = [people.setdefault(line[person], len(people)) for line in chunk]
            what = [joints[line[joint]] for line in chunk]
            values = [np.array([line[column] for line in chunk], dtype=np.float64) for column in numbers]
        except KeyError as error:
            raise InputError(f"{path}: {error} is no joint of {skeleton.name!r}") from error
        except (IndexError, ValueError) as error:
            raise InputError(f"{path}: a line is not whole or holds no numbers ({error}); was it truncated?") from error
        parts.append(np.stack([np.array(who), np.array(what), *values], -1))
    progress.close()
    return people, np.concatenate(parts)


def _person(path: Path, name: str, table: np.ndarray, J: int) -> Person:
    """The poses of one person's rows."""
    where = f"{path}: person {name!r}"
    if not np.isfinite(table).all():
        raise InputError(f"{where}: a number is not finite")
    if (table[:, 2] % 1).any() or table[:, 2].min() < 0 or table[:, 2].max() >= MOST_FRAMES:
        raise InputError(f"{where}: frames must be integers from 0 on")
    table = table[np.lexsort((table[:, 1], table[:, 2]))]  # by frame, then by joint
    joint, frame = table[:, 1], table[::J, 2]
    N = len(frame)
    if len(table) != N * J or (joint != np.tile(np.arange(J), N)).any() or (table[:, 2] != np.repeat(frame, J)).any():
        raise InputError(f"{where}: every frame must have each of the {J} joints once")
    with np.errstate(over="ignore"):
        values = table[:, 3:].reshape(N, J, 4).astype(np.float32)
    return Person(name, frame.astype(np.int64), values[..., :3], values[..., 3])
