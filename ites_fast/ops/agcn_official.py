r"""Operator ``agcn_official``: a training step of one layer of the released code, re-expressed.

Formula: ``ites_fast.reference.agcn`` with a ``SharedGraph`` and a ``ConcatGraph``. The re-expression is exact:

* All projections of the features are one product, ``hidden = [own | neighbours | values | keys]``.
* Queries are linear and only their inner product with half of w is used, so one vector takes their place. The tensor
  of concatenated pairs (B, 2 I, J, K) is never made: the affinity is :math:`\mathrm{relu}(t_i + s_k) / K`.
* The output projection is applied to the K pooled values, before they are spread over J joints.
* Inside the layer's batch norm all constants of a channel cancel, so the inner batch norm is one factor,
  :math:`k = \gamma_1 / \sigma_1`, and the biases have no gradient: ``mixed = x + physical + k * aggregated``.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ites_fast.ops.compiled import register_triton
from ites_fast.ops.linear import linear, linear_backward
from ites_fast.ops.norm_relu import COMPILED_DTYPES, centre_, channel_sum, norm_relu_backward, norm_relu_forward
from ites_fast.reference.agcn import ConcatGraph, SharedGraph, split_mixing
from ites_fast.reference.norm_relu import EPS


class Folded(NamedTuple):
    """Parameters of the two graphs as the re-expressed layer uses them; C channels, I inner channels."""

    projection: Tensor  # (2 C + 2 I, C), rows of own, neighbours, values and keys
    query: Tensor  # (C,), the query projection and half of w
    query_bias: Tensor  # (), the constants of queries and keys
    key: Tensor  # (I,), the other half of w
    output_weight: Tensor  # (C, I)
    output_offset: Tensor  # (C,), what the bias of the values adds to each pair


def fold(physical: SharedGraph, nonphysical: ConcatGraph) -> Folded:
    """Fold the parameters of the two graphs; gradients flow back through the folds."""
    projection = torch.cat(
        [physical.self_weight.mT, physical.neighbour_weight.mT, nonphysical.value_weight, nonphysical.key_weight]
    )
    query_half, key_half = nonphysical.affinity_weight.split(nonphysical.key_bias.shape[0])
    return Folded(
        projection,
        query_half @ nonphysical.query_weight,
        query_half @ nonphysical.query_bias + key_half @ nonphysical.key_bias,
        key_half.contiguous(),
        nonphysical.output_weight.contiguous(),
        nonphysical.output_weight @ nonphysical.value_bias,
    )


def aggregate(features: Tensor, folded: Folded) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return hidden (B, J, 2 C + 2 I), affinity (B, J, K), pair_values (B, K, C) and aggregated (B, J, C)."""
    hidden = linear(features, folded.projection)
    _, _, values, keys = _split(hidden, features.shape[2])
    pair_values = linear(_pair_maximum(values), folded.output_weight) + folded.output_offset
    t = features @ folded.query + folded.query_bias  # (B, J)
    s = _pair_maximum(keys) @ folded.key  # (B, K)
    affinity = (t[:, :, None] + s[:, None, :]).relu() / max(s.shape[1], 1)
    return hidden, affinity, pair_values, affinity @ pair_values


def mix(features: Tensor, mixing: Tensor, hidden: Tensor, aggregated: Tensor, inner_factor: Tensor) -> Tensor:
    """Return ``x + physical + k * aggregated`` (B, J, C), without constants."""
    B, J, C = features.shape
    own, neighbours, _, _ = _split(hidden, C)
    own_mixing, neighbour_mixing = split_mixing(mixing)
    mixed = torch.addcmul(features, own, own_mixing)
    mixed.baddbmm_(neighbour_mixing.expand(B, J, J), neighbours)
    return mixed.addcmul_(aggregated, inner_factor)


