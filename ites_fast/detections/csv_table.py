"""Rows of a text table, and what its columns mean."""

import csv
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ites_fast.errors import InputError

DELIMITERS = ",;\t"
AXES = {"x": 0, "y": 1, "confidence": 2, "likelihood": 2, "score": 2}
OPTIONAL = ("time",)  # columns that say nothing new
HEAD_ROWS = 4  # of the longest header
MAX_LINE = 1 << 20  # characters
NO_COLUMN = -1


class Row(NamedTuple):
    """Cells of a line, and its number from 1."""

    line: int
    cells: list[str]


class Columns(NamedTuple):
    """Where a table has its values, as numbers of columns."""

    names: list[str]
    head_rows: int
    frame: int
    person: int | None
    joint: int | None  # names of the joints, in a long table
    points: dict[tuple[str, str], list[int]]  # (individual, joint) -> x, y, confidence or NO_COLUMN; "" for none


class Table:
    """An open table, read line by line.

    Raises:
        InputError: it is not UTF-8, a line has more than a million characters, or quotes do not fit.
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.progress: Callable[[int], object] = lambda characters: None

    def __enter__(self) -> "Table":
        self._file = self._path.open(encoding="utf-8-sig", newline="")
        self._rows = self._read()
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def first(self, count: int) -> list[Row]:
        """At most so many rows of the beginning."""
        return [row for _, row in zip(range(count), self._rows, strict=False)]

    def rows(self) -> Iterator[Row]:
        """The rows that were not yet given, without blank lines."""
        return self._rows

    def _read(self) -> Iterator[Row]:
        lines = self._lines()
        try:
            first = next(lines, "")
            delimiter = max(DELIMITERS, key=first.count)
            reader = csv.reader(chain([first], lines), delimiter=delimiter, skipinitialspace=True, strict=True)
            for cells in reader:
                if any(cell.strip() for cell in cells):
                    yield Row(reader.line_num, cells)
        except UnicodeDecodeError as error:
            raise InputError(f"{self._path}: is not UTF-8 text ({error.reason})") from error
        except csv.Error as error:
            raise InputError(f"{self._path}, line {reader.line_num}: {error}") from error

    def _lines(self) -> Iterator[str]:
        while line := self._file.readline(MAX_LINE):
            if len(line) == MAX_LINE:
                raise InputError(f"{self._path}: a line has more than {MAX_LINE} characters")
            self.progress(len(line))
            yield line


def plain_name(name: str) -> str:
    """A joint's name in lower case, with underscores."""
    return re.sub(r"[\s-]+", "_", name.strip().lower())


def find_columns(head: list[Row], path: Path, *, strict: bool) -> Columns:
    """What the columns of a table mean.

    Args:
        head: the first rows.
        path: for messages.
        strict: every column must be known; otherwise it is enough that the table is one of 2D keypoints.

    Raises:
        InputError: it is none of the layouts, or a column is missing, unknown or there twice.
    """
    if not head:
        raise InputError(f"{path}: is empty")
    names = [plain_name(cell) for cell in head[0].cells]
    if names[0] == "scorer":
        return _deeplabcut(head, path)
    if "frame" not in names or "z" in names or any(name.endswith("_z") for name in names):
        raise InputError(f"{path}, line {head[0].line}: no header of 2D keypoints; expected a column frame, and no z")
    place: dict[str, int] = {}
    for number, name in enumerate(names):
        if strict and name in place:
            raise InputError(f"{path}, line {head[0].line}: column {name} is there twice")
        place[name] = number
    frame, person, joint = place.pop("frame"), place.pop("person", None), place.pop("joint", None)
    points: dict[tuple[str, str], list[int]] = {}
    unknown = []
    for name, number in place.items():
        of, _, axis = name.rpartition("_")
        if axis in AXES and bool(of) == (joint is None):
            points.setdefault(("", of), [NO_COLUMN] * 3)[AXES[axis]] = number
        elif name not in OPTIONAL:
            unknown.append(name)
    if strict and unknown:
        raise InputError(
            f"{path}, line {head[0].line}: column {unknown[0]!r} is unknown; expected frame, person, and "
            "NAME_x, NAME_y, NAME_confidence of joints, or joint, x, y, confidence"
        )
    return _complete(Columns(names, 1, frame, person, joint, points), path)


def _deeplabcut(head: list[Row], path: Path) -> Columns:
    titles = [plain_name(row.cells[0]) for row in head]
    if titles[:3] != ["scorer", "bodyparts", "coords"] and titles != ["scorer", "individuals", "bodyparts", "coords"]:
        raise InputError(f"{path}: DeepLabCut's header has rows scorer, bodyparts and coords, got {', '.join(titles)}")
    head_rows = titles.index("coords") + 1
    width = len(head[0].cells)
    if any(len(row.cells) != width for row in head[:head_rows]):
        raise InputError(f"{path}: the rows of the header have different numbers of cells")
    individuals = head[1].cells if head_rows == HEAD_ROWS else [""] * width
    points: dict[tuple[str, str], list[int]] = {}
    for number in range(1, width):
        joint, axis = (plain_name(row.cells[number]) for row in head[head_rows - 2 : head_rows])
        point = points.setdefault((individuals[number].strip(), joint), [NO_COLUMN] * 3)
        if axis not in AXES or point[AXES[axis]] != NO_COLUMN:
            raise InputError(f"{path}, column {number + 1}: {axis!r} of {joint}, expected x, y and likelihood once")
        point[AXES[axis]] = number
    names = ["frame", *(f"{head[head_rows - 2].cells[n]} {head[head_rows - 1].cells[n]}" for n in range(1, width))]
    return _complete(Columns(names, head_rows, 0, None, None, points), path)


def _complete(columns: Columns, path: Path) -> Columns:
    """The same, when each joint has x and y."""
    if not columns.points:
        raise InputError(f"{path}: no columns of joints; expected NAME_x and NAME_y, or joint, x and y")
    for (_, joint), (x, y, _) in columns.points.items():
        if NO_COLUMN in (x, y):
            raise InputError(f"{path}: {joint or 'the table'} has no column {'x' if x == NO_COLUMN else 'y'}")
    return columns
