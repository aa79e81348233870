"""The teacher: a pose as a combination of dictionary atoms, turned into the camera's view."""

from typing import Literal, NamedTuple

from torch import Tensor, nn

from ites_fast.models.resfc import initialise, residual_trunk
from ites_fast.models.student import AdaptiveTrunk
from ites_fast.ops import rotation_from_vector
from ites_fast.skeleton import Skeleton

Variant = Literal["paper", "official"]
Features = Literal["resfc", "agcn"]


class TeacherOutput(NamedTuple):
    """What the teacher sees in a 2D pose, in body units.

    Attributes:
        canonical: the pose in the dictionary's own frame (B, J, 3).
        rotation: from that frame to the camera's, acting on column vectors (B, 3, 3).
        pose_3d: the pose in the camera's frame (B, J, 3).
    """

    canonical: Tensor
    rotation: Tensor
    pose_3d: Tensor


class Teacher(nn.Module):
    r"""Pose dictionary with a rotation: :math:`y_{can} = \sum_k a_k D_k`, :math:`y = R\, y_{can}` (ITES, section 3.1).

    A trunk gives the coefficients a (B, K) and a rotation vector (B, 3); the dictionary D (K, J, 3) is a trainable
    matrix. In the ``official`` variant it has a mean pose beside its atoms, as the released code has.

    Weights are drawn from N(0, 0.01) and the scales of the batch norms from U(0, 1), in both variants: the trunk then
    starts with small coefficients, and a nearly flat pose. A trunk of graph convolutions starts as the student does.

    Args:
        skeleton: joints of the input and the output.
        variant: "paper" or "official".
        atoms: size K of the dictionary.
        blocks: residual blocks of the trunk.
        width: features between blocks, of "resfc".
        bottleneck: features inside a block, of "resfc".
        features: the trunk: "resfc", fully connected residual blocks, or "agcn", the student's layers with the
            features of all joints side by side (ITES, the ablation of the teacher's features).
        channels: features of a joint, of "agcn".
        graph_variant: the variant of the student's layers, of "agcn".

    Raises:
        ValueError: ``variant``, ``features`` or ``graph_variant`` has none of its values.
    """

    predicts = "pose"

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Variant = "paper",
        atoms: int = 12,
        blocks: int = 6,
        width: int = 1024,
        bottleneck: int = 256,
        features: Features = "resfc",
        channels: int = 128,
        graph_variant: Variant = "official",
    ) -> None:
        super().__init__()
        if variant not in ("paper", "official"):
            raise ValueError(f"variant must be one of paper, official, got {variant!r}")
        if features not in ("resfc", "agcn"):
            raise ValueError(f"features must be one of resfc, agcn, got {features!r}")
        joints = skeleton.num_joints
        if features == "resfc":
            self.trunk = residual_trunk(2 * joints, blocks, width, bottleneck)
        else:
            self.trunk, width = AdaptiveTrunk(skeleton, graph_variant, channels, blocks), joints * channels
        self.takes_joints = features == "agcn"
        self.coefficients = nn.Linear(width, atoms)
        self.rotation_vector = nn.Linear(width, 3)
        self.dictionary = nn.Linear(atoms, 3 * joints, bias=variant == "official")
        for part in (self.trunk, self.coefficients, self.rotation_vector, self.dictionary):
            if not isinstance(part, AdaptiveTrunk):
                initialise(part)

    def forward(self, pose_2d: Tensor) -> TeacherOutput:
        """Lift normalised 2D poses (B, J, 2)."""
        features = self.trunk(pose_2d if self.takes_joints else pose_2d.flatten(1))  # (B, width)
        canonical = self.dictionary(self.coefficients(features)).unflatten(1, (-1, 3))  # (B, J, 3)
        rotation = rotation_from_vector(self.rotation_vector(features))  # (B, 3, 3)
        return TeacherOutput(canonical, rotation, canonical @ rotation.mT)


class C3DPO(Teacher):
    r"""A pose dictionary with a canonicalisation network (Novotny et al., "C3DPO", ICCV 2019), as a teacher.

    The factorisation :math:`y = R(x) \sum_k a_k(x) D_k` is the teacher's. What makes it unique is a second network
    :math:`\Psi`, which must undo any rotation of the shape, :math:`\Psi(R' y_{can}) = y_{can}`: the loss is in
    ``losses.canonicalization_loss``. Here it is a ResFC of the teacher's size that gives coefficients of the same
    dictionary. It is needed in training only; ``forward`` does not use it.

    Arguments and errors are the teacher's.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Variant = "paper",
        atoms: int = 12,
        blocks: int = 6,
        width: int = 1024,
        bottleneck: int = 256,
        features: Features = "resfc",
        channels: int = 128,
        graph_variant: Variant = "official",
    ) -> None:
        super().__init__(skeleton, variant, atoms, blocks, width, bottleneck, features, channels, graph_variant)
        self.canonicalizer = nn.Sequential(
            *residual_trunk(3 * skeleton.num_joints, blocks, width, bottleneck), nn.Linear(width, atoms)
        )
        initialise(self.canonicalizer)

    def canonicalize(self, pose: Tensor) -> Tensor:
        """The canonical poses (B, J, 3) that turned poses (B, J, 3) are taken to come from."""
        return self.dictionary(self.canonicalizer(pose.flatten(1))).unflatten(1, (-1, 3))
