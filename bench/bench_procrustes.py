"""Procrustes errors of 100,000 poses on the CPU: the C++ kernel against batched SVDs and the libraries of the field.

    OMP_NUM_THREADS=1 pytest bench/bench_procrustes.py --benchmark-json=bench/results/procrustes_cpu.json
    python bench/render.py bench/results/procrustes_cpu.json > bench/results/procrustes_cpu.md

Every arm takes the same float32 poses and returns the distance of each joint after the alignment.
"""

import numpy as np
import pytest
import roma
import torch
from scipy.spatial.transform import Rotation

from ites_fast import ops, reference
from ites_fast.data import mocap17

POSES, JOINTS = 100_000, 17
SCIPY_POSES = 2_000  # one at a time: a fiftieth is enough to know


def torch_svd(source, target):
    return reference.procrustes_errors(source, target)


def numpy_svd(source, target):
    source, target = source.numpy(), target.numpy()
    source = source - source.mean(axis=1, keepdims=True)
    target = target - target.mean(axis=1, keepdims=True)
    u, singular, vh = np.linalg.svd(target.swapaxes(1, 2) @ source)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vh))
    rotation = (u * sign[:, None, :]) @ vh
    scale = (singular * sign).sum(axis=1) / (source**2).sum(axis=(1, 2))
    aligned = scale[:, None, None] * source @ rotation.swapaxes(1, 2)
    return torch.from_numpy(np.linalg.norm(aligned - target, axis=2))


def roma_registration(source, target):
    rotation, translation, scale = roma.rigid_points_registration(source, target, compute_scaling=True)
    aligned = scale[:, None, None] * source @ rotation.mT + translation[:, None]
    return torch.linalg.vector_norm(aligned - target, dim=-1)


def scipy_loop(source, target):
    errors = np.empty(source.shape[:2], dtype=np.float32)
    for i, (a, b) in enumerate(zip(source.numpy(), target.numpy(), strict=True)):
        a, b = a - a.mean(axis=0), b - b.mean(axis=0)
        rotated = Rotation.align_vectors(b, a)[0].apply(a)
        errors[i] = np.linalg.norm((rotated * b).sum() / (a * a).sum() * rotated - b, axis=1)
    return torch.from_numpy(errors)


ARMS = {
    "ites_fast": (ops.procrustes_errors, POSES, 1),
    "ites_fast, 2 threads": (ops.procrustes_errors, POSES, 2),
    "torch.linalg.svd": (torch_svd, POSES, 1),
    "roma": (roma_registration, POSES, 1),
    "numpy.linalg.svd": (numpy_svd, POSES, 1),
    "scipy align_vectors": (scipy_loop, SCIPY_POSES, 1),
}


@pytest.fixture(scope="module")
def poses():
    """Captured poses in metres, and the same ones moved and disturbed by 30 mm."""
    generator = torch.Generator().manual_seed(0)
    with np.load(mocap17.BUNDLED) as file:
        captured = torch.from_numpy(file["positions_mm"]) / 1000
    source = captured[torch.randint(len(captured), (POSES,), generator=generator)]
    rotation = roma.random_rotmat(POSES)
    moved = 1.1 * source @ rotation.mT + torch.randn(POSES, 1, 3, generator=generator)
    return source, moved + 0.03 * torch.randn(POSES, JOINTS, 3, generator=generator)


@pytest.mark.benchmark(group="procrustes_errors, float32, 17 joints, CPU")
@pytest.mark.parametrize("arm", ARMS)
def bench_procrustes_errors(benchmark, arm, poses, threads):
    run, count, used = ARMS[arm]
    source, target = (pose[:count] for pose in poses)
    truth = reference.procrustes_errors(source[:2000].double(), target[:2000].double())
    torch.testing.assert_close(run(source, target)[:2000].double(), truth, atol=1e-5, rtol=0)

    threads(used)
    benchmark.extra_info |= {"device": "cpu", "dtype": "float32", "poses": count, "joints": JOINTS, "threads": used}
    benchmark.pedantic(run, (source, target), rounds=50 if run is ops.procrustes_errors else 7, warmup_rounds=1)
