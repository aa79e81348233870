"""How training views are spoilt as detectors spoil them."""

from collections.abc import Callable

import torch
from torch import Tensor

from ites_fast.corruption import FOCAL_PX, body_regions, limb_ends, misplace, swap_limbs
from ites_fast.normalization import MIN_VISIBLE
from ites_fast.options import DistillOptions
from ites_fast.skeleton import Skeleton


def spoil(image: Tensor, skeleton: Skeleton, options: DistillOptions, generator: torch.Generator) -> Tensor:
    """Add noise of another strength to every view, and lose some joints of some.

    The standard deviation of the noise is uniform in [0, ``max_noise_px``], except in the share of views that stay
    clean. Of the views that are not whole some lose the end of a limb, such as elbow and wrist, some two limbs or the
    lower body, and the others up to ``max_missing`` joints anywhere, each number alike.

    Limbs change sides and joints are misplaced as ``Corruption`` says, in a window in each frame anew.

    The frames of a window have noise of one strength, independent of each other. Half of the windows lose the same
    joints in all frames, as behind a piece of furniture, the others in every frame anew.

    Args:
        image: image coordinates (B, J, 2), or of windows (B, F, J, 2), without missing joints.
        skeleton: its joints.
        options: strength and shares.
        generator: of the random numbers; its device is that of ``image``.

    Returns:
        A new tensor like ``image``, NaN at the joints that were lost. At least ``MIN_VISIBLE`` joints are left.
    """

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator, dtype=image.dtype, device=image.device)

    views, frames = len(image), image.shape[1:-2]  # frames: () or (F,)
    sigma = options.max_noise_px / FOCAL_PX * uniform(views) * (uniform(views) >= options.clean_share)
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    spoilt = image + sigma.view(-1, *[1] * (image.ndim - 1)) * noise
    if options.swap_share > 0:
        spoilt = swap_limbs(spoilt.flatten(0, -3), skeleton, options.swap_share, generator).view_as(image)
    if options.miss_share > 0:
        spoilt = misplace(spoilt.flatten(0, -3), skeleton, options.miss_share, generator).view_as(image)
    if options.max_missing == 0 or options.whole_share == 1:
        return spoilt
    lost = _lost(views, skeleton, options, uniform)  # (B, J)
    if frames:
        anew = _lost(views * frames[0], skeleton, options, uniform).unflatten(0, (views, -1))
        lost = torch.where(uniform(views, 1, 1) < 0.5, lost[:, None], anew)
    return spoilt.masked_fill(lost[..., None], torch.nan)


def _lost(views: int, skeleton: Skeleton, options: DistillOptions, uniform: Callable[..., Tensor]) -> Tensor:
    """The joints that views lose (views, J), by uniform random numbers of any shape."""
    joints = skeleton.num_joints
    count = (
        (uniform(views, 1) * (options.max_missing + 1))
        .floor()
        .clamp(max=min(options.max_missing, joints - MIN_VISIBLE))
    )
    lost = uniform(views, joints).argsort(1).argsort(1) < count  # (views, J)
    lost = _replaced(lost, limb_ends(skeleton), options.limb_share, uniform)
    if options.region_share > 0:
        lost = _replaced(lost, large_regions(skeleton), options.region_share, uniform)
    return lost & (uniform(views, 1) >= options.whole_share)


def _replaced(lost: Tensor, sets: Tensor, share: float, uniform: Callable[..., Tensor]) -> Tensor:
    """In a share of the rows of ``lost`` (views, J) one of the sets (R, J) instead, each alike."""
    if not len(sets):
        return lost
    views, sets = len(lost), sets.to(lost.device)
    chosen = sets[(uniform(views) * len(sets)).long().clamp(max=len(sets) - 1)]
    return torch.where(uniform(views, 1) < share, chosen, lost)


def large_regions(skeleton: Skeleton) -> Tensor:
    """Sets of joints that views lose together (R, J): any two limbs, knees and ankles, and twice root and legs."""
    regions = body_regions(skeleton)
    return torch.cat([regions[name] for name in ("two_limbs", "legs", "lower_body", "lower_body")])
