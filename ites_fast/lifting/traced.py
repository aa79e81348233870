"""What ``FrameLifter`` computes as one module of plain tensor operations: what is exported."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from ites_fast.errors import InputError
from ites_fast.lifting.frames import MIN_CONFIDENCE
from ites_fast.lifting.placement import MEAN_BONE
from ites_fast.models import SequenceLifter, ViewLifter
from ites_fast.normalization import MIN_SIZE, MIN_VISIBLE, Normalization
from ites_fast.skeleton import H36M_17, Conversion, Skeleton, conversion
from ites_fast.skeleton.conversion import EXTRAPOLATED_CONFIDENCE

INPUTS = ("keypoints", "camera")
OUTPUTS = ("positions", "translation", "confidence")
TINY = 1e-12


class TracedLifter(nn.Module):
    """Keypoints in pixels to poses in space, normalisation and conversion of the skeleton included.

    Args:
        lifter: of single views, of h36m_17, in eval mode, not packed.
        skeleton: joints of the keypoints.
        min_confidence: joints below it count as not seen.

    Raises:
        InputError: the lifter is of clips or of other joints, or needs all joints while this skeleton lacks some.
    """

    def __init__(
        self, lifter: ViewLifter, skeleton: Skeleton = H36M_17, min_confidence: float = MIN_CONFIDENCE
    ) -> None:
        super().__init__()
        if isinstance(lifter, SequenceLifter):
            raise InputError("the weights are of a lifter of clips, expected one of single views")
        if lifter.skeleton != H36M_17:
            raise InputError(f"the weights are for {lifter.skeleton.name}, expected a lifter of {H36M_17.name}")
        self.lifter, self.source, self.min_confidence = lifter, skeleton, min_confidence
        chosen = conversion(skeleton, H36M_17)
        if not all(chosen.alternatives) and not lifter.accepts_missing:
            raise InputError(f"{skeleton.name} lacks joints of {H36M_17.name}, and this network needs all of them")
        self.levels = _buffers(self, chosen)

    def forward(self, keypoints: Tensor, camera: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Lift poses of one camera.

        Args:
            keypoints: x, y in pixels without distortion, and confidence (B, J, 3); NaN, or a confidence of 0, where a
                joint was not seen.
            camera: focal lengths and principal point (4,): fx, fy, cx, cy, pixels.

        Returns:
            Root-relative joints (B, 17, 3) in the camera's frame (x right, y down, z forward), body units, NaN where
            fewer than four joints were seen; translation of the root (B, 3), body units; and the detector's confidence
            in each joint (B, 17), 0 for those that were filled in.
        """
        points, confidence = self._converted(keypoints.permute(2, 0, 1))
        visible = confidence > 0
        focal, centre = camera[:2, None, None], camera[2:, None, None]
        image = torch.where(visible, (points - centre) / focal, 0.0)
        known = visible
        if self.lifter.completion is not None:
            # whole batches need no completion, which costs more than the network
            image = torch.cond(visible.all(), _as_they_are, self._completed, (image, visible))
            known = visible | ~image[0].isnan()
            points = torch.where(known & ~visible, image * focal + centre, points)
            image = torch.where(visible, image, 0.0)
        pose_2d, looks_at, good = _normalized(points, known, focal, centre, self.lifter.normalization)
        pose = self.lifter.lift_normalized(pose_2d, known if self.lifter.accepts_missing else None).permute(2, 0, 1)
        pose = _turned_back(pose, looks_at) if looks_at is not None else pose
        child, parent = (list(joints) for joints in zip(*H36M_17.edges, strict=True))
        bone = (pose[..., child] - pose[..., parent]).square().sum(0).sqrt().mean(-1, keepdim=True)
        pose = pose * (MEAN_BONE / bone)
        translation = _translation(pose, image, confidence)
        if not self.lifter.accepts_missing:
            good = good & visible.all(1)
        pose = torch.where(good[:, None], pose, torch.nan).permute(1, 2, 0)
        translation = torch.where(good, translation, torch.nan).mT
        return pose, translation, torch.where(good[:, None], confidence, 0.0)

    def _completed(self, image: Tensor, visible: Tensor) -> Tensor:
        """Image coordinates (2, B, 17) with missing joints filled in; NaN where they cannot be."""
        filled = self.lifter.completion.filled(image.permute(1, 2, 0), visible, _solved).permute(2, 0, 1)
        enough = visible.sum(1, keepdim=True) >= MIN_VISIBLE
        return torch.where(visible | enough, filled, torch.nan)

    def _converted(self, planes: Tensor) -> tuple[Tensor, Tensor]:
        """Pixels (2, B, 17), 0 where they are not known, and confidences (B, 17), from planes (3, B, J)."""
        confidence = planes[2].clamp(max=1.0)
        seen = ~planes.isnan().any(0) & (confidence > 0) & (confidence >= self.min_confidence)
        points, confidence = torch.where(seen, planes[:2], 0.0), torch.where(seen, confidence, 0.0)
        if self.source == H36M_17:
            return points, confidence
        result = points.new_zeros(1, 1, 1)
        least = points.new_zeros(1, 1)
        found = torch.zeros(1, 1, dtype=torch.bool, device=points.device)
        for level in self.levels:
            lacking = (1 - seen.to(points.dtype)) @ getattr(self, level.needed).mT
            chosen = (lacking < 0.5) & getattr(self, level.exists) & ~found
            values = points @ getattr(self, level.weights).mT
            sure = confidence[:, getattr(self, level.sources)].amin(-1) * getattr(self, level.certainty)
            result = torch.where(chosen, values, result)
            least = torch.where(chosen, sure, least)
            found = found | chosen
        return result, least


