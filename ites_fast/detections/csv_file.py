"""Tables of keypoints: commas, semicolons or tabs, with a header.

Three layouts are known by their header:

* wide, one row a person and frame: ``frame``, ``person`` (optional), and ``NAME_x``, ``NAME_y``, ``NAME_confidence``
  (optional) for each joint;
* long, one row a joint: ``frame``, ``person`` (optional), ``joint``, ``x``, ``y``, ``confidence`` (optional);
* DeepLabCut's: rows ``scorer``, ``individuals`` (optional), ``bodyparts`` and ``coords`` (x, y, likelihood), then one
  row a frame that begins with its number.

Columns come in any order. Joints have the names of a registered skeleton, where case does not count and a blank or a
dash is an underscore. Where they are not exactly those of one skeleton, the skeleton must be given; its other joints
are missing. A cell that is empty or NaN means not detected, and so does confidence 0.
"""

from array import array
from itertools import chain
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ites_fast.detections.csv_table import HEAD_ROWS, Columns, Row, Table, find_columns, plain_name
from ites_fast.detections.keypoint_rows import MAX_FRAMES, MAX_PIXEL, clean_keypoints, tracks_of_rows
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS, Skeleton

DEFAULT_PERSON = "1"
MAX_LISTED = 12


def recognise(path: Path) -> bool:
    """Whether ``path`` is a text file whose first lines are the header of one of the layouts."""
    try:
        with Table(path) as table:
            find_columns(table.first(HEAD_ROWS), path, strict=False)
    except (InputError, OSError):
        return False
    return True


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """What the table holds. It is read line by line; only the keypoints are kept.

    Raises:
        InputError: naming line and column: what is no number, a frame that is no integer, a row that is too short; and
            joints that the skeleton does not have, a person who is in a frame twice.
    """
    options = {"unit": "B", "unit_scale": True, "delay": 1, "disable": None}
    with Table(path) as table, tqdm(total=path.stat().st_size, desc=path.name, **options) as bar:
        head = table.first(HEAD_ROWS)
        columns = find_columns(head, path, strict=True)
        table.progress = bar.update
        rows = chain(head[columns.head_rows :], table.rows())
        rows = (_checked_width(row, columns, path) for row in rows)
        read_rows = _read_wide if columns.joint is None else _read_long
        frame, people, joints, points = read_rows(rows, columns, path)
    if not len(frame):
        raise InputError(f"{path}: has a header but no rows")
    skeleton, index = _skeleton(joints, skeleton, path)
    keypoints = np.full((len(frame), skeleton.num_joints, 3), (np.nan, np.nan, 0), np.float32)
    keypoints[:, index] = points
    keypoints = clean_keypoints(keypoints, f"{path}: row")
    return Detections(str(path), skeleton, tracks_of_rows(people, frame, keypoints, path), int(frame.max()) + 1)


_Rows = tuple[np.ndarray, np.ndarray, list[str], np.ndarray]  # frame (N,), person (N,), joints, points (N, joints, 3)


def _read_wide(rows, columns: Columns, path: Path) -> _Rows:
    individuals = list(dict.fromkeys(individual for individual, _ in columns.points))
    joints = list(dict.fromkeys(joint for _, joint in columns.points))
    cells = []  # columns of x, y, confidence for each individual and joint
    for key in ((individual, joint) for individual in individuals for joint in joints):
        if key not in columns.points:
            raise InputError(f"{path}: {key[0]} has no columns of {key[1]}, as others have")
        cells += columns.points[key]
    frame, values, people = array("q"), array("f"), []
    for row in rows:
        frame.append(_frame(row, columns, path))
        people.append(_person(row, columns))
        row.cells.append("1")  # cell -1: the confidence where there is no column of it
        values.extend(_numbers(row, cells, columns, path))
    points = np.array(values, np.float32).reshape(-1, len(joints), 3)
    if len(individuals) > 1 or individuals[0]:
        people = individuals * len(frame)
    return np.repeat(np.array(frame, np.int64), len(individuals)), np.array(people, str), joints, points


