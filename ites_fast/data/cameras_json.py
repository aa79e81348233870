"""Camera parameters that a user states: JSON with a list of cameras a subject."""

import json
from pathlib import Path

from ites_fast.camera import Camera
from ites_fast.errors import InputError

REQUIRED = frozenset({"focal", "principal", "image_size", "rotation", "position"})
OPTIONAL = frozenset({"radial", "tangential"})


def read(path: Path, subjects: list[str], num_cameras: int, tangential_factor: float) -> dict[tuple[str, int], Camera]:
    """Cameras by subject and number. The format is described in docs/DATA.md.

    Args:
        path: a file such as ``{"S1": [{"focal": [fx, fy], "principal": [cx, cy], ...}, ...], ...}``.
        subjects: subjects that must be there.
        num_cameras: how many cameras each must have.
        tangential_factor: see ``Camera``.

    Raises:
        InputError: the file is not such JSON; the message names subject, camera and key.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, OSError) as error:
        raise InputError(f"{path}: not readable as JSON ({error})") from error
    cameras = {}
    for subject in subjects:
        entries = content.get(subject) if isinstance(content, dict) else None
        if not isinstance(entries, list) or len(entries) != num_cameras:
            raise InputError(f"{path}: expected a list of {num_cameras} cameras under {subject!r}")
        for index, entry in enumerate(entries):
            where = f"{path}: {subject}, camera {index}"
            keys = frozenset(entry) if isinstance(entry, dict) else frozenset()
            if not (keys >= REQUIRED and keys <= REQUIRED | OPTIONAL):
                raise InputError(
                    f"{where}: keys {sorted(keys)}, expected {sorted(REQUIRED)} and optionally {sorted(OPTIONAL)}"
                )
            try:
                cameras[subject, index] = Camera(
                    **{**entry, "image_size": tuple(entry["image_size"])}, tangential_factor=tangential_factor
                )
            except (TypeError, ValueError) as error:
                raise InputError(f"{where}: {error}") from error
    return cameras
