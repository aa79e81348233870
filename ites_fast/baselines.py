"""What a trained model has to beat: predictors that look at almost nothing. They lift as a ``ViewLifter`` does."""

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.normalization import fill_missing
from ites_fast.skeleton import Skeleton

ASSUMED_DISTANCE = 5.0


@dataclass(frozen=True)
class DepthZero:
    """Every joint as far from the camera as the root: x and y from the image, z = 0. Missing joints are at the root.

    The person is taken to stand ``ASSUMED_DISTANCE`` metres away, which matters to ``scale="none"`` only.
    """

    skeleton: Skeleton
    metres_per_unit: float = 1.0
    accepts_missing: ClassVar[bool] = True

    def lift(self, image: Tensor, batch_size: int = 0, *, source: str = "", first: int = 0) -> Tensor:
        """Image coordinates (N, J, 2) to root-relative poses (N, J, 3); nothing else is needed."""
        root = self.skeleton.root
        image = fill_missing(image, root, self.skeleton.hips)
        flat = ASSUMED_DISTANCE * (image - image[:, root : root + 1])
        return torch.nn.functional.pad(flat, (0, 1))


@dataclass(frozen=True)
class MeanPose:
    """The same pose for every image: the mean of the training poses in the camera's frame."""

    skeleton: Skeleton
    pose: Tensor  # (J, 3) root-relative, metres
    metres_per_unit: float = 1.0
    accepts_missing: ClassVar[bool] = True

    @classmethod
    def fit(cls, dataset: PoseDataset) -> "MeanPose":
        """Take the mean of a training split.

        Raises:
            InputError: it has no poses, or no 3D.
        """
        if dataset.pose_3d is None or len(dataset) == 0:
            raise InputError(f"{dataset.name}: no 3D poses to take the mean of")
        pose = dataset.pose_3d.mean(0, dtype="float64")
        pose = torch.from_numpy(pose - pose[dataset.skeleton.root]).float()
        return cls(dataset.skeleton, pose)

    def lift(self, image: Tensor, batch_size: int = 0, *, source: str = "", first: int = 0) -> Tensor:
        """Image coordinates (N, J, 2) to root-relative poses (N, J, 3); nothing else is needed."""
        return self.pose.to(image).expand(len(image), -1, -1)
