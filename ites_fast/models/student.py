"""The student: depths of the joints by adaptive graph convolution."""

import math
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor, nn

from ites_fast.ops import (
    ChannelGraph,
    ConcatGraph,
    LayerStatistics,
    Norm,
    SharedGraph,
    SoftmaxGraph,
    Statistics,
    agcn,
    edge_softmax,
    physical_graph,
)
from ites_fast.skeleton import Skeleton

EdgeWeights = Literal["per_channel", "shared"]
Affinity = Literal["softmax", "concat"]
Graphs = Literal["both", "physical", "nonphysical"]

RELEASED_GAIN = 1.414


class AdaptiveTrunk(nn.Module):
    """Features of the joints by adaptive graph convolution: an input layer and residual blocks of two layers.

    The blocks' layers add a physical and a nonphysical graph; the input layer has a physical graph only, whatever
    ``graphs`` says.

    Args:
        skeleton: joints of the input.
        variant: "paper" has an edge matrix for each channel and a softmax affinity; "official", the released code, has
            one edge matrix, own weights for a joint and for its neighbours, and a concatenation affinity between
            joints and pairs of joints, and weights initialised as there.
        channels: features of a joint.
        blocks: residual blocks.
        graphs: which graphs a layer has.
        edge_weights: the variant's where not given.
        affinity: the variant's where not given.

    Raises:
        ValueError: an option has none of its values.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Literal["paper", "official"] = "paper",
        channels: int = 128,
        blocks: int = 4,
        graphs: Graphs = "both",
        edge_weights: EdgeWeights | None = None,
        affinity: Affinity | None = None,
    ) -> None:
        super().__init__()
        defaults = _choose("variant", variant, paper=("per_channel", "softmax"), official=("shared", "concat"))
        edge_weights, affinity = edge_weights or defaults[0], affinity or defaults[1]
        has_physical = _choose("graphs", graphs, both=True, physical=True, nonphysical=False)
        has_nonphysical = _choose("graphs", graphs, both=True, physical=False, nonphysical=True)
        physical_kind = _choose(
            "edge_weights", edge_weights, shared=SharedPhysicalGraph, per_channel=ChannelPhysicalGraph
        )
        nonphysical_kind = _choose("affinity", affinity, concat=ConcatNonphysicalGraph, softmax=SoftmaxNonphysicalGraph)
        adjacency = skeleton_adjacency(skeleton)
        order = joint_order(skeleton)
        self.register_buffer("adjacency", adjacency, persistent=False)
        self.register_buffer("order", order, persistent=False)
        self.register_buffer("restored_order", order.argsort(), persistent=False)
        self.physical = partial(physical_kind, adjacency=adjacency[order[:, None], order])

        def layer() -> AdaptiveLayer:
            return AdaptiveLayer(
                channels,
                self.physical(channels, channels) if has_physical else None,
                nonphysical_kind(channels) if has_nonphysical else None,
            )

        self.input_layer = AdaptiveLayer(channels, self.physical(2, channels), None)
        self.blocks = nn.ModuleList(nn.ModuleList([layer(), layer()]) for _ in range(blocks))

    def features(self, pose_2d: Tensor, mixing: dict[nn.Module, Tensor]) -> Tensor:
        """Features (B, J, C), joints in the network's order, of normalised 2D poses (B, J, 2)."""
        features = self.input_layer(pose_2d[:, self.order], mixing[self.input_layer.physical])
        for first, second in self.blocks:
            hidden = first(features, mixing.get(first.physical))
            features = features + second(hidden, mixing.get(second.physical))
        return features

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Features (B, J * C) of normalised 2D poses (B, J, 2)."""
        return self.features(pose_2d, self.mixing_matrices()).flatten(1)

    def mixing_matrices(self) -> dict[nn.Module, Tensor]:
        """The mixing matrices of all physical graphs, by one call, with joints in the network's order."""
        kinds = (SharedPhysicalGraph, ChannelPhysicalGraph)
        graphs = [module for module in self.modules() if isinstance(module, kinds)]
        edge_weights = torch.cat([graph.edge_weights.view(-1, graph.edge_weights.shape[-1]) for graph in graphs])
        mixing = edge_softmax(edge_weights, self.adjacency)[:, self.order[:, None], self.order]  # (sum of D, J, J)
        parts = mixing.split([graph.edge_weights.shape[:-1].numel() for graph in graphs])
        return {
            graph: part.squeeze(0) if isinstance(graph, SharedPhysicalGraph) else part
            for graph, part in zip(graphs, parts, strict=True)
        }


