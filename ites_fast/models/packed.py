"""Trained networks as one call of an inference operator: batch norms folded, weights packed, nothing left to train."""

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from ites_fast.errors import InputError
from ites_fast.models.depth_mlp import DepthMLP
from ites_fast.models.robust import CHANNELS, RobustMLP, seen_joints
from ites_fast.models.student import AdaptiveGCN, AdaptiveLayer, ConcatNonphysicalGraph, SharedPhysicalGraph
from ites_fast.models.view_lifter import Corrected, ViewLifter
from ites_fast.ops import MLPHead, MLPWeights, StudentParts, join_parts, mlp_infer, student_infer, to_panels
from ites_fast.ops.agcn_official import fold

MULTIPLE = 16  # features are filled up with zeros


class PackedStudent(nn.Module):
    """The depths of an ``AdaptiveGCN`` with the graphs of the released code, as in eval mode.

    Args:
        network: the student. Its weights are copied: what happens to it later does not change this.

    Raises:
        InputError: the network has other graphs.
    """

    predicts = "depth"

    def __init__(self, network: AdaptiveGCN) -> None:
        super().__init__()
        layers = [layer for block in network.blocks for layer in block]
        graphs = {type(graph) for layer in layers for graph in (layer.physical, layer.nonphysical)}
        graphs.add(type(network.input_layer.physical))
        if graphs != {SharedPhysicalGraph, ConcatNonphysicalGraph}:
            names = ", ".join(sorted(graph.__name__ for graph in graphs))
            raise InputError(f"only the graphs of the variant 'official', both of them, can be packed, got {names}")
        self.layers = len(layers)
        self.channels = _round_up(network.input_layer.norm.num_features)
        parts = _student_parts(copy.deepcopy(network).double(), self.channels)
        self.weights = _frozen(join_parts(parts), next(network.parameters()))

    def forward(self, pose_2d: Tensor) -> Tensor:
        """Depth offsets (B, J) of normalised 2D poses (B, J, 2), in body units, without a gradient."""
        return student_infer(pose_2d, self.weights, self.channels, self.layers)


class PackedMLP(nn.Module):
    """The depths of a ``DepthMLP``, or the corrected poses of a ``RobustMLP``, as in eval mode.

    Weights that float16 can hold, as those of a file in half precision, stay float16: nothing is rounded.

    Args:
        network: the network. Its weights are copied: what happens to it later does not change this.
    """

    def __init__(self, network: DepthMLP | RobustMLP) -> None:
        super().__init__()
        self.predicts = network.predicts
        like = next(network.parameters())
        network = copy.deepcopy(network).double()
        trunk = [module for part in (network.input_layer, *network.blocks) for module in part]
        linears = [module for module in trunk if isinstance(module, nn.Linear)]
        norms = [module for module in trunk if isinstance(module, nn.BatchNorm1d)]
        if self.predicts == "depth":
            output, joints = network.depth, network.depth.out_features
        else:
            output, joints = network.output_layer, network.output_layer.out_features // CHANNELS
        self.width, self.layers, self.outputs = _round_up(norms[0].num_features), len(norms) - 1, output.out_features
        # first, because the first parameter says in which dtype a network computes
        self.head = _frozen(join_parts(_mlp_head(norms, output, joints, network.root, self.width)), like)
        weights = join_parts(_mlp_weights(linears, self.width))
        fits = weights.isfinite().all() and torch.equal(weights.half().double(), weights)
        self.weights = _frozen(weights, like.half() if fits else like)

    def forward(self, pose_2d: Tensor, visible: Tensor | None = None) -> Tensor | Corrected:
        """What the network's ``forward`` returns for normalised 2D poses (B, J, 2), without a gradient."""
        if self.predicts == "depth":
            return self.infer(pose_2d.flatten(1))
        joints = pose_2d.shape[1]
        output = self.infer(torch.cat([pose_2d.flatten(1), seen_joints(pose_2d, visible)], dim=1))
        return Corrected(pose_2d + output[:, : 2 * joints].view_as(pose_2d), output[:, 2 * joints :])

    def infer(self, features: Tensor) -> Tensor:
        """Outputs (B, O) of a vector of inputs (B, F): the depths are the last J of them."""
        return mlp_infer(features, self.weights, self.head, self.width, self.layers, self.outputs)


PACKED: dict[type[nn.Module], type[nn.Module]] = {
    AdaptiveGCN: PackedStudent,
    DepthMLP: PackedMLP,
    RobustMLP: PackedMLP,
}


def pack(lifter: ViewLifter) -> ViewLifter:
    """A copy of a lifter that lifts faster and cannot be trained: its network is one call of an operator.

    Args:
        lifter: what was trained. Nothing that happens to it later, training or loading, changes the copy.

    Raises:
        InputError: there is no such operator for its network.
    """
    packed = PACKED.get(type(lifter.network))
    if packed is None:
        names = ", ".join(kind.__name__ for kind in PACKED)
        raise InputError(f"a network of type {type(lifter.network).__name__} cannot be packed, only {names}")
    return ViewLifter(
        packed(lifter.network).eval(),
        lifter.skeleton,
        lifter.normalization,
        mirror_average=lifter.mirror_average,
        completion=lifter.completion,
    ).eval()


