"""Scenes as skeletal animation (.bvh), one person a file: y up, centimetres. The joints are those of ``armature``."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ites_fast.data import bvh
from ites_fast.files import atomic_path
from ites_fast.scene.angles import continuous_euler, rotation_of
from ites_fast.scene.armature import JOINTS, PARENTS, animated, bone_lengths, ends, offsets, rotations_over_time
from ites_fast.scene.one_person import files_of_people
from ites_fast.scene.progress import rows
from ites_fast.scene.scene import Person, Scene
from ites_fast.skeleton import H36M_17

CENTIMETRES = 100  # a metre
MOVED = 0.01  # centimetres; a root that never leaves the origin by more is not placed

# Where the 17 joints are found in a file of ours.
PLACES = (
    *("Hips", "RightUpLeg", "RightLeg", "RightFoot", "LeftUpLeg", "LeftLeg", "LeftFoot", "Spine", "Spine1", "Head"),
    *("Head end", "LeftArm", "LeftForeArm", "LeftHand", "RightArm", "RightForeArm", "RightHand"),
)


def write(scene: Scene, path: Path) -> list[Path]:
    """Write each person to a file of their own: ``walk.bvh`` for one, ``walk_1.bvh`` and so on for several.

    Bones are as long in all frames: the median over the frames, the mean of left and right. In frames without the
    person the last pose stands still, before the first the first.

    Raises:
        InputError: nobody is in the scene, or its joints are not ``h36m_17``.
        OSError: a file cannot be written.
    """
    scene, people = animated(scene, "BVH")
    paths = files_of_people(scene, Path(path))
    for person, target in zip(people, paths, strict=True):
        with atomic_path(target) as temporary, temporary.open("w", encoding="ascii", newline="\n") as file:
            lengths = bone_lengths(person.positions) * CENTIMETRES
            file.write("HIERARCHY\n" + _hierarchy(0, "", offsets(lengths), ends(lengths)))
            file.write(f"MOTION\nFrames: {scene.frames}\nFrame Time: {1 / scene.fps:.12g}\n")
            file.writelines(_motion(person, scene.frames, target.name))
    return paths


def _hierarchy(index: int, indent: str, shift: np.ndarray, tips: dict[int, np.ndarray]) -> str:
    joint, inner = JOINTS[index], indent + "\t"
    turns = " ".join(f"{axis.upper()}rotation" for axis in joint.axes)
    moves = "6 Xposition Yposition Zposition" if joint.parent < 0 else "3"
    text = f"{indent}{'ROOT' if joint.parent < 0 else 'JOINT'} {joint.name}\n{indent}{{\n"
    text += f"{inner}OFFSET {_triple(shift[index])}\n{inner}CHANNELS {moves} {turns}\n"
    for child, parent in enumerate(PARENTS):
        if parent == index:
            text += _hierarchy(child, inner, shift, tips)
    if index in tips:
        text += f"{inner}End Site\n{inner}{{\n{inner}\tOFFSET {_triple(tips[index])}\n{inner}}}\n"
    return f"{text}{indent}}}\n"


def _triple(vector: np.ndarray) -> str:
    return " ".join(f"{value:.6f}" for value in vector + 0.0)  # no -0.0


def _motion(person: Person, frames: int, what: str) -> Iterator[str]:
    """Lines of the root's position and all angles."""
    turns = rotations_over_time(person.positions, f"{what}: rotations")
    values = np.empty((len(person), 3 + 3 * len(JOINTS)))
    values[:, :3] = person.positions[:, H36M_17.root] * CENTIMETRES
    for index, joint in enumerate(JOINTS):
        values[:, 3 * index + 3 : 3 * index + 6] = continuous_euler(rotation_of(turns[:, index]), joint.axes)
    shown = np.maximum(np.searchsorted(person.frame, np.arange(frames), side="right") - 1, 0)
    line = " ".join(["%.4f"] * values.shape[1]) + "\n"
    for first, end in rows(frames, f"{what}: frames"):
        yield (line * (end - first)) % tuple((values[shown[first:end]] + 0.0).ravel())


def read(path: Path) -> Scene:
    """Read a file that ``write`` wrote (y up), or one whose joints have the names of the CMU database (z up).

    Both are in metres. The person is called as the file is; every joint has the confidence 1.

    Raises:
        InputError: a file that cannot be parsed (with the line), or joints of other names.
    """
    path = Path(path)
    file = bvh.parse(path)
    if [node.name for node in file.nodes if not node.name.endswith(" end")] != [joint.name for joint in JOINTS]:
        motion = bvh.read(path)
        return _scene(path, motion.positions, motion.frame - motion.frame[0], motion.fps, "z")
    points = dict(zip((node.name for node in file.nodes), bvh.forward_kinematics(file), strict=True))
    positions = np.stack([points[name] for name in PLACES], 1) / CENTIMETRES
    return _scene(path, positions, np.arange(len(positions)), file.fps, "y")


def _scene(path: Path, positions: np.ndarray, frame: np.ndarray, fps: float, axes: str) -> Scene:
    N, J, _ = positions.shape
    person = Person(path.stem, frame.astype(np.int64), positions.astype(np.float32), np.ones((N, J), np.float32))
    floor = positions[:, H36M_17.root, [0, 2 if axes == "y" else 1]]
    scene = Scene(
        source=path.name,
        skeleton=H36M_17,
        people=(person,),
        frames=int(frame[-1]) + 1,
        fps=round(fps, 6),
        units="metres",
        axes=axes,
        placed=bool((np.abs(floor) > MOVED / CENTIMETRES).any()),
    )
    scene.check(str(path))
    return scene
