"""``virtual_view``: S draws of scaled views of each pose and its turned poses, forward and backward."""

import pytest
import torch

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference

DRAWS, JOINTS, CAMERA_DEPTH, RMS = 1, 17, 5.0, 0.12  # as the recipe "prior" trains
FORWARD_FLOPS = 15 + 3 + 4 + 5  # of a joint: rotate, project, its share of the view's size, scale
BACKWARD_FLOPS = 22 + 9 + 9 + 8 + 15 + 18  # again; gradients of the scale, through it, of projection, pose, rotation


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_forward_backward(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(poses, JOINTS, 3, generator=generator).to(device).requires_grad_()
    rotation = ops.random_rotations((DRAWS, poses), "vertical", generator=generator, device=device).requires_grad_()
    grads = [torch.randn(DRAWS, poses, JOINTS, D, generator=generator).to(device) for D in (2, 3)]

    def step(function):
        found = function(pose, rotation, CAMERA_DEPTH, RMS)
        return *found, *torch.autograd.grad(found, (pose, rotation), grads)

    arms = {
        "ites_fast": lambda: step(ops.virtual_view),
        "eager": lambda: step(reference.virtual_view),
        **measure.compiled(reference.virtual_view, step),
    }
    work = Work(
        "virtual_view",
        "forward and backward",
        poses,
        moved_bytes=3 * nbytes(pose, rotation) + 2 * nbytes(*grads),  # inputs read twice, their gradients written
        flops=DRAWS * poses * JOINTS * (FORWARD_FLOPS + BACKWARD_FLOPS),
        settings={"joints": JOINTS, "draws": DRAWS},
    )
    measure(work, arms)
