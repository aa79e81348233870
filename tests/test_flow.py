"""The density of 2D poses against its definition: components by numpy, volumes by autograd's Jacobian, integrals."""

import math
from typing import get_args, get_type_hints

import numpy as np
import pytest
import torch

from ites_fast.checkpoint import load_flow, save_flow
from ites_fast.models.flow import PoseDensity, PoseFlow, halves
from ites_fast.normalization import Normalization
from ites_fast.options import FlowOptions
from ites_fast.skeleton import H36M_17

J = H36M_17.num_joints
PARTS = get_args(get_type_hints(FlowOptions)["parts"])
OTHERS = [j for j in range(J) if j != H36M_17.root]


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def poses(N=400, seed=0):
    """Correlated poses with the root in the origin and a mean that is not zero."""
    drawn = torch.randn(N, 2 * J, generator=generator(seed), dtype=torch.float64)
    mixing = torch.randn(2 * J, 2 * J, generator=generator(7), dtype=torch.float64) * torch.logspace(0, -1, 2 * J)
    pose = 0.1 * (drawn @ mixing + 1).unflatten(1, (J, 2))
    pose[:, H36M_17.root] = 0
    return pose


def disturbed(density):
    """Move every coupling off the identity, and compute in float64."""
    source = generator(1)
    with torch.no_grad():
        for parameter in density.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=source) / math.sqrt(parameter.shape[-1])
    return density.double()


def fitted(**options):
    flow = PoseFlow(H36M_17, **{"couplings": 3, "width": 16, "components": 10, **options}).double()
    flow.fit_components(poses())
    return flow


def flat(pose):
    return pose[:, OTHERS].flatten(1)


def latent_by_definition(flow, point, context=()):
    """The couplings, one after the other: half of the numbers scale and shift the others, then all are shuffled."""
    context = torch.as_tensor(context, dtype=point.dtype)
    for index, (order, coupling) in enumerate(zip(flow.orders, flow.couplings, strict=True)):
        size = len(point) // 2 if index % 2 == 0 else len(point) - len(point) // 2
        scale, shift = coupling(torch.cat([point[:size], context])).chunk(2)
        moved = point[size:] * torch.tanh(scale).exp() + shift
        point = torch.cat([moved, point[:size]])[order]
    return point


@pytest.mark.parametrize(("components", "couplings"), [(10, 3), (5, 4), (2, 1)])
def test_the_likelihood_is_the_change_of_variables(components, couplings):
    flow = disturbed(fitted(components=components, couplings=couplings))
    pose = poses(6, seed=3)
    nll = flow(pose).nll
    for number, point in enumerate((flat(pose) - flow.mean) @ flow.whitening.mT):
        jacobian = torch.autograd.functional.jacobian(lambda p: latent_by_definition(flow, p), point)
        latent = latent_by_definition(flow, point)
        normal = torch.distributions.MultivariateNormal(torch.zeros_like(latent), torch.eye(components).double())
        expected = -normal.log_prob(latent) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(nll[number], expected)


def test_the_density_integrates_to_one():
    """Over a plane: one joint with both of its components."""
    flow = disturbed(PoseFlow(H36M_17, joints=[3], components=2, couplings=4, width=16))
    flow.fit_components(poses())
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    point = torch.cartesian_prod(axis, axis)
    pose = torch.zeros(len(point), J, 2, dtype=torch.float64)
    pose[:, 3] = flow.mean + point @ torch.linalg.inv(flow.whitening).mT
    with torch.no_grad():
        total = (-flow(pose).nll).exp().sum() * (axis[1] - axis[0]) ** 2
    assert total.item() == pytest.approx(1, abs=1e-3)


LEGS, REST = halves(H36M_17)


def conditional(**options):
    return fitted(**{"joints": LEGS, "given": REST, "given_components": 7, "components": 5, **options})


def whitened_context(flow, pose):
    return (pose[:, flow.given].flatten(1) - flow.given_mean) @ flow.given_whitening.mT


