"""Packed networks: what they are made from, that nothing makes them stale, and lifting with them."""

import copy

import pytest
import torch

from ites_fast.checkpoint import load_lifter
from ites_fast.errors import InputError
from ites_fast.models import ViewLifter, build_network, pack
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17
from ites_fast.weights import BUNDLED

NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)
NETWORKS = {
    "student": {"variant": "official", "channels": 16, "blocks": 1},
    "depth_mlp": {"width": 32, "blocks": 1, "roll": True},
    "robust_mlp": {"width": 24, "blocks": 2},
}


@pytest.fixture(params=NETWORKS)
def lifter(request):
    torch.manual_seed(0)
    network = build_network(request.param, H36M_17, NETWORKS[request.param])
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
        network.train()(torch.randn(64, 17, 2))  # statistics
    return ViewLifter(network, H36M_17, NORMALIZATION).eval()


def image(views=5):
    return 0.1 * torch.randn(views, 17, 2, generator=torch.Generator().manual_seed(1))


def optimizer_step(network):
    optimizer = torch.optim.SGD(network.parameters(), lr=0.1)
    output = network.train()(torch.randn(8, 17, 2))
    (
        output if isinstance(output, torch.Tensor) else torch.cat([output.pose_2d.flatten(1), output.depth], 1)
    ).sum().backward()
    optimizer.step()
    network.eval()


def load_other_weights(network):
    network.load_state_dict({name: 1.5 * value for name, value in network.state_dict().items()})


def write_behind_autograd(network):
    for parameter in network.parameters():
        parameter.data.mul_(1.5)


def test_lifts_as_the_network(lifter):
    packed = pack(lifter)
    torch.testing.assert_close(packed.lift(image()), lifter.lift(image()), rtol=1e-4, atol=1e-5)
    averaging = ViewLifter(lifter.network, H36M_17, NORMALIZATION, mirror_average=True)
    torch.testing.assert_close(pack(averaging).lift(image()), averaging.lift(image()), rtol=1e-4, atol=1e-5)
    assert packed.accepts_missing == lifter.accepts_missing


def test_missing_joints():
    lifter, incomplete = load_lifter(BUNDLED), image()
    incomplete[0, 3] = incomplete[1, [0, 6]] = torch.nan
    torch.testing.assert_close(pack(lifter).lift(incomplete), lifter.lift(incomplete), rtol=1e-4, atol=1e-5)


def test_bundled_weights_stay_in_half_precision():
    network = pack(load_lifter(BUNDLED)).network
    assert network.weights.dtype == torch.float16
    assert network.head.dtype == torch.float32


@pytest.mark.parametrize("change", [optimizer_step, load_other_weights, write_behind_autograd])
def test_is_a_copy_that_nothing_makes_stale(lifter, change):
    packed, before = pack(lifter), lifter.lift(image())
    change(lifter.network)
    after = lifter.lift(image())
    assert (after - before).abs().max() > 1e-3
    torch.testing.assert_close(packed.lift(image()), before, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(pack(lifter).lift(image()), after, rtol=1e-4, atol=1e-5)


def test_packing_leaves_the_network_as_it_was(lifter):
    before, training = copy.deepcopy(lifter.network.state_dict()), lifter.network.training
    packed = pack(lifter)
    assert lifter.network.training == training
    for name, value in lifter.network.state_dict().items():
        assert value.dtype == before[name].dtype
        assert torch.equal(value, before[name])
    assert not any(parameter.requires_grad for parameter in packed.parameters())


def test_follows_to_another_dtype(lifter):
    packed = pack(lifter).double()
    pose_3d = packed.lift(image())
    assert pose_3d.dtype == torch.float64
    torch.testing.assert_close(pose_3d, lifter.double().lift(image()), rtol=1e-4, atol=1e-5)
    exact = pack(lifter)  # of weights in float64
    torch.testing.assert_close(exact.lift(image()), lifter.lift(image()), rtol=1e-9, atol=1e-9)


def test_packs_what_trains_as_in_eval_mode(lifter):
    expected = pack(lifter).lift(image())
    lifter.train()
    assert torch.equal(pack(lifter).lift(image()), expected)
    packed = pack(lifter).train()
    assert torch.equal(packed.lift(image()), expected)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("student", {"variant": "paper"}, "only the graphs of the variant 'official', .* got ChannelPhysicalGraph"),
        ("student", {"variant": "official", "graphs": "physical"}, "both of them, can be packed, got NoneType, Shared"),
        ("student", {"variant": "official", "blocks": 0}, "can be packed, got SharedPhysicalGraph"),
        ("robust_agcn", {"channels": 16}, "a network of type RobustGCN cannot be packed, only AdaptiveGCN, DepthMLP"),
    ],
)
def test_what_cannot_be_packed(name, options, message):
    lifter = ViewLifter(build_network(name, H36M_17, options), H36M_17, NORMALIZATION)
    with pytest.raises(InputError, match=message):
        pack(lifter)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_lifts_on_cuda(lifter):
    expected = lifter.lift(image())
    torch.testing.assert_close(pack(lifter).cuda().lift(image()), expected, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(pack(lifter.cuda()).lift(image()), expected, rtol=1e-3, atol=1e-4)
