"""The fully connected student: the teacher's trunk with a depth head."""

import torch

from ites_fast.models import ResFC, Teacher, build_network
from ites_fast.models.resfc import ResidualBlock
from ites_fast.skeleton import H36M_17


def poses(B=8):
    return 0.1 * torch.randn(B, 17, 2, generator=torch.Generator().manual_seed(0))


def test_it_has_the_trunk_of_the_teacher_and_one_depth_a_joint():
    torch.manual_seed(0)
    network, teacher = ResFC(H36M_17), Teacher(H36M_17)
    trunk = {name: value.shape for name, value in teacher.trunk.state_dict().items()}
    assert {name: value.shape for name, value in network.trunk.state_dict().items()} == trunk
    head = sum(p.numel() for p in network.parameters()) - sum(p.numel() for p in teacher.trunk.parameters())
    assert head == 17 * (1024 + 1)
    assert network.predicts == "depth"
    assert network.eval()(poses()).shape == (8, 17)


def test_a_block_adds_to_its_input():
    """With the last norm at zero a block is the ReLU of its input."""
    block = ResidualBlock(6, 3)
    torch.nn.init.zeros_(block.layers[-1].weight)
    features = torch.randn(5, 6, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(block(features), features.relu())


def test_gradients_reach_every_parameter():
    torch.manual_seed(0)
    network = build_network("resfc", H36M_17, {"blocks": 2, "width": 32, "bottleneck": 8}).train()
    (network(poses()) - 1).square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().sum() > 0, name
