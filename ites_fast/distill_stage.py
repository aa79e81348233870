"""The stage that distils several lifters into one that stands noise and missing joints; no 3D label is used."""

import math

import torch
from torch import Tensor, nn

from ites_fast.models import build_network
from ites_fast.models.temporal import clip_ends, window
from ites_fast.normalization import Normalization
from ites_fast.ops import rotate, rotate_project, unproject, vertical_rotation, virtual_view
from ites_fast.options import DistillOptions
from ites_fast.prior_losses import bone_spread_loss
from ites_fast.sides import mirrored
from ites_fast.skeleton import Skeleton
from ites_fast.spoiling import spoil
from ites_fast.teaching import in_view
from ites_fast.views import camera_axes, draw_views


class DistillStage:
    """A student of single views learns the teachers' poses from views that were spoilt as detectors spoil them.

    Args:
        image: image coordinates of the training views (N, J, 2), on the device that trains.
        target: what the teachers see in them, from ``teaching.mean_poses`` (N, J, 3).
        skeleton: their joints.
        normalization: of the student.
        options: of the stage.
        probability: of each view (N,), on the CPU, None for shuffled epochs.
    """

    name = "distill"

    def __init__(
        self,
        image: Tensor,
        target: Tensor,
        skeleton: Skeleton,
        normalization: Normalization,
        options: DistillOptions,
        probability: Tensor | None = None,
    ) -> None:
        self.pose_2d = image
        self.target = target
        self.skeleton = skeleton
        self.normalization = normalization
        self.options = options
        self.probability = probability
        self.weights = {"distillation": 1.0}
        if options.bone_weight > 0:
            self.weights["bones"] = options.bone_weight
        if options.equivariance_weight > 0:
            self.weights["equivariance"] = options.equivariance_weight
        self.architecture = architecture(options)
        network = build_network(self.architecture["network"], skeleton, self.architecture["options"])
        self.network: nn.Module = network.to(image.device)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        image, target = self.pose_2d[batch], self.target[batch]
        if self.options.mirror:
            chosen = torch.rand(len(batch), 1, 1, generator=generator, device=image.device) < 0.5
            image = torch.where(chosen, mirrored(image, self.skeleton), image)
            target = torch.where(chosen, mirrored(target, self.skeleton), target)
        seen_anew = round(self.options.virtual_share * len(batch))
        if seen_anew:
            views = self._virtual_views(image[:seen_anew], target[:seen_anew], generator)
            image, target = (torch.cat([new, old[seen_anew:]]) for new, old in zip(views, (image, target), strict=True))
        spoilt = spoil(image, self.skeleton, self.options, generator)
        view = self.normalization.apply(spoilt, source="spoilt training views", missing="allow")
        pose = self._lift(view.pose_2d, view.visible)
        losses = {"distillation": self._distance(pose, target, view.view_rotation, view.scale)}
        if "bones" in self.weights:
            losses["bones"] = bone_spread_loss(pose, self.skeleton.edges)
        if "equivariance" in self.weights:
            losses["equivariance"] = self._equivariance(pose, generator)
        return losses

    def _virtual_views(self, image: Tensor, target: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The teachers' poses seen by cameras that went around them, as large and as far as in the real view.

        Args:
            image: image coordinates of real views (B, J, 2).
            target: what the teachers see in them (B, J, 3).
            generator: of the random numbers.

        Returns:
            Image coordinates (B, J, 2), with the root in the middle, and the poses in the frame of the new cameras
            (B, J, 3).
        """
        return self._seen_from(self._virtual_cameras(len(image), generator), image, target)

    def _virtual_cameras(self, number: int, generator: torch.Generator) -> Tensor:
        """Rotations from a real view to one from another side (number, 3, 3)."""
        shape, device = (number,), self.pose_2d.device
        turn = 2 * math.pi * torch.rand(shape, generator=generator, device=device)
        tilt, roll = (
            math.radians(deviation) * torch.randn(shape, generator=generator, device=device)
            for deviation in (self.options.virtual_tilt, self.options.virtual_roll)
        )
        return camera_axes(tilt, roll) @ vertical_rotation(turn)

    def _seen_from(self, rotation: Tensor, image: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        """What ``_virtual_views`` gives, by given cameras (B, 3, 3)."""
        view = self.normalization.apply(image, source="training views")
        pose = in_view(target, view.view_rotation, view.scale)
        size = view.scale[:, None, None]
        uv = rotate_project(pose, rotation, self.normalization.camera_depth)
        return uv / size, rotate(pose, rotation) / size

    def _lift(self, pose_2d: Tensor, visible: Tensor | None) -> Tensor:
        """Root-relative poses (B, J, 3), in the normalised view's frame and unit."""
        corrected = self.network(pose_2d, visible)
        pose = unproject(corrected.pose_2d, corrected.depth, self.normalization.camera_depth)
        return pose - pose[:, self.skeleton.root, None]

    def _distance(self, pose: Tensor, target: Tensor, view_rotation: Tensor | None, scale: Tensor) -> Tensor:
        """How far poses (B, J, 3) in a normalised view are from the teachers' (B, J, 3)."""
        error = (pose - in_view(target, view_rotation, scale)).norm(dim=-1)  # (B, J)
        return error.pow(self.options.loss_power).mean()

    def _equivariance(self, pose: Tensor, generator: torch.Generator) -> Tensor:
        """Mean distance between the turned pose and what the student sees in its whole and clean view (ITES, eq. 6)."""
        cycle = self.options.cycle
        rotation = draw_views(
            (cycle.draws, len(pose)),
            cycle.axis,
            elevation=cycle.elevation,
            elevation_spread=cycle.elevation_spread,
            generator=generator,
        )
        normalization = self.normalization
        views = virtual_view(
            pose, rotation, normalization.camera_depth, normalization.constant, normalization.scale == "pose"
        )
        uv, turned = (view.flatten(0, 1) for view in views)  # (S * B, J, 2), (S * B, J, 3)
        return (self._lift(uv, None) - turned).norm(dim=-1).mean()


class ClipStage(DistillStage):
    """``DistillStage`` for a student that sees the neighbouring frames of a clip; it learns the middle one's pose.

    A window is one body before one camera: its frames are mirrored together, turned together, and their noise has one
    strength.

    Args:
        clip: of each view (N,), as ``data.clips.clip_numbers`` gives it. Others are ``DistillStage``'s.
    """

    def __init__(
        self,
        image: Tensor,
        target: Tensor,
        skeleton: Skeleton,
        normalization: Normalization,
        options: DistillOptions,
        probability: Tensor | None,
        clip: Tensor,
    ) -> None:
        super().__init__(image, target, skeleton, normalization, options, probability)
        self.clip_ends = clip_ends(clip).to(image.device)  # (N, 2)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        index = window(batch, self.clip_ends[batch], self.options.frames)  # (B, F)
        shape = index.shape
        image, target = self.pose_2d[index], self.target[index]
        if self.options.mirror:
            chosen = torch.rand(len(batch), 1, 1, 1, generator=generator, device=image.device) < 0.5
            image = torch.where(chosen, mirrored(image, self.skeleton), image)
            target = torch.where(chosen, mirrored(target, self.skeleton), target)
        seen_anew = round(self.options.virtual_share * len(batch))
        if seen_anew:
            rotation = self._virtual_cameras(seen_anew, generator).repeat_interleave(shape[1], dim=0)
            views = self._seen_from(rotation, image[:seen_anew].flatten(0, 1), target[:seen_anew].flatten(0, 1))
            image, target = (
                torch.cat([new.unflatten(0, (seen_anew, -1)), old[seen_anew:]])
                for new, old in zip(views, (image, target), strict=True)
            )
        spoilt = spoil(image, self.skeleton, self.options, generator).flatten(0, 1)
        view = self.normalization.apply(spoilt, source="spoilt training views", missing="allow")
        visible = None if view.visible is None else view.visible.unflatten(0, shape)
        pose = self._lift(view.pose_2d.unflatten(0, shape), visible)
        middle = slice(shape[1] // 2, None, shape[1])  # of the frames of all windows
        rotation = None if view.view_rotation is None else view.view_rotation[middle]
        losses = {"distillation": self._distance(pose, target.flatten(0, 1)[middle], rotation, view.scale[middle])}
        if "bones" in self.weights:
            losses["bones"] = bone_spread_loss(pose, self.skeleton.edges)
        return losses


def architecture(options: DistillOptions) -> dict:
    """What ``build_network`` makes the student from."""
    if options.frames > 1:
        names = ("frames", "width", "blocks")
        return {"network": "temporal_mlp", "options": {name: getattr(options, name) for name in names}}
    if options.network == "mlp":
        return {"network": "robust_mlp", "options": {"width": options.width, "blocks": options.blocks}}
    names = ("variant", "channels", "blocks", "graphs")
    return {"network": "robust_agcn", "options": {name: getattr(options, name) for name in names}}
