"""Operator ``channel_mix``. Formula: ``ites_fast.reference.channel_mix``.

On the CPU and in the kernels it walks along the edges: a skeleton has three times as many as joints, far fewer than
pairs of joints.
"""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.ops.norm_relu import COMPILED_DTYPES


def channel_mix(features: Tensor, mixing: Tensor, adjacency: Tensor) -> Tensor:
    """Average each joint's neighbours, with other weights in each channel. See ``reference.channel_mix``.

    Differentiable in the features and, on the edges, in the mixing.

    Args:
        features: (B, J, D).
        mixing: edge matrices (D, J, J).
        adjacency: which joints (columns) reach which (rows) (J, J), boolean.

    Returns:
        Features (B, J, D).

    Raises:
        ValueError: the shapes do not fit.
    """
    if features.ndim != 3:
        raise ValueError(f"features must be (B, J, D), got {tuple(features.shape)}")
    _, J, D = features.shape
    if mixing.shape != (D, J, J):
        raise ValueError(f"mixing must be {(D, J, J)} for features {tuple(features.shape)}, got {tuple(mixing.shape)}")
    if adjacency.shape != (J, J) or adjacency.dtype != torch.bool:
        raise ValueError(f"adjacency must be boolean {(J, J)}, got {adjacency.dtype} {tuple(adjacency.shape)}")
    return _forward(features, mixing.contiguous(), adjacency)


@torch.library.custom_op("ites_fast::channel_mix", mutates_args=())
def _forward(features: Tensor, mixing: Tensor, adjacency: Tensor) -> Tensor:
    return reference.channel_mix(features, mixing, adjacency).contiguous()


@register_triton(_forward)
def _(features, mixing, adjacency):
    if not _fits_kernels(features):
        return reference.channel_mix(features, mixing, adjacency).contiguous()
    from ites_fast.kernels.channel_mix import channel_mix_fwd, joints_first

    return channel_mix_fwd(features.contiguous(), joints_first(mixing), adjacency.contiguous())


def _fits_kernels(features: Tensor) -> bool:
    """Whether there are kernels for features (B, J, D) of this kind."""
    return features.dtype in COMPILED_DTYPES and 1 <= features.shape[1] <= 32


@_forward.register_kernel("cpu")
def _(features, mixing, adjacency):
    return _mix(features, mixing.permute(1, 2, 0), adjacency)


@_forward.register_fake
def _(features, mixing, adjacency):
    return features.new_empty(features.shape)


@torch.library.custom_op("ites_fast::channel_mix_backward", mutates_args=())
def channel_mix_backward(
    grad_output: Tensor, features: Tensor, mixing: Tensor, adjacency: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the features and, on the edges, of the mixing."""
    return _backward_in_pytorch(grad_output, features, mixing, adjacency)


def _backward_in_pytorch(
    grad_output: Tensor, features: Tensor, mixing: Tensor, adjacency: Tensor
) -> tuple[Tensor, Tensor]:
    grad_features = reference.channel_mix(grad_output, mixing.mT, adjacency.mT)
    grad_mixing = torch.einsum("bid,bjd->dij", grad_output, features) * adjacency
    return grad_features.contiguous(), grad_mixing.contiguous()


@register_triton(channel_mix_backward)
def _(grad_output, features, mixing, adjacency):
    if not _fits_kernels(features):
        return _backward_in_pytorch(grad_output, features, mixing, adjacency)
    from ites_fast.kernels.channel_mix import channel_mix_bwd, channel_mix_fwd, joints_first

    adjacency = adjacency.contiguous()
    grad_features = channel_mix_fwd(grad_output, joints_first(mixing), adjacency, transposed=True)
    return grad_features, channel_mix_bwd(grad_output, features.contiguous(), adjacency)


@channel_mix_backward.register_kernel("cpu")
def _(grad_output, features, mixing, adjacency):
    grad_mixing = torch.zeros_like(mixing)
    for i, j in adjacency.nonzero().tolist():
        grad_mixing[:, i, j] = (grad_output[:, i] * features[:, j]).sum(dim=0)
    return _mix(grad_output, mixing.permute(2, 1, 0), adjacency.mT), grad_mixing


@channel_mix_backward.register_fake
def _(grad_output, features, mixing, adjacency):
    return features.new_empty(features.shape), torch.empty_like(mixing)


def _mix(features: Tensor, weights: Tensor, adjacency: Tensor) -> Tensor:
    """Sum features (B, J, D) along the edges, with weights (J, J, D)."""
    weights = weights.contiguous()
    output = features.new_zeros(features.shape)
    for i, j in adjacency.nonzero().tolist():
        output[:, i].addcmul_(features[:, j], weights[i, j])
    return output


def _setup_context(ctx, inputs, output) -> None:
    ctx.save_for_backward(*inputs)


def _autograd(ctx, grad_output: Tensor):
    return *channel_mix_backward(grad_output.contiguous(), *ctx.saved_tensors), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
