"""Procrustes alignment of captured poses: errors after it, the same for the better flip, all fits at once, gradients.

The definition is batched ``torch.linalg.svd``. The rivals do the same with numpy's SVD, with roma, and with scipy one
pose at a time.
"""

import numpy as np
import pytest
import torch

from bench.arms import Arm, Work, optional
from bench.roofline import nbytes
from ites_fast import ops, reference
from ites_fast.data import mocap17

JOINTS = 17
SCIPY_POSES, NUMPY_POSES = 500, 65_536  # at most: what takes long is known from fewer
FLOPS_OF_MOMENTS, FLOPS_OF_ERRORS = 48, 33  # of a joint
FLOPS_OF_ROTATION = 700  # of a pose
SIZES = pytest.mark.poses(cpu=(10_000, 100_000), cuda=(1000, 65_536, 543_344))
FITS = ("similarity", "procrustes", "lstsq", "none")  # of an evaluation by the protocol "strict"


def numpy_errors(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    source = source - source.mean(axis=1, keepdims=True)
    target = target - target.mean(axis=1, keepdims=True)
    u, singular, vh = np.linalg.svd(target.swapaxes(1, 2) @ source)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vh))
    rotation = (u * sign[:, None, :]) @ vh
    scale = (singular * sign).sum(axis=1) / (source**2).sum(axis=(1, 2))
    return np.linalg.norm(scale[:, None, None] * source @ rotation.swapaxes(1, 2) - target, axis=2)


def roma_errors(roma, source, target):
    rotation, translation, scale = roma.rigid_points_registration(source, target, compute_scaling=True)
    aligned = scale[:, None, None] * source @ rotation.mT + translation[:, None]
    return torch.linalg.vector_norm(aligned - target, dim=-1)


def scipy_errors(transform, source: np.ndarray, target: np.ndarray) -> np.ndarray:
    errors = np.empty(source.shape[:2], dtype=np.float32)
    for i, (a, b) in enumerate(zip(source, target, strict=True)):
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        rotated = transform.Rotation.align_vectors(b, a)[0].apply(a)
        errors[i] = np.linalg.norm((rotated * b).sum() / (a * a).sum() * rotated - b, axis=1)
    return errors


def make(poses, device):
    """Captured poses in metres, and the same ones moved, disturbed by 30 mm and, every third one, mirrored in depth."""
    generator = torch.Generator().manual_seed(0)
    with np.load(mocap17.BUNDLED) as file:
        captured = torch.from_numpy(file["positions_mm"]) / 1000
    source = captured[torch.randint(len(captured), (poses,), generator=generator)]
    rotation = ops.random_rotations((poses,), "all", generator=generator)
    moved = 1.1 * source @ rotation.mT + torch.randn(poses, 1, 3, generator=generator)
    source[::3] *= torch.tensor([1.0, 1.0, -1.0])
    return source.to(device), (moved + 0.03 * torch.randn(poses, JOINTS, 3, generator=generator)).to(device)


def work(operator, what, poses, moved, *, rotations=1, errors=1):
    """Work with FLOPs counted from the rotations that are found for a pose, and how often errors are taken."""
    a_joint = FLOPS_OF_MOMENTS + errors * FLOPS_OF_ERRORS
    flops = poses * (JOINTS * a_joint + rotations * FLOPS_OF_ROTATION)
    settings = {"joints": JOINTS, "poses in": "float32"}
    return Work(operator, what, poses, moved, flops, precision="float64", settings=settings)


@SIZES
def bench_errors(measure, device, poses):
    source, target = make(poses, device)
    arrays = source.cpu().numpy(), target.cpu().numpy()
    some, few = ([array[:count] for array in arrays] for count in (NUMPY_POSES, SCIPY_POSES))

    def step(function):
        return function(source, target)

    arms = {
        "ites_fast": lambda: step(ops.procrustes_errors),
        "eager": lambda: step(reference.procrustes_errors),
        **measure.compiled(reference.procrustes_errors, step),
        "numpy": Arm(lambda: numpy_errors(*some), poses=min(poses, NUMPY_POSES), in_torch=False),
        "roma": optional("roma", lambda roma: Arm(lambda: roma_errors(roma, source, target))),
        "scipy": optional(
            "scipy.spatial.transform",
            lambda transform: Arm(lambda: scipy_errors(transform, *few), poses=min(poses, SCIPY_POSES), in_torch=False),
        ),
    }
    if device.type == "cpu":
        arms["ites_fast, 2 threads"] = Arm(lambda: step(ops.procrustes_errors), threads=2)
    moved = nbytes(source, target) + 4 * poses * JOINTS
    measure(work("procrustes_errors", "forward", poses, moved), arms)


@SIZES
def bench_best_errors(measure, device, poses):
    """One pass over both candidates; "two passes" is ours without the option."""
    source, target = make(poses, device)
    flip = source.new_tensor([1.0, 1.0, -1.0])

    def step(function):
        errors, flipped = function(source, target)
        return errors, flipped.to(errors.dtype)

    def two_passes(source, target):
        errors, mirrored = ops.procrustes_errors(source, target), ops.procrustes_errors(source * flip, target)
        flipped = mirrored.mean(dim=1) < errors.mean(dim=1)
        return torch.where(flipped[:, None], mirrored, errors), flipped

    arms = {
        "ites_fast": lambda: step(ops.procrustes_best_errors),
        "two passes": Arm(lambda: step(two_passes), is_rival=False),
        "eager": lambda: step(reference.procrustes_best_errors),
        **measure.compiled(reference.procrustes_best_errors, step),
    }
    moved = nbytes(source, target) + 4 * poses * JOINTS + poses
    measure(work("procrustes_best_errors", "forward", poses, moved, rotations=2, errors=2), arms)


@SIZES
def bench_aligned_errors(measure, device, poses):
    """Everything that an evaluation compares: four fits of each pose and of its mirror image."""
    source, target = make(poses, device)

    def step(function):
        return function(source, target, FITS)

    def ours(source, target, fits):
        return ops.aligned_errors(source, target, fits, flip="both")

    def definition(source, target, fits):
        return reference.aligned_errors(source, target, fits, "both")

    arms = {
        "ites_fast": lambda: step(ours),
        "eager": lambda: step(definition),
        **measure.compiled(definition, step),
    }
    planes = 2 * len(FITS)
    moved = nbytes(source, target) + planes * 4 * poses * JOINTS
    measure(work("aligned_errors", "forward", poses, moved, rotations=2, errors=planes), arms)


@pytest.mark.poses(cpu=(4096,), cuda=(4096, 65_536))
def bench_alignment_gradient(measure, device, poses):
    """Rotation, scale and translation, and the gradients of both poses."""
    source, target = (pose.requires_grad_() for pose in make(poses, device))
    grads = torch.randn(poses, 3, 3, device=device), torch.randn(poses, device=device), torch.randn(poses, 3).to(device)

    def step(function):
        outputs = function(source, target)
        return *outputs, *torch.autograd.grad(outputs, (source, target), grads)

    def registration(roma):
        def aligned(source, target):
            rotation, translation, scale = roma.rigid_points_registration(source, target, compute_scaling=True)
            return rotation, scale, translation

        return Arm(lambda: step(aligned))

    arms = {
        "ites_fast": lambda: step(ops.procrustes),
        "eager": lambda: step(reference.procrustes),
        **measure.compiled(reference.procrustes, step),
        "roma": optional("roma", registration),
    }
    moved = 3 * nbytes(source, target) + 2 * nbytes(*grads)
    measure(work("procrustes", "forward and backward", poses, moved, errors=0), arms, tolerance=1e-2)
