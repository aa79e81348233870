"""The skeleton of animation programs: a tree of joints at rest, and the rotations that bring it into a pose.

At rest a person stands in a T-pose: y up, facing z, the left arm along x. A joint of several bones (hips, chest) turns
as its bones do on average; a joint of its own for each of those bones, at the same place, turns what remains of it, so
no position is lost. A bone turns about its axis no more than its parent does.
"""

from dataclasses import dataclass

import numpy as np

from ites_fast.data.kinematics import global_rotations
from ites_fast.errors import InputError
from ites_fast.scene.angles import continuous_quaternions, quaternions
from ites_fast.scene.progress import rows
from ites_fast.scene.scene import Person, Scene
from ites_fast.skeleton import H36M_17

RIGHT, LEFT, UP, DOWN, FRONT = ((-1, 0, 0), (1, 0, 0), (0, 1, 0), (0, -1, 0), (0, 0, 1))

# Direction at rest from the parent to each of the 17 joints; the root has none.
REST = np.array(
    [(0, 0, 0), RIGHT, DOWN, DOWN, LEFT, DOWN, DOWN, UP, UP, UP, UP, LEFT, LEFT, LEFT, RIGHT, RIGHT, RIGHT],
    dtype=np.float64,
)
SHORTEST = 1e-9  # metres; a shorter bone has no direction


@dataclass(frozen=True)
class Joint:
    """A joint of the tree.

    Args:
        name: as animation programs call it.
        parent: index of the joint that it hangs on, -1 for the root.
        at: which of the 17 joints it lies at.
        towards: the joints at the other ends of its bones; none for hands and feet.
        axes: of its Euler angles, the first letter leftmost. The middle one, which should not come near 90 degrees, is
            that of the bone: it turns least.
    """

    name: str
    parent: int
    at: int
    towards: tuple[int, ...]
    axes: str = "zyx"


# Parents first and depth first, as files have them.
JOINTS = (
    Joint("Hips", -1, 0, (7, 1, 4), "zxy"),
    Joint("LHipJoint", 0, 0, (4,), "zxy"),
    Joint("LeftUpLeg", 1, 4, (5,)),
    Joint("LeftLeg", 2, 5, (6,)),
    Joint("LeftFoot", 3, 6, ()),
    Joint("RHipJoint", 0, 0, (1,), "zxy"),
    Joint("RightUpLeg", 5, 1, (2,)),
    Joint("RightLeg", 6, 2, (3,)),
    Joint("RightFoot", 7, 3, ()),
    Joint("LowerBack", 0, 0, (7,)),
    Joint("Spine", 9, 7, (8,)),
    Joint("Spine1", 10, 8, (9, 11, 14)),
    Joint("Neck", 11, 8, (9,)),
    Joint("Head", 12, 9, (10,)),
    Joint("LeftShoulder", 11, 8, (11,), "zxy"),
    Joint("LeftArm", 14, 11, (12,), "zxy"),
    Joint("LeftForeArm", 15, 12, (13,), "zxy"),
    Joint("LeftHand", 16, 13, (), "zxy"),
    Joint("RightShoulder", 11, 8, (14,), "zxy"),
    Joint("RightArm", 18, 14, (15,), "zxy"),
    Joint("RightForeArm", 19, 15, (16,), "zxy"),
    Joint("RightHand", 20, 16, (), "zxy"),
)
PARENTS = tuple(joint.parent for joint in JOINTS)
HEAD_TOP = 10

# Hands and feet have no measured end: these are drawn, in lengths of forearm and shin.
HAND_LENGTH = 0.35
FOOT = np.array([0, -0.15, 0.45])


def animated(scene: Scene, what: str) -> tuple[Scene, list[Person]]:
    """The scene in metres with y up, and the people in it who have poses.

    Raises:
        InputError: nobody is in the scene, or its joints are not ``h36m_17``.
    """
    scene.check()
    people = [person for person in scene.people if len(person)]
    if not people:
        raise InputError(f"{scene.source}: nobody is in the scene; {what} needs at least one person")
    if scene.skeleton.joint_names != H36M_17.joint_names:
        raise InputError(f"{scene.source}: {what} is written of {H36M_17.name}, got {scene.skeleton.name}")
    scene = scene.to_world("y").in_metres()
    return scene, [person for person in scene.people if len(person)]


def bone_lengths(positions: np.ndarray) -> np.ndarray:
    """Length of the bone to each joint (17,): the median over poses (N, 17, 3), and the mean of left and right."""
    bones = positions.astype(np.float64) - positions[:, np.maximum(H36M_17.parents, 0)]
    lengths = np.median(np.linalg.norm(bones, axis=-1), axis=0)
    return (lengths + lengths[list(H36M_17.flip_order)]) / 2


