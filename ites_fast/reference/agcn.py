r"""One adaptive graph convolution (AGCN) layer: physical graph plus nonphysical graph, batch norm, ReLU.

Joints are in the order that the model chose; where joints are pooled, joints 2k and 2k + 1 form pair k and an odd last
joint belongs to none. B poses, J joints, C channels in and D out, I inner channels, E edges.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from ites_fast.reference.channel_mix import channel_mix
from ites_fast.reference.norm_relu import Norm, Statistics, batch_norm, norm_relu


class SharedGraph(NamedTuple):
    """A physical graph with one edge matrix for all channels, and own weights for a joint and for its neighbours."""

    self_weight: Tensor  # (C, D)
    neighbour_weight: Tensor  # (C, D)
    bias: Tensor  # (D,)


class ChannelGraph(NamedTuple):
    """A physical graph with an edge matrix for each output channel."""

    weight: Tensor  # (C, D)
    adjacency: Tensor  # (J, J), boolean


class ConcatGraph(NamedTuple):
    """A nonphysical graph whose affinity looks at the concatenated features of a joint and of a pair of joints."""

    query_weight: Tensor  # (I, C)
    query_bias: Tensor  # (I,)
    key_weight: Tensor  # (I, C)
    key_bias: Tensor  # (I,)
    value_weight: Tensor  # (I, C)
    value_bias: Tensor  # (I,)
    affinity_weight: Tensor  # (2 I,), for queries and then for keys
    output_weight: Tensor  # (C, I)
    output_bias: Tensor  # (C,)
    norm: Norm


class SoftmaxGraph(NamedTuple):
    """A nonphysical graph whose affinity is the softmax of inner products between two perceptrons' outputs."""

    query_hidden_weight: Tensor  # (I, C)
    query_hidden_bias: Tensor  # (I,)
    query_weight: Tensor  # (I, I)
    query_bias: Tensor  # (I,)
    key_hidden_weight: Tensor  # (I, C)
    key_hidden_bias: Tensor  # (I,)
    key_weight: Tensor  # (I, I)
    key_bias: Tensor  # (I,)
    value_weight: Tensor  # (C, D)


class LayerStatistics(NamedTuple):
    """Statistics of a layer's batch norm, and of the one inside a ``ConcatGraph``."""

    layer: Statistics
    inner: Statistics | None


def agcn(
    features: Tensor,
    mixing: Tensor | None,
    physical: SharedGraph | ChannelGraph | None,
    nonphysical: ConcatGraph | SoftmaxGraph | None,
    norm: Norm,
    statistics: LayerStatistics | None = None,
) -> tuple[Tensor, LayerStatistics]:
    r"""Adaptive graph convolution (ITES, section 3.3).

    .. math:: H = \mathrm{relu}(\mathrm{BN}(P(X) + N(X)))

    P is a ``shared_graph``, or the ReLU of a ``channel_graph`` (eq. 4 has the nonlinearity inside). N is a
    ``softmax_graph`` (eq. 5), or :math:`X + \mathrm{BN}` of a ``concat_graph``. The paper's layer has a channel and a
    softmax graph, the released code's a shared and a concatenation graph. Either may be left out.

    Args:
        features: (B, J, C).
        mixing: ``edge_softmax`` of the physical graph, (J, J) if shared and (D, J, J) per channel.
        physical: parameters of the physical graph.
        nonphysical: parameters of the nonphysical graph.
        norm: the layer's batch norm.
        statistics: for inference; without them the batch is normalised by its own statistics, through which
            gradients flow.

    Returns:
        Features (B, J, D), and the statistics that normalised them.
    """
    mixed, inner = graph_sum(features, mixing, physical, nonphysical, statistics and statistics.inner)
    output, layer = norm_relu(mixed, norm, statistics and statistics.layer)
    return output, LayerStatistics(layer, inner)


def graph_sum(
    features: Tensor,
    mixing: Tensor | None,
    physical: SharedGraph | ChannelGraph | None,
    nonphysical: ConcatGraph | SoftmaxGraph | None,
    inner: Statistics | None = None,
) -> tuple[Tensor, Statistics | None]:
    """Sum of the two graphs (B, J, D), and the statistics of a ``ConcatGraph``'s norm. Arguments: ``agcn``."""
    terms = []
    if isinstance(physical, SharedGraph):
        terms.append(shared_graph(features, mixing, physical))
    elif isinstance(physical, ChannelGraph):
        terms.append(channel_graph(features, mixing, physical).relu())
    if isinstance(nonphysical, ConcatGraph):
        normalised, inner = batch_norm(concat_graph(features, nonphysical), nonphysical.norm, inner)
        terms += [normalised, features]
    elif isinstance(nonphysical, SoftmaxGraph):
        terms.append(softmax_graph(features, nonphysical))
    return sum(terms), inner


