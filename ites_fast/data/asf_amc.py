"""Acclaim motion: a skeleton (ASF) and its motion (AMC), as in the CMU database."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ites_fast.data.kinematics import euler_rotation, global_rotations, turn
from ites_fast.data.motion import Motion, subject_of, z_up
from ites_fast.errors import InputError

INCH = 0.0254
FPS = 120.0  # the files do not say it
ROTATIONS = ("rx", "ry", "rz")

# H36M_17 order; a bone's point is its far end; two names mean the point between them.
JOINTS = (
    ("lhipjoint", "rhipjoint"),
    ("rhipjoint",),
    ("rfemur",),
    ("rtibia",),
    ("lhipjoint",),
    ("lfemur",),
    ("ltibia",),
    ("lowerback",),
    ("thorax",),
    ("lowerneck", "upperneck"),
    ("head",),
    ("lclavicle",),
    ("lhumerus",),
    ("lradius",),
    ("rclavicle",),
    ("rhumerus",),
    ("rradius",),
)


@dataclass(frozen=True)
class Bone:
    """One bone of the skeleton. The root is a bone of no length."""

    name: str
    parent: int
    offset: np.ndarray  # (3,) from its near to its far end in the rest pose, file units
    axes: np.ndarray  # (3, 3) rotation of the frame that its angles refer to
    dof: tuple[str, ...]  # what one line of the AMC file holds


@dataclass(frozen=True)
class Asf:
    """A skeleton: bones with parents first, and the size of a file unit in metres."""

    bones: list[Bone]
    unit: float


def read(path: Path) -> Motion:
    """Joint positions of an AMC file, by the skeleton that ``find_skeleton`` finds beside it.

    Raises:
        InputError: a file is missing or cannot be read (with the line), the motion does not fit the skeleton, or the
            skeleton lacks a bone that the mapping needs.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    asf_path = find_skeleton(path)
    asf = parse_asf(asf_path)
    number = {bone.name: index for index, bone in enumerate(asf.bones)}
    missing = sorted({name for names in JOINTS for name in names} - number.keys())
    if missing:
        raise InputError(f"{asf_path}: bones {', '.join(missing)} are missing; it has {', '.join(number)}")
    ends = forward_kinematics(asf, parse_amc(path, asf, asf_path))
    pose = np.stack([np.mean([ends[number[name]] for name in names], 0) for names in JOINTS], 1)
    return Motion(path.stem, subject_of(path), z_up(pose * asf.unit), np.arange(len(pose), dtype=np.int32), FPS)


def find_skeleton(path: Path) -> Path:
    """The ASF file of ``07_01.amc``: ``07_01.asf`` or ``07.asf`` in its folder, else the only ASF file there."""
    skeletons = {file.stem: file for file in sorted(path.parent.iterdir()) if file.suffix.lower() == ".asf"}
    for stem in (path.stem, path.stem.rpartition("_")[0]):
        if stem in skeletons:
            return skeletons[stem]
    if len(skeletons) != 1:
        found = ", ".join(file.name for file in skeletons.values()) or "none"
        raise InputError(f"{path}: no skeleton: expected {path.stem}.asf or one ASF file beside it, found {found}")
    return next(iter(skeletons.values()))


def forward_kinematics(asf: Asf, motion: dict[str, np.ndarray]) -> list[np.ndarray]:
    """Far end of each bone (F, 3) in the file's world and units.

    A bone turns by ``C M C^-1`` relative to its parent: C its axes, M its angles, ``Rz Ry Rx``.
    """
    local = []
    for bone in asf.bones:
        values = motion[bone.name]
        angles = np.zeros((len(values), 3))
        for index, name in enumerate(bone.dof):
            if name in ROTATIONS:
                angles[:, 2 - ROTATIONS.index(name)] = values[:, index]
        local.append(bone.axes @ euler_rotation("zyx", angles) @ bone.axes.T)
    rotations = global_rotations([bone.parent for bone in asf.bones], local)
    root = asf.bones[0]
    ends = [motion[root.name][:, [root.dof.index(name) for name in ("tx", "ty", "tz")]]]
    for bone, rotation in zip(asf.bones[1:], rotations[1:], strict=True):
        ends.append(ends[bone.parent] + turn(rotation, bone.offset))
    return ends