@pytest.mark.parametrize(("components", "couplings"), [(5, 3), (2, 2)])
def test_a_conditional_likelihood_is_the_change_of_variables_of_its_own_joints(components, couplings):
    flow = disturbed(conditional(components=components, couplings=couplings))
    pose = poses(6, seed=3)
    nll, context = flow(pose).nll, whitened_context(flow, pose)
    for number, point in enumerate((pose[:, LEGS].flatten(1) - flow.mean) @ flow.whitening.mT):

        def latent(p, number=number):
            return latent_by_definition(flow, p, context[number])

        jacobian = torch.autograd.functional.jacobian(latent, point)
        normal = torch.distributions.MultivariateNormal(
            torch.zeros(components).double(), torch.eye(components).double()
        )
        expected = -normal.log_prob(latent(point)) - torch.linalg.slogdet(jacobian).logabsdet
        torch.testing.assert_close(nll[number], expected)


def test_a_conditional_density_integrates_to_one_wherever_the_others_are():
    flow = PoseFlow(H36M_17, joints=[3], components=2, couplings=4, width=16, given=[5, 6], given_components=3)
    flow = disturbed(flow)
    flow.fit_components(poses())
    axis = torch.linspace(-12, 12, 601, dtype=torch.float64)
    point = torch.cartesian_prod(axis, axis)
    nll = []
    for others in poses(2, seed=8):
        pose = others.repeat(len(point), 1, 1)
        pose[:, 3] = flow.mean + point @ torch.linalg.inv(flow.whitening).mT
        with torch.no_grad():
            nll.append(flow(pose).nll)
        assert ((-nll[-1]).exp().sum() * (axis[1] - axis[0]) ** 2).item() == pytest.approx(1, abs=1e-3)
    assert (nll[0] - nll[1]).abs().max() > 0.1, "the density depends on what is given"


def test_what_is_given_is_whitened_and_counted_with_the_weights():
    flow, pose = conditional(), poses()
    whitened = whitened_context(flow, pose)
    torch.testing.assert_close(whitened.mT @ whitened / len(pose), torch.eye(7, dtype=torch.float64), rtol=0, atol=1e-6)
    alone = fitted(joints=REST, components=7)
    torch.testing.assert_close(flow.given_whitening, alone.whitening)
    count = torch.arange(len(pose)) % 4
    weighted, repeated = conditional(), conditional()
    weighted.fit_components(pose, count.float())
    repeated.fit_components(pose.repeat_interleave(count, dim=0))
    for name in ("given_mean", "given_whitening"):
        torch.testing.assert_close(weighted.get_buffer(name), repeated.get_buffer(name))


def test_the_residual_is_of_the_conditional_joints_alone():
    flow, pose, other = conditional(), poses(3), poses(3, seed=1)
    moved = pose.clone()
    moved[:, REST] = other[:, REST]
    torch.testing.assert_close(flow(moved).residual, flow(pose).residual, rtol=0, atol=0)
    assert not torch.equal(disturbed(flow)(moved).nll, flow(pose).nll)


def test_a_conditional_density_learns_what_the_others_tell():
    """A knee that is the ankle and a tenth of noise: log 10 nats for each coordinate, at most."""
    pose = torch.zeros(512, J, 2)
    pose[:, 3] = torch.randn(512, 2, generator=generator(1))
    pose[:, 2] = pose[:, 3] + 0.1 * torch.randn(512, 2, generator=generator(2))
    means = []
    for given in ([], [3]):
        torch.manual_seed(0)
        flow = PoseFlow(H36M_17, joints=[2], components=2, couplings=4, width=16, given=given, given_components=2)
        flow.fit_components(pose)
        optimizer = torch.optim.Adam(flow.parameters(), 1e-2)
        for _ in range(150):
            optimizer.zero_grad()
            flow(pose).nll.mean().backward()
            optimizer.step()
        means.append(flow(pose).nll.mean().item())
    assert 3.5 < means[0] - means[1] < 2 * math.log(10.5)


