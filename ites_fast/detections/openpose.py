"""OpenPose: a folder with one JSON file a frame, or a single one (``--write_json``)."""

import re
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from ites_fast.detections import json_file
from ites_fast.detections.people import People
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton, get_skeleton

KEYPOINT_KEYS = ("pose_keypoints_2d", "pose_keypoints")  # the second before version 1.2
MAX_LOOKED_AT = 5  # files of a folder that recognition opens
MAX_FILE = 1 << 25  # bytes of one frame
# In BODY_25 the middle hip (8) lies between the hips (9, 12), and the neck (1) between the shoulders (2, 5); in
# BODY_25B these numbers are of other joints. Off by 0.4 % of the body's extent on real BODY_25, 7 to 44 % on 25B.
BODY_25_MIDDLES = ((8, 9, 12), (1, 2, 5))
BODY_25B_MIDDLES = ((0, 1, 2), (17, 5, 6))  # the nose is between the eyes, the neck between the shoulders
NEAR_MIDDLE = 0.03
NEAR_MIDDLE_25B = 0.1


def recognise(path: Path) -> bool:
    """Whether ``path`` is a folder with a JSON file that lists people, or such a file."""
    try:
        files = list(islice(_json_files(path), MAX_LOOKED_AT)) if path.is_dir() else [path]
    except OSError:
        return False
    return any(_is_frame(json_file.head(file)) for file in files)


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """Read the body keypoints of all frames; hands and faces are ignored.

    Frame numbers come from the names of the files, the first file is frame 0, and numbers without a file are frames
    without people. 25 joints are BODY_25 or, where its geometry says so, BODY_25B.

    Raises:
        InputError: a file is not that of a frame, two have the same number, or a value cannot be used.
    """
    files = _numbered(path)
    people = People(path, skeleton)
    for number in tqdm(sorted(files), desc=path.name, delay=1, disable=None):
        file = files[number]
        if file.stat().st_size > MAX_FILE:
            raise InputError(f"{file}: more than {MAX_FILE} bytes, expected the people of one frame")
        frame = json_file.load(file)
        people.see(number, str(file))
        add_frame(people, number, frame, str(file))
    return people.detections(_of_25(people), complete=True)


def add_frame(people: People, number: int, frame: Any, where: str) -> None:
    """Add the people of one frame, an object with the key "people"."""
    listed = frame.get("people") if isinstance(frame, dict) else None
    if not isinstance(listed, list):
        raise InputError(f"{where}: expected a JSON object with a list 'people', got {json_file.shown(frame)}")
    for index, person in enumerate(listed):
        here = f"{where}: person {index}"
        key = next((key for key in KEYPOINT_KEYS if key in person), None) if isinstance(person, dict) else None
        if key is None:
            raise InputError(f"{here}: no {KEYPOINT_KEYS[0]!r}")
        keypoints = triplets(person[key], f"{here}: {key}")
        if len(keypoints):
            people.add(number, keypoints, here, _identity(person.get("person_id"), here))


def triplets(values: Any, where: str) -> np.ndarray:
    """x, y, confidence (J, 3) from a flat list.

    Raises:
        InputError: not a list of numbers, or not three for each joint.
    """
    array = json_file.numbers(values, where)
    if len(array) % 3:
        raise InputError(f"{where}: {len(array)} numbers, expected x, y and confidence of each joint")
    return array.reshape(-1, 3)


def frame_number(name: str) -> int | None:
    """The last whole number in the name of a file, without its suffix and "_keypoints"; None without any."""
    found = re.findall(r"\d+", Path(name).stem.removesuffix("_keypoints"))
    return int(found[-1]) if found else None


def _json_files(folder: Path):
    return (file for file in folder.iterdir() if file.suffix.lower() == ".json" and not file.name.startswith("."))


def _is_frame(value: Any) -> bool:
    if not isinstance(value, dict) or not isinstance(value.get("people"), list):
        return False
    return all(isinstance(person, dict) and any(k in person for k in KEYPOINT_KEYS) for person in value["people"][:1])


def _numbered(path: Path) -> dict[int, Path]:
    if path.is_file():
        return {0: path}
    files: dict[int, Path] = {}
    for file in sorted(_json_files(path)):
        number = frame_number(file.name)
        if number is None:
            raise InputError(
                f"{file}: no frame number in its name, expected for example video_000000000012_keypoints.json"
            )
        if number in files:
            raise InputError(f"{path}: {files[number].name} and {file.name} are both frame {number}")
        files[number] = file
    if not files:
        raise InputError(f"{path}: a folder without JSON files, expected one a frame")
    return files


def _identity(value: Any, where: str) -> str | None:
    """``person_id`` is a list with one number, -1 where OpenPose did not follow people."""
    if isinstance(value, list):
        value = value[0] if value else None
    if value is None:
        return None
    number = json_file.integer(value, f"{where}: person_id")
    return None if number < 0 else str(number)


def _of_25(people: People) -> Skeleton | None:
    """Tell BODY_25 from BODY_25B, which have as many joints."""
    if people.joints != 25 or people.declared is not None:
        return None
    sample = np.stack([points for frame in people.frames.values() for _, points in frame][:2000] or [np.zeros((25, 3))])
    is_body_25 = _off_middle(sample, BODY_25_MIDDLES)
    name = "body_25"
    if is_body_25 > NEAR_MIDDLE and _off_middle(sample, BODY_25B_MIDDLES) < min(is_body_25, NEAR_MIDDLE_25B):
        name = "body_25b"
    people.notes.append(
        f"25 joints a person were read as {name}, by where hips and neck are; say otherwise with --skeleton"
    )
    return get_skeleton(name)


def _off_middle(keypoints: np.ndarray, middles: tuple[tuple[int, int, int], ...]) -> float:
    """How far joints (N, 25, 3) are from the middles of others, the median as a share of the body's extent."""
    points = np.where(keypoints[..., 2:] > 0, keypoints[..., :2], np.nan)
    low = np.nanmin(points, axis=1, initial=np.inf)
    extent = np.linalg.norm(np.nanmax(points, axis=1, initial=-np.inf) - low, axis=-1)
    extent[~(extent > 0)] = np.nan
    off = [np.linalg.norm(points[:, a] - (points[:, b] + points[:, c]) / 2, axis=-1) / extent for a, b, c in middles]
    known = np.array(off)[np.isfinite(off)]
    return float(np.median(known)) if len(known) else 0.0