class _Level(NamedTuple):
    """One alternative for every joint, as the names of buffers."""

    weights: str  # (17, J)
    needed: str  # (17, J), 1 where a joint of the source is needed
    exists: str  # (17,) whether a joint has this alternative
    sources: str  # (17, K) what is needed, the last one repeated
    certainty: str  # (17,) what the least of their confidences is multiplied with


def _buffers(module: nn.Module, conversion: Conversion) -> list[_Level]:
    """Put the alternatives of a conversion into ``module``, the first of all joints, the second of all joints, ..."""
    levels = []
    for number in range(max(1, *(len(choices) for choices in conversion.alternatives))):
        J = conversion.source.num_joints
        weights, sources = torch.zeros(17, J), [[0]] * 17
        exists, certainty = torch.zeros(17, dtype=torch.bool), torch.zeros(17)
        for joint, choices in enumerate(conversion.alternatives):
            for kind, shares in choices[number : number + 1]:
                sources[joint] = [source for source, _ in shares]
                weights[joint, sources[joint]] = torch.tensor([share for _, share in shares])
                exists[joint] = True
                certainty[joint] = EXTRAPOLATED_CONFIDENCE if kind == "extrapolated" else 1.0
        width = max(map(len, sources))
        repeated = torch.tensor([row + row[-1:] * (width - len(row)) for row in sources])
        level = _Level(*(f"{name}_{number}" for name in _Level._fields))
        for name, tensor in zip(level, (weights, (weights != 0).float(), exists, repeated, certainty), strict=True):
            module.register_buffer(name, tensor)
        levels.append(level)
    return levels


def _normalized(
    points: Tensor, visible: Tensor, focal: Tensor, centre: Tensor, how: Normalization
) -> tuple[Tensor, tuple[Tensor, Tensor] | None, Tensor]:
    """``Normalization.apply`` of pixels (2, B, 17), without refusals.

    Differences from the root are taken in pixels, because little of single precision is left for people far away.

    Returns:
        Network input (B, 17, 2), where the virtual camera looks (B, 1) twice, and which poses are good (B,).
    """
    seen = visible.to(points.dtype)
    points = torch.where(visible, points, _root_or_stand_in(points, seen, how))
    root = points[..., how.root, None]
    good = visible.sum(1) >= MIN_VISIBLE
    u, v = ((points - root) / focal).unbind(0)
    looks_at = None
    if how.view == "root":
        a, b = looks_at = ((root - centre) / focal).unbind(0)
        across = (1 + a * a).sqrt()
        ray = (across * across + b * b).sqrt()
        depth = ray + (a * u + b * v) / ray
        good = good & (depth.amin(1) > 0)
        u, v = u / (across * depth), (across * across * v - a * b * u) / (across * ray * depth)
    size = ((u * u + v * v).sum(1) / seen.sum(1).clamp(min=1)).sqrt()
    good = good & (size > MIN_SIZE)
    size = torch.where(good, size, 1.0)
    factor = how.constant / size if how.scale == "pose" else torch.full_like(size, how.constant)
    usable = visible & good[:, None]
    return torch.stack([torch.where(usable, each * factor[:, None], 0.0) for each in (u, v)], -1), looks_at, good