class AdaptiveGCN(AdaptiveTrunk):
    """Adaptive graph convolution network from 2D poses to depths (ITES, section 3.3).

    An ``AdaptiveTrunk`` and a linear output layer with a physical graph. Arguments and errors are the trunk's.
    """

    predicts = "depth"

    def __init__(
        self,
        skeleton: Skeleton,
        variant: Literal["paper", "official"] = "paper",
        channels: int = 128,
        blocks: int = 4,
        graphs: Graphs = "both",
        edge_weights: EdgeWeights | None = None,
        affinity: Affinity | None = None,
    ) -> None:
        super().__init__(skeleton, variant, channels, blocks, graphs, edge_weights, affinity)
        self.output_layer = self.physical(channels, 1)

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Depth offsets (B, J) of normalised 2D poses (B, J, 2), in body units."""
        mixing = self.mixing_matrices()
        features = self.features(pose_2d, mixing)
        depth = physical_graph(features, mixing[self.output_layer], self.output_layer.graph)  # (B, J, 1)
        return depth[:, self.restored_order, 0]


class AdaptiveLayer(nn.Module):
    """One ``ops.agcn`` with its parameters and running statistics."""

    def __init__(self, channels: int, physical: nn.Module | None, nonphysical: nn.Module | None) -> None:
        super().__init__()
        self.physical = physical
        self.nonphysical = nonphysical
        self.norm = nn.BatchNorm1d(channels)

    def forward(self, features: Tensor, mixing: Tensor | None) -> Tensor:
        """Features (B, J, D) of features (B, J, C) and the mixing of the physical graph."""
        inner_norm = getattr(self.nonphysical, "norm", None)
        output, statistics = agcn(
            features,
            mixing,
            self.physical and self.physical.graph,
            self.nonphysical and self.nonphysical.graph,
            Norm(self.norm.weight, self.norm.bias),
            None if self.training else LayerStatistics(_running(self.norm), inner_norm and _running(inner_norm)),
        )
        if self.training:
            rows = features.shape[:2].numel()
            _update(self.norm, statistics.layer, rows)
            if inner_norm is not None:
                _update(inner_norm, statistics.inner, rows)
        return output


class SharedPhysicalGraph(nn.Module):
    """Parameters of ``reference.agcn.SharedGraph``, initialised as the released code does.

    Its Xavier initialisation sees the self and neighbour weights as one tensor (2, C, D), whose fans are C D and 2 D.
    """

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor) -> None:
        super().__init__()
        self.edge_weights = nn.Parameter(torch.ones(int(adjacency.sum())))
        self.self_weight = nn.Parameter(torch.empty(inputs, outputs))
        self.neighbour_weight = nn.Parameter(torch.empty(inputs, outputs))
        self.bias = nn.Parameter(torch.empty(outputs))
        bound = RELEASED_GAIN * math.sqrt(6 / ((inputs + 2) * outputs))
        nn.init.uniform_(self.self_weight, -bound, bound)
        nn.init.uniform_(self.neighbour_weight, -bound, bound)
        nn.init.uniform_(self.bias, -1 / math.sqrt(outputs), 1 / math.sqrt(outputs))

    @property
    def graph(self) -> SharedGraph:
        return SharedGraph(self.self_weight, self.neighbour_weight, self.bias)


class ChannelPhysicalGraph(nn.Module):
    """Parameters of ``reference.agcn.ChannelGraph``; every edge starts with the same weight."""

    def __init__(self, inputs: int, outputs: int, adjacency: Tensor) -> None:
        super().__init__()
        self.edge_weights = nn.Parameter(torch.ones(outputs, int(adjacency.sum())))
        self.weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(inputs, outputs)))
        self.register_buffer("adjacency", adjacency, persistent=False)

    @property
    def graph(self) -> ChannelGraph:
        return ChannelGraph(self.weight, self.adjacency)


class ConcatNonphysicalGraph(nn.Module):
    """Parameters of ``reference.agcn.ConcatGraph``; the inner norm starts at zero, as in the released code."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query = _kaiming_linear(channels, inner)
        self.key = _kaiming_linear(channels, inner)
        self.value = _kaiming_linear(channels, inner)
        self.affinity_weight = nn.Parameter(torch.empty(2 * inner))
        self.output = _kaiming_linear(inner, channels)
        self.norm = nn.BatchNorm1d(channels)
        nn.init.normal_(self.affinity_weight, std=math.sqrt(2 / (2 * inner)))
        nn.init.zeros_(self.norm.weight)

    @property
    def graph(self) -> ConcatGraph:
        return ConcatGraph(
            *(self.query.weight, self.query.bias),
            *(self.key.weight, self.key.bias),
            *(self.value.weight, self.value.bias),
            self.affinity_weight,
            *(self.output.weight, self.output.bias),
            Norm(self.norm.weight, self.norm.bias),
        )


