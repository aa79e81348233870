"""Operator ``agcn``: one adaptive graph convolution layer. Formula: ``ites_fast.reference.agcn``."""

import torch
from torch import Tensor

from ites_fast.ops import agcn_official, agcn_paper
from ites_fast.ops.channel_mix import channel_mix
from ites_fast.ops.norm_relu import check_rows, norm_relu
from ites_fast.reference.agcn import (
    ChannelGraph,
    ConcatGraph,
    LayerStatistics,
    SharedGraph,
    SoftmaxGraph,
    graph_sum,
    split_mixing,
)
from ites_fast.reference.norm_relu import EPS, Norm, Statistics


def agcn(
    features: Tensor,
    mixing: Tensor | None,
    physical: SharedGraph | ChannelGraph | None,
    nonphysical: ConcatGraph | SoftmaxGraph | None,
    norm: Norm,
    statistics: LayerStatistics | None = None,
) -> tuple[Tensor, LayerStatistics]:
    """One layer: physical graph plus nonphysical graph, batch norm, ReLU. See ``reference.agcn``.

    In training, the released code's pair of graphs and the paper's pair are one operator each, with its own backward:
    ``agcn_official`` and ``agcn_paper``; with statistics and without a gradient they are ``agcn_official_inference``
    and ``agcn_paper_inference``. Any other pair is differentiated by PyTorch up to the batch norm.

    Args:
        features: (B, J, C).
        mixing: ``edge_softmax`` of the physical graph, (J, J) if shared and (D, J, J) per channel.
        physical: parameters of the physical graph.
        nonphysical: parameters of the nonphysical graph.
        norm: the layer's batch norm.
        statistics: for inference; the batch's own where not given.

    Returns:
        Features (B, J, D), and the statistics that normalised them, which carry no gradient.

    Raises:
        ValueError: ``features`` is not (B, J, C), or has too few rows to be normalised by its own statistics.
    """
    if features.ndim != 3:
        raise ValueError(f"features must be (B, J, C), got {tuple(features.shape)}")
    official = isinstance(physical, SharedGraph) and isinstance(nonphysical, ConcatGraph)
    paper = isinstance(physical, ChannelGraph) and isinstance(nonphysical, SoftmaxGraph)
    if statistics is None:
        check_rows(features)
    if official and statistics is None:
        return _official(features, mixing, physical, nonphysical, norm)
    if paper and statistics is None:
        return _paper(features, mixing, physical, nonphysical, norm)
    if official:
        return _official_inference(features, mixing, physical, nonphysical, norm, statistics), statistics
    if paper:
        return _paper_inference(features, mixing, physical, nonphysical, norm, statistics.layer), statistics
    inner = statistics and statistics.inner
    if isinstance(physical, SharedGraph) and nonphysical is None:
        mixed = _shared_graph(features, mixing, physical)
    else:
        mixed, inner = graph_sum(features, mixing, physical, nonphysical, inner)
    output, layer = norm_relu(mixed, norm, statistics and statistics.layer)
    if statistics is not None:
        return output, statistics
    return output, LayerStatistics(layer, inner and Statistics(inner.mean.detach(), inner.var.detach()))


def physical_graph(features: Tensor, mixing: Tensor, graph: SharedGraph | ChannelGraph) -> Tensor:
    """The physical graph alone, linear: (B, J, C) to (B, J, D). See ``reference.agcn``."""
    if isinstance(graph, SharedGraph):
        return _shared_graph(features, mixing, graph)
    return channel_mix(features @ graph.weight, mixing, graph.adjacency)


