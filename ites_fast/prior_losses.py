"""The losses of the recipe "prior": what makes depths plausible without a teacher. Scalars; lengths in body units."""

import torch
from torch import Tensor

from ites_fast.models.flow import Density

LARGEST_NLL = 80.0  # nats
LARGEST_RESIDUAL = 100.0  # times the training poses' mean
SMALLEST_SPREAD = 0.01


def likelihood_loss(density: Density) -> Tensor:
    r"""Virtual views must look like real ones: mean of :math:`\min(-\log p(x'), 80)` (ElePose, CVPR 2022, eq. 4).

    Views beyond the limit have no gradient: they are errors that the other losses mend.
    """
    return density.nll.clamp(max=LARGEST_NLL).mean()


def residual_loss(density: Density) -> Tensor:
    """Virtual views must lie in the principal components of real ones: their mean, bounded, energy outside."""
    return density.residual.clamp(max=LARGEST_RESIDUAL).mean()


def bone_lengths(pose: Tensor, edges: tuple[tuple[int, int], ...]) -> Tensor:
    """Lengths of the bones (B, E) of poses (B, J, 3)."""
    child, parent = (list(joints) for joints in zip(*edges, strict=True))
    return (pose[:, child] - pose[:, parent]).norm(dim=-1)


def bone_spread_loss(pose: Tensor, edges: tuple[tuple[int, int], ...], kind: str = "log") -> Tensor:
    r"""Bodies have similar proportions.

    .. math:: \sigma_e = \mathrm{std}_b(r_{be}) / \mathrm{mean}_b(r_{be}), \qquad
        r_{be} = \ell_{be} / \mathrm{mean}_{e'}(\ell_{be'})

    The loss is the mean over bones of :math:`\log(\sigma_e + 0.01)` ("log": every bone is asked for the same relative
    gain, however much people differ in it) or of :math:`\sigma_e` ("plain").

    Args:
        pose: poses of a batch (B, J, 3), B at least 2.
        edges: bones as (child, parent).
        kind: "log" or "plain".
    """
    length = bone_lengths(pose, edges)
    ratio = length / length.mean(dim=1, keepdim=True)
    spread = ratio.std(dim=0, correction=0) / ratio.mean(dim=0)
    return (spread + SMALLEST_SPREAD).log().mean() if kind == "log" else spread.mean()


def deformation_loss(error: Tensor) -> Tensor:
    r"""Two poses must differ alike before and after the cycle (ElePose, CVPR 2022, section 3.5).

    .. math:: L_{def} = \frac{1}{B J} \sum_{bj} | q_{bj} - q_{b'j} |

    Args:
        error: cycle errors turned back into the frame of the view (B, J, 3); each pose is paired with the next.
    """
    return (error - error.roll(1, dims=0)).norm(dim=-1).mean()


def rank_loss(pose: Tensor, rank: int) -> Tensor:
    """Share of the variance of upright poses (B, J, 3) outside its ``rank`` strongest directions over the batch.

    A pose dictionary of ``rank`` atoms has no such share (ITES, section 3.1); this asks for one softly.
    """
    flat = pose.flatten(1)
    centred = flat - flat.mean(dim=0)
    variance = torch.linalg.eigvalsh(centred.mT @ centred)  # ascending
    return variance[:-rank].sum() / variance.sum()