def test_it_starts_as_a_normal_density():
    flow, pose = fitted(), poses(5, seed=3)
    whitened = (flat(pose) - flow.mean) @ flow.whitening.mT
    expected = 0.5 * whitened.square().sum(1) + 5 * math.log(2 * math.pi)
    torch.testing.assert_close(flow(pose).nll, expected)


def test_components_are_those_of_numpy():
    flow, points = fitted(), flat(poses()).numpy()
    projection, whitening = flow.projection.numpy(), flow.whitening.numpy()
    mean = points.mean(0)
    _, values, directions = np.linalg.svd(points - mean, full_matrices=False)
    variances = values**2 / len(points)
    np.testing.assert_allclose(flow.mean, mean)
    # the sign of a direction is free
    np.testing.assert_allclose(np.abs(projection @ directions[:10].T), np.eye(10), atol=1e-6)
    np.testing.assert_allclose(whitening, projection / np.sqrt(variances[:10, None]), rtol=1e-6)
    np.testing.assert_allclose(flow.residual_variance, variances[10:].sum(), rtol=1e-6)


def test_the_sign_of_a_component_does_not_depend_on_the_solver():
    flow = fitted()
    largest = flow.projection.gather(1, flow.projection.abs().argmax(1, keepdim=True))
    assert (largest > 0).all()


def test_training_poses_are_white_and_their_mean_residual_is_one():
    flow = fitted()
    whitened = (flat(poses()) - flow.mean) @ flow.whitening.mT
    identity = torch.eye(10, dtype=torch.float64)
    torch.testing.assert_close(whitened.mT @ whitened / len(whitened), identity, rtol=0, atol=1e-6)
    assert flow(poses()).residual.mean().item() == pytest.approx(1, rel=1e-6)


def test_weights_count_poses():
    pose, count = poses(60), torch.arange(60) % 4
    weighted, repeated = fitted(), fitted()
    weighted.fit_components(pose, count.float())
    repeated.fit_components(pose.repeat_interleave(count, dim=0))
    for name, buffer in weighted.named_buffers():
        torch.testing.assert_close(buffer, repeated.get_buffer(name))
    assert not torch.allclose(weighted.mean, flat(pose).mean(0))


def test_the_residual_is_the_energy_outside_the_components():
    flow = disturbed(fitted())
    source = generator(2)
    inside = flow.mean + torch.randn(4, 10, generator=source, dtype=torch.float64) @ flow.projection
    basis = torch.linalg.svd(flow.projection).Vh[10:]  # the rest of the space
    step = torch.randn(4, len(basis), generator=source, dtype=torch.float64)

    def density(points):
        pose = torch.zeros(4, J, 2, dtype=torch.float64)
        pose[:, OTHERS] = points.unflatten(1, (J - 1, 2))
        return flow(pose)

    torch.testing.assert_close(density(inside).residual, torch.zeros(4, dtype=torch.float64), rtol=0, atol=1e-9)
    outside = density(inside + step @ basis)
    torch.testing.assert_close(outside.residual, step.square().sum(1) / flow.residual_variance)
    torch.testing.assert_close(outside.nll, density(inside).nll)


def test_nothing_is_outside_when_all_components_are_kept():
    flow = PoseFlow(H36M_17, components=40, couplings=2, width=8)
    assert flow.projection.shape == (32, 32)
    flow.fit_components(poses())
    assert flow(poses(seed=5).float()).residual.tolist() == [0] * 400


def test_a_joint_that_says_nothing_new_leaves_likelihood_and_residual_at_their_size():
    """Detections often have a neck in the exact middle of the shoulders: directions without any variance."""
    pose = poses()
    for middle, ends in {8: (11, 14), 7: (1, 4), 9: (2, 5), 10: (3, 6)}.items():
        pose[:, middle] = pose[:, ends].mean(dim=1)
    flow = PoseFlow(H36M_17, components=26, couplings=2, width=8)
    flow.fit_components(pose)
    noisy = pose + 0.002 * torch.randn(pose.shape, generator=generator(9), dtype=torch.float64)
    exact, near = flow(pose.float()), flow(noisy.float())
    assert exact.residual.abs().max() < 1
    assert near.nll.max() < 1e4


