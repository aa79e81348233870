"""``agcn``: one adaptive graph convolution layer in training, forward and backward.

Bytes are those of the features and their gradients and of the two batch norms, which read a batch twice: what a layer
moves at least. The products are counted as they are after the re-expression.
"""

import pytest
import torch

from bench.harness import Work
from ites_fast import ops, reference
from ites_fast.models import AdaptiveGCN
from ites_fast.reference.norm_relu import Norm
from ites_fast.skeleton import H36M_17

JOINTS, CHANNELS = 17, 128
INNER = CHANNELS // 2
# no parameters of the layer itself, or cancelled by a batch norm or a softmax: their gradient is rounding
CONSTANT = ("edge_weights", "physical.bias", "output.bias", "nonphysical.norm.bias", "key.bias")
# projections, output projection or second layers of the perceptrons, aggregation
FLOPS_A_POSE = {
    "official": 2 * JOINTS * CHANNELS * (2 * CHANNELS + 2 * INNER) + 2 * 8 * INNER * CHANNELS + 2 * 25 * 17 * CHANNELS,
    "paper": 2 * JOINTS * CHANNELS * (2 * CHANNELS + 2 * INNER) + 4 * JOINTS * INNER**2 + 2 * 2 * 17 * 17 * CHANNELS,
}


@pytest.mark.poses(cpu=(128, 512), cuda=(128, 512, 4096, 16384))
@pytest.mark.parametrize("variant", ["official", "paper"])
def bench_forward_backward(measure, device, variant, poses):
    torch.manual_seed(0)
    network = AdaptiveGCN(H36M_17, variant, channels=CHANNELS, blocks=1).to(device)
    layer = network.blocks[0][0]
    features = torch.randn(poses, JOINTS, CHANNELS, device=device, requires_grad=True)
    mixing = network.mixing_matrices()[layer.physical].detach().requires_grad_()
    grad_output = torch.randn(poses, JOINTS, CHANNELS, device=device)
    leaves = [features, mixing, *(p for name, p in layer.named_parameters() if not name.endswith(CONSTANT))]
    if variant == "official":
        torch.nn.init.ones_(layer.nonphysical.norm.weight)  # zero would leave the nonphysical graph without gradient

    def step(function):
        norm = Norm(layer.norm.weight, layer.norm.bias)
        output, _ = function(features, mixing, layer.physical.graph, layer.nonphysical.graph, norm)
        return output, *torch.autograd.grad(output, leaves, grad_output)

    arms = {
        "ites_fast": lambda: step(ops.agcn),
        "eager": lambda: step(reference.agcn),
        **measure.compiled(reference.agcn, step),
    }
    work = Work(
        "agcn",
        f"{variant}, forward and backward",
        poses,
        moved_bytes=8 * features.numel() * features.element_size(),
        flops=3 * poses * FLOPS_A_POSE[variant],
        settings={"joints": JOINTS, "channels": CHANNELS},
    )
    measure(work, arms)
