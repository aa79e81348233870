"""The stages of the recipe: each holds a network and turns a batch of 2D poses into its losses.

A stage knows nothing of optimizers, files or progress bars; the loop in ``training.py`` knows nothing of teachers and
students. A further stage, such as a prior over 2D poses, is one more class with these members.
"""

from typing import Any, Protocol

import torch
from torch import Tensor, nn

from ites_fast.losses import (
    canonicalization_loss,
    distillation_loss,
    reprojection_loss,
    rotation_equivariance_loss,
    rotation_invariance_loss,
)
from ites_fast.metrics import root_relative
from ites_fast.models import Teacher, ViewLifter, build_network
from ites_fast.models.teacher import TeacherOutput
from ites_fast.normalization import Normalization
from ites_fast.ops import unproject
from ites_fast.options import CycleOptions, OptimizerOptions, StudentOptions, TeacherOptions
from ites_fast.skeleton import Skeleton
from ites_fast.views import draw_views

BATCH = 4096  # views at a time where nothing is trained


class TrainingStage(Protocol):
    """What the training loop needs of a stage."""

    name: str
    network: nn.Module
    options: OptimizerOptions
    weights: dict[str, float]

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        """Unweighted losses of the views with these indices (B,), by name."""
        ...


class TeacherStage:
    """Stage 1: reprojection, and what makes the decomposition unique: rotation invariance, or canonicalisation.

    A loss whose weight is zero is not computed.

    Args:
        pose_2d: normalised training views (N, J, 2), on the device that trains.
        skeleton: their joints.
        normalization: how they were normalised.
        options: of the stage.
    """

    name = "teacher"

    def __init__(
        self, pose_2d: Tensor, skeleton: Skeleton, normalization: Normalization, options: TeacherOptions
    ) -> None:
        self.pose_2d = pose_2d
        self.root = skeleton.root
        self.normalization = normalization
        self.options = options
        self.uniqueness = "invariance" if options.method == "dictionary" else "canonicalization"
        self.weights = {"reprojection": options.reprojection_weight, self.uniqueness: options.invariance_weight}
        self.architecture = teacher_architecture(options)
        network = build_network(self.architecture["network"], skeleton, self.architecture["options"])
        self.network: Teacher = network.to(pose_2d.device)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        pose_2d, depth = self.pose_2d[batch], self.normalization.camera_depth
        output = self.network(pose_2d)
        losses = {}
        if self.weights["reprojection"]:
            losses["reprojection"] = reprojection_loss(output.canonical, output.rotation, pose_2d, depth)
        if self.weights[self.uniqueness]:
            unique = self._invariance if self.uniqueness == "invariance" else self._canonicalization
            losses[self.uniqueness] = unique(output, epoch, generator)
        return losses

    def _invariance(self, output: TeacherOutput, epoch: int, generator: torch.Generator) -> Tensor:
        cycle, depth = self.options.cycle, self.normalization.camera_depth
        # around the vertical, the view's own frame is turned: the dictionary's has no vertical
        pose = output.canonical if cycle.axis == "all" else output.pose_3d
        canonical = output.canonical
        if epoch < self.options.align_epochs:
            pose, canonical = root_relative(pose, self.root), root_relative(canonical, self.root)
        elif cycle.rescale:
            pose = root_relative(pose, self.root)
        rotation = _draw(cycle, len(pose), generator)
        return rotation_invariance_loss(
            lambda views: self.network(views).canonical,
            canonical,
            pose,
            rotation,
            depth,
            _rms(cycle, self.normalization),
        )

    def _canonicalization(self, output: TeacherOutput, epoch: int, generator: torch.Generator) -> Tensor:
        # of the cycle's options the number of draws alone counts: nothing is projected, and no frame has a vertical
        rotation = draw_views((self.options.cycle.draws, len(output.canonical)), "all", generator=generator)
        return canonicalization_loss(self.network.canonicalize, output.canonical, rotation)


