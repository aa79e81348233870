"""A scene into any file: the suffix says which, a 3D file or a picture."""

import os
from pathlib import Path

from ites_fast.errors import InputError
from ites_fast.scene.files import FORMATS, targets, write_scene
from ites_fast.scene.scene import Scene

SUFFIXES = {
    ".npz": "numpy arrays, nothing lost",
    ".json": "JSON, nothing lost",
    ".csv": "table with a line a joint",
    ".bvh": "skeletal animation, one file a person",
    ".glb": "glTF scene with moving figures",
    ".trc": "markers for OpenSim, one file a person",
    ".png": "contact sheet",
    ".mp4": "film, 2D beside 3D",
    ".gif": "film without a player, 2D beside 3D",
    ".html": "page with a 3D player, opens without a network",
    ".rrd": "recording for the Rerun viewer",
}


def save_scene(
    scene: Scene, path: str | os.PathLike, *, video: str | os.PathLike | None = None, overwrite: bool = True
) -> list[Path]:
    """Write ``scene`` to ``path``, in the format of its suffix.

    Args:
        scene: people in 3D over time.
        path: of the file; its folder is made where it is missing.
        video: the pictures that the keypoints are of, for films.
        overwrite: whether a file that exists may be replaced.

    Returns:
        The files that were written: one, or one a person in formats that hold one person.

    Raises:
        InputError: a suffix that is none of ``SUFFIXES``, a scene that the format cannot hold, or a file that exists.
        OSError: the file cannot be written.
    """
    path = Path(path)
    check_output(path, overwrite=overwrite)
    existing = [] if overwrite else [target for target in targets(scene, path) if target.exists()]
    if existing:
        raise InputError(f"{existing[0]}: exists already, and is not to be overwritten")
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        return write_scene(scene, path)
    _write_picture(scene, path, suffix, video)
    return [path]


def check_output(path: str | os.PathLike, *, overwrite: bool) -> None:
    """Refuse what can be refused before there is a scene.

    Raises:
        InputError: a suffix that is none of ``SUFFIXES``, a folder, a file that exists and may not be replaced, or a
            folder that cannot be made or written to.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        known = ", ".join(f"{name} ({what})" for name, what in SUFFIXES.items())
        raise InputError(f"{path}: unknown suffix {path.suffix.lower()!r}, expected one of {known}")
    if path.is_dir():
        raise InputError(f"{path}: a folder, expected the name of a file")
    if path.exists() and not overwrite:
        raise InputError(f"{path}: exists already, and is not to be overwritten")
    folder = next(each for each in path.absolute().parents if each.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise InputError(f"{path}: {folder} is {'a folder that cannot be written' if folder.is_dir() else 'no folder'}")


def _write_picture(scene: Scene, path: Path, suffix: str, video: str | os.PathLike | None) -> None:
    # drawing needs packages that take long to import
    if suffix == ".html":
        from ites_fast.pictures.html import write_html

        write_html(scene, path)
    elif suffix == ".png":
        from ites_fast.pictures.contact_sheet import write_png

        write_png(scene, path)
    elif suffix == ".rrd":
        from ites_fast.pictures.rerun_log import write_rrd

        write_rrd(scene, path)
    else:
        from ites_fast.pictures.video import write_video

        write_video(scene, path, video=video)
