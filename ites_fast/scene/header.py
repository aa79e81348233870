"""What a scene's file says beside its arrays: one flat dictionary, the same in every format that can hold it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ites_fast.errors import InputError
from ites_fast.scene.scene import Person, Scene
from ites_fast.skeleton import SKELETONS, Skeleton

FORMAT = "ites_fast scene"
VERSION = 1
FIELDS = (
    *("format", "version", "source", "units", "axes", "placed", "elevation", "fps", "frames", "image_size"),
    "notes",
    *("skeleton", "joint_names", "parents", "left", "right", "head"),
)
LARGEST = 2**53  # whole numbers up to here are also exact as floats


def header(scene: Scene) -> dict[str, Any]:
    """All of a scene but its people, as strings, numbers and lists. What is not known is None."""
    skeleton = scene.skeleton
    return {
        "format": FORMAT,
        "version": VERSION,
        "source": writable(scene.source),
        "units": scene.units,
        "axes": scene.axes,
        "placed": scene.placed,
        "elevation": scene.elevation,
        "fps": scene.fps,
        "frames": scene.frames,
        "image_size": None if scene.image_size is None else list(scene.image_size),
        "notes": list(scene.notes),
        "skeleton": skeleton.name,
        "joint_names": list(skeleton.joint_names),
        "parents": list(skeleton.parents),
        "left": list(skeleton.left),
        "right": list(skeleton.right),
        "head": skeleton.head,
    }


def writable(name: str) -> str:
    """A file's name as UTF-8 can hold it: a name may have any bytes."""
    return name.encode(errors="replace").decode()


def scene_of(path: Path, fields: Mapping[str, Any], people: tuple[Person, ...]) -> Scene:
    """The scene of a file with these ``fields``, as ``header`` makes them.

    Raises:
        InputError: a field that is missing or is not what it should be, or people who do not fit it.
    """
    check_format(path, fields)
    image_size = fields.get("image_size")
    scene = Scene(
        source=_field(path, fields, "source", str),
        skeleton=skeleton_of(path, fields),
        people=people,
        frames=_field(path, fields, "frames", int),
        fps=float(_field(path, fields, "fps", (int, float))),
        units=_field(path, fields, "units", str),
        axes=_field(path, fields, "axes", str),
        placed=_field(path, fields, "placed", bool),
        elevation=float(_field(path, fields, "elevation", (int, float))),
        image_size=None if image_size is None else tuple(_items(path, fields, "image_size", int)),
        notes=tuple(_items(path, fields, "notes", str)),
    )
    scene.check(str(path))
    return scene


def check_format(path: Path, fields: Mapping[str, Any]) -> None:
    """Whether this is a scene of a version that can be read."""
    if fields.get("format") != FORMAT or fields.get("version") != VERSION:
        raise InputError(
            f"{path}: not a scene: format {fields.get('format')!r}, version {fields.get('version')!r}, "
            f"expected {FORMAT!r}, {VERSION}"
        )


def skeleton_of(path: Path, fields: Mapping[str, Any]) -> Skeleton:
    """The registered skeleton if the file means the same joints, otherwise one with the file's joints."""
    head = fields.get("head")
    numbers = {key: tuple(_items(path, fields, key, int)) for key in ("parents", "left", "right")}
    names = tuple(_items(path, fields, "joint_names", str))
    J = len(names)
    sound = (
        len(set(names)) == J == len(numbers["parents"])
        and is_tree(numbers["parents"])
        and len(numbers["left"]) == len(numbers["right"])
        and all(0 <= joint < J for joint in numbers["left"] + numbers["right"])
        and (head is None or (type(head) is int and 0 <= head < J))
    )
    if not sound:
        raise InputError(f"{path}: the skeleton is no tree of {J} joints with two sides and a head")
    skeleton = Skeleton(_field(path, fields, "skeleton", str), names, **numbers, head=head)
    known = SKELETONS.get(skeleton.name)
    same = known is not None and all(
        getattr(known, key) == getattr(skeleton, key) for key in ("joint_names", "parents", "left", "right", "head")
    )
    return known if same else skeleton


def is_tree(parents: tuple[int, ...]) -> bool:
    """Whether every joint leads to the one root, whose parent is -1."""
    J = len(parents)
    if parents.count(-1) != 1 or not all(-1 <= parent < J for parent in parents):
        return False
    ancestors = list(parents)
    for _ in range(J.bit_length()):  # each round doubles the number of steps towards the root
        ancestors = [ancestors[joint] if joint >= 0 else -1 for joint in ancestors]
    return all(joint == -1 for joint in ancestors)


def _field(path: Path, fields: Mapping[str, Any], key: str, kind: type | tuple[type, ...]) -> Any:
    value = fields.get(key)
    if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
        expected = kind.__name__ if isinstance(kind, type) else "a number"
        raise InputError(f"{path}: {key} is {str(value)[:60]!r}, expected {expected}")
    if isinstance(value, float | int) and not abs(value) < LARGEST:
        raise InputError(f"{path}: {key} is {str(value)[:60]}, expected a finite number")
    return value


def _items(path: Path, fields: Mapping[str, Any], key: str, kind: type) -> list:
    values = fields.get(key)
    if not isinstance(values, list) or not all(type(value) is kind for value in values):
        raise InputError(f"{path}: {key} is {str(values)[:60]!r}, expected a list of {kind.__name__}")
    return values