class Layer(NamedTuple):
    """The output of a layer, its statistics before constants are added, and what its backward needs."""

    output: Tensor  # (B, J, C)
    mean: Tensor  # (C,), of mixed
    var: Tensor  # (C,), of mixed
    inner_mean: Tensor  # (C,), of aggregated
    inner_var: Tensor  # (C,), of aggregated
    hidden: Tensor  # (B, J, 2 C + 2 I)
    affinity: Tensor  # (B, J, K)
    pair_values: Tensor  # (B, K, C)
    aggregated: Tensor  # (B, J, C), without its mean
    mixed: Tensor  # (B, J, C), without its mean


@torch.library.custom_op("ites_fast::agcn_official", mutates_args=())
def forward(
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    query_bias: Tensor,
    key: Tensor,
    output_weight: Tensor,
    output_offset: Tensor,
    inner_scale: Tensor,
    scale: Tensor,
    shift: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Run one layer in training; returns the fields of ``Layer``.

    Args:
        features: x (B, J, C).
        mixing: edge matrix (J, J).
        projection, query, query_bias, key, output_weight, output_offset: the fields of ``Folded``.
        inner_scale: scale of the inner batch norm (C,).
        scale: scale of the layer's batch norm (C,).
        shift: shift of the layer's batch norm (C,).
    """
    folded = Folded(projection, query, query_bias, key, output_weight, output_offset)
    return _forward_in_pytorch(features, mixing, folded, inner_scale, scale, shift)


def _forward_in_pytorch(
    features: Tensor, mixing: Tensor, folded: Folded, inner_scale: Tensor, scale: Tensor, shift: Tensor
) -> Layer:
    hidden, affinity, pair_values, aggregated = aggregate(features, folded)
    inner_mean, inner_var = centre_(aggregated)
    mixed = mix(features, mixing, hidden, aggregated, inner_scale * (inner_var + EPS).rsqrt())
    mean, var = centre_(mixed)
    output = norm_relu_forward(mixed, var, scale, shift)
    return Layer(output, mean, var, inner_mean, inner_var, hidden, affinity, pair_values, aggregated, mixed)


@register_triton(forward)
def _(features, mixing, projection, query, query_bias, key, output_weight, output_offset, inner_scale, scale, shift):
    folded = Folded(projection, query, query_bias, key, output_weight, output_offset)
    if not _fits_kernels(features, key):
        return _forward_in_pytorch(features, mixing, folded, inner_scale, scale, shift)
    from ites_fast.kernels.agcn_official import agcn_official_fwd

    return agcn_official_fwd(features, mixing, *folded, inner_scale, scale, shift, EPS)


@torch.library.custom_op("ites_fast::agcn_official_inference", mutates_args=())
def inference(
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    query_bias: Tensor,
    key: Tensor,
    output_weight: Tensor,
    output_offset: Tensor,
    inner_factor: Tensor,
    factor: Tensor,
    constant: Tensor,
) -> Tensor:
    """Run one layer in inference, without a gradient: ``relu(factor * (x + physical + k * aggregated) + constant)``.

    Args:
        features: x (B, J, C).
        mixing: edge matrix (J, J).
        projection, query, query_bias, key, output_weight, output_offset: the fields of ``Folded``.
        inner_factor: k (C,), what the inner batch norm multiplies by.
        factor: what the layer's batch norm multiplies by (C,).
        constant: everything that both batch norms and the biases add (C,).

    Returns:
        Features (B, J, C).
    """
    folded = Folded(projection, query, query_bias, key, output_weight, output_offset)
    return inference_in_pytorch(features, mixing, folded, inner_factor, factor, constant)


def inference_in_pytorch(
    features: Tensor, mixing: Tensor, folded: Folded, inner_factor: Tensor, factor: Tensor, constant: Tensor
) -> Tensor:
    """``inference`` as PyTorch differentiates it."""
    hidden, _, _, aggregated = aggregate(features, folded)
    mixed = mix(features, mixing, hidden, aggregated, inner_factor)
    return torch.addcmul(constant, mixed, factor).relu_()


@register_triton(inference)
def _(features, mixing, projection, query, query_bias, key, output_weight, output_offset, *factors):
    folded = Folded(projection, query, query_bias, key, output_weight, output_offset)
    if not _fits_kernels(features, key):
        return inference_in_pytorch(features, mixing, folded, *factors)
    from ites_fast.kernels.agcn_official_inference import agcn_official_inference_fwd

    return agcn_official_inference_fwd(features, mixing, *folded, *factors)


@inference.register_fake
def _(features, *_):
    return torch.empty_like(features)


def _fits_kernels(features: Tensor, key: Tensor) -> bool:
    """Whether there are kernels for features (B, J, C) of this kind, with keys (I,)."""
    _, J, C = features.shape
    return features.dtype in COMPILED_DTYPES and 1 <= J <= 32 and C % 32 == 0 and 1 <= key.shape[0] <= 128


@forward.register_fake
def _(features, mixing, projection, query, query_bias, key, output_weight, output_offset, inner_scale, scale, shift):
    B, J, C = features.shape
    statistics = (torch.empty_like(scale) for _ in range(4))
    hidden = features.new_empty(B, J, projection.shape[0])
    affinity = features.new_empty(B, J, J // 2)
    pair_values = features.new_empty(B, J // 2, C)
    output, aggregated, mixed = (torch.empty_like(features) for _ in range(3))
    return output, *statistics, hidden, affinity, pair_values, aggregated, mixed


@torch.library.custom_op("ites_fast::agcn_official_backward", mutates_args=())
def backward(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    key: Tensor,
    output_weight: Tensor,
    inner_scale: Tensor,
    scale: Tensor,
    shift: Tensor,
    output: Tensor,
    var: Tensor,
    inner_var: Tensor,
    hidden: Tensor,
    affinity: Tensor,
    pair_values: Tensor,
    aggregated: Tensor,
    mixed: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of the arguments of ``forward``, in their order.

    What the ReLU let through is read from ``output`` in PyTorch, and computed again from ``mixed`` and ``shift`` in
    the kernels.
    """
    parameters = (mixing, projection, query, key, output_weight, inner_scale, scale)
    saved = (output, var, inner_var, hidden, affinity, pair_values, aggregated, mixed)
    return _backward_in_pytorch(grad_output, features, *parameters, *saved)


@register_triton(backward)
def _(grad_output, features, mixing, projection, query, key, output_weight, inner_scale, scale, shift, output, *saved):
    parameters = (mixing, projection, query, key, output_weight, inner_scale, scale)
    if not _fits_kernels(features, key):
        return _backward_in_pytorch(grad_output, features, *parameters, output, *saved)
    from ites_fast.kernels.agcn_official_backward import agcn_official_bwd

    return agcn_official_bwd(grad_output, features, *parameters, shift, *saved, EPS)


def _backward_in_pytorch(
    grad_output: Tensor,
    features: Tensor,
    mixing: Tensor,
    projection: Tensor,
    query: Tensor,
    key: Tensor,
    output_weight: Tensor,
    inner_scale: Tensor,
    scale: Tensor,
    output: Tensor,
    var: Tensor,
    inner_var: Tensor,
    hidden: Tensor,
    affinity: Tensor,
    pair_values: Tensor,
    aggregated: Tensor,
    mixed: Tensor,
) -> tuple[Tensor, ...]:
    (B, J, C), K = features.shape, affinity.shape[2]
    own, neighbours, values, keys = _split(hidden, C)
    grad_hidden = torch.empty_like(hidden)
    grad_own, grad_neighbours, grad_values, grad_keys = _split(grad_hidden, C)
    grad_mixed, grad_scale, grad_shift = norm_relu_backward(grad_output, output, mixed, var, scale)

    own_mixing, neighbour_mixing = split_mixing(mixing)
    torch.mul(grad_mixed, own_mixing, out=grad_own)
    grad_neighbours.copy_(torch.bmm(neighbour_mixing.mT.expand(B, J, J), grad_mixed))
    grad_mixing = torch.bmm(grad_mixed, neighbours.mT).sum(dim=0)  # (J, J)
    grad_mixing.diagonal().copy_((grad_mixed * own).sum(dim=2).sum(dim=0))

    # grad_mixed sums to zero over each channel, which shortens the backward of the inner batch norm
    rstd = (inner_var + EPS).rsqrt()
    factor = inner_scale * rstd
    grad_inner_scale = rstd * channel_sum(grad_mixed * aggregated)
    slope = -factor * rstd * grad_inner_scale / (B * J)
    grad_aggregated = torch.mul(grad_mixed, factor).addcmul_(aggregated, slope)

    grad_pair_values = affinity.mT @ grad_aggregated  # (B, K, C)
    grad_affinity = torch.ops.aten.threshold_backward(grad_aggregated @ pair_values.mT, affinity, 0) / max(K, 1)
    grad_t, grad_s = grad_affinity.sum(dim=2), grad_affinity.sum(dim=1)  # (B, J), (B, K)
    grad_pooled, grad_output_weight = linear_backward(grad_pair_values, _pair_maximum(values), output_weight)
    _pair_maximum_backward(grad_pooled, values, grad_values)
    _pair_maximum_backward(grad_s[:, :, None] * key, keys, grad_keys)

    grad_features, grad_projection = linear_backward(grad_hidden, features, projection)
    grad_features.add_(grad_mixed).addcmul_(grad_t[:, :, None], query)
    return (
        grad_features,
        grad_mixing,
        grad_projection,
        features.flatten(0, 1).mT @ grad_t.flatten(),
        grad_t.sum(),
        _pair_maximum(keys).flatten(0, 1).mT @ grad_s.flatten(),
        grad_output_weight,
        channel_sum(grad_pair_values),
        grad_inner_scale,
        grad_scale,
        grad_shift,
    )


@backward.register_fake
def _(grad_output, features, mixing, projection, query, key, output_weight, inner_scale, scale, *saved):
    like = torch.empty_like
    layer = (like(features), like(mixing), like(projection), like(query), query.new_empty(()), like(key))
    return *layer, like(output_weight), like(scale), like(inner_scale), like(scale), like(scale)


def _split(hidden: Tensor, C: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """View hidden features (B, J, 2 C + 2 I) as own, neighbours, values and keys."""
    inner = (hidden.shape[2] - 2 * C) // 2
    return hidden.split([C, C, inner, inner], dim=2)


def _pair_maximum(features: Tensor) -> Tensor:
    """Maximum over joints 2k and 2k + 1, from (B, J, I) to contiguous (B, J // 2, I)."""
    even, odd = _pairs(features)
    return torch.maximum(even, odd)


def _pair_maximum_backward(grad_maximum: Tensor, features: Tensor, grad_features: Tensor) -> None:
    """Write the gradient of ``_pair_maximum`` to ``grad_features``; the even joint gets it where both are equal."""
    even, odd = _pairs(features)
    grad_even, grad_odd = _pairs(grad_features)
    grad_odd.copy_(torch.ops.aten.threshold_backward(grad_maximum, odd - even, 0))
    torch.sub(grad_maximum, grad_odd, out=grad_even)
    grad_features[:, 2 * grad_maximum.shape[1] :].zero_()


def _pairs(features: Tensor) -> tuple[Tensor, Tensor]:
    paired = features[:, : features.shape[1] // 2 * 2]
    return paired[:, 0::2], paired[:, 1::2]


def _setup_context(ctx, inputs, output) -> None:
    features, mixing, projection, query, _, key, output_weight, _, inner_scale, scale, shift = inputs
    # without this, zeros would be made for the gradient of each output that has none
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(*output[1:])
    layer = Layer(*output)
    saved = (layer.output, layer.var, layer.inner_var, *output[5:])
    parameters = (mixing, projection, query, key, output_weight, inner_scale, scale, shift)
    ctx.save_for_backward(features, *parameters, *saved)


def _autograd(ctx, grad_output: Tensor | None, *_):
    if grad_output is None:
        return (None,) * 11
    return backward(grad_output.contiguous(), *ctx.saved_tensors)


forward.register_autograd(_autograd, setup_context=_setup_context)
