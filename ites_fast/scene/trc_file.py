"""Scenes as markers for OpenSim (.trc), one person a file: y up, millimetres, a line for every frame of the scene.

The format is described at https://opensimconfluence.atlassian.net/wiki/spaces/OpenSim/pages/53089972.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.scene.header import writable
from ites_fast.scene.one_person import files_of_people
from ites_fast.scene.progress import rows
from ites_fast.scene.scene import MOST_FRAMES, Person, Scene
from ites_fast.skeleton import SKELETONS, Skeleton

MILLIMETRES = 1000  # a metre
UNITS = {"mm": 1e-3, "cm": 1e-2, "m": 1.0}  # metres
HEADER = (
    *("DataRate", "CameraRate", "NumFrames", "NumMarkers", "Units"),
    *("OrigDataRate", "OrigDataStartFrame", "OrigNumFrames"),
)
LABEL_LINES = 5  # before the data; an empty line may follow
MOVED = 1e-4  # metres; a root that never leaves the origin by more is not placed


def write(scene: Scene, path: Path) -> list[Path]:
    """Write each person to a file of their own: ``walk.trc`` for one, ``walk_1.trc`` and so on for several.

    Markers are called as the joints. Frames in which the person is absent are blank.

    Raises:
        InputError: nobody is in the scene, or a joint's name has a tab or a line's end in it.
        OSError: a file cannot be written.
    """
    scene.check()
    if not scene.poses:
        raise InputError(f"{scene.source}: nobody is in the scene; TRC needs at least one person")
    for name in scene.skeleton.joint_names:
        if name != " ".join(name.split()) or not name:
            raise InputError(f"{scene.source}: the joint {name!r} cannot be a marker's name")
    world = scene.to_world("y").in_metres()
    paths = files_of_people(scene, Path(path))
    for person, target in zip((person for person in world.people if len(person)), paths, strict=True):
        with atomic_path(target) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
            file.write(_header(scene, " ".join(writable(target.name).split())))
            file.writelines(_motion(person, scene, target.name))
    return paths


def _header(scene: Scene, file_name: str) -> str:
    J, rate = scene.skeleton.num_joints, f"{scene.fps:.10g}"
    values = (rate, rate, scene.frames, J, "mm", rate, 1, scene.frames)
    axes = [f"{axis}{number}" for number in range(1, J + 1) for axis in "XYZ"]
    lines = [
        ["PathFileType", "4", "(X/Y/Z)", file_name],
        HEADER,
        map(str, values),
        ["Frame#", "Time", *(f"{name}\t\t" for name in scene.skeleton.joint_names)],
        ["", "", *axes],
        [],
    ]
    return "".join("\t".join(line) + "\n" for line in lines)


def _motion(person: Person, scene: Scene, what: str) -> Iterator[str]:
    width = 3 * scene.skeleton.num_joints
    line, blank = "%d\t%.6f" + "\t%.4f" * width + "\n", "%d\t%.6f" + "\t" * width + "\n"
    values = person.positions.reshape(len(person), width).astype(np.float64) * MILLIMETRES + 0.0  # no -0.0
    row = np.full(scene.frames, -1)
    row[person.frame] = np.arange(len(person))
    for first, end in rows(scene.frames, what):
        yield "".join(
            blank % (frame + 1, frame / scene.fps)
            if row[frame] < 0
            else line % (frame + 1, frame / scene.fps, *values[row[frame]].tolist())
            for frame in range(first, end)
        )


@dataclass(frozen=True)
class _Markers:
    """What a file says: names, and positions (N, M, 3) in metres, NaN where blank, in frames (N,)."""

    names: list[str]
    frame: np.ndarray
    positions: np.ndarray
    fps: float


def read(path: Path) -> Scene:
    """Read the markers of one person, whose names are the joints of a known skeleton; other markers are left out.

    The scene is in metres with y up, every joint has the confidence 1, and the person is called as the file is. Frames
    in which a joint is blank are left out; ``notes`` says how many.

    Raises:
        InputError: a file that is not whole, or markers of other names.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        markers = _parse(path, path.read_text(encoding="utf-8-sig").splitlines(keepends=True))
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not text in UTF-8 ({error})") from error
    skeleton = _skeleton(path, markers.names)
    positions = markers.positions[:, [markers.names.index(name) for name in skeleton.joint_names]]
    seen = np.isfinite(positions).all((1, 2))
    lost = int((~seen & np.isfinite(positions).any((1, 2))).sum())
    N, J = int(seen.sum()), skeleton.num_joints
    person = Person(path.stem, markers.frame[seen], positions[seen], np.ones((N, J), np.float32))
    floor = person.positions[:, skeleton.root][:, [0, 2]]
    scene = Scene(
        source=path.name,
        skeleton=skeleton,
        people=(person,),
        frames=int(markers.frame.max(initial=-1)) + 1,
        fps=markers.fps,
        units="metres",
        axes="y",
        placed=bool((np.abs(floor) > MOVED).any()),
        notes=(f"{lost} frames in which a marker is blank were left out",) if lost else (),
    )
    scene.check(str(path))
    return scene


