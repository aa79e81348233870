"""BVH motion files: parser, forward kinematics and the mapping to 17 joints."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ites_fast.data.kinematics import euler_rotation, global_rotations
from ites_fast.data.motion import Motion, subject_of, z_up
from ites_fast.errors import InputError

CHANNELS = frozenset(f"{axis}{kind}" for axis in "XYZ" for kind in ("position", "rotation"))

# Units that motion libraries use, in metres: metres, inches, centimetres, millimetres and that of the CMU database.
UNITS = (1.0, 0.0254, 0.01, 0.001, 0.0254 / 0.45)
LEG_LENGTH = 0.85  # metres from hip to ankle of an adult: tells the units apart
LEG_RANGE = (0.5, 1.2)

# H36M_17 order; two names mean the point between them. thorax is computed, see read.
JOINTS = (
    ("LeftUpLeg", "RightUpLeg"),
    ("RightUpLeg",),
    ("RightLeg",),
    ("RightFoot",),
    ("LeftUpLeg",),
    ("LeftLeg",),
    ("LeftFoot",),
    ("Spine",),
    ("Neck",),
    ("Neck1", "Head"),
    ("Head end",),
    ("LeftArm",),
    ("LeftForeArm",),
    ("LeftHand",),
    ("RightArm",),
    ("RightForeArm",),
    ("RightHand",),
)


@dataclass
class Node:
    """A joint or an end site."""

    name: str
    parent: int
    offset: np.ndarray = field(default_factory=lambda: np.full(3, np.nan))  # in the parent's frame, file units
    channels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Bvh:
    """What the file says."""

    nodes: list[Node]
    frames: np.ndarray  # (F, channels of all nodes in their order)
    fps: float


def read(path: Path) -> Motion:
    """Joint positions of a BVH file whose joints have the names of the CMU database's conversion.

    The conversion dropped the thorax bone: ``Neck``, ``LeftShoulder`` and ``RightShoulder`` have no offset from
    ``Spine1``. It is put back as long as the upper back (``Spine`` to ``Spine1``) and, continuing it, straight up in
    the rest pose; it turns with ``Spine1``, and neck, head and arms move with it. The true bone is not known: in the
    one original skeleton at hand it is 2 % longer and leans 3 degrees forward, which would move the upper body by
    7 mm. Files in which ``Neck`` has an offset are left as they are. A first frame whose root is not turned at all is
    that conversion's rest pose, and is dropped.

    Raises:
        InputError: no such file, a hierarchy or motion that cannot be read (with the line), a joint that the mapping
            needs and the file lacks, or a size that fits no unit.
    """
    bvh = parse(path)
    nodes = {node.name: index for index, node in enumerate(bvh.nodes)}
    missing = sorted({name for names in JOINTS for name in names} - nodes.keys())
    if missing:
        raise InputError(f"{path}: joints {', '.join(missing)} are missing; it has {', '.join(nodes)}")
    if "Spine1" in nodes and not bvh.nodes[nodes["Neck"]].offset.any():
        thorax = np.array([0.0, np.linalg.norm(bvh.nodes[nodes["Spine1"]].offset), 0.0])
        for node in bvh.nodes:
            if node.parent == nodes["Spine1"]:
                node.offset = node.offset + thorax
    points = forward_kinematics(bvh)
    pose = np.stack([np.mean([points[nodes[name]] for name in names], 0) for names in JOINTS], 1)
    first = 1 if _starts_at_rest(bvh) else 0
    positions = z_up(pose[first:] * _unit(path, bvh, nodes))
    return Motion(path.stem, subject_of(path), positions, np.arange(first, len(pose), dtype=np.int32), bvh.fps)


def forward_kinematics(bvh: Bvh) -> list[np.ndarray]:
    """Position of each node (F, 3) in the file's world and units."""
    column, local, shift = 0, [], []
    for node in bvh.nodes:
        values = bvh.frames[:, column : column + len(node.channels)]
        column += len(node.channels)
        angles = [i for i, name in enumerate(node.channels) if name.endswith("rotation")]
        axes = "".join(node.channels[i][0].lower() for i in angles)
        local.append(euler_rotation(axes, values[:, angles]))
        moved = np.tile(node.offset, (len(values), 1))
        for i, name in enumerate(node.channels):
            if name.endswith("position"):
                moved[:, "XYZ".index(name[0])] = values[:, i]
        shift.append(moved)
    rotations = global_rotations([node.parent for node in bvh.nodes], local)
    points: list[np.ndarray] = []
    for node, moved in zip(bvh.nodes, shift, strict=True):
        if node.parent < 0:
            points.append(moved)
        else:
            points.append(points[node.parent] + (rotations[node.parent] @ moved[..., None])[..., 0])
    return points


