"""Operator ``agcn_paper``: a training step of one layer of the paper.

Formula: ``ites_fast.reference.agcn`` with a ``ChannelGraph`` and a ``SoftmaxGraph``. All projections of the features
are one product, ``hidden = [own | values | query hidden | key hidden]``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ites_fast.ops.channel_mix import channel_mix, channel_mix_backward
from ites_fast.ops.compiled import register_triton
from ites_fast.ops.linear import linear, linear_backward
from ites_fast.ops.norm_relu import COMPILED_DTYPES, centre_, channel_sum, norm_relu_backward, norm_relu_forward
from ites_fast.reference.agcn import ChannelGraph, SoftmaxGraph
from ites_fast.reference.norm_relu import EPS


class Folded(NamedTuple):
    """Parameters of the two graphs as the layer uses them; C channels in and D out, I inner channels."""

    projection: Tensor  # (2 D + 2 I, C), rows of own, values, query hidden and key hidden
    query_hidden_bias: Tensor  # (I,)
    query_weight: Tensor  # (I, I)
    query_bias: Tensor  # (I,)
    key_hidden_bias: Tensor  # (I,)
    key_weight: Tensor  # (I, I)
    key_bias: Tensor  # (I,)


def fold(physical: ChannelGraph, nonphysical: SoftmaxGraph) -> Folded:
    """Fold the parameters of the two graphs; gradients flow back through the fold."""
    hidden_weights = [nonphysical.query_hidden_weight, nonphysical.key_hidden_weight]
    return Folded(
        torch.cat([physical.weight.mT, nonphysical.value_weight.mT, *hidden_weights]),
        *(nonphysical.query_hidden_bias, nonphysical.query_weight.contiguous(), nonphysical.query_bias),
        *(nonphysical.key_hidden_bias, nonphysical.key_weight.contiguous(), nonphysical.key_bias),
    )


class Mixed(NamedTuple):
    """The sum of the two graphs, and what its backward needs."""

    mixed: Tensor  # (B, J, D)
    hidden: Tensor  # (B, J, 2 D + 2 I)
    query_hidden: Tensor  # (B, J, I), after bias and ReLU
    key_hidden: Tensor  # (B, J, I)
    queries: Tensor  # (B, J, I)
    keys: Tensor  # (B, J, I)
    affinity: Tensor  # (B, J, J)
    physical: Tensor  # (B, J, D), after its ReLU


def mix(features: Tensor, mixing: Tensor, adjacency: Tensor, folded: Folded) -> Mixed:
    """``reference.graph_sum`` of contiguous features (B, J, C)."""
    hidden = linear(features, folded.projection)
    own, values, query_hidden, key_hidden = _split(hidden, mixing.shape[0])
    query_hidden = (query_hidden + folded.query_hidden_bias).relu_()
    key_hidden = (key_hidden + folded.key_hidden_bias).relu_()
    queries = linear(query_hidden, folded.query_weight) + folded.query_bias
    keys = linear(key_hidden, folded.key_weight) + folded.key_bias
    affinity = (queries @ keys.mT).softmax(dim=-1)
    physical = channel_mix(own, mixing, adjacency).relu_()
    mixed = torch.baddbmm(physical, affinity, values)
    return Mixed(mixed, hidden, query_hidden, key_hidden, queries, keys, affinity, physical)


class Layer(NamedTuple):
    """The output of a layer, its statistics, and what its backward needs: the fields of ``Mixed``, centred."""

    output: Tensor  # (B, J, D)
    mean: Tensor  # (D,), of mixed
    var: Tensor  # (D,), of mixed
    mixed: Tensor  # (B, J, D), without its mean
    hidden: Tensor
    query_hidden: Tensor
    key_hidden: Tensor
    queries: Tensor
    keys: Tensor
    affinity: Tensor
    physical: Tensor


@torch.library.custom_op("ites_fast::agcn_paper", mutates_args=())
def forward(
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_hidden_bias: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_hidden_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    scale: Tensor,
    shift: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run one layer in training; returns the fields of ``Layer``.

    Args:
        features: (B, J, C).
        mixing: edge matrices (D, J, J).
        adjacency: where they may differ from zero (J, J), boolean.
        projection, query_hidden_bias, query_weight, query_bias, key_hidden_bias, key_weight, key_bias: the fields of
            ``Folded``.
        scale: scale of the layer's batch norm (D,).
        shift: shift of the layer's batch norm (D,).
    """
    queries = (query_hidden_bias, query_weight, query_bias)
    folded = Folded(projection, *queries, key_hidden_bias, key_weight, key_bias)
    return _forward_in_pytorch(features, mixing, adjacency, folded, scale, shift)