def _parse(path: Path, lines: list[str]) -> _Markers:
    cells = [line.rstrip("\r\n").split("\t") for line in lines[:LABEL_LINES]]
    if len(cells) < LABEL_LINES or cells[0][0] != "PathFileType" or cells[3][0] != "Frame#":
        raise InputError(f"{path}: no header of a TRC file; was it truncated?")
    said = dict(zip((name.strip() for name in cells[1]), (value.strip() for value in cells[2]), strict=False))
    names = [name.strip() for name in cells[3][2:] if name.strip()]
    unit = UNITS.get(said.get("Units", ""))
    if unit is None or said.get("NumMarkers") != str(len(names)) or len(set(names)) != len(names):
        raise InputError(
            f"{path}: units {said.get('Units')!r} and {len(names)} markers, expected one of {', '.join(UNITS)} and "
            f"{said.get('NumMarkers')} markers of different names"
        )
    data = [(number, line) for number, line in enumerate(lines[LABEL_LINES:], LABEL_LINES + 1) if line.strip()]
    if said.get("NumFrames") != str(len(data)):
        raise InputError(f"{path}: {len(data)} frames, expected {said.get('NumFrames')}; was it truncated?")
    width = 2 + 3 * len(names)
    values = np.array([_numbers(f"{path}, line {number}", line, width) for number, line in data])
    values = values.reshape(len(data), width)
    rates = "\t".join(said.get(key, "") for key in ("DataRate", "OrigDataStartFrame")) + "\n"
    fps, first = _numbers(f"{path}, line 3", rates, 2)
    frame = values[:, 0] - (first if np.isfinite(first) else values[:1, 0].sum())
    sound = np.isfinite(frame).all() and not (frame % 1).any() and (np.diff(frame) > 0).all()
    if not sound or (len(frame) and not 0 <= frame[0] <= frame[-1] < MOST_FRAMES):
        raise InputError(f"{path}: frame numbers must be integers that rise from {first:g} on")
    with np.errstate(over="ignore"):
        positions = (values[:, 2:].reshape(len(data), len(names), 3) * unit).astype(np.float32)
    return _Markers(names, frame.astype(np.int64), positions, float(fps))


def _numbers(where: str, line: str, width: int) -> list[float]:
    """Numbers of a line's cells, NaN for blank ones; those at its end may be left out."""
    cells = [cell.strip() for cell in line.split("\t")]
    while len(cells) > width and not cells[-1]:
        cells.pop()
    try:
        values = [float(cell) if cell else np.nan for cell in cells]
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    cut = len(values) < width and not line.endswith("\n")
    if len(values) > width or cut:
        raise InputError(f"{where}: {len(values)} values, expected {width}{'; was it truncated?' if cut else ''}")
    return values + [np.nan] * (width - len(values))


def _skeleton(path: Path, names: list[str]) -> Skeleton:
    """The known skeleton with the most joints that are all among the markers."""
    found = [skeleton for skeleton in SKELETONS.values() if set(skeleton.joint_names) <= set(names)]
    if not found:
        raise InputError(f"{path}: markers {', '.join(names)[:200]} are the joints of none of {', '.join(SKELETONS)}")
    return max(found, key=lambda skeleton: skeleton.num_joints)
