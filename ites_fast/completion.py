"""Missing joints of 2D poses from those that were seen, by a Gaussian of whole poses."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ites_fast.chunks import chunks
from ites_fast.normalization import Normalization

CHUNK = 4096  # views at a time: each has a matrix of its own
FREE = 100.0  # variance of where a pose lies, in sizes squared: it says next to nothing


@dataclass(frozen=True, eq=False)
class Completion:
    """A Gaussian of root-centred 2D poses of root mean square one, of whole people.

    Args:
        mean: of the coordinates (2 J,), in the order x, y of each joint.
        covariance: (2 J, 2 J).
        noise: standard deviation that a detector adds to a coordinate, in sizes of the pose.
    """

    mean: Tensor
    covariance: Tensor
    noise: float = 0.02

    @classmethod
    def fit(cls, image: Tensor, normalization: Normalization, noise: float = 0.02) -> "Completion":
        """Mean and covariance of training views (N, J, 2), image coordinates without missing joints."""
        pose = replace(normalization, view="camera", scale="pose", constant=1.0).pose_2d(image).flatten(1).double()
        return cls(pose.mean(0), torch.cov(pose.T), noise)

    def __call__(self, image: Tensor) -> Tensor:
        """Image coordinates (N, J, 2) without NaN: joints that were seen stay where they are.

        The pose may lie anywhere (a translation of unknown, large variance) and have any size: that of the largest
        likelihood of the joints that were seen. The others are the conditional mean.
        """
        result = image.clone()
        for rows in image.isnan().flatten(1).any(1).nonzero()[:, 0].split(CHUNK):
            result[rows] = self._complete(image[rows])
        return result

    def _complete(self, image: Tensor) -> Tensor:
        seen = ~image.isnan().any(-1)
        visible = seen.repeat_interleave(2, 1)  # (N, 2 J)
        count = visible.sum(1, keepdim=True)  # coordinates that were seen
        middle = image.nanmean(1, keepdim=True)
        known = torch.where(seen[..., None], image - middle, 0).double()
        size = (known.square().sum((1, 2), keepdim=True) / seen.sum(1)[:, None, None]).sqrt()
        known = (known / size).flatten(1)
        mean, covariance = self.mean.to(known), self._with_translation().to(known)
        expected = torch.where(visible, mean, 0)
        among = covariance + self.noise**2 * torch.eye(len(mean), dtype=known.dtype)
        among = among * (visible[:, :, None] & visible[:, None, :]) + torch.diag_embed((~visible).to(known))
        of_known, of_mean = torch.linalg.solve(among, torch.stack([known, expected], -1)).unbind(-1)  # (N, 2 J)
        # the factor a that maximises -(a k - m)' S (a k - m) / 2 + n log a
        square, linear = ((known * each).sum(1, keepdim=True) for each in (of_known, of_mean))
        degrees = count - 2
        factor = (linear + (linear.square() + 4 * square * degrees).sqrt()) / (2 * square)
        pose = mean + (factor * of_known - of_mean) @ covariance
        completed = (pose / factor).view_as(image) * size + middle
        return torch.where(seen[..., None], image, completed.to(image))

    def _with_translation(self) -> Tensor:
        """The covariance (2 J, 2 J) of poses that may lie anywhere."""
        axis = torch.arange(len(self.mean)) % 2
        return self.covariance + FREE * (axis[:, None] == axis)
