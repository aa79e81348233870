"""The fully connected lifter: depths of the joints, and how the camera is tilted."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ites_fast.models.resfc import linear_norm
from ites_fast.skeleton import Skeleton

OUTPUT_GAIN = 0.1  # the network starts with a nearly flat pose
ANGLE_GAIN = 0.1  # radians for an output of one


class ViewOutput(NamedTuple):
    """What a lifter sees in a 2D pose.

    Attributes:
        depth: depth offsets (B, J) in body units, zero at the root.
        elevation: of the camera above the horizon (B,), radians, positive when it looks down.
        roll: of the camera about its axis (B,), radians; zeros where the network has no such output.
    """

    depth: Tensor
    elevation: Tensor
    roll: Tensor


class DepthMLP(nn.Module):
    """Residual network of fully connected layers (Martinez et al., ICCV 2017) from a 2D pose to depths and view angles.

    Args:
        skeleton: joints of the input and the output.
        width: features of every hidden layer.
        blocks: residual blocks of two layers.
        dropout: probability that a feature of a hidden layer is dropped.
        roll: whether the camera's roll is estimated beside its elevation.
    """

    predicts = "depth"

    def __init__(
        self, skeleton: Skeleton, width: int = 512, blocks: int = 2, dropout: float = 0.0, roll: bool = False
    ) -> None:
        super().__init__()
        self.root = skeleton.root
        self.joints = skeleton.num_joints
        self.input_layer = _layer(2 * self.joints, width, dropout)
        self.blocks = nn.ModuleList(
            nn.Sequential(*_layer(width, width, dropout), *_layer(width, width, dropout)) for _ in range(blocks)
        )
        self.depth = nn.Linear(width, self.joints)
        self.angles = nn.Linear(width, 2 if roll else 1)
        with torch.no_grad():
            self.depth.weight *= OUTPUT_GAIN
            self.depth.bias.zero_()
            self.angles.weight.zero_()
            self.angles.bias.zero_()

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Depth offsets (B, J) of normalised 2D poses (B, J, 2), in body units, zero at the root."""
        return self._depth(self.features(pose_2d))

    def view(self, pose_2d: Tensor) -> ViewOutput:
        """Depths and view angles of normalised 2D poses (B, J, 2)."""
        features = self.features(pose_2d)
        angles = ANGLE_GAIN * self.angles(features)
        roll = angles[:, 1] if angles.shape[1] == 2 else torch.zeros_like(angles[:, 0])
        return ViewOutput(self._depth(features), angles[:, 0], roll)

    def features(self, pose_2d: Tensor) -> Tensor:
        """Features (B, width) that the outputs are linear in."""
        features = self.input_layer(pose_2d.flatten(1))
        for block in self.blocks:
            features = features + block(features)
        return features

    def _depth(self, features: Tensor) -> Tensor:
        depth = self.depth(features)
        return depth - depth[:, self.root : self.root + 1]


def _layer(inputs: int, outputs: int, dropout: float) -> nn.Sequential:
    layers = [*linear_norm(inputs, outputs), nn.ReLU(inplace=True)]
    return nn.Sequential(*layers, nn.Dropout(dropout)) if dropout else nn.Sequential(*layers)
