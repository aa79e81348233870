"""Operator ``edge_softmax``. Formula: ``ites_fast.reference.edge_softmax``."""

import torch
from torch import Tensor

from ites_fast import reference


def edge_softmax(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    """Turn one weight per edge into a matrix that averages each joint's neighbours.

    Differentiable in the weights. See ``reference.edge_softmax``.

    Args:
        edge_weights: one weight for each edge (..., E), self-loops included, in the row-major order of ``adjacency``:
            (E,) shared by all channels, (C, E) per channel, (L, E) or (L, C, E) for L layers at once.
        adjacency: which joints (columns) reach which (rows) (J, J), boolean, E of them true, at least one in each row.

    Returns:
        Mixing matrices (..., J, J) whose rows sum to one, with zeros off the skeleton.

    Raises:
        ValueError: ``adjacency`` is not a square boolean matrix, or ``edge_weights`` has no dimension.
    """
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1] or adjacency.dtype != torch.bool:
        raise ValueError(f"adjacency must be boolean (J, J), got {adjacency.dtype} {tuple(adjacency.shape)}")
    if edge_weights.ndim == 0:
        raise ValueError("edge_weights must be (..., E), got a scalar")
    return _forward(edge_weights.contiguous(), adjacency.contiguous())


@torch.library.custom_op("ites_fast::edge_softmax", mutates_args=())
def _forward(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    if edge_weights.shape[-1] != (edges := int(adjacency.sum())):
        raise ValueError(f"edge_weights must be (..., {edges}), one for each edge, got {tuple(edge_weights.shape)}")
    return reference.edge_softmax(edge_weights, adjacency)


@_forward.register_fake
def _(edge_weights, adjacency):
    return edge_weights.new_empty(*edge_weights.shape[:-1], *adjacency.shape)


@torch.library.custom_op("ites_fast::edge_softmax_backward", mutates_args=())
def _backward(grad_mixing: Tensor, mixing: Tensor, adjacency: Tensor, edges: int) -> Tensor:
    weighted = mixing * grad_mixing
    grad_logits = weighted - mixing * weighted.sum(dim=-1, keepdim=True)  # (..., J, J)
    return grad_logits[..., adjacency].contiguous()


@_backward.register_fake
def _(grad_mixing, mixing, adjacency, edges):
    return mixing.new_empty(*mixing.shape[:-2], edges)


def _setup_context(ctx, inputs, output) -> None:
    edge_weights, adjacency = inputs
    ctx.edges = edge_weights.shape[-1]
    ctx.save_for_backward(output, adjacency)


def _autograd(ctx, grad_mixing: Tensor):
    return _backward(grad_mixing.contiguous(), *ctx.saved_tensors, ctx.edges), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
