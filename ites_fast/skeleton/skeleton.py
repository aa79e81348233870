"""Joint conventions: names, parents, symmetry. A skeleton says nothing about bone lengths."""

from dataclasses import dataclass, field
from functools import cached_property

from ites_fast.errors import InputError


@dataclass(frozen=True)
class Skeleton:
    """A tree of named joints in a fixed order.

    Args:
        name: what options and checkpoints call it.
        joint_names: one name a joint.
        parents: index of each joint's parent, -1 for the root.
        left: joints of the left side of the body.
        right: their mirror images, in the same order.
        head: joint whose distance from the root measures the size of a body.
        pair_groups: joints pooled together by the non-local graph of the student's ``official`` variant.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    head: int
    pair_groups: tuple[tuple[int, ...], ...] = field(default=(), repr=False)

    @property
    def num_joints(self) -> int:
        return len(self.joint_names)

    @cached_property
    def root(self) -> int:
        return self.parents.index(-1)

    @cached_property
    def edges(self) -> tuple[tuple[int, int], ...]:
        """Bones as (child, parent), in the order of the children; the root has none."""
        return tuple((child, parent) for child, parent in enumerate(self.parents) if parent >= 0)

    @cached_property
    def hips(self) -> tuple[int, ...]:
        """Joints of the left or right side that hang on the root: their middle stands in for a root not seen."""
        return tuple(j for j, parent in enumerate(self.parents) if parent == self.root and j in self.left + self.right)

    @cached_property
    def symmetric_bones(self) -> tuple[tuple[int, int], ...]:
        """Pairs of indices into ``edges``: a bone of the left side and its mirror image. Offered to users."""
        bone = {child: index for index, (child, _) in enumerate(self.edges)}
        return tuple((bone[a], bone[b]) for a, b in zip(self.left, self.right, strict=True))

    @cached_property
    def flip_order(self) -> tuple[int, ...]:
        """Permutation that swaps left and right: ``pose[..., flip_order, :]`` with x negated is the mirror image.

        Offered to users, for augmentation by mirror images: nothing in this package needs it.
        """
        order = list(range(self.num_joints))
        for a, b in zip(self.left, self.right, strict=True):
            order[a], order[b] = b, a
        return tuple(order)


H36M_17 = Skeleton(
    name="h36m_17",
    joint_names=(
        "hip",
        "right_hip",
        "right_knee",
        "right_ankle",
        "left_hip",
        "left_knee",
        "left_ankle",
        "spine",
        "thorax",
        "neck_nose",
        "head",
        "left_shoulder",
        "left_elbow",
        "left_wrist",
        "right_shoulder",
        "right_elbow",
        "right_wrist",
    ),
    parents=(-1, 0, 1, 2, 0, 4, 5, 0, 7, 8, 9, 8, 11, 12, 8, 14, 15),
    left=(4, 5, 6, 11, 12, 13),
    right=(1, 2, 3, 14, 15, 16),
    head=10,
    pair_groups=((2, 3), (5, 6), (1, 4), (0, 7), (8, 10), (15, 16), (12, 13), (11, 14), (9,)),
)

SKELETONS = {skeleton.name: skeleton for skeleton in (H36M_17,)}


def get_skeleton(name: str) -> Skeleton:
    """The skeleton called ``name``.

    Raises:
        InputError: no skeleton has this name.
    """
    if name not in SKELETONS:
        raise InputError(f"skeleton {name!r} is unknown; known: {', '.join(SKELETONS)}")
    return SKELETONS[name]
