"""What detectors do to exact 2D poses: joints move, change sides, lie elsewhere, or are not found."""

import itertools
import typing
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ites_fast.camera import Camera
from ites_fast.chunks import chunks
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.normalization import MIN_VISIBLE
from ites_fast.skeleton import Skeleton

Occlusion = Literal["none", "limb", "two_limbs", "side", "legs", "lower_body"]

# Noise is stated in pixels of images whose longer side is 1000 px, as in Human3.6M and the bundled sample.
IMAGE_PX = 1000.0
FOCAL_PX = 1145.0  # of such an image, where a camera does not say how large its images are
DEFINITION = "Gaussian, standard deviation of each coordinate, in pixels of an image whose longer side is 1000 px"
TAIL = 4.0  # how many times as far the joints of ``tail_share`` move
MISSES_AT_ENDS = 4.0  # how many times as often wrists and ankles are misplaced as other joints
MISS_SIZE = 1.0  # standard deviation of a misplaced joint's error, in root mean square sizes of the pose


@dataclass(frozen=True)
class Corruption:
    """What is done to every view of a data set, in the order of the arguments; each is a part of what detectors do.

    Args:
        noise_px: standard deviation of Gaussian noise on each coordinate, pixels of an image of ``IMAGE_PX``.
        missing_joints: joints that each view loses, after all else.
        seed: of the random numbers.
        tail_share: share of the joints whose noise is ``TAIL`` times as large.
        swap_share: share of the views in which a limb, or the end of one, is exchanged with that of the other side.
        miss_share: probability that a joint lies elsewhere, at another joint or ``MISS_SIZE`` sizes of the pose away;
            ``MISSES_AT_ENDS`` times that at wrists and ankles.
        lost_share: probability that a joint is not found, whatever the others are.
        occlusion: what no view shows: "limb" one of the four and "two_limbs" any two, hip or shoulder with it, "side"
            the left or the right limbs, "legs" knees and ankles, "lower_body" root and legs.

    Raises:
        InputError: the noise is negative or not finite, a share is not one, or the occlusion is unknown.
    """

    noise_px: float = 0.0
    missing_joints: int = 0
    seed: int = 0
    tail_share: float = 0.0
    swap_share: float = 0.0
    miss_share: float = 0.0
    lost_share: float = 0.0
    occlusion: Occlusion = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.noise_px < np.inf:
            raise InputError(f"noise of {self.noise_px} px: expected a finite number that is not negative")
        for name in ("tail_share", "swap_share", "miss_share", "lost_share"):
            if not 0 <= getattr(self, name) <= 1:
                raise InputError(f"{name} {getattr(self, name)}: expected 0 to 1")
        if self.occlusion not in typing.get_args(Occlusion):
            raise InputError(f"occlusion {self.occlusion!r}: expected one of {typing.get_args(Occlusion)}")

    def __str__(self) -> str:
        noise = f"noise {self.noise_px:g} px ({DEFINITION})"
        more = [
            f"{each.name} {getattr(self, each.name)}"
            for each in fields(self)[3:]
            if getattr(self, each.name) != each.default
        ]
        return ", ".join([noise, f"{self.missing_joints} joints lost in each view", *more, f"seed {self.seed}"])

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return replace(self, seed=0) != Corruption()

    @property
    def loses_joints(self) -> bool:
        """Whether views may lack joints that they had."""
        return self.missing_joints > 0 or self.lost_share > 0 or self.occlusion != "none"

    def apply(self, dataset: PoseDataset) -> PoseDataset:
        """A data set with the same views, seen worse; 3D poses are kept.

        Raises:
            InputError: too few joints would be left.
        """
        if not self.changes:
            return dataset
        generator = torch.Generator().manual_seed(self.seed)
        pixel = torch.tensor([reference_pixel(camera) for camera in dataset.cameras])
        pose_2d = np.empty_like(dataset.pose_2d)
        for part in chunks(len(dataset)):
            size = pixel[torch.from_numpy(dataset.camera[part]).long(), None, None]
            pixels = torch.from_numpy(dataset.pose_2d[part])
            pose_2d[part] = self._spoil(pixels, dataset.skeleton, size, generator).numpy()
        return replace(dataset, pose_2d=pose_2d, allow_missing=dataset.allow_missing or self.loses_joints)

    def _spoil(self, pixels: Tensor, skeleton: Skeleton, pixel: Tensor, generator: torch.Generator) -> Tensor:
        """Some views (N, J, 2) by cameras of which a reference pixel is ``pixel`` (N, 1, 1) of their own."""
        if self.noise_px:
            pixels = add_noise(pixels, self.noise_px, 1 / pixel, generator, self.tail_share)
        if self.swap_share:
            pixels = swap_limbs(pixels, skeleton, self.swap_share, generator)
        if self.miss_share:
            pixels = misplace(pixels, skeleton, self.miss_share, generator)
        if self.lost_share:
            lost = torch.rand(pixels.shape[:2], generator=generator) < self.lost_share
            pixels = _hide(pixels, lost)
        if self.occlusion != "none":
            regions = body_regions(skeleton)[self.occlusion]
            which = torch.randint(len(regions), (len(pixels),), generator=generator)
            pixels = _hide(pixels, regions[which])
        return drop_joints(pixels, self.missing_joints, generator)


# Stands in for a detector. The shares of ``noise_px``, ``tail_share`` and ``miss_share`` are those of BODY_25B
# detections against the reprojected 3D of the same recording, see docs/METRICS.md.
DETECTOR = Corruption(noise_px=4.0, tail_share=0.1, swap_share=0.03, miss_share=0.005, lost_share=0.03)


