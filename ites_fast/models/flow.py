"""A density of 2D poses: principal components, then affine couplings. It says how likely a view of a body is."""

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ites_fast.skeleton import Skeleton

SMALLEST_VARIANCE = 1e-12
SMALLEST_SHARE = 1e-6  # of all variance; less is rounding, as of a joint that is always the middle of two others


class Density(NamedTuple):
    """How unlikely 2D poses are.

    Attributes:
        nll: negative log-likelihood of the whitened principal components (B,), in nats; of some given others where the
            density is conditional.
        residual: energy outside the principal components over its mean in the training poses (B,).
    """

    nll: Tensor
    residual: Tensor


class PoseFlow(nn.Module):
    """Normalising flow over normalised 2D poses, as ElePose (CVPR 2022, section 3.2) uses one.

    A pose is whitened by the principal components of the training poses; affine couplings (Dinh et al., *Density
    estimation using Real NVP*, ICLR 2017) turn the result into a standard normal. What the components leave out is
    measured by its energy.

    A density can be conditional: whatever scales and shifts a half of the components then also sees the whitened
    components of the joints that are given.

    Args:
        skeleton: joints of the poses.
        joints: those that the density is of; all but the root where not given. The root is the origin.
        components: principal components that are kept, at most two a joint.
        couplings: affine couplings.
        width: features of the two hidden layers of a coupling.
        given: joints that the density is conditional on, none by default.
        given_components: principal components of these, at most two a joint.
    """

    def __init__(
        self,
        skeleton: Skeleton,
        joints: Sequence[int] | None = None,
        components: int = 26,
        couplings: int = 8,
        width: int = 256,
        given: Sequence[int] = (),
        given_components: int = 0,
    ) -> None:
        super().__init__()
        chosen = [j for j in range(skeleton.num_joints) if j != skeleton.root] if joints is None else list(joints)
        size = 2 * len(chosen)
        components = min(components, size)
        self.register_buffer("joints", torch.tensor(chosen), persistent=False)
        self.register_buffer("mean", torch.zeros(size))
        self.register_buffer("whitening", torch.eye(size)[:components])  # (K, 2J)
        self.register_buffer("projection", torch.eye(size)[:components])  # (K, 2J), orthonormal rows
        self.register_buffer("residual_variance", torch.ones(()))
        context = min(given_components, 2 * len(given))
        self.register_buffer("given", torch.tensor(list(given), dtype=torch.long), persistent=False)
        if context:  # a density without them keeps the tensors that it always had
            self.register_buffer("given_mean", torch.zeros(2 * len(given)))
            self.register_buffer("given_whitening", torch.eye(2 * len(given))[:context])  # (C, 2G)
        halves_of = [_halves(components, index) for index in range(couplings)]
        self.couplings = nn.ModuleList(_coupling(first + context, second, width) for first, second in halves_of)
        generator = torch.Generator().manual_seed(0)
        orders = [torch.randperm(components, generator=generator) for _ in self.couplings]
        self.register_buffer("orders", torch.stack(orders))

    @torch.no_grad()
    def fit_components(self, pose_2d: Tensor, weights: Tensor | None = None) -> None:
        """Set mean, components and variances from poses (N, J, 2), counted with ``weights`` (N,) where given."""
        share = torch.full((len(pose_2d), 1), 1 / len(pose_2d), dtype=torch.float64, device=pose_2d.device)
        if weights is not None:
            share = (weights.double() / weights.sum(dtype=torch.float64))[:, None]
        mean, variance, vectors = _components(pose_2d[:, self.joints], share)
        kept = len(self.projection)
        self.mean.copy_(mean)
        self.projection.copy_(vectors[:, :kept].mT)
        self.whitening.copy_((vectors[:, :kept] / variance[:kept].sqrt()).mT)
        # where nothing is left out, what rounding leaves outside weighs nothing
        self.residual_variance.copy_(variance[kept:].sum() if kept < len(variance) else torch.tensor(torch.inf))
        if self.is_conditional:
            mean, variance, vectors = _components(pose_2d[:, self.given], share)
            kept = len(self.given_whitening)
            self.given_mean.copy_(mean)
            self.given_whitening.copy_((vectors[:, :kept] / variance[:kept].sqrt()).mT)

    @property
    def is_conditional(self) -> bool:
        return hasattr(self, "given_whitening")

    def forward(self, pose_2d: Tensor) -> Density:
        """How unlikely normalised 2D poses (B, J, 2) are."""
        centred = pose_2d[:, self.joints].flatten(1) - self.mean
        outside = centred.square().sum(1) - (centred @ self.projection.mT).square().sum(1)
        context = None
        if self.is_conditional:
            context = (pose_2d[:, self.given].flatten(1) - self.given_mean) @ self.given_whitening.mT
        return Density(self._nll(centred @ self.whitening.mT, context), outside / self.residual_variance)

    def _nll(self, point: Tensor, context: Tensor | None) -> Tensor:
        log_volume = point.new_zeros(len(point))
        for index, (order, coupling) in enumerate(zip(self.orders, self.couplings, strict=True)):
            first, second = point.split(_halves(point.shape[1], index), dim=1)
            seen = first if context is None else torch.cat([first, context], dim=1)
            log_scale, shift = coupling(seen).chunk(2, dim=1)
            log_scale = torch.tanh(log_scale)
            log_volume = log_volume + log_scale.sum(1)
            point = torch.cat([second * log_scale.exp() + shift, first], dim=1).index_select(1, order)
        constant = 0.5 * math.log(2 * math.pi) * point.shape[1]
        return 0.5 * point.square().sum(1) + constant - log_volume


