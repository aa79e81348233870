"""What detectors do to exact 2D poses: joints move by some pixels, joints are not found."""

import torch
from torch import Tensor

from ites_fast.errors import InputError
from ites_fast.normalization import MIN_VISIBLE

FOCAL_PX = 1145.0  # of the 1000 px wide images in which noise is stated, as in Human3.6M and the bundled sample


def add_noise(image: Tensor, sigma_px: float, focal: float, generator: torch.Generator) -> Tensor:
    """Move every joint by independent Gaussian noise; missing joints stay missing.

    Args:
        image: image coordinates (u - c) / f (N, J, 2).
        sigma_px: standard deviation of each coordinate, pixels.
        focal: focal length of the images that these pixels belong to, pixels.
        generator: of the random numbers; its device is that of ``image``.

    Returns:
        A new tensor (N, J, 2), in the dtype of ``image``.
    """
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    return image + noise * (sigma_px / focal)


def drop_joints(image: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """Lose ``count`` joints of every pose, each set of joints as likely as any other.

    Joints that are missing already are not chosen; a pose loses fewer where fewer than ``MIN_VISIBLE`` would be left.

    Args:
        image: image coordinates (N, J, 2).
        count: joints to lose.
        generator: of the random numbers; its device is that of ``image``.

    Returns:
        A new tensor (N, J, 2) that is NaN at the joints that were lost.

    Raises:
        InputError: whole poses would have fewer than ``MIN_VISIBLE`` joints left, or ``count`` is negative.
    """
    joints = image.shape[1]
    if not 0 <= count <= joints - MIN_VISIBLE:
        raise InputError(f"{count} missing joints: expected 0 to {joints - MIN_VISIBLE} of {joints}")
    visible = ~image.isnan().any(-1)  # (N, J)
    score = torch.rand(image.shape[:2], generator=generator, device=image.device)
    rank = score.masked_fill(~visible, 2.0).argsort(1).argsort(1)  # those that are missing come last
    lost = rank < (visible.sum(1, keepdim=True) - MIN_VISIBLE).clamp(max=count)
    return image.masked_fill(lost[..., None], torch.nan)
