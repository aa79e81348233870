"""A fully connected residual network in eval mode, with its batch norms as a factor and a shift, and packed weights."""

from typing import NamedTuple

from torch import Tensor

from ites_fast.reference.panels import from_panels, padded, split_parts


class MLPWeights(NamedTuple):
    """Matrices of the hidden layers in panels (see ``reference.panels``): F inputs, W features, L layers."""

    input: Tensor  # panels (W / 16, F, 16)
    hidden: Tensor  # panels (L, W / 16, W, 16)


class MLPHead(NamedTuple):
    """All else, in float32 also where the matrices take half as much: W features, L layers, O outputs."""

    input_factor: Tensor  # (W,)
    input_shift: Tensor  # (W,)
    factor: Tensor  # (L, W)
    shift: Tensor  # (L, W)
    output_weight: Tensor  # panels (ceil(O / 16), W, 16)
    output_shift: Tensor  # (O rounded up to a multiple of 16,)


def mlp_shapes(inputs: int, width: int, layers: int, outputs: int) -> tuple[list[tuple[int, ...]], ...]:
    """The shapes of ``MLPWeights`` and of ``MLPHead``, in their order."""
    F, W, L, panels, rounded = inputs, width, layers, width // 16, padded(outputs)
    weights = MLPWeights(input=(panels, F, 16), hidden=(L, panels, W, 16))
    head = MLPHead(
        input_factor=(W,),
        input_shift=(W,),
        factor=(L, W),
        shift=(L, W),
        output_weight=(rounded // 16, W, 16),
        output_shift=(rounded,),
    )
    return list(weights), list(head)


def mlp_infer(features: Tensor, weights: Tensor, head: Tensor, width: int, layers: int, outputs: int) -> Tensor:
    r"""Residual network of fully connected layers (Martinez et al., ICCV 2017).

    A layer is :math:`\mathrm{relu}(f \cdot (W x) + c)`, where f and c are its batch norm. Every second layer's output
    is added to what the layer before it took.

    Args:
        features: (B, F).
        weights: ``MLPWeights`` joined by ``reference.panels``, one vector. float16 is allowed beside other features:
            weights that float16 can hold take half the memory, and what is computed with them is the same.
        head: ``MLPHead`` joined likewise.
        width: W, a multiple of 16.
        layers: L, two for each residual block.
        outputs: O.

    Returns:
        (B, O), in the dtype of ``features``.
    """
    shapes, head_shapes = mlp_shapes(features.shape[1], width, layers, outputs)
    matrices = MLPWeights(*split_parts(weights.to(features.dtype), shapes))
    rest = MLPHead(*split_parts(head, head_shapes))
    hidden = _layer(features, from_panels(matrices.input), rest.input_factor, rest.input_shift)  # (B, W)
    weighted = list(zip(from_panels(matrices.hidden), rest.factor, rest.shift, strict=True))
    for first, second in zip(weighted[::2], weighted[1::2], strict=True):
        hidden = hidden + _layer(_layer(hidden, *first), *second)
    return (hidden @ from_panels(rest.output_weight) + rest.output_shift)[:, :outputs]


def _layer(features: Tensor, weight: Tensor, factor: Tensor, shift: Tensor) -> Tensor:
    return (features @ weight * factor + shift).relu()
