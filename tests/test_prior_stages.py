"""The stages of the recipe "prior": their losses against the formulas pose by pose, and what learns from what."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from ites_fast.models import DepthMLP, PoseDensity, ViewGCN, ViewOutput
from ites_fast.normalization import Normalization
from ites_fast.options import FlowOptions, LifterOptions
from ites_fast.prior_losses import bone_spread_loss, deformation_loss, likelihood_loss, rank_loss, residual_loss
from ites_fast.prior_stages import FlowStage, LabelledStage, LifterStage, corrupt
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17

C, RMS, J, B = 5.0, 0.12, 17, 6
NORMALIZATION = Normalization("root", "pose", RMS, H36M_17.root, H36M_17.head, C, H36M_17.hips)
SMALL = LifterOptions(width=16, blocks=1, channels=8, mirror=False)
ALL_LOSSES = {"deformation_weight": 0.1, "rank_weight": 0.1, "rank": 3}
BATCH = torch.arange(B)


@pytest.fixture(autouse=True)
def float64():
    """Stages draw in the default type."""
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def generator(seed=5):
    return torch.Generator().manual_seed(seed)


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=generator(seed))


def views(N=64):
    """Normalised 2D poses."""
    pose_2d = draw(N, J, 2, seed=3)
    pose_2d[:, H36M_17.root] = 0
    return pose_2d * (RMS / pose_2d.square().sum(-1).mean(-1).sqrt())[:, None, None]


class FixedNetwork(nn.Module):
    """Answers linear functions of the pose: with large depths, tilted cameras, and no batch norm."""

    def __init__(self):
        super().__init__()
        self.depth = nn.Parameter(2 * draw(2 * J, J, seed=11))
        self.angles = nn.Parameter(draw(2 * J, 2, seed=12))

    def view(self, pose_2d):
        flat = pose_2d.flatten(1)
        depth, angles = flat @ self.depth, flat @ self.angles
        return ViewOutput(depth - depth[:, :1], angles[:, 0], angles[:, 1])


def density():
    network = PoseDensity(H36M_17, components=10, couplings=2, width=8)
    network.fit_components(views())
    with torch.no_grad():
        for number, parameter in enumerate(network.parameters()):
            parameter += 0.1 * draw(*parameter.shape, seed=number)
    return network.eval()


def lifter_stage(**options):
    """A stage whose network is ``FixedNetwork``."""
    stage = LifterStage(views(), None, H36M_17, NORMALIZATION, density(), replace(SMALL, **options))
    stage.network = FixedNetwork()
    return stage


def turn_about(axis, angle):
    """The rotation about a coordinate axis, as the exponential of its generator; differentiable in the angle."""
    cross = torch.linalg.cross(torch.eye(3)[axis].expand(3, 3), torch.eye(3)).mT
    return torch.matrix_exp(angle * cross)


def camera(elevation, roll):
    return turn_about(2, roll) @ turn_about(0, elevation)


def lift(pose_2d, depth):
    return torch.cat([pose_2d * (depth + C).clamp(min=1)[:, None], depth[:, None]], dim=1)


def drawn(draws, roll):
    """The stage's random numbers, in its order: each view's partner, turn and partner for the roll."""
    source = generator()
    partner = [torch.randperm(B, generator=source) for _ in range(draws)]
    turn = 2 * math.pi * torch.rand(draws, B, generator=source)
    return partner, turn, torch.randperm(B, generator=source) if roll else torch.arange(B)


def losses_by_definition(stage):
    """Every loss, one pose and one draw after the other."""
    options, network, pose_2d = stage.options, stage.network, stage.pose_2d[BATCH]
    partner, turn, roll_partner = drawn(options.draws, options.roll)
    seen = network.view(pose_2d)
    roll = seen.roll if options.roll else torch.zeros(B)
    frame = [camera(seen.elevation[b], roll[b]) for b in range(B)]
    pose = [lift(pose_2d[b], seen.depth[b]) for b in range(B)]
    view, error, loose, elevation_error = [], [], [], []
    for s in range(options.draws):
        for b in range(B):
            other = seen.elevation[partner[s][b]]
            rotation = camera(other, roll[roll_partner[b]]) @ turn_about(1, turn[s, b]) @ frame[b].mT
            turned = pose[b] @ rotation.mT
            uv = turned[:, :2] / (turned[:, 2:] + C).clamp(min=1)
            scale = RMS / uv.square().sum(1).mean().sqrt() if options.rescale else 1.0
            view.append(scale * uv)
            found = network.view(view[-1][None])
            error.append(lift(view[-1], found.depth[0]) - scale * turned)
            loose.append(error[-1] @ rotation)
            elevation_error.append((found.elevation[0] - other.detach()).abs())
    likely = stage.density(torch.stack(view))
    return {
        "likelihood": likelihood_loss(likely),
        "residual": residual_loss(likely),
        "cycle": torch.stack(error).norm(dim=-1).mean(),
        "elevation": torch.stack(elevation_error).mean(),
        "bones": bone_spread_loss(torch.stack(pose), H36M_17.edges, "log"),
        "deformation": deformation_loss(torch.stack(loose)),
        "rank": rank_loss(torch.stack([facing(one @ axes) for one, axes in zip(pose, frame, strict=True)]), 3),
    }


def facing(upright):
    """A pose turned about the vertical so that its left is at larger x and not nearer or farther than its right."""
    across = sum(upright[a] - upright[b] for a, b in zip(H36M_17.left, H36M_17.right, strict=True)).detach()
    towards = across * torch.tensor([1.0, 0.0, 1.0]) / across[[0, 2]].norm()
    up = torch.tensor([0.0, 1.0, 0.0])
    return upright @ torch.stack([towards, up, torch.linalg.cross(towards, up)]).mT


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"roll": True, "draws": 2, **ALL_LOSSES},
        {"rescale": False, "draws": 2, **ALL_LOSSES},
    ],
)
def test_losses_and_their_gradients_are_those_of_the_formulas(options):
    stage = lifter_stage(**options)
    losses, expected = stage.losses(BATCH, 0, generator()), losses_by_definition(stage)
    parameters = list(stage.network.parameters())
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name], msg=lambda m, n=name: f"{n}: {m}")
        gradients = torch.autograd.grad(loss, parameters, retain_graph=True, allow_unused=True)
        wanted = torch.autograd.grad(expected[name], parameters, retain_graph=True, allow_unused=True)
        for gradient, want in zip(gradients, wanted, strict=True):
            torch.testing.assert_close(gradient, want, rtol=1e-5, atol=1e-8, msg=lambda m, n=name: f"{n}: {m}")


def test_losses_of_weight_zero_are_left_out():
    standard = ["likelihood", "residual", "cycle", "elevation", "bones"]
    assert list(lifter_stage().losses(BATCH, 0, generator())) == standard
    assert list(lifter_stage(**ALL_LOSSES).losses(BATCH, 0, generator())) == [*standard, "deformation", "rank"]
    stage = lifter_stage(cycle_weight=0.0, bone_weight=0.0, prior_weight=0.5)
    assert list(stage.losses(BATCH, 0, generator())) == ["likelihood", "residual", "elevation"] == list(stage.weights)
    assert stage.weights["likelihood"] == 0.5


def test_the_likelihood_teaches_the_lifter_and_not_the_density():
    stage = lifter_stage()
    losses = stage.losses(BATCH, 0, generator())
    (losses["likelihood"] + losses["residual"]).backward()
    assert all(parameter.grad is None for parameter in stage.density.parameters())
    assert all(parameter.grad.abs().sum() > 0 for parameter in stage.network.parameters())


class OneElevation(FixedNetwork):
    """Sees the real views at the elevations ``real``, and virtual views at ``virtual``."""

    def __init__(self):
        super().__init__()
        self.real, self.virtual = (nn.Parameter(0.1 * draw(B, seed=seed)) for seed in (21, 22))
        self.calls = 0

    def view(self, pose_2d):
        self.calls += 1
        return super().view(pose_2d)._replace(elevation=self.real if self.calls % 2 else self.virtual)


@pytest.mark.parametrize("elevation_draw", ["batch", "detached", "normal"])
def test_elevations_learn_from_the_cycle_and_are_no_target_that_gives_way(elevation_draw):
    stage = lifter_stage(elevation_draw=elevation_draw)
    stage.network = OneElevation()
    losses = stage.losses(BATCH, 0, generator())
    real, virtual = torch.autograd.grad(
        losses["elevation"], (stage.network.real, stage.network.virtual), retain_graph=True, allow_unused=True
    )
    assert real is None
    assert virtual.abs().tolist() == pytest.approx([1 / B] * B)
    (real,) = torch.autograd.grad(losses["cycle"], stage.network.real)
    assert (real.abs() > 0).all()


def test_detached_elevations_are_those_of_the_batch_without_their_gradient():
    stages = [lifter_stage(elevation_draw=kind) for kind in ("batch", "detached")]
    losses = [stage.losses(BATCH, 0, generator())["cycle"] for stage in stages]
    assert losses[0].item() == losses[1].item()
    gradients = [torch.autograd.grad(loss, stage.network.angles)[0] for loss, stage in zip(losses, stages, strict=True)]
    assert not torch.allclose(*gradients)


def test_elevations_of_normal_draws_and_standardised_ones_have_the_wanted_mean_and_deviation():
    stage = lifter_stage(elevation_draw="normal", draws=3, elevation_mean=20.0, elevation_deviation=4.0)
    others = torch.rad2deg(stage._other_elevations(torch.zeros(4000), generator()))
    assert others.shape == (3, 4000)
    assert (others.mean().item(), others.std().item()) == pytest.approx((20, 4), abs=0.15)
    stage.options = replace(stage.options, standardise_elevation=True)
    standard = torch.rad2deg(stage._standardised(draw(50)))
    assert (standard.mean().item(), standard.std(correction=0).item()) == pytest.approx((20, 4))


def test_stages_take_their_network_from_the_options():
    made = [
        LifterStage(views(), None, H36M_17, NORMALIZATION, density(), replace(SMALL, **options)).network
        for options in ({}, {"network": "agcn"})
    ]
    assert [type(each) for each in made] == [DepthMLP, ViewGCN]


def labelled_stage(pose_3d, pose_2d, **options):
    return LabelledStage(pose_2d, pose_3d, None, H36M_17, NORMALIZATION, replace(SMALL, **options))


class KnowsDepths(nn.Module):
    """Finds a view among those that it knows, as they are or mirrored, and answers its depth."""

    def __init__(self, pose_2d, depth):
        super().__init__()
        self.known = torch.cat([pose_2d, mirrored(pose_2d, H36M_17)]).flatten(1)
        self.answer = torch.cat([depth, mirrored(depth[..., None], H36M_17)[..., 0].neg()])

    def forward(self, pose_2d):
        return self.answer[torch.cdist(pose_2d.flatten(1), self.known).argmin(dim=1)]


@pytest.mark.parametrize("mirror", [False, True])
def test_true_depths_have_no_loss_with_labels(mirror):
    depth = 0.4 * draw(64, J, seed=9)
    depth[:, H36M_17.root] = 0
    pose_2d = views()
    pose_3d = 300 * torch.stack([lift(*each) for each in zip(pose_2d, depth, strict=True)])  # millimetres, say
    stage = labelled_stage(pose_3d, pose_2d, mirror=mirror)
    torch.testing.assert_close(stage.depth, depth)
    stage.network = KnowsDepths(pose_2d, depth)
    assert stage.losses(torch.arange(64), 0, generator())["distance"].item() < 1e-9
    stage.network.answer += 0.1  # every joint 0.1 farther, along its ray
    expected = 0.1 * (pose_2d.square().sum(-1) + 1).sqrt().mean()
    assert stage.losses(torch.arange(64), 0, generator())["distance"].item() == pytest.approx(expected.item())


def test_noise_and_dropped_joints_are_for_the_network_alone():
    pose_2d = 1 + views()
    assert corrupt(pose_2d, SMALL, generator()) is pose_2d
    noise = corrupt(pose_2d, replace(SMALL, input_noise=0.01), generator()) - pose_2d
    assert noise.std().item() == pytest.approx(0.01, rel=0.1)
    dropped = corrupt(pose_2d, replace(SMALL, input_dropout=0.2), generator())
    gone = (dropped == 0).all(-1)
    assert gone.double().mean().item() == pytest.approx(0.2, abs=0.04)
    assert torch.equal(dropped[~gone], pose_2d[~gone])
    seen = []
    stage = lifter_stage(input_noise=0.01, input_dropout=0.2, prior_weight=0.02)
    answer = stage.network.view
    stage.network.view = lambda given: (seen.append(given), answer(stage.pose_2d[BATCH]))[1]
    bones = stage.losses(BATCH, 0, generator())["bones"]
    assert not torch.equal(seen[0], stage.pose_2d[BATCH])
    assert bones.item() == lifter_stage().losses(BATCH, 0, generator())["bones"].item()


@pytest.mark.parametrize("mirror", [False, True])
def test_the_density_is_of_the_views_as_they_are_drawn(mirror):
    """Its mean counts every view with its probability, and mirror images alike."""
    probability = torch.rand(64, generator=generator())
    options = FlowOptions(components=6, couplings=2, width=8, mirror=mirror, noise=0.0)
    stage = FlowStage(views(), probability, H36M_17, options)
    pose_2d, weight = views(), probability
    if mirror:
        pose_2d, weight = torch.cat([pose_2d, mirrored(pose_2d, H36M_17)]), weight.repeat(2)
    (flow,) = stage.network.flows
    mean = (weight[:, None, None] * pose_2d).sum(0) / weight.sum()
    torch.testing.assert_close(flow.mean, mean[flow.joints].flatten())
    if not mirror:
        assert torch.equal(stage.losses(BATCH, 0, generator())["nll"], stage.network(views()[BATCH]).nll.mean())


def test_the_density_sees_noise():
    stage = FlowStage(views(), None, H36M_17, FlowOptions(components=6, couplings=2, width=8, mirror=False, noise=0.05))
    noise = torch.randn(B, J, 2, generator=generator())
    expected = stage.network(views()[BATCH] + 0.05 * noise).nll.mean()
    torch.testing.assert_close(stage.losses(BATCH, 0, generator())["nll"], expected)