def offsets(lengths: np.ndarray) -> np.ndarray:
    """Of each joint from its parent at rest (22, 3), for lengths (17,)."""
    moved = [joint.parent >= 0 and joint.at != JOINTS[joint.parent].at for joint in JOINTS]
    at = [joint.at for joint in JOINTS]
    return REST[at] * lengths[at, None] * np.array(moved)[:, None]


def ends(lengths: np.ndarray) -> dict[int, np.ndarray]:
    """Ends (3,) of the bones that no joint follows, from their joint at rest, by the index of that joint."""
    found = {}
    for index, joint in enumerate(JOINTS):
        if joint.name == "Head":
            found[index] = REST[HEAD_TOP] * lengths[HEAD_TOP]
        elif joint.name.endswith("Hand"):
            found[index] = REST[joint.at] * lengths[joint.at] * HAND_LENGTH
        elif joint.name.endswith("Foot"):
            found[index] = FOOT * lengths[joint.at]
    return found


def local_rotations(positions: np.ndarray) -> np.ndarray:
    """Rotation of each joint relative to its parent (N, 22, 3, 3), for poses (N, 17, 3) with y up."""
    bones = positions.astype(np.float64) - positions[:, np.maximum(H36M_17.parents, 0)]
    length = np.linalg.norm(bones, axis=-1, keepdims=True)
    directions = np.divide(bones, length, out=np.zeros_like(bones), where=length > SHORTEST)
    local = np.zeros((len(positions), len(JOINTS), 3, 3))
    world = np.zeros_like(local)
    for index, joint in enumerate(JOINTS):
        above = world[:, joint.parent] if joint.parent >= 0 else np.broadcast_to(np.eye(3), world[:, 0].shape)
        seen = np.einsum("nji,nkj->nki", above, directions[:, list(joint.towards)])  # in the parent's frame
        rest = REST[list(joint.towards)]
        if not joint.towards:
            local[:, index] = np.eye(3)
        elif len(joint.towards) == 1:
            local[:, index] = smallest_rotation(rest[0], seen[:, 0])
        else:
            local[:, index] = nearest_rotation(rest, seen)
        world[:, index] = above @ local[:, index]
    return local


def rotations_over_time(positions: np.ndarray, what: str) -> np.ndarray:
    """``local_rotations`` as quaternions x, y, z, w (N, 22, 4) that do not jump; a progress bar says ``what``."""
    found = np.empty((len(positions), len(JOINTS), 4))
    for first, end in rows(len(positions), what):
        found[first:end] = quaternions(local_rotations(positions[first:end]))
    return continuous_quaternions(found)


def smallest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotations (N, 3, 3) by the smallest angle that take a unit vector (3,) to others (N, 3); zeros stay."""
    cosine = end @ start
    axis = np.cross(start, end)  # times the sine
    K = _cross_matrix(axis)
    rotation = np.eye(3) + K + K @ K / np.maximum(1 + cosine, SHORTEST)[:, None, None]
    opposite = cosine < SHORTEST - 1
    aside = np.roll(start, 1)  # perpendicular: start is one of the axes
    rotation[opposite] = 2 * np.outer(aside, aside) - np.eye(3)
    rotation[~end.any(-1)] = np.eye(3)
    return rotation


def nearest_rotation(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """The rotations (N, 3, 3) that take directions (K, 3) to others (N, K, 3) with the least sum of squares."""
    u, _, vh = np.linalg.svd(np.einsum("nki,kj->nij", end, start))
    u[..., 2] *= np.sign(np.linalg.det(u @ vh))[:, None]
    return u @ vh


def joint_positions(parents: tuple[int, ...], root: np.ndarray, shift: np.ndarray, local: np.ndarray) -> np.ndarray:
    """Places of the joints of a tree (N, K, 3).

    Args:
        parents: index of each joint's parent, before it; that of the first is -1.
        root: place of the first joint (N, 3).
        shift: of each joint from its parent at rest (K, 3), as ``offsets`` gives them.
        local: rotation of each joint relative to its parent (N, K, 3, 3).
    """
    world = global_rotations(parents, list(np.moveaxis(local, 1, 0)))
    places = [root]
    for parent, offset in zip(parents[1:], shift[1:], strict=True):
        places.append(places[parent] + world[parent] @ offset)
    return np.stack(places, 1)


def _cross_matrix(vector: np.ndarray) -> np.ndarray:
    """Matrices (N, 3, 3) whose product with a column is the cross product of vectors (N, 3) with it."""
    matrix = np.zeros((*vector.shape, 3))
    x, y, z = np.moveaxis(vector, -1, 0)
    matrix[:, 2, 1], matrix[:, 0, 2], matrix[:, 1, 0] = x, y, z
    return matrix - np.swapaxes(matrix, -1, -2)