class StudentStage:
    """Stage 2: depth distillation and rotation equivariance. A loss whose weight is zero is not computed.

    Args:
        pose_2d: normalised training views (N, J, 2), on the device that trains.
        teacher: the trained teacher, in eval mode; its depths are computed here, once, where they are distilled.
        options: of the stage.
    """

    name = "student"

    def __init__(self, pose_2d: Tensor, teacher: ViewLifter, options: StudentOptions) -> None:
        self.pose_2d = pose_2d
        self.root = teacher.skeleton.root
        self.normalization = teacher.normalization
        self.options = options
        self.weights = {"distillation": options.distillation_weight, "equivariance": options.equivariance_weight}
        self.architecture = student_architecture(options)
        network = build_network(self.architecture["network"], teacher.skeleton, self.architecture["options"])
        self.network = network.to(pose_2d.device)
        self.teacher_depth = self._depths(teacher) if options.distillation_weight else None  # (N, J)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        pose_2d = self.pose_2d[batch]
        cycle, camera_depth = self.options.cycle, self.normalization.camera_depth
        depth = self._depth_of(pose_2d)  # (B, J)
        losses = {}
        if self.weights["distillation"]:
            losses["distillation"] = distillation_loss(depth, self.teacher_depth[batch])
        if self.weights["equivariance"]:
            pose = unproject(pose_2d, depth, camera_depth)  # (B, J, 3)
            rotation = _draw(cycle, len(batch), generator)
            losses["equivariance"] = rotation_equivariance_loss(
                self._depth_of, pose, rotation, camera_depth, _rms(cycle, self.normalization)
            )
        return losses

    def _depth_of(self, pose_2d: Tensor) -> Tensor:
        return self._offsets(self.network(pose_2d))

    @torch.no_grad()
    def _depths(self, teacher: ViewLifter) -> Tensor:
        return torch.cat([self._offsets(teacher.network(v).pose_3d[..., 2]) for v in self.pose_2d.split(BATCH)])

    def _offsets(self, depth: Tensor) -> Tensor:
        """Depths (B, J) as they are, or with the root's subtracted where views are scaled about the root."""
        return depth - depth[:, self.root : self.root + 1] if self.options.cycle.rescale else depth


def teacher_architecture(options: TeacherOptions) -> dict[str, Any]:
    """What ``build_network`` takes to build the teacher that the options ask for."""
    names = ["variant", "atoms", "blocks", "width", "bottleneck"]
    if options.features == "agcn":  # without it, versions that do not know the option can still read the file
        names += ["features", "channels", "graph_variant"]
    network = "teacher" if options.method == "dictionary" else "c3dpo"
    return {"network": network, "options": {name: getattr(options, name) for name in names}}


def student_architecture(options: StudentOptions) -> dict[str, Any]:
    """What ``build_network`` takes to build the student that the options ask for."""
    if options.network == "agcn":
        network, names = "student", ("variant", "channels", "blocks", "graphs", "edge_weights", "affinity")
    else:
        network, names = "resfc", ("blocks", "width", "bottleneck")
    return {"network": network, "options": {name: getattr(options, name) for name in names}}


def _draw(cycle: CycleOptions, poses: int, generator: torch.Generator) -> Tensor:
    return draw_views(
        (cycle.draws, poses),
        cycle.axis,
        elevation=cycle.elevation,
        elevation_spread=cycle.elevation_spread,
        generator=generator,
    )


def _rms(cycle: CycleOptions, normalization: Normalization) -> float | None:
    """The size that real views have, which is one number only where every pose was scaled to it."""
    return normalization.constant if cycle.rescale else None


def recalibrate_batch_norm(network: nn.Module, pose_2d: Tensor, indices: list[Tensor]) -> None:
    """Estimate the running statistics of every batch norm anew, as averages over batches of real views.

    During training the statistics mix real and virtual views, and those of the virtual views come last in a step.

    Args:
        network: changed in place, and left in eval mode.
        pose_2d: normalised training views (N, J, 2).
        indices: one tensor of indices for each batch.
    """
    norms = [module for module in network.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    momenta: list[Any] = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain average
    network.train()
    with torch.no_grad():
        for batch in indices:
            network(pose_2d[batch])
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    network.eval()
