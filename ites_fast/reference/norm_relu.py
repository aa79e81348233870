"""Batch norm over poses and joints, followed by a ReLU."""

from typing import NamedTuple

import torch
from torch import Tensor

EPS = 1e-5


class Norm(NamedTuple):
    """Scale and shift of a batch norm."""

    scale: Tensor  # (C,)
    shift: Tensor  # (C,)


class Statistics(NamedTuple):
    """Mean and biased variance of each channel."""

    mean: Tensor  # (C,)
    var: Tensor  # (C,)


def norm_relu(features: Tensor, norm: Norm, statistics: Statistics | None = None) -> tuple[Tensor, Statistics]:
    """Batch norm, then ReLU. Arguments and results: ``batch_norm``."""
    normalised, statistics = batch_norm(features, norm, statistics)
    return normalised.relu(), statistics


def batch_norm(features: Tensor, norm: Norm, statistics: Statistics | None = None) -> tuple[Tensor, Statistics]:
    r"""Normalise each channel: :math:`\gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta`.

    Args:
        features: (..., C).
        norm: scale and shift.
        statistics: for inference; without them the batch is normalised by its own, through which gradients flow.

    Returns:
        Normalised features (..., C), and the statistics that normalised them.
    """
    if statistics is None:
        var, mean = torch.var_mean(features.flatten(0, -2), dim=0, correction=0)
        statistics = Statistics(mean, var)
    scale = norm.scale * (statistics.var + EPS).rsqrt()
    return (features - statistics.mean) * scale + norm.shift, statistics
