"""COCO keypoints: the list of results, and annotation files with pictures."""

from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.detections import alphapose, json_file
from ites_fast.detections.openpose import triplets
from ites_fast.detections.people import People, skeleton_by_names
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

# COCO-WholeBody keeps the rest of its 133 joints under keys of their own, in this order.
WHOLEBODY = {"foot_kpts": 6, "face_kpts": 68, "lefthand_kpts": 21, "righthand_kpts": 21}
VISIBLE = 2.0  # a person marked each joint of an annotation 0 (not there), 1 (hidden) or 2


def recognise(path: Path) -> bool:
    """Whether ``path`` is a list of people with numbers of their pictures, or has pictures and annotations."""
    value = json_file.head(path)
    if isinstance(value, list):
        first = value[0] if value else None
        is_person = isinstance(first, dict) and {"image_id", "keypoints"} <= first.keys()
        return is_person and not alphapose.is_person(first)
    if not isinstance(value, dict):
        return False
    images, annotations = (_first(value.get(key)) for key in ("images", "annotations"))
    if annotations:
        return {"image_id", "keypoints"} <= annotations.keys()
    return "id" in images and bool({"file_name", "width", "height"} & images.keys())


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """Read the people of all pictures; the frame is the number of the picture (or its ``frame_id``), from 0 on.

    In annotation files visibility 0, 1, 2 becomes confidence 0, 0.5, 1.

    Raises:
        InputError: an annotation of a picture that is not listed, or a value that cannot be used.
    """
    people = People(path, skeleton)
    waiting: list[tuple[Any, str]] = []  # annotations that come before the pictures
    pictures = _Pictures(people)
    named = None
    for key, index, entry in json_file.entries(path):
        where = f"{path}: {key or 'entry'} {index}"
        if key is None:
            _add_person(people, entry, where, None)
        elif key == "images":
            pictures.add(entry, where)
        elif key == "annotations" and pictures.frames:
            _add_person(people, entry, where, pictures)
        elif key == "annotations":
            waiting.append((entry, where))
        elif key == "categories":
            named = named or _named_skeleton(entry)
    for entry, where in waiting:
        _add_person(people, entry, where, pictures)
    if named is not None and named.num_joints != people.joints:
        named = None
    return people.detections(named, complete=bool(pictures.frames), pictures=True, image_size=pictures.size())


class _Pictures:
    """Frame numbers and sizes of the listed pictures."""

    def __init__(self, people: People) -> None:
        self.people = people
        self.frames: dict[int, int] = {}
        self.sizes: set[tuple[int, int]] = set()
        self.videos: set[str] = set()

    def add(self, entry: Any, where: str) -> None:
        if not isinstance(entry, dict):
            raise InputError(f"{where}: expected the JSON object of a picture, got {json_file.shown(entry)}")
        identity = json_file.integer(entry.get("id"), f"{where}: id")
        if identity in self.frames:
            raise InputError(f"{where}: there is another picture with the id {json_file.shown(identity)}")
        key = "frame_id" if "frame_id" in entry else "id"
        self.frames[identity] = json_file.integer(entry[key], f"{where}: {key}")
        self.people.see(self.frames[identity], where)
        if "width" in entry and "height" in entry:
            width, height = (json_file.integer(entry[side], f"{where}: {side}") for side in ("width", "height"))
            if 0 < width < 2**20 and 0 < height < 2**20:
                self.sizes.add((width, height))
        self.videos.add(str(entry.get("video_id"))[:80])
        if len(self.videos) > 1:
            raise InputError(f"{where}: pictures of several videos ({', '.join(sorted(self.videos))}), expected one")

    def size(self) -> tuple[int, int] | None:
        """The one that all pictures have."""
        return next(iter(self.sizes)) if len(self.sizes) == 1 else None


def _add_person(people: People, entry: Any, where: str, pictures: _Pictures | None) -> None:
    if not isinstance(entry, dict):
        raise InputError(f"{where}: expected the JSON object of a person, got {json_file.shown(entry)}")
    if entry.get("keypoints") is None and pictures is not None:
        return  # a box without joints
    frame = json_file.integer(entry.get("image_id"), f"{where}: image_id")
    if pictures is not None:
        if frame not in pictures.frames:
            raise InputError(f"{where}: its picture {json_file.shown(frame)} is not among the images")
        frame = pictures.frames[frame]
    keypoints = triplets(entry.get("keypoints"), f"{where}: keypoints")
    if all(key in entry for key in WHOLEBODY) and len(keypoints) == 17:
        keypoints = np.concatenate([keypoints, *(_part(entry, key, where) for key in WHOLEBODY)])
    if not len(keypoints):
        return
    if pictures is not None:
        keypoints[:, 2] /= VISIBLE
    identity = entry.get("track_id")
    if identity is not None:
        identity = str(json_file.integer(identity, f"{where}: track_id"))
    people.add(frame, keypoints, where, identity)


def _part(entry: dict[str, Any], key: str, where: str) -> np.ndarray:
    keypoints = triplets(entry[key], f"{where}: {key}")
    if len(keypoints) not in (0, WHOLEBODY[key]):
        raise InputError(f"{where}: {key} has {len(keypoints)} joints, expected {WHOLEBODY[key]}")
    return keypoints if len(keypoints) else np.zeros((WHOLEBODY[key], 3))


def _first(values: Any) -> dict[str, Any]:
    return values[0] if isinstance(values, list) and values and isinstance(values[0], dict) else {}


def _named_skeleton(category: Any) -> Skeleton | None:
    names = category.get("keypoints") if isinstance(category, dict) else None
    return skeleton_by_names(names) if isinstance(names, list) else None
