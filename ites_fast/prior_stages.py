"""The stages of the recipe "prior": a density of 2D poses, then a lifter that needs no teacher.

The lifter sees a view, turns its own pose about the vertical, and looks at the result: the virtual view must be likely
(stage 0), lifting it must give the turned pose, and all bodies must have similar proportions. The vertical itself is
learned: the network estimates its camera's elevation.
"""

import math
from typing import Any

import torch
from torch import Tensor

from ites_fast.models import PoseDensity, build_network
from ites_fast.normalization import Normalization
from ites_fast.ops import cycle_loss, rotate, unproject, vertical_rotation, virtual_view
from ites_fast.options import FlowOptions, LifterOptions
from ites_fast.prior_losses import (
    bone_spread_loss,
    deformation_loss,
    likelihood_loss,
    rank_loss,
    residual_loss,
)
from ites_fast.sides import heading, mirror_half, mirrored
from ites_fast.skeleton import Skeleton
from ites_fast.teaching import depth_in_view
from ites_fast.views import camera_axes

COUNTED_ROWS = 65_536  # views that principal components are estimated from, at most


class FlowStage:
    """Stage 0: the density of 2D poses.

    Args:
        pose_2d: normalised training views (N, J, 2), on the device that trains.
        probability: with which each view is drawn (N,), on the CPU; None for plain epochs.
        skeleton: their joints.
        options: of the stage.
    """

    name = "flow"

    def __init__(self, pose_2d: Tensor, probability: Tensor | None, skeleton: Skeleton, options: FlowOptions) -> None:
        self.pose_2d = pose_2d
        self.probability = probability
        self.skeleton = skeleton
        self.options = options
        self.weights = {"nll": 1.0}
        names = ("parts", "components", "couplings", "width")
        self.architecture = {"options": {name: getattr(options, name) for name in names}}
        self.network = PoseDensity(skeleton, **self.architecture["options"]).to(pose_2d.device)
        self._fit_components()

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        pose_2d = self.pose_2d[batch]
        if self.options.mirror:
            pose_2d = mirror_half(pose_2d, self.skeleton, generator)
        noise = torch.randn(pose_2d.shape, generator=generator, device=pose_2d.device)
        return {"nll": self.network(pose_2d + self.options.noise * noise).nll.mean()}

    def _fit_components(self) -> None:
        stride = -(-len(self.pose_2d) // COUNTED_ROWS)
        pose_2d = self.pose_2d[::stride]
        weights = torch.ones(len(pose_2d)) if self.probability is None else self.probability[::stride]
        if self.options.mirror:
            pose_2d, weights = torch.cat([pose_2d, mirrored(pose_2d, self.skeleton)]), torch.cat([weights, weights])
        self.network.fit_components(pose_2d, weights.to(pose_2d.device))


class LifterStage:
    """Stage 1: depths and elevations from likely virtual views, cycles and similar proportions.

    Args:
        pose_2d: normalised training views (N, J, 2), on the device that trains.
        probability: with which each view is drawn (N,), on the CPU; None for plain epochs.
        skeleton: their joints.
        normalization: how they were normalised.
        density: the trained stage 0, in eval mode; it is frozen.
        options: of the stage.
    """

    name = "lifter"

    def __init__(
        self,
        pose_2d: Tensor,
        probability: Tensor | None,
        skeleton: Skeleton,
        normalization: Normalization,
        density: PoseDensity,
        options: LifterOptions,
    ) -> None:
        self.pose_2d = pose_2d
        self.probability = probability
        self.skeleton = skeleton
        self.normalization = normalization
        self.density = density.requires_grad_(False)
        self.options = options
        weights = {
            "likelihood": options.prior_weight,
            "residual": options.residual_weight,
            "cycle": options.cycle_weight,
            "elevation": options.elevation_weight,
            "bones": options.bone_weight,
            "deformation": options.deformation_weight,
            "rank": options.rank_weight,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight}
        self.architecture = architecture(options)
        network = build_network(self.architecture["network"], skeleton, self.architecture["options"])
        self.network = network.to(pose_2d.device)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        options, depth = self.options, self.normalization.camera_depth
        pose_2d = self.pose_2d[batch]
        if options.mirror:
            pose_2d = mirror_half(pose_2d, self.skeleton, generator)
        seen = self.network.view(corrupt(pose_2d, options, generator))
        elevation = self._standardised(seen.elevation)
        pose = unproject(pose_2d, seen.depth, depth)  # (B, J, 3)
        upright = camera_axes(elevation, seen.roll if options.roll else None)  # (B, 3, 3)
        others = self._other_elevations(elevation, generator)  # (S, B)
        turn = 2 * math.pi * torch.rand(others.shape, generator=generator, device=others.device)
        rolls = self._partners(seen.roll, others, generator) if options.roll else None
        rotation = camera_axes(others, rolls) @ vertical_rotation(turn) @ upright.mT  # (S, B, 3, 3)
        views = virtual_view(pose, rotation, depth, self.normalization.constant, options.rescale)
        view, turned = (each.flatten(0, 1) for each in views)  # (S * B, J, 2), (S * B, J, 3)
        found = self.network.view(view)
        lifted = unproject(view, found.depth, depth)
        density = self.density(view)
        losses = {
            "likelihood": likelihood_loss(density),
            "residual": residual_loss(density),
            "cycle": cycle_loss(lifted, turned),
            "elevation": (found.elevation - others.detach().flatten()).abs().mean(),
            "bones": bone_spread_loss(pose, self.skeleton.edges, options.bone_spread),
        }
        if options.deformation_weight:
            losses["deformation"] = deformation_loss((lifted - turned) @ rotation.flatten(0, 1))
        if options.rank_weight:
            facing = vertical_rotation(-heading(pose @ upright, self.skeleton)).detach() @ upright.mT
            losses["rank"] = rank_loss(rotate(pose, facing), options.rank)
        return {name: losses[name] for name in self.weights}

    def _standardised(self, elevation: Tensor) -> Tensor:
        if not self.options.standardise_elevation:
            return elevation
        mean, deviation = math.radians(self.options.elevation_mean), math.radians(self.options.elevation_deviation)
        return mean + deviation * (elevation - elevation.mean()) / elevation.std(correction=0).clamp(min=1e-3)

    def _other_elevations(self, elevation: Tensor, generator: torch.Generator) -> Tensor:
        """Elevations of the virtual views (S, B)."""
        shape = (self.options.draws, len(elevation))
        if self.options.elevation_draw == "normal":
            normal = torch.randn(shape, generator=generator, device=elevation.device)
            mean, deviation = self.options.elevation_mean, self.options.elevation_deviation
            return (mean + deviation * normal) * (math.pi / 180)
        source = elevation.detach() if self.options.elevation_draw == "detached" else elevation
        partners = [torch.randperm(shape[1], generator=generator, device=elevation.device) for _ in range(shape[0])]
        return source[torch.stack(partners)]

    def _partners(self, roll: Tensor, others: Tensor, generator: torch.Generator) -> Tensor:
        order = torch.randperm(len(roll), generator=generator, device=roll.device)
        return roll[order].expand_as(others)


class LabelledStage:
    r"""The lifter of stage 1, trained with the data's own 3D: what the recipe is compared with.

    The target of a view is its true depth at the scale k at which the pose reprojects best: depth :math:`k z_j`, with
    k from :math:`x_j (c + k z_j) = k\, y_j`, least squares.

    Args:
        pose_2d: normalised training views (N, J, 2), on the device that trains.
        pose_3d: their root-relative poses in the virtual view (N, J, 3), in any unit.
        probability: with which each view is drawn (N,), on the CPU; None for plain epochs.
        skeleton: their joints.
        normalization: how they were normalised.
        options: of the stage.
    """

    name = "lifter"

    def __init__(
        self,
        pose_2d: Tensor,
        pose_3d: Tensor,
        probability: Tensor | None,
        skeleton: Skeleton,
        normalization: Normalization,
        options: LifterOptions,
    ) -> None:
        self.pose_2d = pose_2d
        self.probability = probability
        self.skeleton = skeleton
        self.normalization = normalization
        self.options = options
        self.weights = {"distance": 1.0}
        self.depth = depth_in_view(pose_3d, pose_2d, normalization.camera_depth)
        self.architecture = architecture(options)
        network = build_network(self.architecture["network"], skeleton, self.architecture["options"])
        self.network = network.to(pose_2d.device)

    def losses(self, batch: Tensor, epoch: int, generator: torch.Generator) -> dict[str, Tensor]:
        pose_2d, target, depth = self.pose_2d[batch], self.depth[batch], self.normalization.camera_depth
        if self.options.mirror:
            both = mirror_half(torch.cat([pose_2d, target[..., None]], -1), self.skeleton, generator)
            pose_2d, target = both[..., :2], both[..., 2]
        lifted = unproject(pose_2d, self.network(corrupt(pose_2d, self.options, generator)), depth)
        return {"distance": cycle_loss(lifted, unproject(pose_2d, target, depth))}


def architecture(options: LifterOptions) -> dict[str, Any]:
    """Name and options of the lifter's network, as checkpoints store them."""
    if options.network == "agcn":
        names = ("channels", "blocks", "roll")
        return {"network": "view_gcn", "options": {name: getattr(options, name) for name in names}}
    names = ("width", "blocks", "dropout", "roll")
    return {"network": "depth_mlp", "options": {name: getattr(options, name) for name in names}}


def corrupt(pose_2d: Tensor, options: LifterOptions, generator: torch.Generator) -> Tensor:
    """What the network is given of real views (B, J, 2): noise, and joints moved to the root."""
    if options.input_noise:
        pose_2d = pose_2d + options.input_noise * torch.randn(pose_2d.shape, generator=generator, device=pose_2d.device)
    if options.input_dropout:
        kept = torch.rand(pose_2d.shape[:2], generator=generator, device=pose_2d.device) >= options.input_dropout
        pose_2d = pose_2d * kept[..., None]
    return pose_2d