def parse_asf(path: Path) -> Asf:
    """Read a skeleton.

    Raises:
        InputError: naming the file and what is wrong.
    """
    sections = _sections(path)
    units = _fields(sections.get("units", []))
    if units.get("angle", "deg") != "deg":
        raise InputError(f"{path}: angles in {units['angle']!r}, expected 'deg'")
    root = _fields(sections.get("root", []))
    dof = tuple(root.get("order", "").lower().split())
    if sorted(dof) != sorted(("tx", "ty", "tz", *ROTATIONS)):
        raise InputError(f"{path}: root order {root.get('order')!r}, expected TX TY TZ RX RY RZ in some order")
    bones = {"root": Bone("root", -1, np.zeros(3), _axes(path, root.get("orientation", "0 0 0") + " XYZ"), dof)}
    parents = _parents(path, sections.get("hierarchy", []))
    described = _bone_fields(path, sections.get("bonedata", []))
    order = ["root"]
    for name in order:  # grows while it is read: parents first
        order.extend(child for child, parent in parents.items() if parent == name)
    unknown = (parents.keys() | set(parents.values()) - {"root"}) - described.keys()
    if unknown or set(order) != parents.keys() | {"root"}:
        raise InputError(f"{path}: broken hierarchy: {', '.join(sorted(unknown)) or 'bones'} not joined to the root")
    for name in order[1:]:
        bones[name] = _bone(path, name, order.index(parents[name]), described[name])
    return Asf([bones[name] for name in order], _unit(path, units))


def parse_amc(path: Path, asf: Asf, asf_path: Path) -> dict[str, np.ndarray]:
    """Values of each bone (F, degrees of freedom); a bone without any has (F, 0).

    Raises:
        InputError: a bone that the skeleton lacks, another number of values than it has degrees of freedom, a bone
            without values in a frame, or a line that is not understood; the message has the line.
    """
    bones = {bone.name: bone for bone in asf.bones}
    values: dict[str, list[list[str]]] = {bone.name: [] for bone in asf.bones if bone.dof}
    frames = 0
    for number, line in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        words = line.split()
        where = f"{path}, line {number}"
        if not words or words[0][0] in "#:":
            if words and words[0].upper() == ":RADIANS":
                raise InputError(f"{where}: angles in radians, expected :DEGREES")
        elif len(words) == 1 and words[0].isdigit():
            _require_complete(values, frames, where)
            frames += 1
        else:
            bone = bones.get(words[0])
            if bone is None:
                raise InputError(f"{where}: bone {words[0]!r} is not in the skeleton {asf_path.name}")
            if len(words) - 1 != len(bone.dof):
                raise InputError(
                    f"{where}: {words[0]} has {len(words) - 1} values, expected {len(bone.dof)} "
                    f"({' '.join(bone.dof)}) by the skeleton {asf_path.name}"
                )
            if len(values[bone.name]) != frames - 1:
                raise InputError(f"{where}: {words[0]} outside a frame or twice in it")
            values[bone.name].append(words[1:])
    _require_complete(values, frames, f"{path}, end of file")
    if frames == 0:
        raise InputError(f"{path}: no frames")
    arrays = {name: _array(rows, f"{path}: {name}") for name, rows in values.items()}
    return {bone.name: arrays.get(bone.name, np.zeros((frames, 0))) for bone in asf.bones}


def _array(rows: list[list[str]], where: str) -> np.ndarray:
    try:
        array = np.array(rows, dtype=np.float64)
    except ValueError as error:
        raise InputError(f"{where}: {error}") from error
    if not np.isfinite(array).all():
        raise InputError(f"{where}: values that are NaN or infinite")
    return array


