"""Missing joints of 2D poses from those that were seen, by a Gaussian of whole poses."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from ites_fast.normalization import MIN_SIZE, MIN_VISIBLE, Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import Skeleton

CHUNK = 4096  # views at a time: each has a matrix of its own
FREE = 100.0  # variance of where a pose lies, in squared sizes of the pose: it says next to nothing
# What a detector adds to a coordinate, standard deviation in sizes of the pose. Chosen on held-out training people
# between 0.01 and 0.08: with less, noise of 6 px throws missing joints far off, with more, clean joints say too little.
NOISE = 0.03
UPRIGHT = 6.0  # by how much the logarithm of the likelihood has to be larger upside down


@dataclass(frozen=True, eq=False)
class Completion:
    """Fills in missing joints: their mean given those that were seen, under a Gaussian of whole people's 2D poses.

    A pose may lie anywhere and have any size, so that pixels do as well as image coordinates. It has a root mean square
    of one about its root in the unit of the Gaussian, the n coordinates y that were seen have the mean m and, with the
    noise and a translation of large variance added, the covariance S. The size of the pose is 1 / a with the factor of
    the largest likelihood: a = (l + sqrt(l^2 + 4 q (n - 2))) / (2 q), q = y' S^-1 y and l = m' S^-1 y. People who stand
    on their hands are upright people turned by 180 degrees, where that is much more likely.

    Args:
        mean: of the coordinates (2 J,), x and y of each joint.
        covariance: of the same (2 J, 2 J).
        noise: see ``NOISE``.
    """

    mean: Tensor
    covariance: Tensor
    noise: float = NOISE

    @classmethod
    def fit(cls, image: Tensor, skeleton: Skeleton, normalization: Normalization, noise: float = NOISE) -> "Completion":
        """Mean and covariance of training views and their mirror images.

        Args:
            image: image coordinates (N, J, 2), no joint missing.
            skeleton: their joints.
            normalization: of a lifter; its view and scale do not matter.
            noise: see the class.

        Raises:
            InputError: a view cannot be normalised.
        """
        normalization = replace(normalization, view="camera", scale="pose", constant=1.0)
        pose = normalization.pose_2d(image, source="training views")
        pose = torch.cat([pose, mirrored(pose, skeleton)]).flatten(1).double()
        return cls(pose.mean(0).float(), torch.cov(pose.T).float(), noise)

    def __call__(self, image: Tensor) -> Tensor:
        """Fill in the joints of poses that are NaN.

        Args:
            image: image coordinates or pixels (N, J, 2).

        Returns:
            The same poses. Joints that were seen stay where they are; poses with fewer than ``MIN_VISIBLE`` of them, or
            with all of them in one place, stay incomplete.
        """
        seen = ~image.isnan().any(-1)  # (N, J)
        rows = (~seen.all(1) & (seen.sum(1) >= MIN_VISIBLE)).nonzero()[:, 0]
        if not len(rows):
            return image
        result = image.clone()
        for part in rows.split(CHUNK):
            result[part] = self.filled(image[part], seen[part])
        return result

    def filled(
        self, image: Tensor, seen: Tensor, solve: Callable[[Tensor, Tensor], Tensor] = torch.linalg.solve
    ) -> Tensor:
        """What a call does, for poses that all have some joints, by operations that can be traced.

        Args:
            image: poses (N, J, 2); what they are where a joint was not seen does not matter.
            seen: the joints that were seen (N, J).
            solve: of systems (N, 2 J, 2 J) with right sides (N, 2 J, 2), in double precision.

        Returns:
            Poses (N, J, 2); NaN at the joints that were not seen where all others are in one place.
        """
        known = torch.where(seen[..., None], image, 0).double()
        count = seen.sum(1).to(known)[:, None, None]  # joints
        middle = known.sum(1, keepdim=True) / count
        known = torch.where(seen[..., None], known - middle, 0)
        size = (known.square().sum((1, 2), keepdim=True) / count).sqrt()
        known = (known / size).flatten(1)  # (N, 2 J)
        visible = seen[..., None].expand(-1, -1, 2).flatten(1)
        mean, covariance = self.mean.to(known), self._anywhere().to(known)
        # one matrix a pose: S at the coordinates that were seen, ones on the diagonal of the others
        eye = torch.eye(len(mean), dtype=known.dtype, device=known.device)
        among = torch.where(visible[:, :, None] & visible[:, None, :], covariance + self.noise**2 * eye, eye)
        right = torch.stack([known, torch.where(visible, mean, 0)], -1)
        of_known, of_mean = solve(among, right).unbind(-1)
        square, linear = ((known * each).sum(1, keepdim=True) for each in (of_known, of_mean))
        upright, likely = _factor(square, linear, 2 * (count[..., 0] - 1))
        inverted, likely_inverted = _factor(square, -linear, 2 * (count[..., 0] - 1))
        is_inverted = likely_inverted > likely + UPRIGHT
        factor = torch.where(is_inverted, inverted, upright)
        sign = torch.where(is_inverted, -1.0, 1.0)
        pose = (sign * mean + (factor * of_known - sign * of_mean) @ covariance) / factor
        filled = (pose.view_as(image) * size + middle).to(image)
        is_point = size <= MIN_SIZE * middle.abs().amax((1, 2), keepdim=True).clamp(min=1)
        return torch.where(seen[..., None], image, torch.where(is_point, torch.nan, filled))

    def filled_array(self, image: np.ndarray, seen: np.ndarray) -> np.ndarray:
        """``filled`` on numpy arrays, several times as fast for few poses."""
        mean, covariance = self._arrays
        count = seen.sum(1, dtype=np.float64)[:, None, None]
        middle = np.where(seen[..., None], image, 0).sum(1, keepdims=True, dtype=np.float64) / count
        known = np.where(seen[..., None], image - middle, 0)
        size = np.sqrt((known * known).sum((1, 2), keepdims=True) / count)
        is_point = size <= MIN_SIZE * np.maximum(np.abs(middle).max((1, 2), keepdims=True), 1)
        size = np.where(is_point, 1, size)
        known = (known / size).reshape(len(image), len(mean))
        visible = np.repeat(seen, 2, axis=1)
        eye = np.eye(len(mean))
        among = np.where(visible[:, :, None] & visible[:, None, :], covariance + self.noise**2 * eye, eye)
        solved = np.linalg.solve(among, np.stack([known, np.where(visible, mean, 0)], -1))
        of_known, of_mean = solved[..., 0], solved[..., 1]
        square, linear = ((known * each).sum(1, keepdims=True) for each in (of_known, of_mean))
        square, degrees = np.where(is_point[..., 0], 1, square), 2 * (count[..., 0] - 1)
        upright, likely = _factor(square, linear, degrees)
        inverted, likely_inverted = _factor(square, -linear, degrees)
        is_inverted = likely_inverted > likely + UPRIGHT
        factor, sign = np.where(is_inverted, inverted, upright), np.where(is_inverted, -1.0, 1.0)
        pose = (sign * mean + (factor * of_known - sign * of_mean) @ covariance) / factor
        filled = np.where(is_point, np.nan, pose.reshape(image.shape) * size + middle)
        return np.where(seen[..., None], image, filled).astype(image.dtype)

    @cached_property
    def _arrays(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and ``_anywhere`` in double precision."""
        return self.mean.double().numpy(force=True), self._anywhere().double().numpy(force=True)

    def _anywhere(self) -> Tensor:
        """The covariance (2 J, 2 J) of poses that may lie anywhere."""
        axis = torch.arange(len(self.mean), device=self.covariance.device) % 2
        return self.covariance + FREE * (axis[:, None] == axis)


def _factor(square, linear, count):
    """The a that maximises l a - q a^2 / 2 + n log a, and the maximum, for tensors or arrays q, l and n."""
    factor = (linear + (linear**2 + 4 * square * count) ** 0.5) / (2 * square)
    logarithm = np.log(factor) if isinstance(factor, np.ndarray) else factor.log()
    return factor, linear * factor - square * factor**2 / 2 + count * logarithm
