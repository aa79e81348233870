"""The whole student of the released code in eval mode, with folded batch norms and packed weights."""

from typing import NamedTuple

import torch
from torch import Tensor

from ites_fast.reference.agcn import pool_pairs, split_mixing
from ites_fast.reference.panels import from_panels, split_parts


class StudentParts(NamedTuple):
    """What a folded student is made of: J joints, C channels, I = C // 2 inner channels, L layers after the first.

    Joints are in the network's order, in which joints 2k and 2k + 1 form pair k. Matrices are in panels, see
    ``reference.panels``.
    """

    input_mixing: Tensor  # (2, J, J), weights of the joint itself and of its neighbours; columns in the caller's order
    input_weight: Tensor  # panels (C / 16, 4, 16); rows are x and y of the joint itself, then of its neighbours
    input_shift: Tensor  # (C,)
    mixing: Tensor  # (L, J, J), edge matrices
    physical: Tensor  # panels (L, C / 16, 2 C, 16); rows are the joint's own features, then its neighbours'
    values_keys: Tensor  # panels (L, C / 16, C, 16); columns are the I values, then the I keys
    query: Tensor  # (L, C)
    query_bias: Tensor  # (L,)
    key: Tensor  # (L, I)
    pair_weight: Tensor  # panels (L, C / 16, I, 16)
    pair_shift: Tensor  # (L, C)
    factor: Tensor  # (L, C), of the layer's input, which the layer adds to its graphs
    shift: Tensor  # (L, C)
    output_weight: Tensor  # (2, C), of the joint's own features and of its neighbours'
    output_mixing: Tensor  # (2, J, J), as input_mixing; rows in the caller's order
    output_shift: Tensor  # (1,)


def student_shapes(joints: int, channels: int, layers: int) -> list[tuple[int, ...]]:
    """The shapes of ``StudentParts``, in their order."""
    J, C, L, panels = joints, channels, layers, channels // 16
    parts = StudentParts(
        input_mixing=(2, J, J),
        input_weight=(panels, 4, 16),
        input_shift=(C,),
        mixing=(L, J, J),
        physical=(L, panels, 2 * C, 16),
        values_keys=(L, panels, C, 16),
        query=(L, C),
        query_bias=(L,),
        key=(L, C // 2),
        pair_weight=(L, panels, C // 2, 16),
        pair_shift=(L, C),
        factor=(L, C),
        shift=(L, C),
        output_weight=(2, C),
        output_mixing=(2, J, J),
        output_shift=(1,),
    )
    return list(parts)


def student_infer(pose_2d: Tensor, weights: Tensor, channels: int, layers: int) -> Tensor:
    r"""Depths of the joints by the released code's student, all batch norms folded.

    A layer is :math:`\mathrm{relu}(f X + [\mathrm{diag}(A) X, (A - \mathrm{diag}(A)) X] W + F U + c)`, where
    :math:`F_{ik} = \mathrm{relu}(t_i + s_k)` is the affinity of joint i and pair k and U are the pairs' values. Every
    second layer's output is added to what the layer before it took.

    Args:
        pose_2d: (B, J, 2).
        weights: ``StudentParts`` joined by ``reference.panels``, one vector.
        channels: C, a multiple of 16.
        layers: L, two for each residual block.

    Returns:
        Depths (B, J).
    """
    parts = StudentParts(*split_parts(weights, student_shapes(pose_2d.shape[1], channels, layers)))
    own, neighbours = (parts.input_mixing @ pose_2d[:, None]).unbind(1)  # (B, J, 2)
    inputs = torch.cat([own, neighbours], dim=2)  # (B, J, 4)
    features = (inputs @ from_panels(parts.input_weight) + parts.input_shift).relu()  # (B, J, C)
    for first in range(0, layers, 2):
        features = features + _layer(_layer(features, parts, first), parts, first + 1)
    own, neighbours = (features @ parts.output_weight.mT).unbind(2)  # (B, J)
    own_mixing, neighbour_mixing = parts.output_mixing
    return own @ own_mixing.mT + neighbours @ neighbour_mixing.mT + parts.output_shift


def _layer(features: Tensor, parts: StudentParts, layer: int) -> Tensor:
    own, others = split_mixing(parts.mixing[layer])
    both = torch.cat([own * features, others @ features], dim=2)  # (B, J, 2 C)
    inner = parts.key.shape[1]
    values, keys = pool_pairs(features @ from_panels(parts.values_keys[layer])).split(inner, dim=2)  # (B, K, I)
    pair_values = values @ from_panels(parts.pair_weight[layer]) + parts.pair_shift[layer]  # (B, K, C)
    t = features @ parts.query[layer] + parts.query_bias[layer]  # (B, J)
    affinity = (t[:, :, None] + (keys @ parts.key[layer])[:, None]).relu()  # (B, J, K)
    mixed = parts.factor[layer] * features + both @ from_panels(parts.physical[layer]) + affinity @ pair_values
    return (mixed + parts.shift[layer]).relu()
