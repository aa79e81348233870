"""Distances of joints from their targets under several alignments, for a pose and for its mirror image in depth."""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ites_fast.reference.procrustes import mirror, procrustes, procrustes_errors

Fit = Literal["rigid", "similarity", "none", "lstsq", "procrustes", "unsigned", "norm", "xy"]
FITS: tuple[Fit, ...] = get_args(Fit)  # in the order of `Fit` in csrc/procrustes_batch.h


def aligned_errors(
    source: Tensor, target: Tensor, fits: Sequence[Fit], flip: Literal["none", "both"] = "none", root: int = 0
) -> Tensor:
    r"""Move each pose x onto its target y in several ways, and take the distance of every joint.

    ``similarity`` and ``rigid`` are ``procrustes`` with and without its scale. The other fits put the root joints of
    both poses in the origin, :math:`p_j = x_j - x_r` and :math:`q_j = y_j - y_r`, and multiply p by one factor:

    * ``none``: 1;
    * ``lstsq``: :math:`\sum p \cdot q / \sum p \cdot p`, least squares;
    * ``xy``: the same over x and y alone;
    * ``norm``: :math:`\sqrt{\sum q \cdot q / \sum p \cdot p}`;
    * ``procrustes``: the scale of the similarity;
    * ``unsigned``: the larger one of the scales of the similarities of the pose and of its mirror image, which is that
      of the sum of all three singular values.

    A pose without extent gets the factor 0 from ``lstsq``, ``xy`` and ``norm``.

    Args:
        source: poses x (N, J, 3).
        target: poses y (N, J, 3), in any unit.
        fits: names of the fits (F).
        flip: "both": also for the mirror image in depth, z negated about the root, which gets fits of its own.
        root: index of the root joint.

    Returns:
        Distances (F, C, N, J) in the unit of ``target``; C is 1, or 2 with ``flip="both"``: as given, mirrored.
    """
    source, target = source - source[:, root, None], target - target[:, root, None]
    candidates = [source, mirror(source)] if flip == "both" else [source]
    errors = [[_errors(candidate, target, fit) for candidate in candidates] for fit in fits]
    return torch.stack([torch.stack(candidates) for candidates in errors])


def _errors(source: Tensor, target: Tensor, fit: Fit) -> Tensor:
    """Distances (N, J) between root-relative poses after one fit."""
    if fit in ("rigid", "similarity"):
        return procrustes_errors(source, target, fit == "similarity")
    return torch.linalg.vector_norm(_scale(source, target, fit)[:, None, None] * source - target, dim=-1)


def _scale(source: Tensor, target: Tensor, fit: Fit) -> Tensor:
    """The factor (N) that root-relative poses are multiplied by."""
    if fit == "none":
        return source.new_ones(len(source))
    if fit == "procrustes":
        return procrustes(source, target)[1]
    if fit == "unsigned":
        return torch.maximum(procrustes(source, target)[1], procrustes(mirror(source), target)[1])
    if fit == "xy":
        source, target = source[..., :2], target[..., :2]
    product, square = (source * target).sum(dim=(1, 2)), source.square().sum(dim=(1, 2))
    if fit == "norm":
        return torch.where(square == 0, 0, (target.square().sum(dim=(1, 2)) / square).sqrt())
    assert fit in ("lstsq", "xy"), fit
    return torch.where(square == 0, 0, product / square)
