import pytest
import torch
from torch import nn

from ites_fast.cuda_graphs import BATCH_SIZES, CapturedNetwork
from ites_fast.models import AdaptiveGCN, DepthMLP, PackedMLP, PackedStudent, RobustMLP
from ites_fast.models.view_lifter import Corrected
from ites_fast.skeleton import H36M_17

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NETWORKS = {
    "student": lambda: AdaptiveGCN(H36M_17, "official", 32, 1),
    "packed student": lambda: PackedStudent(AdaptiveGCN(H36M_17, "official", 32, 1).eval()),
    "MLP": lambda: DepthMLP(H36M_17, 64, 1),
    "packed MLP": lambda: PackedMLP(DepthMLP(H36M_17, 64, 1).eval()),
    "packed robust MLP": lambda: PackedMLP(RobustMLP(H36M_17, 64, 1).eval()),
}


def poses(B):
    return torch.randn(B, 17, 2, generator=torch.Generator().manual_seed(B))


@pytest.mark.parametrize("sizes", [(), (0,), (4, -1)])
def test_rejects_batch_sizes(sizes):
    with pytest.raises(ValueError, match=r"batch_sizes must be positive, got \("):
        CapturedNetwork(nn.Linear(2, 2).eval(), (17, 2), sizes)


def test_rejects_a_network_in_training():
    with pytest.raises(ValueError, match="training mode"):
        CapturedNetwork(nn.Linear(2, 2), (17, 2))


def test_rejects_a_network_that_is_not_on_a_gpu():
    with pytest.raises(ValueError, match="CUDA device, got one on cpu"):
        CapturedNetwork(nn.Linear(2, 2).eval(), (17, 2))


def test_the_sizes_double():
    assert BATCH_SIZES == (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)


@needs_cuda
@pytest.mark.parametrize("name", NETWORKS)
def test_graphs_compute_what_the_network_does(name):
    network = NETWORKS[name]().eval().cuda()
    captured = CapturedNetwork(network, (17, 2), (1, 4))
    for B in (0, 1, 3, 4, 9):
        with torch.no_grad():
            expected = network(poses(B).cuda())
        actual = captured(poses(B))
        assert type(actual) is type(expected)
        outputs = [output if isinstance(output, Corrected) else (output,) for output in (actual, expected)]
        for result, wanted in zip(*outputs, strict=True):
            assert result.device.type == "cpu"
            torch.testing.assert_close(result, wanted.cpu())


@needs_cuda
def test_a_result_outlives_the_next_call_and_a_nan_does_not():
    captured = CapturedNetwork(NETWORKS["packed student"]().eval().cuda(), (17, 2), (1, 4))
    first = captured(poses(4))
    kept = first.clone()
    captured(torch.full((4, 17, 2), torch.nan))
    assert torch.equal(first, kept)
    assert torch.equal(captured(poses(4)[:3].double()), kept[:3])


@needs_cuda
def test_weights_that_change_in_place_count():
    network = NETWORKS["MLP"]().eval().cuda()
    captured = CapturedNetwork(network, (17, 2), (1,))
    network.load_state_dict(NETWORKS["MLP"]().state_dict())
    with torch.no_grad():
        torch.testing.assert_close(captured(poses(1)), network(poses(1).cuda()).cpu())


@needs_cuda
def test_rejects_other_poses():
    captured = CapturedNetwork(NETWORKS["MLP"]().eval().cuda(), (17, 2), (1,))
    with pytest.raises(ValueError, match=r"poses must be \(B, 17, 2\), floating point, got torch.float32 \(3, 16, 2\)"):
        captured(torch.zeros(3, 16, 2))
