"""ITES's graph convolution as a lifter without a teacher: depths of the joints, and how the camera is tilted."""

from typing import Literal

import torch
from torch import Tensor, nn

from ites_fast.models.depth_mlp import ANGLE_GAIN, OUTPUT_GAIN, ViewOutput
from ites_fast.models.student import AdaptiveTrunk
from ites_fast.ops import physical_graph
from ites_fast.skeleton import Skeleton


class ViewGCN(AdaptiveTrunk):
    """Adaptive graph convolution (ITES, section 3.3) from a 2D pose to depths and view angles.

    The angles are linear in the mean features of the joints.

    Args:
        skeleton: joints of the input and the output.
        variant: "paper" or "official", see ``AdaptiveTrunk``.
        channels: features of a joint.
        blocks: residual blocks of two layers.
        roll: whether the camera's roll is estimated beside its elevation.
    """

    predicts = "depth"

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Literal["paper", "official"] = "official",
        channels: int = 128,
        blocks: int = 2,
        roll: bool = False,
    ) -> None:
        super().__init__(skeleton, variant, channels, blocks)
        self.root = skeleton.root
        self.output_layer = self.physical(channels, 1)
        self.angles = nn.Linear(channels, 2 if roll else 1)
        with torch.no_grad():
            for name, parameter in self.output_layer.named_parameters():
                if name != "edge_weights":
                    parameter *= OUTPUT_GAIN
            self.angles.weight.zero_()
            self.angles.bias.zero_()

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Depth offsets (B, J) of normalised 2D poses (B, J, 2), in body units, zero at the root."""
        return self.view(pose_2d).depth

    def view(self, pose_2d: Tensor) -> ViewOutput:
        """Depths and view angles of normalised 2D poses (B, J, 2)."""
        mixing = self.mixing_matrices()
        features = self.features(pose_2d, mixing)  # (B, J, C)
        depth = physical_graph(features, mixing[self.output_layer], self.output_layer.graph)  # (B, J, 1)
        depth = depth[:, self.restored_order, 0]
        angles = ANGLE_GAIN * self.angles(features.mean(dim=1))
        roll = angles[:, 1] if angles.shape[1] == 2 else torch.zeros_like(angles[:, 0])
        return ViewOutput(depth - depth[:, self.root : self.root + 1], angles[:, 0], roll)