class SoftmaxNonphysicalGraph(nn.Module):
    """Parameters of ``reference.agcn.SoftmaxGraph``; queries start small enough that no joint is ignored."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = channels // 2
        self.query_hidden = _kaiming_linear(channels, inner)
        self.query = _kaiming_linear(inner, inner)
        self.key_hidden = _kaiming_linear(channels, inner)
        self.key = _kaiming_linear(inner, inner)
        self.value_weight = nn.Parameter(nn.init.xavier_uniform_(torch.empty(channels, channels)))
        with torch.no_grad():
            self.query.weight /= inner

    @property
    def graph(self) -> SoftmaxGraph:
        return SoftmaxGraph(
            *(self.query_hidden.weight, self.query_hidden.bias),
            *(self.query.weight, self.query.bias),
            *(self.key_hidden.weight, self.key_hidden.bias),
            *(self.key.weight, self.key.bias),
            self.value_weight,
        )


def skeleton_adjacency(skeleton: Skeleton) -> Tensor:
    """Which joints are one bone apart or the same (J, J), boolean."""
    adjacency = torch.eye(skeleton.num_joints, dtype=torch.bool)
    for child, parent in skeleton.edges:
        adjacency[child, parent] = adjacency[parent, child] = True
    return adjacency


def joint_order(skeleton: Skeleton) -> Tensor:
    """The joints (J,) with those of a pair next to each other, pairs first."""
    pairs = [group for group in skeleton.pair_groups if len(group) == 2]
    paired = [joint for pair in pairs for joint in pair]
    return torch.tensor(paired + [joint for joint in range(skeleton.num_joints) if joint not in paired])


def _choose(option: str, value: str, **choices: Any) -> Any:
    if value not in choices:
        raise ValueError(f"{option} must be one of {', '.join(choices)}, got {value!r}")
    return choices[value]


def _kaiming_linear(inputs: int, outputs: int) -> nn.Linear:
    linear = nn.Linear(inputs, outputs)
    nn.init.kaiming_normal_(linear.weight)
    nn.init.zeros_(linear.bias)
    return linear


def _running(norm: nn.BatchNorm1d) -> Statistics:
    return Statistics(norm.running_mean, norm.running_var)


@torch.no_grad()
def _update(norm: nn.BatchNorm1d, batch: Statistics, rows: int) -> None:
    """Update the running statistics as ``nn.BatchNorm1d`` does: without a momentum they are plain averages."""
    norm.num_batches_tracked.add_(1)
    momentum = 1 / norm.num_batches_tracked if norm.momentum is None else norm.momentum
    norm.running_mean.lerp_(batch.mean, momentum)
    norm.running_var.lerp_(batch.var * (rows / (rows - 1)), momentum)
