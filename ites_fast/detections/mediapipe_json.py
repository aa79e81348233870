"""MediaPipe Pose: landmarks as people write them to JSON, of its older interface, of its Tasks and of JavaScript."""

from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.detections import json_file
from ites_fast.detections.people import People
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton, get_skeleton

LANDMARK_KEYS = ("pose_landmarks", "poseLandmarks", "landmarks")
FRAME_LISTS = ("frames", "results", "data")  # keys of the list of frames in a file that is an object
FRAME_NUMBERS = ("frame", "frame_id", "frame_idx", "frame_index", "frame_number")
SIZE_KEYS = (("width", "height"), ("image_width", "image_height"), ("frame_width", "frame_height"))
SHARES = 2.0  # a median of coordinates below this is one of shares of the picture; they may lie outside of it
WORLD = 0.01  # world landmarks have their origin between the hips, in metres
LANDMARKS = 33
HIPS = (23, 24)


def recognise(path: Path) -> bool:
    """Whether ``path`` has landmarks with x, y and z or visibility: of a picture, or of each frame."""
    value = json_file.head(path)
    if isinstance(value, dict):
        if any(key in value for key in LANDMARK_KEYS):
            return _starts_with_landmark(next(value[key] for key in LANDMARK_KEYS if key in value))
        value = next((value[key] for key in FRAME_LISTS if isinstance(value.get(key), list)), None)
    return isinstance(value, list) and _starts_with_landmark(value)


def read(path: Path, skeleton: Skeleton | None, image_size: tuple[int, int] | None = None) -> Detections:
    """Read the landmarks of all frames; the confidence is the lesser of visibility and presence.

    Whether coordinates are shares of the picture or pixels is told by their size; a note says which.

    Args:
        path: the file.
        skeleton: replaces mediapipe_33.
        image_size: width and height of the picture; replaces what the file says.

    Raises:
        InputError: shares of a picture of unknown size, world landmarks, or a value that cannot be used.
    """
    people = People(path, skeleton)
    facts: dict[str, Any] = {}  # of the whole file
    picture: list[Any] = []  # landmarks of a file that holds one person
    for key, index, entry in json_file.entries(path):
        where = f"{path}: {key or 'entry'} {'' if index is None else index}".rstrip()
        if (key is None or key in LANDMARK_KEYS) and _is_landmark(entry):
            picture.append(entry)
        elif key in LANDMARK_KEYS:
            _add_people(people, 0, entry if index is None else [entry], where)
        elif key is None or (key in FRAME_LISTS and index is not None):
            _add_frame(people, index, entry, where, facts)
        elif index is None:
            facts[key] = entry
        elif key == "image_size":
            facts[key] = [*facts.get(key, [])[:2], entry]
    if picture:
        people.see(0, str(path))
        _add_person(people, 0, picture, str(path))
    size = image_size or _size(facts, str(path))
    _to_pixels(people, size)
    skeleton = get_skeleton("mediapipe_33")
    return people.detections(skeleton, complete=True, fps=_fps(facts, path), image_size=size)


def _add_frame(people: People, index: int, entry: Any, where: str, facts: dict[str, Any]) -> None:
    number, listed = index, entry
    if isinstance(entry, dict):
        if not any(key in entry for key in LANDMARK_KEYS):
            raise InputError(f"{where}: expected one of {', '.join(LANDMARK_KEYS)}, got {', '.join(entry)[:80]}")
        listed = next(entry[key] for key in LANDMARK_KEYS if key in entry)
        key = next((key for key in FRAME_NUMBERS if key in entry), None)
        if key is not None:
            number = json_file.integer(entry[key], f"{where}: {key}")
        for keys in (*SIZE_KEYS, ("image_size",)):
            facts.update((key, entry[key]) for key in keys if key in entry)
    people.see(number, where)
    _add_people(people, number, listed, where)


def _add_people(people: People, frame: int, listed: Any, where: str) -> None:
    """Add nobody (null), one person (a list of landmarks) or several (a list of such lists)."""
    people.see(frame, where)
    if isinstance(listed, dict) and "landmark" in listed:  # a protocol buffer
        listed = listed["landmark"]
    if listed is None:
        return
    if not isinstance(listed, list):
        raise InputError(f"{where}: expected a list of landmarks, got {json_file.shown(listed)}")
    if listed and _is_landmark(listed[0]):
        listed = [listed]
    for index, landmarks in enumerate(listed):
        if isinstance(landmarks, dict) and "landmark" in landmarks:
            landmarks = landmarks["landmark"]
        if landmarks:
            _add_person(people, frame, landmarks, f"{where}: person {index}")


