"""Errors of many poses, and the reprojection loss forward and backward."""

import pytest
import torch

from bench.arms import Work
from bench.roofline import nbytes
from ites_fast import ops, reference

JOINTS, CAMERA_DEPTH = 17, 5.0
FLOPS_A_JOINT = 6 + 10 + 12  # relative to the root, scale, distance
FLOPS_OF_REPROJECTION = 15 + 3 + 7 + 25 + 55  # rotate, project, compare; the same again, the gradients of both


@pytest.mark.poses(cpu=(4096, 65536), cuda=(4096, 65536, 543_000, 4_000_000))
def bench_n_mpjpe(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(poses, JOINTS, 3, generator=generator).to(device)
    pred = 0.8 * target + 0.1 * torch.randn(poses, JOINTS, 3, generator=generator).to(device)

    def step(function):
        return function(pred, target)

    arms = {
        "ites_fast": lambda: step(ops.n_mpjpe),
        "eager": lambda: step(reference.n_mpjpe),
        **measure.compiled(reference.n_mpjpe, step),
    }
    work = Work(
        "n_mpjpe",
        "forward",
        poses,
        moved_bytes=nbytes(pred, target) + poses * pred.element_size(),
        flops=poses * JOINTS * FLOPS_A_JOINT,
        settings={"joints": JOINTS},
    )
    measure(work, arms)


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_reprojection_loss(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    canonical = 0.5 * torch.randn(poses, JOINTS, 3, generator=generator).to(device)
    rotation = ops.random_rotations((poses,), "all", generator=generator, device=device)
    pose_2d = 0.1 * torch.randn(poses, JOINTS, 2, generator=generator).to(device)
    learned = [tensor.requires_grad_() for tensor in (canonical, rotation)]

    def step(function):
        loss = function(*learned, pose_2d, CAMERA_DEPTH)
        return loss, *torch.autograd.grad(loss, learned)

    arms = {
        "ites_fast": lambda: step(ops.reprojection_loss),
        "eager": lambda: step(reference.reprojection_loss),
        **measure.compiled(reference.reprojection_loss, step),
    }
    work = Work(
        "reprojection_loss",
        "forward and backward",
        poses,
        moved_bytes=3 * nbytes(*learned) + 2 * nbytes(pose_2d),  # read twice; gradients of what is learned written
        flops=poses * JOINTS * FLOPS_OF_REPROJECTION,
        settings={"joints": JOINTS},
    )
    measure(work, arms)
