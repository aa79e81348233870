"""Scenes in files: the format is that of the suffix."""

import os
from pathlib import Path
from types import ModuleType

from ites_fast.errors import InputError
from ites_fast.scene import bvh_file, csv_file, glb_file, json_file, npz_file, trc_file
from ites_fast.scene.one_person import files_of_people
from ites_fast.scene.scene import Scene

FORMATS: dict[str, ModuleType] = {
    ".npz": npz_file,
    ".json": json_file,
    ".csv": csv_file,
    ".bvh": bvh_file,
    ".glb": glb_file,
    ".trc": trc_file,
}
ONE_PERSON = (".bvh", ".trc")

# How the files begin.
MARKS = {
    b"PK\x03\x04": ".npz",
    b"{": ".json",
    b"# format:": ".csv",
    b"HIERARCHY": ".bvh",
    b"glTF": ".glb",
    b"PathFileType": ".trc",
}


def write_scene(scene: Scene, path: str | os.PathLike) -> list[Path]:
    """Write ``scene`` in the format of the suffix of ``path``; docs/SCENES.md describes each.

    Returns:
        The files that were written: one, or one a person in formats that hold one person.

    Raises:
        InputError: a suffix that is none of ``FORMATS``, or a scene that the format cannot hold.
        OSError: the file cannot be written.
    """
    path = Path(path)
    return format_of(path).write(scene, path)


def read_scene(path: str | os.PathLike) -> Scene:
    """Read a scene from a file that ``write_scene`` wrote, or from BVH and TRC files of other programs.

    A file whose suffix is unknown is recognised by how it begins.

    Raises:
        InputError: no such file, a format that is not known, or a file that is not whole.
    """
    path = Path(path)
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if not path.is_file():
        raise InputError(f"{path}: not a file")
    module = FORMATS.get(path.suffix.lower()) or recognise(path)
    if module is None:
        raise InputError(f"{path}: not recognised as a 3D file; known are {', '.join(FORMATS)}")
    return module.read(path)


def targets(scene: Scene, path: Path) -> list[Path]:
    """The files that a scene written to ``path`` goes to."""
    return files_of_people(scene, path) if path.suffix.lower() in ONE_PERSON else [path]


def format_of(path: Path) -> ModuleType:
    """The module that writes files of this suffix."""
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"{path}: unknown suffix {path.suffix!r}, expected one of {', '.join(FORMATS)}")
    return FORMATS[path.suffix.lower()]


def recognise(path: Path) -> ModuleType | None:
    """The format that the first bytes of a file look like."""
    with path.open("rb") as file:
        start = file.read(256).removeprefix(b"\xef\xbb\xbf").lstrip()
    return next((FORMATS[suffix] for mark, suffix in MARKS.items() if start.startswith(mark)), None)
