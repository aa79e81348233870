"""One adaptive graph convolution layer, forward and backward: reference, torch.compile of it, and the operator.

pytest bench/bench_agcn.py --benchmark-json=bench/results/agcn_cpu.json
pytest bench/bench_agcn.py -m "slow or not slow"    # with torch.compile
"""

import pytest
import torch

from ites_fast import ops, reference
from ites_fast.models import AdaptiveGCN
from ites_fast.reference.norm_relu import Norm
from ites_fast.skeleton import H36M_17

CHANNELS = 128
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
ARMS = {
    "op": lambda: ops.agcn,
    "eager": lambda: reference.agcn,
    "compile": lambda: torch.compile(reference.agcn),
}


@pytest.mark.parametrize("poses", [128, 512])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("variant", ["official", "paper"])
@pytest.mark.parametrize("arm", ["op", "eager", pytest.param("compile", marks=pytest.mark.slow)])
def bench_forward_backward(benchmark, threads, arm, variant, device, poses):
    torch.manual_seed(0)
    network = AdaptiveGCN(H36M_17, variant, channels=CHANNELS, blocks=1).to(device)
    layer = network.blocks[0][0]
    features = torch.randn(poses, 17, CHANNELS, device=device, requires_grad=True)
    mixing = network.mixing_matrices()[layer.physical].detach().requires_grad_()
    grad_output = torch.randn(poses, 17, CHANNELS, device=device)
    leaves = [features, mixing, *(p for name, p in layer.named_parameters() if "edge_weights" not in name)]
    function = ARMS[arm]()
    threads(1)

    def step(function=function):
        norm = Norm(layer.norm.weight, layer.norm.bias)
        output, _ = function(features, mixing, layer.physical.graph, layer.nonphysical.graph, norm)
        grads = torch.autograd.grad(output, leaves, grad_output)
        if device == "cuda":
            torch.cuda.synchronize()
        return grads

    for grad, expected in zip(step(), step(reference.agcn), strict=True):
        torch.testing.assert_close(grad, expected, rtol=1e-3, atol=1e-3 * max(1, expected.abs().max().item()))
    benchmark.group = (
        f"agcn layer, {variant}, forward and backward, float32, {CHANNELS} channels, {device}, {poses} poses"
    )
    benchmark.extra_info |= {"device": device, "dtype": "float32", "poses": poses, "channels": CHANNELS, "threads": 1}
    benchmark.pedantic(step, rounds=15, warmup_rounds=2)
