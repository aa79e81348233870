"""What detectors do to exact 2D poses: joints move by some pixels, joints are not found."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ites_fast.camera import Camera
from ites_fast.chunks import chunks
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.normalization import MIN_VISIBLE

# Noise is stated in pixels of images whose longer side is 1000 px, as in Human3.6M and the bundled sample.
IMAGE_PX = 1000.0
FOCAL_PX = 1145.0  # of such an image, where a camera does not say how large its images are
DEFINITION = "Gaussian, standard deviation of each coordinate, in pixels of an image whose longer side is 1000 px"


@dataclass(frozen=True)
class Corruption:
    """What is done to every view of a data set.

    Args:
        noise_px: standard deviation of Gaussian noise on each coordinate, pixels of an image of ``IMAGE_PX``.
        missing_joints: joints that each view loses.
        seed: of the random numbers.

    Raises:
        InputError: the noise is negative or not finite.
    """

    noise_px: float = 0.0
    missing_joints: int = 0
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.noise_px < np.inf:
            raise InputError(f"noise of {self.noise_px} px: expected a finite number that is not negative")

    def __str__(self) -> str:
        noise = f"noise {self.noise_px:g} px ({DEFINITION})"
        return f"{noise}, {self.missing_joints} joints lost in each view, seed {self.seed}"

    @property
    def changes(self) -> bool:
        """Whether anything is done at all."""
        return self.noise_px != 0 or self.missing_joints != 0

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
            pixels = torch.from_numpy(dataset.pose_2d[part])
            size = pixel[torch.from_numpy(dataset.camera[part]).long(), None, None]
            noisy = add_noise(pixels, self.noise_px, 1 / size, generator) if self.noise_px else pixels
            pose_2d[part] = drop_joints(noisy, self.missing_joints, generator).numpy()
        return replace(dataset, pose_2d=pose_2d, allow_missing=dataset.allow_missing or self.missing_joints > 0)


def reference_pixel(camera: Camera) -> float:
    """How many of a camera's own pixels are one pixel of an image whose longer side is ``IMAGE_PX``.

    A camera that does not know its image's size is taken to see as much as one with ``FOCAL_PX``.
    """
    side = max(camera.image_size)
    return side / IMAGE_PX if side > 0 else float(camera.focal.mean()) / FOCAL_PX


def add_noise(image: Tensor, sigma_px: float, focal: float | Tensor, generator: torch.Generator) -> Tensor:
    """Move every joint by independent Gaussian noise; missing joints stay missing.

    Args:
        image: image coordinates (u - c) / f (N, J, 2).
        sigma_px: standard deviation of each coordinate, pixels.
        focal: focal length of the images that these pixels belong to, pixels; one number, or a tensor that
            broadcasts to (N, J, 2).
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
