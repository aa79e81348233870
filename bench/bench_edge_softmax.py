"""Mixing matrices of all layers of a student by one call, forward and backward."""

import pytest
import torch

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference
from ites_fast.skeleton import H36M_17

JOINTS = 17
LEADING = {"shared": (9,), "per_channel": (9, 128)}  # layers, channels
FLOPS_AN_ENTRY = 4 + 4  # subtract, exponential, sum, divide; the gradient


def adjacency_of_skeleton():
    adjacency = torch.eye(JOINTS, dtype=torch.bool)
    for child, parent in H36M_17.edges:
        adjacency[child, parent] = adjacency[parent, child] = True
    return adjacency


@pytest.mark.parametrize("weights", LEADING)
def bench_edge_softmax(measure, device, weights):
    generator = torch.Generator().manual_seed(0)
    adjacency = adjacency_of_skeleton().to(device)
    shape = *LEADING[weights], int(adjacency.sum())
    edge_weights = torch.randn(shape, generator=generator).to(device).requires_grad_()
    grad_mixing = torch.randn(*LEADING[weights], JOINTS, JOINTS, generator=generator).to(device)

    def step(function):
        mixing = function(edge_weights, adjacency)
        return mixing, *torch.autograd.grad(mixing, edge_weights, grad_mixing)

    arms = {
        "ites_fast": lambda: step(ops.edge_softmax),
        "eager": lambda: step(reference.edge_softmax),
        **measure.compiled(reference.edge_softmax, step),
    }
    work = Work(
        "edge_softmax",
        "forward and backward",
        1,
        moved_bytes=2 * nbytes(edge_weights) + 3 * nbytes(grad_mixing) + 2 * nbytes(adjacency),
        flops=grad_mixing.numel() * FLOPS_AN_ENTRY,
        settings={"joints": JOINTS, "matrices": grad_mixing[..., 0, 0].numel(), "weights": weights},
    )
    measure(work, arms)