def _forward_in_pytorch(
    features: Tensor, mixing: Tensor, adjacency: Tensor, folded: Folded, scale: Tensor, shift: Tensor
) -> Layer:
    mixed, *rest = mix(features, mixing, adjacency, folded)
    mean, var = centre_(mixed)
    return Layer(norm_relu_forward(mixed, var, scale, shift), mean, var, mixed, *rest)


@register_triton(forward)
def _(features, mixing, adjacency, *parameters):
    *folded, scale, shift = parameters
    folded = Folded(*folded)
    if not _fits_kernels(features, mixing, folded.query_weight):
        return _forward_in_pytorch(features, mixing, adjacency, folded, scale, shift)
    from ites_fast.kernels.agcn_paper import agcn_paper_fwd

    return agcn_paper_fwd(features, mixing, adjacency.contiguous(), *folded, scale, shift, EPS)


@forward.register_fake
def _(features, mixing, adjacency, projection, query_hidden_bias, query_weight, query_bias, *rest):
    (B, J, _), D, inner = features.shape, mixing.shape[0], query_bias.shape[0]
    output, mixed, physical = (features.new_empty(B, J, D) for _ in range(3))
    mean, var = (features.new_empty(D) for _ in range(2))
    hidden = features.new_empty(B, J, projection.shape[0])
    inner_features = (features.new_empty(B, J, inner) for _ in range(4))
    return output, mean, var, mixed, hidden, *inner_features, features.new_empty(B, J, J), physical


