"""A body whose bones keep their lengths: over a recording, and frame by frame."""

from functools import lru_cache

import numpy as np

from ites_fast.errors import InputError
from ites_fast.lifting.smoothing import with_room
from ites_fast.skeleton import Skeleton

SLOWEST = 1 / 300  # a running length changes by no more than this part of itself a frame, after the first few


def constant_bone_lengths(
    positions: np.ndarray, skeleton: Skeleton, confidence: np.ndarray | None = None
) -> np.ndarray:
    """Give every bone one length over a recording, the same on the left and the right, and keep its directions.

    The length of a bone is the weighted median over the frames, so that single bad frames do not count. Poses are put
    together again from the root outwards: a joint moves by what all bones between it and the root have changed.

    Args:
        positions: joints of one person (T, J, 3), any unit; frames with NaN stay as they are.
        skeleton: of the joints.
        confidence: of the joints (T, J): a bone weighs as much as the less certain of its joints; one that was never
            seen has the median of all frames.

    Returns:
        Joints (T, J, 3) with the same root, in the dtype of ``positions``.

    Raises:
        InputError: shapes that do not fit the skeleton.
    """
    T, joints = len(positions), skeleton.num_joints
    if positions.shape != (T, joints, 3) or (confidence is not None and confidence.shape != (T, joints)):
        raise InputError(
            f"positions {positions.shape} and confidence {None if confidence is None else confidence.shape}, "
            f"expected (T, {joints}, 3) and (T, {joints}) for {skeleton.name}"
        )
    valid = np.isfinite(positions).all((1, 2))
    result = positions.copy()
    if not valid.any():
        return result
    tree = Tree.of(skeleton)
    bones = tree.bones(positions[valid])
    length = np.sqrt(np.square(bones).sum(-1))  # (N, E)
    weight = np.ones_like(length)
    if confidence is not None:
        weight = np.minimum(confidence[valid][:, tree.child], confidence[valid][:, tree.parent])
        weight[:, weight.sum(0) == 0] = 1
    result[valid] = tree.pose(positions[valid], bones, length, tree.symmetric(weighted_median(length, weight)))
    return result


class BoneLengths:
    """Bone lengths of several people that settle as frames come, and poses with those lengths.

    A length is a running median: each frame moves it towards the length seen by a step that shrinks as one over the
    number of frames and stays above ``SLOWEST``. It starts at the first pose's and keeps one number a bone.

    Args:
        skeleton: of the joints.
    """

    def __init__(self, skeleton: Skeleton) -> None:
        self.tree = Tree.of(skeleton)
        self._length = np.empty((0, len(self.tree.child)), np.float32)  # (C, E)
        self._frames = np.empty((0, 1), np.float32)  # (C, 1) NaN before the first

    def __call__(
        self, positions: np.ndarray, confidence: np.ndarray | None = None, people: np.ndarray | None = None
    ) -> np.ndarray:
        """The next frame.

        Args:
            positions: joints (P, J, 3), changed in place; poses with NaN are passed over.
            confidence: of the joints (P, J); bones to a joint with 0 are not learned from.
            people: a small number for each of them (P,), the same in every frame; 0 to P - 1 by default.

        Returns:
            ``positions``.
        """
        people = np.arange(len(positions)) if people is None else people
        room = int(people.max(initial=-1)) + 1
        self._length = with_room(self._length, room, self._length.shape[1:])
        self._frames = with_room(self._frames, room, (1,))
        valid = np.isfinite(positions).all((1, 2))
        if not valid.all():
            if valid.any():
                confidence = None if confidence is None else confidence[valid]
                positions[valid] = self(positions[valid], confidence, people[valid])
            return positions
        bones = self.tree.bones(positions)
        seen = np.sqrt(np.square(bones).sum(-1))  # (P, E)
        length, frames = self._length[people], self._frames[people]
        first = np.isnan(frames[:, 0])
        length[first], frames[first] = seen[first], 0
        step = np.maximum(1 / (frames + 2), np.float32(SLOWEST)) * length
        step *= np.sign(seen - length)
        if confidence is not None:
            step *= np.minimum(confidence[:, self.tree.child], confidence[:, self.tree.parent]) > 0
        length += step
        self._length[people], self._frames[people] = length, frames + 1
        positions[:] = self.tree.pose(positions, bones, seen, self.tree.symmetric(length))
        return positions

    def reset(self, people: np.ndarray | int | None = None) -> None:
        """Forget some of the people (their numbers), or all."""
        self._frames[slice(None) if people is None else people] = np.nan


class Tree:
    """A skeleton's bones as arrays."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.child, self.parent = (np.array(joints) for joints in zip(*skeleton.edges, strict=True))
        self.root = skeleton.root
        mirror = np.arange(len(self.child))
        for left, right in skeleton.symmetric_bones:
            mirror[left], mirror[right] = right, left
        self.mirror = mirror
        # the bones (E) that lead from the root to each joint (J)
        self.path = np.zeros((skeleton.num_joints, len(self.child)), np.float32)
        bone = {child: index for index, (child, _) in enumerate(skeleton.edges)}
        for joint in range(skeleton.num_joints):
            above = joint
            while above in bone:
                self.path[joint, bone[above]] = 1
                above = skeleton.parents[above]

    @staticmethod
    @lru_cache
    def of(skeleton: Skeleton) -> "Tree":
        return Tree(skeleton)

    def bones(self, positions: np.ndarray) -> np.ndarray:
        """Vectors (N, E, 3) from parent to child."""
        return positions.take(self.child, 1) - positions.take(self.parent, 1)

    def symmetric(self, length: np.ndarray) -> np.ndarray:
        """Mean (..., E) of each bone and its mirror image."""
        return (length + length[..., self.mirror]) / 2

    def pose(self, positions: np.ndarray, bones: np.ndarray, length: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """Poses (N, J, 3) with the roots of ``positions`` and ``bones`` (N, E, 3) whose ``length`` is as ``wanted``.

        A bone of no length has no direction and stays as it is.
        """
        factor = np.where(length > 0, wanted / np.where(length > 0, length, 1), 1)
        return positions[:, self.root, None] + self.path @ (bones * factor[..., None])


def weighted_median(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Medians (E,) of values (N, E) with weights (N, E), each column with a positive sum.

    The mean of the lower and the upper weighted median, so that equal weights give the usual median.
    """
    order = values.argsort(0)
    values, weight = np.take_along_axis(values, order, 0), np.take_along_axis(weight, order, 0)
    share = np.cumsum(weight, 0, dtype=np.float64) / weight.sum(0, dtype=np.float64)  # (N, E)
    tolerance = 1e-9
    lower = (share >= 0.5 - tolerance).argmax(0)
    upper = (share > 0.5 + tolerance).argmax(0)
    column = np.arange(values.shape[1])
    return (values[lower, column] + values[upper, column]) / 2
