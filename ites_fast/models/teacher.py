"""The teacher: a pose as a combination of dictionary atoms, turned into the camera's view."""

from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from ites_fast.ops import rotation_from_vector
from ites_fast.skeleton import Skeleton

WEIGHT_STD = 0.01


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


class ResidualBlock(nn.Module):
    """Three linear layers with batch norm, ``width`` -> ``bottleneck`` -> ``bottleneck`` -> ``width``, and a skip."""

    def __init__(self, width: int, bottleneck: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *linear_norm(width, bottleneck),
            nn.ReLU(),
            *linear_norm(bottleneck, bottleneck),
            nn.ReLU(),
            *linear_norm(bottleneck, width),
        )

    def forward(self, features: Tensor) -> Tensor:
        return torch.relu(features + self.layers(features))


class Teacher(nn.Module):
    r"""Pose dictionary with a rotation: :math:`y_{can} = \sum_k a_k D_k`, :math:`y = R\, y_{can}` (ITES, section 3.1).

    A trunk of fully connected residual blocks gives the coefficients a (B, K) and a rotation vector (B, 3); the
    dictionary D (K, J, 3) is a trainable matrix. In the ``official`` variant it has a mean pose beside its atoms, as
    the released code has.

    Weights are drawn from N(0, 0.01) and the scales of the batch norms from U(0, 1), in both variants: the trunk then
    starts with small coefficients, and a nearly flat pose.

    Args:
        skeleton: joints of the input and the output.
        variant: "paper" or "official".
        atoms: size K of the dictionary.
        blocks: residual blocks of the trunk.
        width: features between blocks.
        bottleneck: features inside a block.

    Raises:
        ValueError: ``variant`` is neither.
    """

    predicts = "pose"

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Literal["paper", "official"] = "paper",
        atoms: int = 12,
        blocks: int = 6,
        width: int = 1024,
        bottleneck: int = 256,
    ) -> None:
        super().__init__()
        if variant not in ("paper", "official"):
            raise ValueError(f"variant must be one of paper, official, got {variant!r}")
        joints = skeleton.num_joints
        self.trunk = nn.Sequential(
            *linear_norm(2 * joints, width), nn.ReLU(), *(ResidualBlock(width, bottleneck) for _ in range(blocks))
        )
        self.coefficients = nn.Linear(width, atoms)
        self.rotation_vector = nn.Linear(width, 3)
        self.dictionary = nn.Linear(atoms, 3 * joints, bias=variant == "official")
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, std=WEIGHT_STD)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, nn.BatchNorm1d):
                nn.init.uniform_(module.weight)

    def forward(self, pose_2d: Tensor) -> TeacherOutput:
        """Lift normalised 2D poses (B, J, 2)."""
        features = self.trunk(pose_2d.flatten(1))  # (B, width)
        canonical = self.dictionary(self.coefficients(features)).unflatten(1, (-1, 3))  # (B, J, 3)
        rotation = rotation_from_vector(self.rotation_vector(features))  # (B, 3, 3)
        return TeacherOutput(canonical, rotation, canonical @ rotation.mT)


def linear_norm(inputs: int, outputs: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    """A linear layer and its batch norm; the norm's shift makes a bias useless."""
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)