def _root_or_stand_in(points: Tensor, seen: Tensor, how: Normalization) -> Tensor:
    """The root (2, B, 1), or the middle of the hips seen, or of all joints: ``normalization.fill_missing``."""
    means = []
    for joints in ([how.root], list(how.hips), list(range(seen.shape[1]))):
        if joints:
            weight = seen[:, joints]
            count = weight.sum(1, keepdim=True)
            means.append((count > 0, (weight * points[..., joints]).sum(-1, keepdim=True) / count.clamp(min=1)))
    middle = means[-1][1]
    for present, mean in reversed(means[:-1]):
        middle = torch.where(present, mean, middle)
    return middle


def _turned_back(pose: Tensor, looks_at: tuple[Tensor, Tensor]) -> Tensor:
    """Poses (3, B, 17) of the virtual view in the camera's frame: ``normalization.turn_back``."""
    a, b = looks_at
    across = (1 + a * a).sqrt()
    ray = (across * across + b * b).sqrt()
    x, y, z = pose.unbind(0)
    down, forward = y / (across * ray), z / ray
    turned = (x / across - a * b * down + a * forward, across * across * down + b * forward)
    return torch.stack([*turned, forward - a * x / across - b * down])


def _translation(pose: Tensor, image: Tensor, weight: Tensor) -> Tensor:
    """``placement.root_translation`` (3, B), of poses (3, B, 17), image coordinates (2, B, 17) and weights (B, 17)."""
    weight = weight / weight.sum(1, keepdim=True).clamp(min=TINY)
    a = image * pose[2] - pose[:2]  # t_xy = a + image t_z for every joint
    mean_u, mean_a, mean_x = ((weight * value).sum(-1, keepdim=True) for value in (image, a, pose[:2]))
    u, a, x = image - mean_u, a - mean_a, pose[:2] - mean_x
    spread, moment, size = ((weight * value).sum((0, 2)) for value in (u * u, -u * a, x * x))
    spread = spread.clamp(min=TINY)
    distance = moment / spread
    nearest = -torch.where(weight > 0, pose[2], torch.inf).amin(1)
    distance = torch.where(distance > nearest, distance, torch.maximum((size / spread).sqrt(), nearest))
    return torch.cat([mean_a[..., 0] + mean_u[..., 0] * distance, distance[None]])


def _as_they_are(image: Tensor, visible: Tensor) -> Tensor:
    return torch.where(visible, image, torch.nan)


def _solved(matrix: Tensor, right: Tensor) -> Tensor:
    """Solutions (N, K, R) of positive definite systems (N, K, K), (N, K, R): Gauss-Jordan, two unknowns at a time."""
    size = matrix.shape[1]
    whole, eye = torch.cat([matrix, right], 2), torch.eye(size, dtype=matrix.dtype, device=matrix.device)
    for first in range(0, size, 2):
        rows, columns = whole[:, first : first + 2], whole[:, :, first : first + 2]  # (N, 2, K + R), (N, K, 2)
        a, b, c, d = (rows[:, i, first + j, None] for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)))
        upper, lower = rows.unbind(1)
        pivot = torch.stack([d * upper - b * lower, a * lower - c * upper], 1) / (a * d - b * c)[:, None]
        whole = whole - (columns - eye[:, first : first + 2]) @ pivot
    return whole[:, :, size:]
