"""Procrustes alignment: the similarity that moves one pose onto another with the least squared error."""

import torch
from torch import Tensor


def procrustes(source: Tensor, target: Tensor, with_scale: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    r"""Find the similarity that aligns each source pose with its target pose.

    .. math:: \min_{s, R, t} \sum_j \| s R x_j + t - y_j \|^2, \qquad R^T R = I, \; \det R = +1

    With both poses centred and :math:`\sum_j y_j x_j^T = U \Sigma V^T`, the solution is (Umeyama 1991)

    .. math:: R = U D V^T, \quad s = \mathrm{tr}(\Sigma D) / \sum_j \|x_j\|^2, \quad t = \bar y - s R \bar x

    with :math:`D = \mathrm{diag}(1, 1, \det U V^T)`, which forbids reflections. Where the rotation is not unique
    (collinear or coinciding joints) one of the best is returned. A source without extent keeps scale 1.
    A pose that holds a NaN or an infinity gets NaN everywhere; the other poses of the batch are not affected.

    Args:
        source: poses x (N, J, 3).
        target: poses y (N, J, 3), in any unit.
        with_scale: whether to fit the scale; 1 otherwise.

    Returns:
        rotation (N, 3, 3) acting on column vectors, scale (N), translation (N, 3) in the unit of ``target``.
    """
    rotation, scale = _fit(source, target, with_scale)
    _, source_mean = center(source)
    _, target_mean = center(target)
    moved = torch.einsum("n,nik,nk->ni", scale, rotation, source_mean)
    return rotation, scale, target_mean - moved


def procrustes_errors(source: Tensor, target: Tensor, with_scale: bool = True) -> Tensor:
    """Distance of each joint (N, J) to its target after ``procrustes``, in the unit of ``target``."""
    rotation, scale = _fit(source, target, with_scale)
    # Centred poses: a translation far from the origin would cost digits.
    aligned = torch.einsum("n,nik,njk->nji", scale, rotation, center(source)[0])
    return torch.linalg.vector_norm(aligned - center(target)[0], dim=-1)


def procrustes_best_errors(source: Tensor, target: Tensor, with_scale: bool = True) -> tuple[Tensor, Tensor]:
    """``procrustes_errors`` of each pose or of its mirror image in depth (z negated), whichever has the smaller mean.

    Returns:
        Distances (N, J) in the unit of ``target``, and whether the mirror image was strictly better (N), bool.
    """
    errors = procrustes_errors(source, target, with_scale)
    mirrored = procrustes_errors(mirror(source), target, with_scale)
    flipped = mirrored.mean(dim=1) < errors.mean(dim=1)
    return torch.where(flipped[:, None], mirrored, errors), flipped


def mirror(pose: Tensor) -> Tensor:
    """Negate z, the depth, of poses (N, J, 3)."""
    return pose * pose.new_tensor([1, 1, -1])


def center(pose: Tensor) -> tuple[Tensor, Tensor]:
    """Split poses (N, J, 3) into joints about the centroid (N, J, 3) and the centroid (N, 3).

    Relative to the first joint before anything is summed, so that coinciding joints give exact zeros.
    """
    first = pose[:, :1]
    relative = pose - first
    mean = relative.mean(dim=1, keepdim=True)
    return relative - mean, (first + mean).squeeze(1)


def _fit(source: Tensor, target: Tensor, with_scale: bool) -> tuple[Tensor, Tensor]:
    """Rotation (N, 3, 3) and scale (N)."""
    source, _ = center(source)
    target, _ = center(target)
    cross = target.mT @ source  # (N, 3, 3)
    variance = source.square().sum(dim=(1, 2))  # (N)
    # One NaN would make the decomposition of the whole batch raise.
    valid = cross.isfinite().all(dim=-1).all(dim=-1)
    u, singular, vh = torch.linalg.svd(torch.where(valid[:, None, None], cross, 0))
    sign = torch.ones_like(singular)
    sign[:, 2] = torch.linalg.det(u @ vh).sign()
    rotation = (u * sign[:, None, :]) @ vh
    scale = torch.where(variance > 0, (singular * sign).sum(dim=-1) / variance, 1)
    if not with_scale:
        scale = torch.ones_like(scale)
    nan = float("nan")
    return torch.where(valid[:, None, None], rotation, nan), torch.where(valid, scale, nan)