@pytest.mark.parametrize("parts", ["both", "whole_conditional"])
def test_gradients_reach_the_pose(parts):
    density = disturbed(PoseDensity(H36M_17, parts, components=10, couplings=2, width=8))
    density.fit_components(poses())
    pose = poses(3, seed=4).requires_grad_()
    assert torch.autograd.gradcheck(density, pose)


@pytest.mark.parametrize("parts", PARTS)
def test_the_root_says_nothing_and_every_other_joint_does(parts):
    density = disturbed(PoseDensity(H36M_17, parts, couplings=2, width=8))
    density.fit_components(poses())
    pose = poses(3, seed=4).requires_grad_()
    (gradient,) = torch.autograd.grad(density(pose).nll.sum(), pose)
    heard = gradient.abs().amin(dim=(0, 2)) > 0
    assert heard.tolist() == [j != H36M_17.root for j in range(J)]


def test_the_halves_are_the_legs_and_all_joints_but_the_legs():
    legs, others = halves(H36M_17)
    assert {H36M_17.joint_names[j] for j in legs} == {
        f"{side}_{joint}" for side in ("left", "right") for joint in ("hip", "knee", "ankle")
    }
    assert sorted(legs + others) == OTHERS


@pytest.mark.parametrize("parts", ["both", "whole_conditional"])
def test_parts_add_up_and_both_is_the_mean_with_the_whole(parts):
    density = disturbed(PoseDensity(H36M_17, parts, components=20, couplings=2, width=8))
    density.fit_components(poses())
    pose = poses(5, seed=6)
    whole, legs, others = (flow(pose) for flow in density.flows)
    both = density(pose)
    torch.testing.assert_close(both.nll, (whole.nll + legs.nll + others.nll) / 2)
    torch.testing.assert_close(both.residual, (whole.residual + legs.residual + others.residual) / 3)
    density.flows = density.flows[1:]
    torch.testing.assert_close(density(pose).nll, legs.nll + others.nll)
    assert [len(flow.projection) for flow in density.flows] == [20 * 6 // 16, 20 * 10 // 16]


def test_each_half_is_conditional_on_the_other():
    density = PoseDensity(H36M_17, "conditional", components=20, couplings=2, width=8)
    assert [(flow.joints.tolist(), flow.given.tolist()) for flow in density.flows] == [(LEGS, REST), (REST, LEGS)]
    assert [len(flow.given_whitening) for flow in density.flows] == [20 * 10 // 16, 20 * 6 // 16]


def test_a_density_that_is_not_conditional_has_no_tensors_of_it():
    names = PoseDensity(H36M_17, "both", couplings=1, width=4).state_dict()
    assert not [name for name in names if "given" in name]


@pytest.mark.parametrize("parts", ["both", "conditional", "whole_conditional"])
def test_a_file_gives_back_the_density_to_the_bit(parts, tmp_path):
    options = {"parts": parts, "components": 20, "couplings": 3, "width": 8}
    density = disturbed(PoseDensity(H36M_17, **options)).float()
    density.fit_components(poses())
    density.flows[0].orders.copy_(density.flows[0].orders.flip(1))  # an order that a new network would not have
    normalization = Normalization("root", "pose", 0.12, H36M_17.root, H36M_17.head, 5.0, H36M_17.hips)
    save_flow(tmp_path / "flow.safetensors", density, H36M_17, normalization, options, {})
    loaded, skeleton, restored = load_flow(tmp_path / "flow.safetensors")
    assert (skeleton, restored, loaded.training) == (H36M_17, normalization, False)
    pose = poses(9, seed=8).float()
    assert torch.equal(loaded(pose).nll, density(pose).nll)
    assert torch.equal(loaded(pose).residual, density(pose).residual)
