"""Scenes as glTF 2.0 (.glb): moving figures that any viewer shows; y up, metres. The joints are those of ``armature``.

Each person is a node with a tree of joints below it, and a bone of eight faces below each joint. One animation moves
everybody. A person who is absent is scaled to nothing.
"""

from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.scene.angles import quaternions, rotation_of
from ites_fast.scene.armature import (
    HEAD_TOP,
    JOINTS,
    PARENTS,
    REST,
    animated,
    bone_lengths,
    ends,
    joint_positions,
    offsets,
    rotations_over_time,
    smallest_rotation,
)
from ites_fast.scene.glb_parts import Buffer, read_accessor, read_glb, write_glb
from ites_fast.scene.header import header, scene_of
from ites_fast.scene.scene import METRES_PER_BODY_UNIT, Person, Scene
from ites_fast.skeleton import H36M_17

MIDDLE, LEFT, RIGHT = 0, 1, 2  # materials, and the meshes that wear them
# Linear colours: grey, orange and blue, as the pictures have them.
MATERIALS = (("middle", (0.25, 0.25, 0.25)), ("left", (0.70, 0.12, 0.01)), ("right", (0.02, 0.19, 0.46)))
WIDTH, HEAD_WIDTH = 0.25, 0.9  # of a bone, of its length
THINNEST, THICKEST = 0.04, 0.12  # metres
WIDEST = 0.2  # where along its length
SHORTEST = 1e-6  # metres; a shorter bone is not drawn
TOP_NODE = "HeadTop_End"
LOOSE = 1e-3  # of the length of a quaternion
EXTRAS = "ites_fast"
TURN, MOVE, SHOW = "rotation", "translation", "scale"


def write(scene: Scene, path: Path) -> list[Path]:
    """Write all people to one file, with constant bones as in BVH.

    Raises:
        InputError: nobody is in the scene, its joints are not ``h36m_17``, or it is too long for the format.
        OSError: the file cannot be written.
    """
    world, people = animated(scene, "GLB")
    document = _Document()
    for person in people:
        document.add_person(person, world, Path(path).name)
    fields = header(world)
    if scene.units != world.units:
        fields["notes"].append(f"one body unit was taken for {METRES_PER_BODY_UNIT} m")
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        write_glb(file, document.finished(fields), document.buffer)
    return [Path(path)]


class _Document:
    """Nodes, meshes and one animation, person by person."""

    def __init__(self) -> None:
        self.buffer = Buffer()
        self.nodes: list[dict[str, Any]] = []
        self.roots: list[int] = []
        self.channels: list[dict[str, Any]] = []
        self.samplers: list[dict[str, Any]] = []
        corners, normals = _bone()
        self.shape = {
            "POSITION": self.buffer.add(corners, bounds=True, vertices=True),
            "NORMAL": self.buffer.add(normals, vertices=True),
        }

    def add_person(self, person: Person, scene: Scene, what: str) -> None:
        """Nodes and animation of one person of a scene with y up, in metres."""
        lengths = bone_lengths(person.positions)
        turns = rotations_over_time(person.positions, f"{what}: {person.name}")
        root = self._node({"name": person.name, "extras": {"person": person.name}})
        self.roots.append(root)
        joints = self._add_tree(root, lengths)
        times = self.buffer.add(person.frame / scene.fps, bounds=True)
        hips = person.positions[:, H36M_17.root]
        self.nodes[joints[0]][MOVE] = hips[0].tolist()
        self._animate(joints[0], MOVE, times, hips)
        for joint, node, turn in zip(JOINTS, joints, np.moveaxis(turns, 1, 0), strict=True):
            if joint.towards:
                self.nodes[node][TURN] = turn[0].tolist()
                self._animate(node, TURN, times, turn)
        frames, shown = _presence(person, scene.frames)
        if len(frames) > 1:
            steps = self.buffer.add(frames / scene.fps, bounds=True)
            self._animate(root, SHOW, steps, np.repeat(shown[:, None], 3, axis=1), "STEP")

    def finished(self, fields: dict[str, Any]) -> dict[str, Any]:
        """The document, without its buffer."""
        colours = [
            {"baseColorFactor": [*colour, 1.0], "metallicFactor": 0.0, "roughnessFactor": 0.8}
            for _, colour in MATERIALS
        ]
        names = [name for name, _ in MATERIALS]
        return {
            "asset": {"version": "2.0", "generator": "ites_fast"},
            "scene": 0,
            "scenes": [{"nodes": self.roots, "extras": {EXTRAS: fields}}],
            "nodes": self.nodes,
            "materials": [
                {"name": name, "pbrMetallicRoughness": pbr} for name, pbr in zip(names, colours, strict=True)
            ],
            "meshes": [
                {"name": f"{name} bone", "primitives": [{"attributes": self.shape, "material": index}]}
                for index, name in enumerate(names)
            ],
            "animations": [{"name": "motion", "channels": self.channels, "samplers": self.samplers}],
        }

    def _add_tree(self, root: int, lengths: np.ndarray) -> list[int]:
        """Nodes of the joints at rest, with a bone each; returns their numbers."""
        tips, shift = ends(lengths), offsets(lengths)
        joints: list[int] = []
        for index, joint in enumerate(JOINTS):
            parent = joints[joint.parent] if joint.parent >= 0 else root
            joints.append(self._node({"name": joint.name, MOVE: shift[index].tolist()}, parent))
            if index in tips:
                end = tips[index]
            elif len(joint.towards) == 1:
                end = REST[joint.towards[0]] * lengths[joint.towards[0]]
            else:
                continue
            self._add_bone(joint.name, end, joints[-1])
            if joint.name == "Head":
                self._node({"name": TOP_NODE, MOVE: end.tolist()}, joints[-1])
        return joints

    def _add_bone(self, name: str, end: np.ndarray, parent: int) -> None:
        length = float(np.linalg.norm(end))
        if length < SHORTEST:
            return
        width = length * HEAD_WIDTH if name == "Head" else float(np.clip(length * WIDTH, THINNEST, THICKEST))
        side = LEFT if name.startswith("L") and name != "LowerBack" else RIGHT if name.startswith("R") else MIDDLE
        turn = quaternions(smallest_rotation(np.array([0.0, 1, 0]), end[None] / length))[0]
        scale = [width, length, width]
        self._node({"name": f"{name} bone", TURN: turn.tolist(), SHOW: scale, "mesh": side}, parent)

    def _node(self, node: dict[str, Any], parent: int | None = None) -> int:
        number = len(self.nodes)
        self.nodes.append(node)
        if parent is not None:
            self.nodes[parent].setdefault("children", []).append(number)
        return number

    def _animate(self, node: int, path: str, times: int, values: np.ndarray, way: str = "LINEAR") -> None:
        self.channels.append({"sampler": len(self.samplers), "target": {"node": node, "path": path}})
        self.samplers.append({"input": times, "output": self.buffer.add(values), "interpolation": way})


