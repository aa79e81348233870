"""The lifters of the recipe "prior", fully connected and graph convolution: what they answer, where they start."""

import pytest
import torch
from torch import nn

from ites_fast.models import build_network
from ites_fast.models.depth_mlp import ANGLE_GAIN
from ites_fast.skeleton import H36M_17

SMALL = {"depth_mlp": {"width": 24, "blocks": 2}, "view_gcn": {"channels": 8, "blocks": 1}}
J = H36M_17.num_joints


def poses(B=12):
    return 0.2 * torch.randn(B, J, 2, generator=torch.Generator().manual_seed(0))


def network(name, **options):
    torch.manual_seed(0)
    return build_network(name, H36M_17, {**SMALL[name], **options})


@pytest.fixture(params=sorted(SMALL))
def name(request):
    return request.param


@pytest.mark.parametrize("roll", [False, True])
def test_depths_are_relative_to_the_root_and_angles_start_at_zero(name, roll):
    seen = network(name, roll=roll).view(poses())
    assert (seen.depth.shape, seen.elevation.shape, seen.roll.shape) == ((12, J), (12,), (12,))
    assert seen.depth[:, H36M_17.root].tolist() == [0] * 12
    assert seen.depth.std() > 0
    assert seen.elevation.tolist() == seen.roll.tolist() == [0] * 12


def test_it_starts_with_a_nearly_flat_pose(name):
    """A tenth of what the same output layer gives with the weights that it was drawn with."""
    started = network(name)
    flat = started.view(poses()).depth
    with torch.no_grad():
        if name == "depth_mlp":
            started.depth.weight *= 10
        else:
            for weight in ("self_weight", "neighbour_weight", "bias"):
                getattr(started.output_layer, weight).mul_(10)
    torch.testing.assert_close(started.view(poses()).depth, 10 * flat)
    assert flat.abs().mean() < 0.2


def test_the_forward_pass_is_the_depth_of_the_view(name):
    lifter = network(name).eval()
    assert lifter.predicts == "depth"
    assert torch.equal(lifter(poses()), lifter.view(poses()).depth)


@pytest.mark.parametrize("roll", [False, True])
def test_angles_are_outputs_of_their_own(name, roll):
    lifter = network(name, roll=roll)
    with torch.no_grad():
        lifter.angles.bias += torch.tensor([2.0, -3.0])[: 2 if roll else 1]
    seen = lifter.view(poses())
    torch.testing.assert_close(seen.elevation, torch.full((12,), 2 * ANGLE_GAIN))
    torch.testing.assert_close(seen.roll, torch.full((12,), -3 * ANGLE_GAIN if roll else 0.0))
    with torch.no_grad():
        lifter.angles.weight.normal_(generator=torch.Generator().manual_seed(1))
    other = lifter.view(poses())
    assert torch.equal(other.depth, seen.depth)
    assert other.elevation.std() > 1e-3
    assert (other.roll.std() > 1e-3) == roll


def test_every_parameter_learns(name):
    lifter, source = network(name, roll=True), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lifter.parameters():  # some start at zero, and what they multiply learns later
            parameter += 0.1 * torch.randn(parameter.shape, generator=source)
    seen_by = torch.randn(12, J + 2, generator=source)
    seen = lifter.view(poses())
    outputs = torch.cat([seen.depth, seen.elevation[:, None], seen.roll[:, None]], dim=1)
    (outputs * seen_by).sum().backward()
    # a constant that all joints share does not survive the root's subtraction, nor a batch norm
    constant = (".physical.bias", ".nonphysical.norm.bias", ".nonphysical.output.bias", "output_layer.bias")
    unheard = [key for key, value in lifter.named_parameters() if value.grad is None or not value.grad.any()]
    assert [key for key in unheard if not key.endswith(constant)] == []


def test_hidden_features_are_dropped_in_training_only():
    lifter = network("depth_mlp", dropout=0.5)
    assert [module.p for module in lifter.modules() if isinstance(module, nn.Dropout)] == [0.5] * 5
    torch.manual_seed(0)
    assert not torch.equal(lifter(poses()), lifter(poses()))
    lifter.eval()
    assert torch.equal(lifter(poses()), lifter(poses()))


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_the_graph_convolution_is_that_of_the_student(variant):
    """With the same weights: the student's depths, relative to its root."""
    lifter, source = network("view_gcn", variant=variant).eval(), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in lifter.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=source)
    student = build_network("student", H36M_17, {**SMALL["view_gcn"], "variant": variant}).eval()
    student.load_state_dict({name: value for name, value in lifter.state_dict().items() if "angles" not in name})
    depth = student(poses())
    assert depth.std() > 0.02
    torch.testing.assert_close(lifter(poses()), depth - depth[:, H36M_17.root, None])


def test_residual_blocks_add_to_what_they_see():
    lifter = network("depth_mlp").eval()
    with torch.no_grad():
        for block in lifter.blocks:
            block[-2].weight.zero_()  # the last batch norm
            block[-2].bias.zero_()
    torch.testing.assert_close(lifter.features(poses()), lifter.input_layer(poses().flatten(1)))