def reference_pixel(camera: Camera) -> float:
    """How many of a camera's own pixels are one pixel of an image whose longer side is ``IMAGE_PX``.

    A camera that does not know its image's size is taken to see as much as one with ``FOCAL_PX``.
    """
    side = max(camera.image_size)
    return side / IMAGE_PX if side > 0 else float(camera.focal.mean()) / FOCAL_PX


def add_noise(
    image: Tensor, sigma_px: float, focal: float | Tensor, generator: torch.Generator, tail_share: float = 0.0
) -> Tensor:
    """Move every joint by independent Gaussian noise; missing joints stay missing.

    Args:
        image: image coordinates (u - c) / f (N, J, 2).
        sigma_px: standard deviation of each coordinate, pixels.
        focal: focal length of the images that these pixels belong to, pixels; one number, or a tensor that
            broadcasts to (N, J, 2).
        generator: of the random numbers; its device is that of ``image``.
        tail_share: share of the joints that move ``TAIL`` times as far.

    Returns:
        A new tensor (N, J, 2), in the dtype of ``image``.
    """
    noise = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=image.device)
    if tail_share:
        far = torch.rand(image.shape[:-1], generator=generator, device=image.device) < tail_share
        noise = noise * (1 + (TAIL - 1) * far[..., None])
    return image + noise * (sigma_px / focal)


def swap_limbs(image: Tensor, skeleton: Skeleton, share: float, generator: torch.Generator) -> Tensor:
    """Exchange a limb, or the end of one, with that of the other side, in a share of the poses.

    Args:
        image: image coordinates (N, J, 2).
        skeleton: their joints.
        share: of the poses.
        generator: of the random numbers; its device is that of ``image``.

    Returns:
        A new tensor (N, J, 2).
    """
    ends = limb_ends(skeleton).to(image.device)
    if not len(ends):
        return image.clone()
    views, device = len(image), image.device
    end = ends[torch.randint(len(ends), (views,), generator=generator, device=device)]
    both = end | end[:, list(skeleton.flip_order)]
    swapped = torch.rand(views, 1, generator=generator, device=device) < share
    return torch.where((both & swapped)[..., None], image[:, list(skeleton.flip_order)], image)


def misplace(image: Tensor, skeleton: Skeleton, share: float, generator: torch.Generator) -> Tensor:
    """Put joints elsewhere: half of those that are chosen onto another joint of the pose, the others anywhere near.

    Args:
        image: image coordinates (N, J, 2).
        skeleton: their joints.
        share: probability of each joint, ``MISSES_AT_ENDS`` times as large at the ends of limbs.
        generator: of the random numbers; its device is that of ``image``.

    Returns:
        A new tensor (N, J, 2). Missing joints stay missing.
    """
    shape, device = image.shape[:2], image.device
    ends = limb_ends(skeleton)
    at_ends = ends[ends.sum(1) == 1].any(0) if len(ends) else torch.zeros(shape[1], dtype=torch.bool)
    probability = share * (1 + (MISSES_AT_ENDS - 1) * at_ends.to(device))
    chosen = torch.rand(shape, generator=generator, device=device) < probability
    other = torch.randint(shape[1], shape, generator=generator, device=device)
    at_other = image.gather(1, other[..., None].expand(image.shape))
    size = (image - image.nanmean(1, keepdim=True)).square().sum(-1, keepdim=True).nanmean(1, keepdim=True).sqrt()
    error = torch.randn(image.shape, generator=generator, dtype=image.dtype, device=device)
    near = image + MISS_SIZE * size * error
    onto = torch.rand(shape, generator=generator, device=device) < 0.5
    place = torch.where(onto[..., None] & ~at_other.isnan(), at_other, near)
    return torch.where(chosen[..., None] & ~image.isnan(), place, image)


def limb_ends(skeleton: Skeleton) -> Tensor:
    """For every joint of the left and the right side, that joint and all that hang on it (L, J), boolean."""
    hanging = _hanging(skeleton)
    return hanging[sorted((*skeleton.left, *skeleton.right))]


def body_regions(skeleton: Skeleton) -> dict[str, Tensor]:
    """What can be hidden: sets of joints (R, J), boolean, by the name of an ``Occlusion``."""
    hanging, sides = _hanging(skeleton), {*skeleton.left, *skeleton.right}
    starts = [joint for joint in sorted(sides) if skeleton.parents[joint] not in sides]
    limbs = hanging[starts]
    left = torch.zeros(skeleton.num_joints, dtype=torch.bool)
    left[list(skeleton.left)] = True
    right = left[list(skeleton.flip_order)]
    hips = list(skeleton.hips)
    lower = hanging[hips].any(0)
    legs = lower.clone()
    legs[hips] = False
    lower[skeleton.root] = True
    pairs = [limbs[a] | limbs[b] for a, b in itertools.combinations(range(len(limbs)), 2)]
    return {
        "limb": limbs,
        "two_limbs": torch.stack(pairs),
        "side": torch.stack([left, right]),
        "legs": legs[None],
        "lower_body": lower[None],
    }


def _hanging(skeleton: Skeleton) -> Tensor:
    """Row j: joint j and all that hang on it (J, J), boolean."""
    hanging = torch.zeros(skeleton.num_joints, skeleton.num_joints, dtype=torch.bool)
    for joint in range(skeleton.num_joints):
        ancestor = joint
        while ancestor != -1:
            hanging[ancestor, joint] = True
            ancestor = skeleton.parents[ancestor]
    return hanging


def _hide(image: Tensor, hidden: Tensor) -> Tensor:
    """NaN at hidden joints (N, J); poses of which fewer than ``MIN_VISIBLE`` would be left stay as they are."""
    left = (~hidden & ~image.isnan().any(-1)).sum(1, keepdim=True)
    return image.masked_fill((hidden & (left >= MIN_VISIBLE))[..., None], torch.nan)


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