def parse(path: Path) -> Bvh:
    """Read hierarchy and motion.

    Raises:
        InputError: naming the file and the line.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    nodes, line = _parse_hierarchy(path, lines)
    return _parse_motion(path, lines, line, nodes)


def _parse_hierarchy(path: Path, lines: list[str]) -> tuple[list[Node], int]:
    """Nodes, parents first, and the number of the line after MOTION."""
    nodes: list[Node] = []
    open_nodes: list[int] = []  # indices of the nodes whose braces are open
    opened = True  # whether the last node's brace has been seen
    for number, line in enumerate(lines, 1):
        words = line.split()
        where = f"{path}, line {number}: broken hierarchy"
        match words:
            case [] | ["HIERARCHY"]:
                continue
            case ["ROOT" | "JOINT" | "End", *rest]:
                is_root = words[0] == "ROOT"
                if not opened or is_root != (not open_nodes) or (is_root and nodes) or not rest:
                    raise InputError(f"{where}: {line.strip()!r} in an unexpected place")
                parent = open_nodes[-1] if open_nodes else -1
                name = f"{nodes[parent].name} end" if words[0] == "End" else " ".join(rest)
                if any(node.name == name for node in nodes):
                    raise InputError(f"{where}: a second joint called {name!r}")
                nodes.append(Node(name, parent))
                opened = False
            case ["{"]:
                if opened:
                    raise InputError(f"{where}: '{{' without a joint")
                open_nodes.append(len(nodes) - 1)
                opened = True
            case ["OFFSET", *numbers] if open_nodes and opened:
                nodes[open_nodes[-1]].offset = _numbers(numbers, 3, where)
            case ["CHANNELS", count, *channels] if open_nodes and opened:
                if str(len(channels)) != count or not CHANNELS.issuperset(channels):
                    raise InputError(
                        f"{where}: expected {count} channels such as Xrotation, got {' '.join(channels)!r}"
                    )
                nodes[open_nodes[-1]].channels = tuple(channels)
            case ["}"]:
                if not open_nodes or not opened:
                    raise InputError(f"{where}: '}}' without '{{'")
                closed = nodes[open_nodes.pop()]
                if not np.isfinite(closed.offset).all():
                    raise InputError(f"{where}: {closed.name} has no OFFSET")
            case ["MOTION"]:
                if open_nodes or not opened or not nodes:
                    raise InputError(f"{where}: MOTION before the hierarchy is closed")
                return nodes, number
            case _:
                raise InputError(f"{where}: {line.strip()!r} is not understood")
    raise InputError(f"{path}: broken hierarchy: no MOTION section; was the file truncated?")


def _parse_motion(path: Path, lines: list[str], start: int, nodes: list[Node]) -> Bvh:
    head = " ".join(lines[start : start + 2]).split()
    match head:
        case ["Frames:", count, "Frame", "Time:", seconds]:
            frames, frame_time = _numbers([count, seconds], 2, f"{path}, line {start + 1}")
        case _:
            raise InputError(
                f"{path}, line {start + 1}: expected 'Frames: N' and 'Frame Time: seconds', got {' '.join(head)!r}"
            )
    width = sum(len(node.channels) for node in nodes)
    rows = [(number, line.split()) for number, line in enumerate(lines[start + 2 :], start + 3) if line.strip()]
    if len(rows) != frames or frames < 1 or frame_time <= 0:
        raise InputError(f"{path}: {len(rows)} frames of motion, expected {frames:g}; was the file truncated?")
    values = np.stack([_numbers(words, width, f"{path}, line {number}") for number, words in rows])
    return Bvh(nodes, values, 1.0 / frame_time)


def _numbers(words: list[str], count: int, where: str) -> np.ndarray:
    try:
        values = np.array(words, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    if len(values) != count or not np.isfinite(values).all():
        raise InputError(f"{where}: {len(values)} values, expected {count} finite numbers")
    return values


def _starts_at_rest(bvh: Bvh) -> bool:
    turns = [index for index, name in enumerate(bvh.nodes[0].channels) if name.endswith("rotation")]
    return len(bvh.frames) > 1 and not bvh.frames[0, turns].any()


def _unit(path: Path, bvh: Bvh, nodes: dict[str, int]) -> float:
    """Metres a file unit, from the length of the left leg."""
    leg = sum(np.linalg.norm(bvh.nodes[nodes[name]].offset) for name in ("LeftLeg", "LeftFoot"))
    unit = min(UNITS, key=lambda metres: abs(np.log(max(leg, 1e-9) * metres / LEG_LENGTH)))
    if not LEG_RANGE[0] <= leg * unit <= LEG_RANGE[1]:
        raise InputError(f"{path}: the leg is {leg:.3g} units long, which is a person's in no known unit {UNITS}")
    return unit
