"""``channel_mix``, forward and backward: an own edge matrix for every channel."""

import pytest
import torch

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference
from ites_fast.models.student import skeleton_adjacency
from ites_fast.skeleton import H36M_17

JOINTS, CHANNELS = 17, 128


@pytest.mark.poses(cpu=(128, 1024), cuda=(128, 4096, 65536))
def bench_channel_mix(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    adjacency = skeleton_adjacency(H36M_17).to(device)
    features = torch.randn(poses, JOINTS, CHANNELS, generator=generator).to(device).requires_grad_()
    mixing = torch.rand(CHANNELS, JOINTS, JOINTS, generator=generator).to(device).requires_grad_()
    grad_output = torch.randn(poses, JOINTS, CHANNELS, generator=generator).to(device)

    def step(function):
        output = function(features, mixing, adjacency)
        return output, *torch.autograd.grad(output, (features, mixing), grad_output)

    arms = {
        "ites_fast": lambda: step(ops.channel_mix),
        "eager": lambda: step(reference.channel_mix),
        **measure.compiled(reference.channel_mix, step),
    }
    work = Work(
        "channel_mix",
        "forward and backward",
        poses,
        moved_bytes=5 * nbytes(features) + 3 * nbytes(mixing),  # features twice, output, both their gradients
        flops=3 * 2 * poses * int(adjacency.sum()) * CHANNELS,
        settings={"joints": JOINTS, "channels": CHANNELS},
    )
    measure(work, arms)
