"""Operator ``edge_softmax``. Formula: ``ites_fast.reference.edge_softmax``."""

import torch
from torch import Tensor
from torch.utils.weak import WeakTensorKeyDictionary

from ites_fast import reference
from ites_fast.ops.compiled import register_triton

# Of adjacencies that were counted: their version and number of edges. To read the number waits for a GPU.
_counted = WeakTensorKeyDictionary()


def edge_softmax(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    """Turn one weight per edge into a matrix that averages each joint's neighbours.

    Differentiable in the weights. See ``reference.edge_softmax``.

    The edges of an adjacency are counted when it is seen for the first time, and again after it was changed in place.
    On a GPU only that waits for the device. A call that is captured in a CUDA graph before its adjacency was counted
    is not checked, and reads nothing outside of its arguments even so.

    Args:
        edge_weights: one weight for each edge (..., E), self-loops included, in the row-major order of ``adjacency``:
            (E,) shared by all channels, (C, E) per channel, (L, E) or (L, C, E) for L layers at once.
        adjacency: which joints (columns) reach which (rows) (J, J), boolean, E of them true, at least one in each row.

    Returns:
        Mixing matrices (..., J, J) whose rows sum to one, with zeros off the skeleton.

    Raises:
        ValueError: ``adjacency`` is not a square boolean matrix, or ``edge_weights`` has no dimension or not one weight
            for each edge.
    """
    if adjacency.ndim != 2 or adjacency.shape[0] != adjacency.shape[1] or adjacency.dtype != torch.bool:
        raise ValueError(f"adjacency must be boolean (J, J), got {adjacency.dtype} {tuple(adjacency.shape)}")
    if edge_weights.ndim == 0:
        raise ValueError("edge_weights must be (..., E), got a scalar")
    return _forward(edge_weights.contiguous(), adjacency.contiguous())


def _count_edges(adjacency: Tensor) -> int | None:
    """The number of edges, remembered while the adjacency lives and does not change.

    None where it is not known and a CUDA graph is captured, in which nothing can be read.
    """
    version = None if adjacency.is_inference() else adjacency._version  # an inference tensor has none
    counted, edges = _counted.get(adjacency, (None, None))
    if version is not None and version == counted:
        return edges
    if adjacency.is_cuda and torch.cuda.is_current_stream_capturing():
        return None
    edges = int(adjacency.sum())
    if version is not None:
        _counted[adjacency] = version, edges
    return edges


def _check_edges(edge_weights: Tensor, adjacency: Tensor) -> None:
    if (edges := _count_edges(adjacency)) not in (None, edge_weights.shape[-1]):
        raise ValueError(f"edge_weights must be (..., {edges}), one for each edge, got {tuple(edge_weights.shape)}")


@torch.library.custom_op("ites_fast::edge_softmax", mutates_args=())
def _forward(edge_weights: Tensor, adjacency: Tensor) -> Tensor:
    _check_edges(edge_weights, adjacency)
    return reference.edge_softmax(edge_weights, adjacency)


@register_triton(_forward)
def _forward_cuda(edge_weights, adjacency):
    from ites_fast.kernels.edge_softmax import edge_softmax_fwd, takes

    _check_edges(edge_weights, adjacency)
    if takes(adjacency, edge_weights):
        return edge_softmax_fwd(edge_weights, adjacency)
    return reference.edge_softmax(edge_weights, adjacency)


@_forward.register_fake
def _(edge_weights, adjacency):
    return edge_weights.new_empty(*edge_weights.shape[:-1], *adjacency.shape)


@_forward.register_vmap
def _(info, in_dims, edge_weights, adjacency):
    return _forward(_leading(edge_weights, in_dims[0], info.batch_size), _shared(adjacency, in_dims[1])), 0


def _leading(tensor: Tensor, dim: int | None, batch_size: int) -> Tensor:
    """``tensor`` with the dimension that ``vmap`` maps over in front."""
    mapped = tensor.expand(batch_size, *tensor.shape) if dim is None else tensor.movedim(dim, 0)
    return mapped.contiguous()


def _shared(adjacency: Tensor, dim: int | None) -> Tensor:
    if dim is not None:
        raise ValueError("edge_softmax maps over the weights of one skeleton, not over adjacencies")
    return adjacency


def _gradient(grad_mixing: Tensor, mixing: Tensor, adjacency: Tensor) -> Tensor:
    weighted = mixing * grad_mixing
    grad_logits = weighted - mixing * weighted.sum(dim=-1, keepdim=True)  # (..., J, J)
    return grad_logits[..., adjacency].contiguous()


@torch.library.custom_op("ites_fast::edge_softmax_backward", mutates_args=())
def _backward(grad_mixing: Tensor, mixing: Tensor, adjacency: Tensor, edges: int) -> Tensor:
    return _gradient(grad_mixing, mixing, adjacency)


@register_triton(_backward)
def _backward_cuda(grad_mixing, mixing, adjacency, edges):
    from ites_fast.kernels.edge_softmax import edge_softmax_bwd, takes

    if takes(adjacency, grad_mixing, mixing):
        return edge_softmax_bwd(grad_mixing, mixing, adjacency, edges)
    return _gradient(grad_mixing, mixing, adjacency)


@_backward.register_fake
def _(grad_mixing, mixing, adjacency, edges):
    return mixing.new_empty(*mixing.shape[:-2], edges)


@_backward.register_vmap
def _(info, in_dims, grad_mixing, mixing, adjacency, edges):
    mapped = (
        _leading(tensor, dim, info.batch_size) for tensor, dim in zip((grad_mixing, mixing), in_dims, strict=False)
    )
    return _backward(*mapped, _shared(adjacency, in_dims[2]), edges), 0


def _setup_context(ctx, inputs, output) -> None:
    edge_weights, adjacency = inputs
    ctx.edges = edge_weights.shape[-1]
    ctx.save_for_backward(output, adjacency)


def _autograd(ctx, grad_mixing: Tensor):
    return _backward(grad_mixing.contiguous(), *ctx.saved_tensors, ctx.edges), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