def _read_long(rows, columns: Columns, path: Path) -> _Rows:
    poses: dict[tuple[int, str], int] = {}
    joints: dict[str, int] = {}
    pose, joint, line, values = array("q"), array("q"), array("q"), array("f")
    for row in rows:
        name = plain_name(row.cells[columns.joint])
        if not name:
            raise InputError(f"{path}, line {row.line}, column joint: is empty, expected the name of a joint")
        pose.append(poses.setdefault((_frame(row, columns, path), _person(row, columns)), len(poses)))
        joint.append(joints.setdefault(name, len(joints)))
        line.append(row.line)
        row.cells.append("1")
        values.extend(_numbers(row, columns.points["", ""], columns, path))
    place = np.array(pose, np.int64) * max(len(joints), 1) + np.array(joint, np.int64)
    order = np.argsort(place, kind="stable")
    twice = order[1:][np.diff(place[order]) == 0]
    if len(twice):
        first = int(twice.min())
        frame, person = list(poses)[pose[first]]
        name = list(joints)[joint[first]]
        raise InputError(f"{path}, line {line[first]}: joint {name} of person {person} is in frame {frame} twice")
    if len(poses) * len(joints) > 100 * max(len(place), 1000):
        raise InputError(f"{path}: {len(joints)} different joints in {len(place)} rows, expected those of a skeleton")
    points = np.full((len(poses), len(joints), 3), (np.nan, np.nan, 0), np.float32)
    points.reshape(-1, 3)[place] = np.array(values, np.float32).reshape(-1, 3)
    frame = np.array([frame for frame, _ in poses], np.int64)
    return frame, np.array([person for _, person in poses], str), list(joints), points


def _checked_width(row: Row, columns: Columns, path: Path) -> Row:
    if len(row.cells) != len(columns.names):
        raise InputError(f"{path}, line {row.line}: {len(row.cells)} cells, expected {len(columns.names)}")
    return row


def _frame(row: Row, columns: Columns, path: Path) -> int:
    cell = row.cells[columns.frame].strip()
    try:
        number = float(cell)
    except ValueError:
        number = -1.0
    if not (number.is_integer() and 0 <= number < MAX_FRAMES):
        raise InputError(
            f"{path}, line {row.line}, column {columns.names[columns.frame]}: {cell[:40]!r}, "
            f"expected an integer from 0 to {MAX_FRAMES - 1}"
        )
    return int(number)


def _person(row: Row, columns: Columns) -> str:
    return DEFAULT_PERSON if columns.person is None else row.cells[columns.person].strip() or DEFAULT_PERSON


def _numbers(row: Row, cells: list[int], columns: Columns, path: Path) -> list[float]:
    """The numbers of these cells; NaN for empty ones."""
    try:
        numbers = [float(row.cells[cell].strip() or "nan") for cell in cells]
    except ValueError:
        numbers = [_number(row.cells[cell]) for cell in cells]
    for cell, number in zip(cells, numbers, strict=True):
        if number is None or abs(number) > MAX_PIXEL:
            raise InputError(
                f"{path}, line {row.line}, column {columns.names[cell]}: {row.cells[cell][:40]!r}, "
                f"expected a number up to {MAX_PIXEL:.0f}"
            )
    return numbers


def _number(cell: str) -> float | None:
    """With a decimal comma, as tables with semicolons have; None for other text."""
    try:
        return float(cell.strip().replace(",", ".") or "nan")
    except ValueError:
        return None


def _skeleton(joints: list[str], given: Skeleton | None, path: Path) -> tuple[Skeleton, list[int]]:
    """The skeleton, and the index in it of each joint."""
    known = {skeleton.name: skeleton for skeleton in ((given,) if given is not None else SKELETONS.values())}
    index = {name: {plain_name(joint): j for j, joint in enumerate(s.joint_names)} for name, s in known.items()}
    containing = [name for name in known if index[name].keys() >= set(joints)]
    whole = [name for name in containing if len(index[name]) == len(joints)]
    fitting = containing if given is not None else whole
    if len(fitting) == 1:
        return known[fitting[0]], [index[fitting[0]][joint] for joint in joints]
    if containing:
        raise InputError(
            f"{path}: its {len(joints)} joints could be those of {', '.join(containing)}; say which skeleton it is"
        )
    nearest = min(known, key=lambda name: len(set(joints) - index[name].keys()))
    unknown = [joint for joint in joints if joint not in index[nearest]]
    more = f" and {len(unknown) - MAX_LISTED} more" if len(unknown) > MAX_LISTED else ""
    raise InputError(
        f"{path}: joints {', '.join(unknown[:MAX_LISTED])}{more} are not in {nearest}, which has "
        f"{', '.join(known[nearest].joint_names)}"
    )
