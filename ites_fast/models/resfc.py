"""ResFC, the fully connected residual network: the teacher's trunk, and a student to compare with."""

import torch
from torch import Tensor, nn

from ites_fast.skeleton import Skeleton

WEIGHT_STD = 0.01


class ResFC(nn.Module):
    """Depths of the joints by fully connected residual blocks: the teacher's trunk with a depth head.

    The student of C3DPO (Novotny et al., ICCV 2019) and of Chen et al. (CVPR 2019), as ITES compares it with graph
    convolutions. It starts as the teacher does.

    Args:
        skeleton: joints of the input and the output.
        blocks: residual blocks.
        width: features between blocks.
        bottleneck: features inside a block.
    """

    predicts = "depth"

    def __init__(self, skeleton: Skeleton, blocks: int = 6, width: int = 1024, bottleneck: int = 256) -> None:
        super().__init__()
        self.trunk = residual_trunk(2 * skeleton.num_joints, blocks, width, bottleneck)
        self.depth = nn.Linear(width, skeleton.num_joints)
        initialise(self)

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Depth offsets (B, J) of normalised 2D poses (B, J, 2), in body units."""
        return self.depth(self.trunk(pose_2d.flatten(1)))


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


def residual_trunk(inputs: int, blocks: int, width: int, bottleneck: int) -> nn.Sequential:
    """Features (B, ``width``) of vectors (B, ``inputs``) by residual blocks."""
    return nn.Sequential(
        *linear_norm(inputs, width), nn.ReLU(), *(ResidualBlock(width, bottleneck) for _ in range(blocks))
    )


def linear_norm(inputs: int, outputs: int) -> tuple[nn.Linear, nn.BatchNorm1d]:
    """A linear layer and its batch norm; the norm's shift makes a bias useless."""
    return nn.Linear(inputs, outputs, bias=False), nn.BatchNorm1d(outputs)


def initialise(network: nn.Module) -> None:
    """Draw weights from N(0, 0.01) and the scales of the batch norms from U(0, 1), as the released ITES code does."""
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.normal_(module.weight, std=WEIGHT_STD)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm1d):
            nn.init.uniform_(module.weight)