def shared_graph(features: Tensor, mixing: Tensor, graph: SharedGraph) -> Tensor:
    r"""Physical graph convolution with one edge matrix (SemGCN; the released code).

    .. math:: H = \mathrm{diag}(A) X W_0 + (A - \mathrm{diag}(A)) X W_1 + b

    Args:
        features: (B, J, C).
        mixing: the edge matrix A (J, J).
        graph: parameters, C channels in and D out.

    Returns:
        Features (B, J, D).
    """
    own, others = split_mixing(mixing)
    return own * (features @ graph.self_weight) + others @ (features @ graph.neighbour_weight) + graph.bias


def split_mixing(mixing: Tensor) -> tuple[Tensor, Tensor]:
    """Split edge matrices (J, J) into the weights of the joints themselves (J, 1) and of their neighbours (J, J)."""
    own = mixing.diagonal()
    return own[:, None], mixing - torch.diag(own)


def channel_graph(features: Tensor, mixing: Tensor, graph: ChannelGraph) -> Tensor:
    r"""Physical graph convolution with an edge matrix for each output channel (ITES, eq. 4 before its ReLU).

    .. math:: H_{:d} = A_d X w_d

    Args:
        features: (B, J, C).
        mixing: the edge matrices A_d (D, J, J).
        graph: parameters, C channels in and D out.

    Returns:
        Features (B, J, D).
    """
    return channel_mix(features @ graph.weight, mixing, graph.adjacency)


def concat_graph(features: Tensor, graph: ConcatGraph) -> Tensor:
    r"""Nonphysical graph convolution with a concatenation affinity (the released code; before its batch norm).

    .. math:: H_i = W_o \frac{1}{K} \sum_k \mathrm{relu}(w^T [\theta x_i ; \phi_k]) g_k + b_o

    Queries are all joints; keys and values are K = J // 2 pairs of joints, each the maximum over its pair.

    Args:
        features: (B, J, C).
        graph: parameters; as many channels out as in.

    Returns:
        Features (B, J, C).
    """
    queries = features @ graph.query_weight.mT + graph.query_bias  # (B, J, I)
    keys = pool_pairs(features @ graph.key_weight.mT + graph.key_bias)  # (B, K, I)
    values = pool_pairs(features @ graph.value_weight.mT + graph.value_bias)  # (B, K, I)
    J, K = queries.shape[1], keys.shape[1]
    pairs = torch.cat(
        [queries[:, :, None].expand(-1, -1, K, -1), keys[:, None].expand(-1, J, -1, -1)], dim=-1
    )  # (B, J, K, 2 I)
    affinity = (pairs @ graph.affinity_weight).relu() / max(K, 1)  # (B, J, K)
    return affinity @ values @ graph.output_weight.mT + graph.output_bias


def pool_pairs(features: Tensor) -> Tensor:
    """Maximum over joints 2k and 2k + 1, from (B, J, C) to (B, J // 2, C); an odd last joint is dropped."""
    K = features.shape[1] // 2
    return features[:, : 2 * K].unflatten(1, (K, 2)).max(dim=2).values


def softmax_graph(features: Tensor, graph: SoftmaxGraph) -> Tensor:
    r"""Nonphysical graph convolution with a softmax affinity (ITES, eq. 5).

    .. math:: H = \mathrm{softmax}(\theta(X) \phi(X)^T) X W

    with perceptrons theta and phi of one hidden layer. As in ``edge_softmax``, the weights of the joints that reach
    one output joint sum to one.

    Args:
        features: (B, J, C).
        graph: parameters, C channels in and D out.

    Returns:
        Features (B, J, D).
    """
    linear = torch.nn.functional.linear
    query_hidden = linear(features, graph.query_hidden_weight, graph.query_hidden_bias).relu()  # (B, J, I)
    queries = linear(query_hidden, graph.query_weight, graph.query_bias)  # (B, J, I)
    key_hidden = linear(features, graph.key_hidden_weight, graph.key_hidden_bias).relu()
    keys = linear(key_hidden, graph.key_weight, graph.key_bias)
    affinity = (queries @ keys.mT).softmax(dim=-1)  # (B, J, J)
    return affinity @ (features @ graph.value_weight)