def _require_complete(values: dict[str, list], frames: int, where: str) -> None:
    late = [name for name, rows in values.items() if len(rows) != frames]
    if late:
        raise InputError(f"{where}: frame {frames} has no values for {', '.join(late)}")


def _sections(path: Path) -> dict[str, list[str]]:
    """Lines of the file by the keyword that starts with a colon."""
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    sections: dict[str, list[str]] = {}
    current: list[str] = []
    for number, raw in enumerate(path.read_text(encoding="utf-8", errors="replace").splitlines(), 1):
        line = raw.split("#")[0].strip()
        if line.startswith(":"):
            words = line[1:].split()
            if not words:
                raise InputError(f"{path}, line {number}: ':' without a keyword")
            current = sections.setdefault(words[0].lower(), [])
        elif line:
            current.append(line)
    return sections


def _unit(path: Path, units: dict[str, str]) -> float:
    """Metres a file unit."""
    try:
        length = float(units["length"])
    except (KeyError, ValueError):
        length = 0.0
    if not 0 < length < np.inf:
        raise InputError(f"{path}: no usable 'length' under :units, expected a positive number")
    return INCH / length


def _parents(path: Path, lines: list[str]) -> dict[str, str]:
    parents: dict[str, str] = {}
    for line in lines:
        parent, *children = line.split()
        if parent in ("begin", "end"):
            continue
        for child in children:
            if child in parents or child == "root":
                raise InputError(f"{path}: broken hierarchy: {child} has two parents")
            parents[child] = parent
    return parents


def _bone_fields(path: Path, lines: list[str]) -> dict[str, dict[str, str]]:
    """Fields of each begin/end block by the bone's name."""
    bones = {}
    for block in re.split(r"^begin$", "\n".join(lines), flags=re.MULTILINE)[1:]:
        fields = _fields(block.split("\n"))
        if "name" not in fields:
            raise InputError(f"{path}: a bone without a name in :bonedata")
        bones[fields["name"]] = fields
    return bones


def _fields(lines: list[str]) -> dict[str, str]:
    """The rest of each line by its first word."""
    words = (line.split(None, 1) for line in lines if line.strip())
    return {key: "".join(rest).strip() for key, *rest in words}


def _bone(path: Path, name: str, parent: int, fields: dict[str, str]) -> Bone:
    dof = tuple(fields.get("dof", "").lower().split())
    if not set(dof) <= set(ROTATIONS):
        raise InputError(
            f"{path}: {name} has degrees of freedom {' '.join(dof)!r}, expected only {' '.join(ROTATIONS)}"
        )
    try:
        direction = np.array(fields["direction"].split(), dtype=np.float64)
        length = float(fields["length"])
    except (KeyError, ValueError) as error:
        raise InputError(f"{path}: {name} needs a direction of three numbers and a length") from error
    norm = np.linalg.norm(direction)
    if direction.shape != (3,) or not 0 < norm < np.inf or not 0 <= length < np.inf:
        raise InputError(
            f"{path}: {name} has direction {fields['direction']!r} and length {fields['length']!r}, "
            "expected three finite numbers that are not all 0, and a finite length that is not negative"
        )
    axes = _axes(path, fields.get("axis", "0 0 0 XYZ"))
    return Bone(name, parent, direction / norm * length, axes, dof)


def _axes(path: Path, text: str) -> np.ndarray:
    """Rotation of "x y z ORDER", degrees; order XYZ means ``Rz Ry Rx``."""
    words = text.split()
    try:
        angles = np.array(words[:3], dtype=np.float64)
        order = words[3].lower()
        if sorted(order) != ["x", "y", "z"] or len(words) != 4 or not np.isfinite(angles).all():
            raise ValueError(f"order {words[3]}")
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: axis {text!r}, expected three angles and their order such as XYZ") from error
    return euler_rotation(order[::-1], angles[::-1])
