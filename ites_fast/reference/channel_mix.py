"""Mixing of joints with an own edge matrix for each channel."""

import torch
from torch import Tensor


def channel_mix(features: Tensor, mixing: Tensor, adjacency: Tensor) -> Tensor:
    r"""Average each joint's neighbours, with other weights in each channel (ITES, eq. 4).

    .. math:: H_{bid} = \sum_{j \in N(i)} A_{dij} X_{bjd}

    Args:
        features: (B, J, D).
        mixing: the edge matrices A_d (D, J, J), per channel from ``edge_softmax``.
        adjacency: which joints (columns) reach which (rows) (J, J), boolean; other entries of ``mixing`` do not count.

    Returns:
        Features (B, J, D).
    """
    return torch.einsum("dij,bjd->bid", mixing * adjacency, features)
