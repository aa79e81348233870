"""Joint conventions: names, parents, symmetry. A skeleton says nothing about bone lengths."""

from dataclasses import dataclass, field
from functools import cached_property


@dataclass(frozen=True)
class Skeleton:
    """A tree of named joints in a fixed order.

    Args:
        name: what options and checkpoints call it.
        joint_names: one name a joint.
        parents: index of each joint's parent, -1 for the root.
        left: joints of the left side of the body.
        right: their mirror images, in the same order.
        head: joint whose distance from the root measures the size of a body; None where no joint does.
        pair_groups: joints pooled together by the non-local graph of the student's ``official`` variant.
        links: pairs of joints that are no bones of the tree, but drawn, such as from shoulder to shoulder.
        mapping: names of the vocabulary and the joints whose mean they are, where a joint's own name does not say it.
    """

    name: str
    joint_names: tuple[str, ...]
    parents: tuple[int, ...]
    left: tuple[int, ...]
    right: tuple[int, ...]
    head: int | None = None
    pair_groups: tuple[tuple[int, ...], ...] = field(default=(), repr=False)
    links: tuple[tuple[int, int], ...] = field(default=(), repr=False)
    mapping: tuple[tuple[str, tuple[int, ...]], ...] = field(default=(), repr=False)

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
        pairs = zip(self.left, self.right, strict=True)
        return tuple((bone[a], bone[b]) for a, b in pairs if a in bone and b in bone)

    @cached_property
    def flip_order(self) -> tuple[int, ...]:
        """Permutation that swaps left and right: ``pose[..., flip_order, :]`` with x negated is the mirror image.

        Offered to users, for augmentation by mirror images: nothing in this package needs it.
        """
        order = list(range(self.num_joints))
        for a, b in zip(self.left, self.right, strict=True):
            order[a], order[b] = b, a
        return tuple(order)
