"""Operator ``norm_relu``. Formula: ``ites_fast.reference.norm_relu``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.ops.compiled import register_triton
from ites_fast.reference.norm_relu import EPS, Norm, Statistics

COMPILED_DTYPES = (torch.float32, torch.bfloat16, torch.float16)  # of features; the kernels compute in float32


def norm_relu(features: Tensor, norm: Norm, statistics: Statistics | None = None) -> tuple[Tensor, Statistics]:
    """Batch norm over all but the last dimension, then ReLU, with a backward in three passes over the data.

    Differentiable in the features, the scale and the shift. See ``reference.norm_relu``.

    Args:
        features: (..., C), at least two rows of channels where the batch's own statistics are used.
        norm: scale and shift (C,).
        statistics: for inference; the batch's own where not given.

    Returns:
        Features (..., C), and the statistics that normalised them, detached.

    Raises:
        ValueError: there are too few rows to normalise.
    """
    if statistics is not None:
        return reference.norm_relu(features, norm, statistics)
    check_rows(features)
    output, mean, var = _forward(features.contiguous(), norm.scale, norm.shift)
    return output, Statistics(mean, var)


def check_rows(features: Tensor) -> None:
    """Refuse a batch (..., C) whose variance is not defined."""
    if features.shape[:-1].numel() < 2:
        raise ValueError(f"batch norm needs two rows of channels or more, got features {tuple(features.shape)}")


@torch.library.custom_op("ites_fast::norm_relu", mutates_args=())
def _forward(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    return _forward_in_pytorch(features, scale, shift)


def _forward_in_pytorch(features: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    centred = features.clone()
    mean, var = centre_(centred)
    return norm_relu_forward(centred, var, scale, shift), mean, var


@register_triton(_forward)
def _(features, scale, shift):
    if features.dtype not in COMPILED_DTYPES:
        return _forward_in_pytorch(features, scale, shift)
    from ites_fast.kernels.norm_relu import norm_relu_fwd

    return norm_relu_fwd(features, scale, shift, EPS)


@_forward.register_fake
def _(features, scale, shift):
    return torch.empty_like(features), torch.empty_like(scale), torch.empty_like(scale)


@torch.library.custom_op("ites_fast::norm_relu_backward", mutates_args=())
def _backward(
    grad_output: Tensor, output: Tensor, features: Tensor, mean: Tensor, var: Tensor, scale: Tensor, shift: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    return norm_relu_backward(grad_output, output, features - mean, var, scale)


@register_triton(_backward)
def _(grad_output, output, features, mean, var, scale, shift):
    if features.dtype not in COMPILED_DTYPES:
        return norm_relu_backward(grad_output, output, features - mean, var, scale)
    from ites_fast.kernels.norm_relu import norm_relu_bwd

    return norm_relu_bwd(grad_output, features, mean, var, scale, shift, EPS)


@_backward.register_fake
def _(grad_output, output, features, mean, var, scale, shift):
    return torch.empty_like(features), torch.empty_like(scale), torch.empty_like(scale)


def centre_(features: Tensor) -> tuple[Tensor, Tensor]:
    """Subtract the mean of each channel from features (..., C) in place; return mean and biased variance (C,).

    On the CPU this is 20 times faster than ``var_mean``, and 30 times more accurate in float32 than the statistics of
    PyTorch's batch norm with the channels last, which add up all rows one by one.
    """
    rows = features.shape[:-1].numel()
    mean = channel_sum(features) / rows
    features.sub_(mean)
    return mean, channel_sum(features.square()) / rows


def norm_relu_forward(centred: Tensor, var: Tensor, scale: Tensor, shift: Tensor) -> Tensor:
    """Batch norm and ReLU of features whose mean was subtracted (..., C)."""
    return torch.addcmul(shift, centred, scale * (var + EPS).rsqrt()).relu_()


def norm_relu_backward(
    grad_output: Tensor, output: Tensor, centred: Tensor, var: Tensor, scale: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    r"""Gradients of features, scale and shift.

    With :math:`g` the gradient before the ReLU, :math:`\hat x` the normalised features and N rows,
    :math:`dx = \gamma r (g - (\sum g + \hat x \sum g \hat x) / N)`, where :math:`r = 1 / \sqrt{\sigma^2 + \epsilon}`.
    It is written as one linear function of g and the centred features, whose coefficients belong to the channels.
    """
    rows = centred.shape[:-1].numel()
    rstd = (var + EPS).rsqrt()
    factor = scale * rstd
    grad = torch.ops.aten.threshold_backward(grad_output, output, 0)  # (..., C)
    grad_shift = channel_sum(grad)
    grad_scale = rstd * channel_sum(grad * centred)
    grad_features = torch.addcmul(-factor * grad_shift / rows, grad, factor)
    return grad_features.addcmul_(centred, -factor * rstd * grad_scale / rows), grad_scale, grad_shift


def channel_sum(features: Tensor) -> Tensor:
    """Sum (..., C) over all but the channels."""
    return features.flatten(0, -2).sum(dim=0)


def _setup_context(ctx, inputs, output) -> None:
    features, scale, shift = inputs
    normalised, mean, var = output
    # without this, zeros would be made for the gradient of each output that has none
    ctx.set_materialize_grads(False)
    ctx.mark_non_differentiable(mean, var)
    ctx.save_for_backward(normalised, features, mean, var, scale, shift)


def _autograd(ctx, grad_output: Tensor | None, *_):
    if grad_output is None:
        return None, None, None
    return _backward(grad_output.contiguous(), *ctx.saved_tensors)


_forward.register_autograd(_autograd, setup_context=_setup_context)
