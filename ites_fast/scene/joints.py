"""A scene with the joints of another skeleton."""

from dataclasses import replace

import numpy as np

from ites_fast.errors import InputError
from ites_fast.scene.scene import Person, Scene
from ites_fast.skeleton import Conversion, Skeleton, conversion
from ites_fast.skeleton.conversion import EXTRAPOLATED_CONFIDENCE


def with_joints(scene: Scene, target: Skeleton) -> Scene:
    """The scene with the joints of ``target``, as ``skeleton.conversion`` finds them.

    A joint that the scene's skeleton says nothing about, such as an eye, is filled in: it lies at the nearest joint on
    its way to the root, or at the top of the head where there is none, with the confidence 0; ``notes`` names them.

    Raises:
        InputError: the skeletons have no joint in common.
    """
    if target == scene.skeleton:
        return scene
    way = conversion(scene.skeleton, target)
    missing = [joint.name for joint in way.joints if joint.kind == "missing"]
    if len(missing) == target.num_joints:
        raise InputError(f"{scene.source}: {scene.skeleton.name} says nothing about the joints of {target.name}")
    people = tuple(_person(person, way) for person in scene.people)
    notes = scene.notes
    if missing:
        notes += (f"{scene.skeleton.name} says nothing about {', '.join(missing)}: filled in, with the confidence 0",)
    return replace(scene, skeleton=target, people=people, notes=notes)


def _person(person: Person, way: Conversion) -> Person:
    source, target = way.source, way.target
    positions = way.apply_points(person.positions)
    confidence = np.zeros(positions.shape[:2], np.float32)
    for index, joint in enumerate(way.joints):
        if joint.kind != "missing":
            share = EXTRAPOLATED_CONFIDENCE if joint.kind == "extrapolated" else 1.0
            places = [source.joint_names.index(name) for name in joint.sources]
            confidence[:, index] = share * person.confidence[:, places].min(1)
    said = [joint.kind != "missing" for joint in way.joints]
    stand_in = person.positions[:, source.root if source.head is None else source.head]
    for index in range(target.num_joints):
        nearest = index
        while nearest >= 0 and not said[nearest]:
            nearest = target.parents[nearest]
        if nearest != index:
            positions[:, index] = stand_in if nearest < 0 else positions[:, nearest]
    keypoints = None if person.keypoints is None else way.apply(person.keypoints)
    return Person(person.name, person.frame, positions, confidence, person.ambiguity, keypoints)