def _shared_graph(features: Tensor, mixing: Tensor, graph: SharedGraph) -> Tensor:
    """``reference.shared_graph`` in two products. Mixing joints and projecting channels commute: mix the narrower."""
    B, J, C = features.shape
    D = graph.bias.shape[0]
    own, neighbours = split_mixing(mixing)
    if C < D:
        mixed = torch.cat([own * features, torch.bmm(neighbours.expand(B, J, J), features)], dim=2)  # (B, J, 2 C)
        weight = torch.cat([graph.self_weight, graph.neighbour_weight])  # (2 C, D)
        return torch.nn.functional.linear(mixed, weight.mT, graph.bias)
    weight = torch.cat([graph.self_weight, graph.neighbour_weight], dim=1)  # (C, 2 D)
    projected = features @ weight  # (B, J, 2 D)
    return torch.baddbmm(own * projected[..., :D] + graph.bias, neighbours.expand(B, J, J), projected[..., D:])


def _paper(
    features: Tensor, mixing: Tensor, physical: ChannelGraph, nonphysical: SoftmaxGraph, norm: Norm
) -> tuple[Tensor, LayerStatistics]:
    folded = agcn_paper.fold(physical, nonphysical)
    layer = agcn_paper.Layer(
        *agcn_paper.forward(features.contiguous(), mixing.contiguous(), physical.adjacency, *folded, *norm)
    )
    return layer.output, LayerStatistics(Statistics(layer.mean, layer.var), None)


def _official(
    features: Tensor, mixing: Tensor, physical: SharedGraph, nonphysical: ConcatGraph, norm: Norm
) -> tuple[Tensor, LayerStatistics]:
    # what the batch norms cancel still has a gradient, which is zero
    cancelled = physical.bias + nonphysical.output_bias + nonphysical.norm.shift
    layer = agcn_official.Layer(
        *agcn_official.forward(
            features.contiguous(),
            mixing.contiguous(),
            *agcn_official.fold(physical, nonphysical),
            nonphysical.norm.scale,
            norm.scale,
            norm.shift + 0 * cancelled,
        )
    )
    with torch.no_grad():
        inner = Statistics(layer.inner_mean + nonphysical.output_bias, layer.inner_var)
        mean = layer.mean + physical.bias + nonphysical.norm.shift
    return layer.output, LayerStatistics(Statistics(mean, layer.var), inner)


def _official_inference(
    features: Tensor,
    mixing: Tensor,
    physical: SharedGraph,
    nonphysical: ConcatGraph,
    norm: Norm,
    statistics: LayerStatistics,
) -> Tensor:
    """The re-expressed layer with both batch norms folded into one factor and one constant for each channel."""
    layer, inner = statistics
    factor = norm.scale * (layer.var + EPS).rsqrt()
    inner_factor = nonphysical.norm.scale * (inner.var + EPS).rsqrt()
    constant = physical.bias + nonphysical.norm.shift + inner_factor * (nonphysical.output_bias - inner.mean)
    factors = (inner_factor, factor, factor * (constant - layer.mean) + norm.shift)
    folded = agcn_official.fold(physical, nonphysical)
    if not _in_one_operator():
        return agcn_official.inference_in_pytorch(features.contiguous(), mixing, folded, *factors)
    return agcn_official.inference(features.contiguous(), mixing.contiguous(), *folded, *factors)


def _paper_inference(
    features: Tensor,
    mixing: Tensor,
    physical: ChannelGraph,
    nonphysical: SoftmaxGraph,
    norm: Norm,
    statistics: Statistics,
) -> Tensor:
    """The paper's layer with its batch norm folded into one factor and one constant for each channel."""
    factor = norm.scale * (statistics.var + EPS).rsqrt()
    factors = (factor, norm.shift - factor * statistics.mean)
    folded = agcn_paper.fold(physical, nonphysical)
    features, mixing, adjacency = features.contiguous(), mixing.contiguous(), physical.adjacency.contiguous()
    if not _in_one_operator():
        return agcn_paper.inference_in_pytorch(features, mixing, adjacency, folded, *factors)
    return agcn_paper.inference(features, mixing, adjacency, *folded, *factors)


def _in_one_operator() -> bool:
    """Whether inference may be one operator: it has no gradient, and would be foreign in an exported network."""
    return not (torch.is_grad_enabled() or torch.compiler.is_exporting())