def _student_parts(network: AdaptiveGCN, C: int) -> StudentParts:
    """The parts of a student in float64, its channels filled up to C."""
    mixing, order = network.mixing_matrices(), network.restored_order
    first, last = network.input_layer, network.output_layer
    factor, shift = _affine(first.norm)
    graph = first.physical.graph
    layers = [_layer_parts(layer, mixing[layer.physical], C) for block in network.blocks for layer in block]
    return StudentParts(
        input_mixing=_own_and_others(mixing[first.physical])[:, :, order],
        input_weight=to_panels(_filled_up(torch.cat([graph.self_weight, graph.neighbour_weight]) * factor, 4, C)),
        input_shift=_filled_up(factor * graph.bias + shift, C),
        output_weight=_filled_up(torch.cat([last.self_weight, last.neighbour_weight], dim=1).mT, 2, C),
        output_mixing=_own_and_others(mixing[last])[:, order],
        output_shift=last.bias,
        **{name: torch.stack([parts[name] for parts in layers]) for name in layers[0]},
    )


def _layer_parts(layer: AdaptiveLayer, mixing: Tensor, C: int) -> dict[str, Tensor]:
    """What one layer contributes to ``StudentParts``."""
    physical, nonphysical = layer.physical.graph, layer.nonphysical.graph
    folded = fold(physical, nonphysical)
    factor, shift = _affine(layer.norm)
    inner_factor, inner_shift = _affine(layer.nonphysical.norm)
    constant = physical.bias + inner_factor * nonphysical.output_bias + inner_shift
    pairs = max(len(mixing) // 2, 1)
    pair_factor = factor * inner_factor / pairs
    outer = [_filled_up(weight * factor, C, C) for weight in (physical.self_weight, physical.neighbour_weight)]
    inner = [_filled_up(weight.mT, C, C // 2) for weight in (nonphysical.value_weight, nonphysical.key_weight)]
    return {
        "mixing": mixing,
        "physical": to_panels(torch.cat(outer)),
        "values_keys": to_panels(torch.cat(inner, dim=1)),
        "query": _filled_up(folded.query, C),
        "query_bias": folded.query_bias,
        "key": _filled_up(folded.key, C // 2),
        "pair_weight": to_panels(_filled_up(folded.output_weight.mT * pair_factor, C // 2, C)),
        "pair_shift": _filled_up(folded.output_offset * pair_factor, C),
        "factor": _filled_up(factor, C),
        "shift": _filled_up(factor * constant + shift, C),
    }


def _mlp_weights(linears: Sequence[nn.Linear], W: int) -> MLPWeights:
    """The matrices of the hidden layers, their features filled up to W."""
    first, *others = (linear.weight.mT for linear in linears)
    hidden = [to_panels(_filled_up(weight, W, W)) for weight in others]
    return MLPWeights(to_panels(_filled_up(first, len(first), W)), _stacked(hidden))


def _mlp_head(norms: Sequence[nn.BatchNorm1d], output: nn.Linear, joints: int, root: int, W: int) -> MLPHead:
    """Batch norms and output layer, whose last outputs are the joints' depths: they become relative to the root's."""
    affine = [[_filled_up(value, W) for value in _affine(norm)] for norm in norms]
    (first_factor, first_shift), *others = affine
    weight, bias = output.weight.clone(), output.bias.clone()
    depths = slice(-joints, None)
    weight[depths] -= output.weight[depths][root]
    bias[depths] -= output.bias[depths][root]
    outputs = len(bias)
    return MLPHead(
        input_factor=first_factor,
        input_shift=first_shift,
        factor=_stacked([factor for factor, _ in others]),
        shift=_stacked([shift for _, shift in others]),
        output_weight=to_panels(_filled_up(weight.mT, W, outputs)),
        output_shift=_filled_up(bias, _round_up(outputs)),
    )


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Factor and shift (C,) of a batch norm in eval mode."""
    factor = norm.weight * (norm.running_var + norm.eps).rsqrt()
    return factor, norm.bias - factor * norm.running_mean


def _own_and_others(mixing: Tensor) -> Tensor:
    """An edge matrix (J, J) as weights of the joints themselves and of their neighbours (2, J, J)."""
    own = mixing.diagonal().diag()
    return torch.stack([own, mixing - own])


def _filled_up(values: Tensor, *shape: int) -> Tensor:
    """Values with zeros at the end of each dimension."""
    missing = [size - have for size, have in zip(shape, values.shape, strict=True)]
    return pad(values, [side for size in reversed(missing) for side in (0, size)])


def _stacked(parts: Sequence[Tensor]) -> Tensor:
    return torch.stack(tuple(parts)) if parts else torch.empty(0)


def _round_up(features: int) -> int:
    return -(-features // MULTIPLE) * MULTIPLE


def _frozen(values: Tensor, like: nn.Parameter) -> nn.Parameter:
    """Weights in the dtype and on the device of a network's."""
    return nn.Parameter(values.to(like), requires_grad=False)