@torch.library.custom_op("ites_fast::agcn_paper_backward", mutates_args=())
def backward(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    scale: Tensor,
    shift: Tensor,
    output: Tensor,
    var: Tensor,
    mixed: Tensor,
    hidden: Tensor,
    query_hidden: Tensor,
    key_hidden: Tensor,
    queries: Tensor,
    keys: Tensor,
    affinity: Tensor,
    physical: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the arguments of ``forward`` but the adjacency, in their order.

    What the ReLU let through is read from ``output`` in PyTorch, and computed again from ``mixed`` and ``shift`` in
    the kernels.
    """
    parameters = (mixing, adjacency, projection, query_weight, key_weight, scale)
    saved = (output, var, mixed, hidden, query_hidden, key_hidden, queries, keys, affinity, physical)
    return _backward_in_pytorch(grad_output, features, *parameters, *saved)


@register_triton(backward)
def _(grad_output, features, mixing, adjacency, projection, query_weight, key_weight, scale, shift, output, *saved):
    parameters = (mixing, adjacency, projection, query_weight, key_weight, scale)
    if not _fits_kernels(features, mixing, query_weight):
        return _backward_in_pytorch(grad_output, features, *parameters, output, *saved)
    from ites_fast.kernels.agcn_paper import agcn_paper_bwd

    parameters = (mixing, adjacency.contiguous(), projection, query_weight, key_weight, scale, shift)
    return agcn_paper_bwd(grad_output, features, *parameters, *saved, EPS)


@torch.library.custom_op("ites_fast::agcn_paper_inference", mutates_args=())
def inference(
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_hidden_bias: Tensor,
    query_weight: Tensor,
    query_bias: Tensor,
    key_hidden_bias: Tensor,
    key_weight: Tensor,
    key_bias: Tensor,
    factor: Tensor,
    constant: Tensor,
) -> Tensor:
    """Run one layer in inference, without a gradient: ``relu(factor * (physical + nonphysical) + constant)``.

    Args:
        features: x (B, J, C).
        mixing: edge matrices (D, J, J).
        adjacency: where they may differ from zero (J, J), boolean.
        projection, query_hidden_bias, query_weight, query_bias, key_hidden_bias, key_weight, key_bias: the fields of
            ``Folded``.
        factor: what the layer's batch norm multiplies by (D,).
        constant: what it adds (D,).

    Returns:
        Features (B, J, D).
    """
    queries = (query_hidden_bias, query_weight, query_bias)
    folded = Folded(projection, *queries, key_hidden_bias, key_weight, key_bias)
    return inference_in_pytorch(features, mixing, adjacency, folded, factor, constant)


def inference_in_pytorch(
    features: Tensor, mixing: Tensor, adjacency: Tensor, folded: Folded, factor: Tensor, constant: Tensor
) -> Tensor:
    """``inference`` as PyTorch differentiates it."""
    return torch.addcmul(constant, mix(features, mixing, adjacency, folded).mixed, factor).relu_()


@register_triton(inference)
def _(features, mixing, adjacency, *parameters):
    *folded, factor, constant = parameters
    folded = Folded(*folded)
    if not _fits_kernels(features, mixing, folded.query_weight):
        return inference_in_pytorch(features, mixing, adjacency, folded, factor, constant)
    from ites_fast.kernels.agcn_paper_inference import agcn_paper_inference_fwd

    return agcn_paper_inference_fwd(features, mixing, adjacency, *folded, factor, constant)


@inference.register_fake
def _(features, mixing, *_):
    return features.new_empty(*features.shape[:2], mixing.shape[0])


def _fits_kernels(features: Tensor, mixing: Tensor, query_weight: Tensor) -> bool:
    """Whether there are kernels for features (B, J, C) of this kind, with D channels out and I inner channels."""
    J, D, inner = features.shape[1], mixing.shape[0], query_weight.shape[0]
    return features.dtype in COMPILED_DTYPES and 1 <= J <= 32 and D % 32 == 0 and 1 <= inner <= 128


def _backward_in_pytorch(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    adjacency: Tensor,
    projection: Tensor,
    query_weight: Tensor,
    key_weight: Tensor,
    scale: Tensor,
    output: Tensor,
    var: Tensor,
    mixed: Tensor,
    hidden: Tensor,
    query_hidden: Tensor,
    key_hidden: Tensor,
    queries: Tensor,
    keys: Tensor,
    affinity: Tensor,
    physical: Tensor,
) -> tuple[Tensor, ...]:
    D = mixing.shape[0]
    own, values, _, _ = _split(hidden, D)
    grad_hidden = torch.empty_like(hidden)
    grad_own, grad_values, grad_query_hidden, grad_key_hidden = _split(grad_hidden, D)
    grad_mixed, grad_scale, grad_shift = norm_relu_backward(grad_output, output, mixed, var, scale)

    grad_physical = torch.ops.aten.threshold_backward(grad_mixed, physical, 0)
    grad_own_features, grad_mixing = channel_mix_backward(grad_physical, own, mixing, adjacency)
    grad_own.copy_(grad_own_features)

    grad_values.copy_(affinity.mT @ grad_mixed)
    grad_logits = torch._softmax_backward_data(grad_mixed @ values.mT, affinity, -1, affinity.dtype)  # (B, J, J)
    grad_queries, grad_keys = grad_logits @ keys, grad_logits.mT @ queries  # (B, J, I)
    grad, grad_query_weight = linear_backward(grad_queries, query_hidden, query_weight)
    grad_query_hidden.copy_(torch.ops.aten.threshold_backward(grad, query_hidden, 0))
    grad, grad_key_weight = linear_backward(grad_keys, key_hidden, key_weight)
    grad_key_hidden.copy_(torch.ops.aten.threshold_backward(grad, key_hidden, 0))

    grad_features, grad_projection = linear_backward(grad_hidden, features, projection)
    return (
        grad_features,
        grad_mixing,
        grad_projection,
        *(channel_sum(grad_query_hidden), grad_query_weight, channel_sum(grad_queries)),
        # what is added to all keys adds one constant to all logits of a joint, which the softmax cancels
        *(channel_sum(grad_key_hidden), grad_key_weight, grad_keys.new_zeros(grad_keys.shape[2])),
        grad_scale,
        grad_shift,
    )


@backward.register_fake
def _(grad_output, features, mixing, adjacency, projection, query_weight, key_weight, scale, *saved):
    like, (inner, _) = torch.empty_like, query_weight.shape
    perceptrons = (
        tensor
        for weight in (query_weight, key_weight)
        for tensor in (weight.new_empty(inner), like(weight), weight.new_empty(inner))
    )
    return like(features), like(mixing), like(projection), *perceptrons, like(scale), like(scale)


def _split(hidden: Tensor, D: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """View hidden features (B, J, 2 D + 2 I) as own, values, query hidden and key hidden."""
    inner = (hidden.shape[2] - 2 * D) // 2
    return hidden.split([D, D, inner, inner], dim=2)


def _setup_context(ctx, inputs, output) -> None:
    features, mixing, adjacency, projection, _, query_weight, _, _, key_weight, _, scale, shift = inputs
    # without this, zeros would be made for the gradient of each output that has none
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    layer = Layer(*output)
    parameters = (features, mixing, adjacency, projection, query_weight, key_weight, scale, shift)
    ctx.save_for_backward(*parameters, layer.output, *layer[2:])


def _autograd(ctx, grad_output: Tensor | None, *_):
    if grad_output is None:
        return (None,) * 12
    grad_features, grad_mixing, *others = backward(grad_output.contiguous(), *ctx.saved_tensors)
    return grad_features, grad_mixing, None, *others


forward.register_autograd(_autograd, setup_context=_setup_context)