def _add_person(people: People, frame: int, landmarks: Any, where: str) -> None:
    if not isinstance(landmarks, list):
        raise InputError(f"{where}: expected a list of landmarks, got {json_file.shown(landmarks)}")
    expected = LANDMARKS if people.declared is None else people.declared.num_joints
    if len(landmarks) != expected:
        raise InputError(f"{where}: {len(landmarks)} landmarks, expected {expected}")
    flat = []
    for landmark in landmarks:
        if isinstance(landmark, dict):
            seen = [landmark[key] for key in ("visibility", "presence") if landmark.get(key) is not None]
            flat += [landmark.get("x"), landmark.get("y"), *[*seen, 1.0, 1.0][:2]]
        elif _is_landmark(landmark):
            flat += [*landmark[:2], *[*landmark[3:5], 1.0, 1.0][:2]]
        else:
            raise InputError(f"{where}: expected a landmark, got {json_file.shown(landmark)}")
    values = json_file.numbers(flat, where).reshape(-1, 4)
    people.add(frame, np.column_stack([values[:, :2], values[:, 2:].min(-1)]), where)


def _is_landmark(value: Any) -> bool:
    if isinstance(value, dict):
        return "x" in value and "y" in value
    return isinstance(value, list) and 2 <= len(value) <= 5 and all(type(v) in (int, float) for v in value)


def _starts_with_landmark(value: Any) -> bool:
    """Whether the first thing that is not empty, in lists and under the keys of frames, is a landmark with names."""
    while not (isinstance(value, dict) and "x" in value and "y" in value):
        if isinstance(value, list):
            value = next((entry for entry in value if entry), None)
        elif isinstance(value, dict):
            value = next((value[key] for key in (*LANDMARK_KEYS, "landmark") if value.get(key)), None)
        else:
            return False
        if isinstance(value, list) and _is_landmark(value):
            return len(value) >= 4
    return bool({"z", "visibility", "presence"} & value.keys())


def _to_pixels(people: People, size: tuple[int, int] | None) -> None:
    """Multiply shares of the picture by its size."""
    everyone = [points for frame in people.frames.values() for _, points in frame]
    if not everyone:
        return
    middles = np.array([np.nanmedian(np.abs(points[:, :2])) for points in everyone])
    if np.median(middles) > SHARES:
        people.notes.append("coordinates were read as pixels: they are far beyond 1")
        return
    if people.joints == LANDMARKS:
        hips = np.array([np.abs(points[HIPS, :2].mean(0)).max() for points in everyone])
        if (hips < WORLD).mean() > 0.5:
            raise InputError(
                f"{people.path}: the middle of the hips is at 0, 0 in most frames: these are world landmarks, "
                "expected those of the picture (pose_landmarks)"
            )
    if size is None:
        raise InputError(
            f"{people.path}: coordinates are shares of the picture and its size is not in the file; give it with "
            "--image-size WIDTH HEIGHT (image_size)"
        )
    for points in everyone:
        points[:, :2] *= size
    people.notes.append(f"coordinates were read as shares of a picture of {size[0]} x {size[1]} pixels")


def _size(facts: dict[str, Any], where: str) -> tuple[int, int] | None:
    size = facts.get("image_size")
    for keys in SIZE_KEYS:
        if size is None and all(key in facts for key in keys):
            size = [facts[key] for key in keys]
    if size is None:
        return None
    if not isinstance(size, list) or len(size) != 2:
        raise InputError(f"{where}: image_size must be width and height, got {json_file.shown(size)}")
    width, height = (json_file.integer(side, f"{where}: image size") for side in size)
    if not (0 < width < 2**20 and 0 < height < 2**20):
        raise InputError(f"{where}: image size {json_file.shown(width)} x {json_file.shown(height)}, expected pixels")
    return width, height


def _fps(facts: dict[str, Any], path: Path) -> float | None:
    if facts.get("fps") is None:
        return None
    fps = float(json_file.numbers([facts["fps"]], f"{path}: fps")[0])
    if not fps > 0:
        raise InputError(f"{path}: fps must be above 0, got {fps}")
    return fps
