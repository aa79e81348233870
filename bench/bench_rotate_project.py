"""``rotate_project`` and ``random_rotate_project``: S draws of views of each pose, forward and backward."""

import pytest
import torch

from bench.arms import Arm, Work, optional
from bench.roofline import nbytes
from ites_fast import ops, reference

DRAWS, JOINTS, CAMERA_DEPTH = 4, 17, 5.0
FLOPS_A_JOINT = 15 + 3 + 8 + 15  # rotate, project; their gradients


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_forward_backward(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(poses, JOINTS, 3, generator=generator).to(device).requires_grad_()
    rotation = ops.random_rotations((DRAWS, poses), "vertical", generator=generator, device=device)
    grad_uv = torch.randn(DRAWS, poses, JOINTS, 2, generator=generator).to(device)

    def step(function):
        uv = function(pose, rotation, CAMERA_DEPTH)
        return uv, *torch.autograd.grad(uv, pose, grad_uv)

    arms = {
        "ites_fast": lambda: step(ops.rotate_project),
        "eager": lambda: step(reference.rotate_project),
        **measure.compiled(reference.rotate_project, step),
    }
    moved = 2 * nbytes(pose, rotation) + 2 * nbytes(grad_uv) + nbytes(pose)
    work = Work(
        "rotate_project",
        "forward and backward",
        poses,
        moved_bytes=moved,
        flops=DRAWS * poses * JOINTS * FLOPS_A_JOINT,
        settings={"joints": JOINTS, "draws": DRAWS},
    )
    measure(work, arms)


@pytest.mark.poses(cpu=(128, 4096), cuda=(128, 4096, 65536, 1_000_000))
def bench_random_rotations(measure, device, poses):
    """The rotations are drawn as well. Others draw them with PyTorch's generator, and so draw others."""
    generator = torch.Generator(device).manual_seed(0)
    pose = torch.randn(poses, JOINTS, 3, generator=generator, device=device).requires_grad_()
    grad_uv = torch.randn(DRAWS, poses, JOINTS, 2, generator=generator, device=device)

    def step(project):
        uv = project()
        return uv, *torch.autograd.grad(uv, pose, grad_uv)

    def drawn_by_torch():
        rotation = ops.random_rotations((DRAWS, poses), "vertical", generator=generator)
        return reference.rotate_project(pose, rotation, CAMERA_DEPTH)

    def drawn_by_roma(roma):
        def project():
            rotation = roma.random_rotmat((DRAWS, poses), device=device)
            return reference.rotate_project(pose, rotation, CAMERA_DEPTH)

        return Arm(lambda: step(project), compared=False, is_rival=False)

    arguments = pose, 0, 0, DRAWS, "vertical", CAMERA_DEPTH
    arms = {
        "ites_fast": lambda: step(lambda: ops.random_rotate_project(*arguments)[0]),
        "eager": lambda: step(lambda: reference.random_rotate_project(*arguments)[0]),
        "eager, rotations of torch": Arm(lambda: step(drawn_by_torch), compared=False),
        "roma, uniform rotations": optional("roma", drawn_by_roma),
        **measure.compiled(reference.random_rotate_project, lambda f: step(lambda: f(*arguments)[0])),
    }
    work = Work(
        "random_rotate_project",
        "forward and backward",
        poses,
        moved_bytes=3 * nbytes(pose) + 2 * nbytes(grad_uv),  # poses read twice, their gradient written
        flops=DRAWS * poses * JOINTS * FLOPS_A_JOINT,
        settings={"joints": JOINTS, "draws": DRAWS},
    )
    measure(work, arms)
