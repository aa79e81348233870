"""Lifters of detected poses: they move noisy joints and fill in missing ones before they lift."""

from typing import Literal

import torch
from torch import Tensor, nn

from ites_fast.models.resfc import linear_norm
from ites_fast.models.student import AdaptiveTrunk, Affinity, EdgeWeights, Graphs
from ites_fast.models.view_lifter import Corrected
from ites_fast.ops import physical_graph
from ites_fast.skeleton import Skeleton

CHANNELS = 3  # of a joint: x, y and whether it was seen; on the way out how far it moves, and its depth
OUTPUT_GAIN = 0.1  # the network starts with a nearly flat pose, and leaves joints nearly where they are


class RobustMLP(nn.Module):
    """Residual network of fully connected layers from a 2D pose with its visibility to a corrected 2D pose and depths.

    The trunk is that of ``DepthMLP`` (Martinez et al., ICCV 2017). With 17 joints, the default width and half precision
    the weights take 2.0 MB.

    Args:
        skeleton: joints of the input and the output.
        width: features of every hidden layer.
        blocks: residual blocks of two layers.
    """

    predicts = "corrected"

    def __init__(self, skeleton: Skeleton, width: int = 480, blocks: int = 2) -> None:
        super().__init__()
        self.root = skeleton.root
        size = CHANNELS * skeleton.num_joints
        self.input_layer = _layer(size, width)
        self.blocks = nn.ModuleList(nn.Sequential(*_layer(width, width), *_layer(width, width)) for _ in range(blocks))
        self.output_layer = nn.Linear(width, size)
        with torch.no_grad():
            self.output_layer.weight *= OUTPUT_GAIN
            self.output_layer.bias.zero_()

    def forward(self, pose_2d: Tensor, visible: Tensor | None = None) -> Corrected:
        """Correct and lift normalised 2D poses.

        Args:
            pose_2d: network input (B, J, 2), missing joints in the origin.
            visible: the joints that were seen (B, J), None for all.
        """
        seen = seen_joints(pose_2d, visible)
        features = self.input_layer(torch.cat([pose_2d.flatten(1), seen], dim=1))  # (B, width)
        for block in self.blocks:
            features = features + block(features)
        output = self.output_layer(features)
        joints = seen.shape[1]
        return _corrected(pose_2d, output[:, : 2 * joints].view_as(pose_2d), output[:, 2 * joints :], self.root)


class RobustGCN(AdaptiveTrunk):
    """``AdaptiveGCN`` with three channels in and out: a joint's position and whether it was seen; its move and depth.

    Arguments and errors are the trunk's.
    """

    predicts = "corrected"

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Literal["paper", "official"] = "official",
        channels: int = 128,
        blocks: int = 4,
        graphs: Graphs = "both",
        edge_weights: EdgeWeights | None = None,
        affinity: Affinity | None = None,
    ) -> None:
        super().__init__(skeleton, variant, channels, blocks, graphs, edge_weights, affinity)
        self.root = skeleton.root
        self.input_layer.physical = self.physical(CHANNELS, channels)
        self.output_layer = self.physical(channels, CHANNELS)
        with torch.no_grad():
            for name, parameter in self.output_layer.named_parameters():
                if name != "edge_weights":
                    parameter *= OUTPUT_GAIN

    def forward(self, pose_2d: Tensor, visible: Tensor | None = None) -> Corrected:
        """Correct and lift normalised 2D poses.

        Args:
            pose_2d: network input (B, J, 2), missing joints in the origin.
            visible: the joints that were seen (B, J), None for all.
        """
        mixing = self.mixing_matrices()
        features = self.features(torch.cat([pose_2d, seen_joints(pose_2d, visible)[..., None]], dim=-1), mixing)
        output = physical_graph(features, mixing[self.output_layer], self.output_layer.graph)
        output = output[:, self.restored_order]  # (B, J, 3)
        return _corrected(pose_2d, output[..., :2], output[..., 2], self.root)


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*linear_norm(inputs, outputs), nn.ReLU(inplace=True))


def seen_joints(pose_2d: Tensor, visible: Tensor | None) -> Tensor:
    """Ones (B, J) where joints were seen."""
    return torch.ones_like(pose_2d[..., 0]) if visible is None else visible.to(pose_2d.dtype)


def _corrected(pose_2d: Tensor, move: Tensor, depth: Tensor, root: int) -> Corrected:
    return Corrected(pose_2d + move, depth - depth[:, root : root + 1])
