"""MMPose: predictions of its inferencer, and files of its demo with ``meta_info``."""

from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.detections import json_file
from ites_fast.detections.people import People, skeleton_by_names
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

FRAME_KEYS = ("instance_info", "predictions")  # lists of frames in a file that is an object


def recognise(path: Path) -> bool:
    """Whether ``path`` lists instances with "keypoints" and "keypoint_scores", or frames of them."""
    value = json_file.head(path)
    if isinstance(value, dict):
        if "instance_info" in value or isinstance(value.get("meta_info"), dict):
            return True
        value = value.get("predictions")
    if not isinstance(value, list):
        return False
    first = next((entry for entry in value if entry), None)
    if isinstance(first, list):
        first = first[0]
    return isinstance(first, dict) and ("instances" in first or {"keypoints", "keypoint_scores"} <= first.keys())


def read(path: Path, skeleton: Skeleton | None) -> Detections:
    """Read the instances of all frames. The first frame of the file is frame 0.

    Names of joints in ``meta_info`` tell the skeleton, otherwise their number.

    Raises:
        InputError: frames with and without numbers, or a value that cannot be used.
    """
    people = People(path, skeleton)
    names: list[str] | None = None
    for key, index, entry in json_file.entries(path):
        if key == "meta_info" and index is None:
            names = _joint_names(entry)
        elif key is None or key in FRAME_KEYS:
            where = f"{path}: entry {index}"
            if isinstance(entry, dict) and "keypoints" in entry:  # one picture: a list of people, not of frames
                _add_instance(people, 0, entry, where)
            else:
                _add_frame(people, index or 0, entry, where)
    named = skeleton_by_names(names) if names else None
    if named is not None and named.num_joints != people.joints:
        raise InputError(f"{path}: {people.joints} joints a person, expected {len(names)} as meta_info names")
    if named is None and names and skeleton is None:
        raise InputError(
            f"{path}: no skeleton has the {len(names)} joints {', '.join(names)[:200]}; describe it in a YAML file and "
            "give that as --skeleton"
        )
    return people.detections(named, complete=True)


def _add_frame(people: People, index: int, entry: Any, where: str) -> None:
    number, instances = index, entry
    if isinstance(entry, dict):
        instances = entry.get("instances")
        if "frame_id" in entry:
            number = json_file.integer(entry["frame_id"], f"{where}: frame_id")
            number = 0 if number == -1 else number  # a picture
    if not isinstance(instances, list):
        raise InputError(f"{where}: expected a frame with a list 'instances', got {json_file.shown(entry)}")
    people.see(number, where)
    for person, instance in enumerate(instances):
        _add_instance(people, number, instance, f"{where}: person {person}")


def _add_instance(people: People, frame: int, instance: Any, where: str) -> None:
    if not isinstance(instance, dict):
        raise InputError(f"{where}: expected the JSON object of a person, got {json_file.shown(instance)}")
    points = instance.get("keypoints")
    if not isinstance(points, list) or not points:
        raise InputError(f"{where}: expected a list of keypoints, got {json_file.shown(points)}")
    wrong = [point for point in points if type(point) is not list or len(point) != 2]
    if wrong:
        raise InputError(f"{where}: expected x and y of each of its keypoints, got {json_file.shown(wrong[0])}")
    pairs = json_file.numbers([value for point in points for value in point], f"{where}: keypoints").reshape(-1, 2)
    scores = np.ones(len(pairs))
    if "keypoint_scores" in instance:
        scores = json_file.numbers(instance["keypoint_scores"], f"{where}: keypoint_scores")
    if len(scores) != len(pairs):
        raise InputError(f"{where}: {len(scores)} keypoint_scores for {len(pairs)} keypoints")
    identity = instance.get("track_id", instance.get("instance_id"))
    if identity is not None:
        identity = str(json_file.integer(identity, f"{where}: track_id"))
    people.add(frame, np.column_stack([pairs, scores]), where, identity)


def _joint_names(meta: Any) -> list[str] | None:
    """``keypoint_id2name`` in the order of its numbers, which JSON writes as strings."""
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if not isinstance(names, dict) or not all(isinstance(name, str) for name in names.values()):
        return None
    order = [str(index) for index in range(len(names))]
    return [names[index] for index in order] if set(order) == names.keys() else None