def _components(points: Tensor, share: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Mean (2J,), variances (2J,) in falling order and principal directions (2J, 2J), one a column, of poses (N, J, 2).

    ``share`` (N, 1) is how much each pose counts; in float64.
    """
    points = points.flatten(1).double()
    mean = (share * points).sum(0)
    centred = points - mean
    variance, vectors = torch.linalg.eigh(centred.mT @ (share * centred))  # ascending
    smallest = (SMALLEST_SHARE * variance.sum()).clamp(min=SMALLEST_VARIANCE)
    variance, vectors = variance.flip(0).clamp(min=smallest), vectors.flip(1)
    # an eigenvector has no sign of its own, and the couplings should not depend on the solver's choice
    return mean, variance, vectors * vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()


def _halves(size: int, index: int) -> tuple[int, int]:
    small = size // 2
    return (small, size - small) if index % 2 == 0 else (size - small, small)


def _coupling(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """Scales and shifts of one half from the other; starts as the identity."""
    last = nn.Linear(width, 2 * outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), last)


class PoseDensity(nn.Module):
    """The density of whole poses, of parts of the body, of parts given the rest, or the mean of the first and others.

    Args:
        skeleton: joints of the poses.
        parts: "whole", "halves" (the legs; all joints but the legs; as LInKs, WACV 2024), "conditional" (the legs given
            all other joints, and these given the legs: a pseudo-likelihood, Besag, *The Statistician* 1975), "both"
            (whole and halves) or "whole_conditional".
        components: principal components of the whole body; a part has its share.
        couplings: affine couplings of each flow.
        width: features inside a coupling.
    """

    def __init__(
        self, skeleton: Skeleton, parts: str = "whole", components: int = 26, couplings: int = 8, width: int = 256
    ) -> None:
        super().__init__()
        legs, others = halves(skeleton)
        chosen: list[tuple[list[int] | None, list[int]]] = {
            "whole": [(None, [])],
            "halves": [(legs, []), (others, [])],
            "conditional": [(legs, others), (others, legs)],
            "both": [(None, []), (legs, []), (others, [])],
            "whole_conditional": [(None, []), (legs, others), (others, legs)],
        }[parts]
        joints = skeleton.num_joints - 1

        def share(part: list[int]) -> int:
            return max(2, components * len(part) // joints)

        self.flows = nn.ModuleList(
            PoseFlow(skeleton, part, components if part is None else share(part), couplings, width, given, share(given))
            for part, given in chosen
        )

    @torch.no_grad()
    def fit_components(self, pose_2d: Tensor, weights: Tensor | None = None) -> None:
        """Set the principal components of every flow, see ``PoseFlow``."""
        for flow in self.flows:
            flow.fit_components(pose_2d, weights)

    def forward(self, pose_2d: Tensor) -> Density:
        """How unlikely normalised 2D poses (B, J, 2) are: a sum over the parts, the mean of that and the whole."""
        densities = [flow(pose_2d) for flow in self.flows]
        nll = torch.stack([density.nll for density in densities]).sum(0)
        residual = torch.stack([density.residual for density in densities]).mean(0)
        return Density(nll / 2 if len(densities) == 3 else nll, residual)


def halves(skeleton: Skeleton) -> list[list[int]]:
    """The joints below the root, and all others without the root."""
    legs = []
    for joint in range(skeleton.num_joints):
        top = joint
        while skeleton.parents[top] not in (-1, skeleton.root):
            top = skeleton.parents[top]
        if top in skeleton.left + skeleton.right:
            legs.append(joint)
    others = [joint for joint in range(skeleton.num_joints) if joint not in (*legs, skeleton.root)]
    return [legs, others]
