"""``agcn``: one adaptive graph convolution layer in training, forward and backward.

Bytes are those of the features and their gradients and of the two batch norms, which read a batch twice: what a layer
moves at least. The products are counted as they are after the re-expression. "torch_geometric" is a dense graph
convolution of the same size with batch norm and ReLU: it has no nonphysical graph and one edge matrix for all channels,
so it does less, and is shown without being a rival.
"""

import pytest
import torch

from bench.arms import Arm, Missing, Work, optional
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


def dense_convolution(features, mixing, grad_output) -> Arm | Missing:
    """An arm with the dense graph convolution of PyTorch Geometric, if it is installed."""

    def build(layers):
        convolution = layers.DenseGraphConv(CHANNELS, CHANNELS).to(features.device)
        norm = torch.nn.BatchNorm1d(CHANNELS).to(features.device)
        leaves = [features, *convolution.parameters(), *norm.parameters()]

        def run():
            output = norm(convolution(features, mixing).flatten(0, 1)).relu().view_as(features)
            return torch.autograd.grad(output, leaves, grad_output)

        return Arm(run, compared=False, is_rival=False)

    return optional("torch_geometric.nn", build)


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
    one_matrix = mixing.detach().view(-1, JOINTS, JOINTS)[0]
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
        "torch_geometric, less work": dense_convolution(features, one_matrix, grad_output),
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