def _bone() -> tuple[np.ndarray, np.ndarray]:
    """Corners and normals (24, 3) of eight triangles around the y axis, from 0 to 1, one wide."""
    ring = np.array([(0.5, WIDEST, 0), (0, WIDEST, 0.5), (-0.5, WIDEST, 0), (0, WIDEST, -0.5)])
    tip, foot = np.array([0.0, 1, 0]), np.zeros(3)
    faces = []
    for one, next_one in zip(ring, np.roll(ring, -1, axis=0), strict=True):
        faces += [(tip, next_one, one), (foot, one, next_one)]  # counter-clockwise from outside
    corners = np.array(faces)  # (8, 3, 3)
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return corners.reshape(-1, 3), np.repeat(normals, 3, axis=0)


def _presence(person: Person, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames in which a person comes or goes, the first one included, and 1 or 0 from each on."""
    present = np.zeros(frames, bool)
    present[person.frame] = True
    changes = np.flatnonzero(np.r_[True, present[1:] != present[:-1]])
    return changes, present[changes].astype(np.float64)


def read(path: Path) -> Scene:
    """Read a file that ``write`` wrote. Every joint has the confidence 1; ambiguity and keypoints are not in it.

    Raises:
        InputError: a file that is not whole, or of another program.
    """
    path = Path(path)
    document, data = read_glb(path)
    try:
        fields = document["scenes"][0]["extras"][EXTRAS]
        roots = [document["nodes"][number] for number in document["scenes"][0]["nodes"]]
        motion = document["animations"][0]
        samplers = {
            (channel["target"]["node"], channel["target"]["path"]): motion["samplers"][channel["sampler"]]
            for channel in motion["channels"]
        }
        with np.errstate(over="ignore", invalid="ignore"):  # of damaged numbers, which are refused below
            people = tuple(_read_person(document, data, root, samplers, float(fields["fps"])) for root in roots)
    except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise InputError(f"{path}: not a scene that ites_fast wrote ({error!r})") from error
    return scene_of(path, fields, people)


def _read_person(
    document: dict[str, Any], data: bytes, root: dict[str, Any], samplers: dict[tuple[int, str], Any], fps: float
) -> Person:
    nodes = document["nodes"]

    def child(parent: dict[str, Any], name: str) -> int:
        return {nodes[number].get("name"): number for number in parent["children"]}[name]

    numbers: list[int] = []
    for joint in JOINTS:
        numbers.append(child(nodes[numbers[joint.parent]] if joint.parent >= 0 else root, joint.name))
    head = [joint.name for joint in JOINTS].index("Head")
    top = child(nodes[numbers[head]], TOP_NODE)
    hips = samplers[numbers[0], MOVE]
    times, places = (read_accessor(document, data, hips[key]) for key in ("input", "output"))
    N = len(times)
    local = np.empty((N, len(JOINTS) + 1, 3, 3))
    local[:] = np.eye(3)
    for index, number in enumerate(numbers):
        if (number, TURN) in samplers:
            turn = read_accessor(document, data, samplers[number, TURN]["output"])
            if not (np.abs(np.linalg.norm(turn, axis=-1) - 1) < LOOSE).all():
                raise ValueError(f"the rotations of {JOINTS[index].name} are none")
            local[:, index] = rotation_of(turn)
    shift = np.array([nodes[number][MOVE] for number in [*numbers, top]], dtype=np.float64)
    joints = joint_positions((*PARENTS, head), places, shift, local)
    order = [next(i for i, joint in enumerate(JOINTS) if joint.at == at) for at in range(17) if at != HEAD_TOP]
    positions = joints[:, [*order[:HEAD_TOP], len(JOINTS), *order[HEAD_TOP:]]].astype(np.float32)
    frame = np.rint(times * np.float64(fps)).astype(np.int64)
    name = root["extras"]["person"]
    if not isinstance(name, str):
        raise ValueError(f"a person is called {name!r}")
    return Person(name, frame, positions, np.ones((N, 17), np.float32))
