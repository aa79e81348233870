"""Trainable edge weights of a skeleton, turned into mixing matrices."""

import torch
from torch import Tensor


def edge_softmax(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    r"""Turn one weight per edge into a matrix that averages each joint's neighbours.

    .. math:: A_{ij} = \frac{\exp e_{ij}}{\sum_{j' \in N(i)} \exp e_{ij'}} \quad \text{for } j \in N(i), \text{ else } 0

    The weights of the joints j that reach one output joint i sum to one. The paper's features are (channels, joints)
    and its columns are normalised (eq. 4), which is the same.

    Args:
        edge_weights: one weight for each edge (..., E), self-loops included, in the row-major order of ``adjacency``;
            the leading dimensions are layers or channels.
        adjacency: which joints (columns) reach which (rows) (J, J), boolean, E of them true, at least one in each row.

    Returns:
        Mixing matrices (..., J, J) with zeros off the skeleton.
    """
    shape = *edge_weights.shape[:-1], *adjacency.shape
    logits = edge_weights.new_full(shape, -torch.inf).masked_scatter(adjacency, edge_weights)
    return logits.softmax(dim=-1)
