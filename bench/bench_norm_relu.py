"""``norm_relu``, forward and backward: batch norm by the batch's own statistics, then a ReLU."""

import pytest
import torch
from torch import nn

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference
from ites_fast.reference.norm_relu import Norm

JOINTS, CHANNELS = 17, 128
FLOPS_AN_ELEMENT = 7 + 10  # mean, variance, scale, shift, ReLU; two sums and a linear function of both


@pytest.mark.poses(cpu=(128, 1024), cuda=(128, 4096, 65536))
def bench_norm_relu(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(poses, JOINTS, CHANNELS, generator=generator).to(device).requires_grad_()
    module = nn.BatchNorm1d(CHANNELS).to(device)
    norm = Norm(module.weight, module.bias)
    grad_output = torch.randn(poses, JOINTS, CHANNELS, generator=generator).to(device)
    leaves = features, module.weight, module.bias

    def step(function):
        output = function(features)
        return output, *torch.autograd.grad(output, leaves, grad_output)

    def definition(features):
        return reference.norm_relu(features, norm)[0]

    arms = {
        "ites_fast": lambda: step(lambda x: ops.norm_relu(x, norm)[0]),
        "eager": lambda: step(definition),
        "nn.BatchNorm1d and relu": lambda: step(lambda x: module(x.flatten(0, 1)).relu().view_as(x)),
        **measure.compiled(definition, step),
    }
    work = Work(
        "norm_relu",
        "forward and backward",
        poses,
        moved_bytes=7 * nbytes(features),  # features for the statistics, the output and the gradient; its own, twice
        flops=FLOPS_AN_ELEMENT * features.numel(),
        settings={"joints": JOINTS, "channels": CHANNELS},
    )
    measure(work, arms)
