"""AlphaPose: one JSON file of all pictures, in its own layout or in those it calls "cmu" and "open"."""

from pathlib import Path
from typing import Any

from ites_fast.detections import json_file
from ites_fast.detections.openpose import frame_number, triplets
from ites_fast.detections.people import People
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

LAYOUTS = {"bodies": "joints", "people": "pose_keypoints_2d"}  # "cmu" and "open": key of a picture, of a person


def recognise(path: Path) -> bool:
    """Whether ``path`` is a list of people with the names of their pictures, or an object with a picture a key."""
    value = json_file.head(path)
    if isinstance(value, list):
        return bool(value) and is_person(value[0])
    return isinstance(value, dict) and bool(value) and all(_is_picture(picture) for picture in value.values())


def is_person(value: Any) -> bool:
    """Whether an entry of a list is that of AlphaPose, and not that of COCO, which has the number of its picture."""
    if not isinstance(value, dict) or not {"image_id", "keypoints"} <= value.keys():
        return False
    return isinstance(value["image_id"], str) or "idx" in value or "box" in value


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """Read the people of all pictures. Frame numbers are the last in the names of the pictures.

    Raises:
        InputError: a picture has no number in its name, or a value cannot be used.
    """
    people = People(path, skeleton)
    for key, index, entry in json_file.entries(path):
        if key is None:
            _add_person(people, entry, f"{path}: entry {index}")
        elif index is None:
            _add_picture(people, key, entry, f"{path}: {json_file.shown(key)}")
        else:
            raise InputError(f"{path}: {json_file.shown(key)} is a list, expected the object of a picture")
    return people.detections(complete=False, pictures=True)


def _add_person(people: People, entry: Any, where: str) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected the JSON object of a person, got {json_file.shown(entry)}")
    frame = _frame(entry.get("image_id"), where)
    keypoints = triplets(entry.get("keypoints"), f"{where}: keypoints")
    if len(keypoints):
        people.add(frame, keypoints, where, _identity(entry.get("idx"), where))


def _add_picture(people: People, name: str, picture: Any, where: str) -> None:
    if not _is_picture(picture):
        raise InputError(f"{where}: expected an object with 'bodies' or 'people', got {json_file.shown(picture)}")
    frame = _frame(name, where)
    people.see(frame, where)
    listed, key = next((picture[outer], inner) for outer, inner in LAYOUTS.items() if outer in picture)
    for index, person in enumerate(listed):
        here = f"{where}: person {index}"
        if not isinstance(person, dict):
            raise InputError(f"{here}: expected a JSON object, got {json_file.shown(person)}")
        keypoints = triplets(person.get(key), f"{here}: {key}")
        if len(keypoints):
            people.add(frame, keypoints, here)


def _is_picture(value: Any) -> bool:
    return isinstance(value, dict) and any(isinstance(value.get(key), list) for key in LAYOUTS)


def _frame(image: Any, where: str) -> int:
    number = frame_number(image) if isinstance(image, str) else json_file.integer(image, f"{where}: image_id")
    if number is None:
        raise InputError(f"{where}: no frame number in the picture's name {json_file.shown(image)}")
    return number


def _identity(value: Any, where: str) -> str | None:
    """``idx`` is a number, or the list of those that were merged, the person's own first; lists may be nested."""
    while isinstance(value, list):
        value = value[0] if value else None
    return None if value is None else str(json_file.integer(value, f"{where}: idx"))
