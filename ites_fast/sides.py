"""Left and right of a body: mirror images of poses, and where a pose faces."""

import torch
from torch import Tensor

from ites_fast.skeleton import Skeleton


def mirrored(pose: Tensor, skeleton: Skeleton) -> Tensor:
    """Mirror images of poses (..., J, D): x negated, left and right swapped."""
    flipped = pose[..., list(skeleton.flip_order), :].clone()
    flipped[..., 0].neg_()
    return flipped


def mirror_half(pose: Tensor, skeleton: Skeleton, generator: torch.Generator) -> Tensor:
    """Poses (B, J, D), each mirrored with probability 1/2."""
    chosen = torch.rand(len(pose), generator=generator, device=pose.device) < 0.5
    return torch.where(chosen[:, None, None], mirrored(pose, skeleton), pose)


def heading(upright: Tensor, skeleton: Skeleton) -> Tensor:
    """Angle (B,) about the vertical at which the line from right to left joints of upright poses (B, J, 3) stands."""
    across = (upright[:, list(skeleton.left)] - upright[:, list(skeleton.right)]).mean(dim=1)
    return torch.atan2(-across[:, 2], across[:, 0])
