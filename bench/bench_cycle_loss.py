"""The losses of the cycle, S draws against each pose, forward and backward."""

import pytest
import torch

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference

DRAWS, JOINTS, CAMERA_DEPTH = 4, 17, 5.0
FLOPS_A_JOINT = 9 + 15  # difference and norm; the same again and its gradient
FLOPS_A_DEPTH_JOINT = 15 + 12 + 15 + 45  # rotate, lift and compare; the same again and the four gradients


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_cycle_loss(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    prediction = torch.randn(DRAWS, poses, JOINTS, 3, generator=generator).to(device).requires_grad_()
    target = torch.randn(poses, JOINTS, 3, generator=generator).to(device).requires_grad_()

    def step(function):
        loss = function(prediction, target)
        return loss, *torch.autograd.grad(loss, (prediction, target))

    arms = {
        "ites_fast": lambda: step(ops.cycle_loss),
        "eager": lambda: step(reference.cycle_loss),
        **measure.compiled(reference.cycle_loss, step),
    }
    work = Work(
        "cycle_loss",
        "forward and backward",
        poses,
        moved_bytes=3 * nbytes(prediction, target),  # read twice, written once
        flops=DRAWS * poses * JOINTS * FLOPS_A_JOINT,
        settings={"joints": JOINTS, "draws": DRAWS},
    )
    measure(work, arms)


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_depth_cycle_loss(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    pose = 0.5 * torch.randn(poses, JOINTS, 3, generator=generator).to(device)
    rotation = ops.random_rotations((DRAWS, poses), "vertical", generator=generator, device=device)
    uv = reference.rotate_project(pose, rotation, CAMERA_DEPTH)
    depth = 0.5 * torch.randn(DRAWS, poses, JOINTS, generator=generator).to(device)
    learned = [tensor.requires_grad_() for tensor in (depth, uv, pose)]

    def step(function):
        loss = function(*learned, rotation, CAMERA_DEPTH)
        return loss, *torch.autograd.grad(loss, learned)

    arms = {
        "ites_fast": lambda: step(ops.depth_cycle_loss),
        "eager": lambda: step(reference.depth_cycle_loss),
        **measure.compiled(reference.depth_cycle_loss, step),
    }
    work = Work(
        "depth_cycle_loss",
        "forward and backward",
        poses,
        moved_bytes=3 * nbytes(*learned) + 2 * nbytes(rotation),  # read twice; gradients of what is learned written
        flops=DRAWS * poses * JOINTS * FLOPS_A_DEPTH_JOINT,
        settings={"joints": JOINTS, "draws": DRAWS},
    )
    measure(work, arms)
