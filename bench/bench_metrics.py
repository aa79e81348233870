"""All common metrics: mpjpe, n_mpjpe, p_mpjpe, pck and auc, flip=none, each pose's own figure.

The rival is what evaluation scripts do: numpy, vectorised, batched SVD, one comparison for each threshold. Both give
the same in float64; in float32 a joint next to a threshold may count in one and not in the other.
"""

import numpy as np
import pytest
import torch

from bench.arms import Arm, Work
from bench.measurements import compare, flatten
from bench.roofline import nbytes
from ites_fast.measures import COMMON_MEASURES, evaluate_poses

JOINTS = 17
NUMPY_POSES = 100_000  # at most
KEYS = sorted(measure.key for measure in COMMON_MEASURES)
FLOPS_A_JOINT = 100  # three distances, three sums of squares and one of products, a 3 by 3 product sum, an alignment


def numpy_metrics(pred: np.ndarray, target: np.ndarray) -> dict[str, np.ndarray]:
    """The definitions, in the dtype of the poses (N, J, 3)."""
    pred, target = pred - pred[:, :1], target - target[:, :1]
    errors = np.linalg.norm(pred - target, axis=-1)
    scale = (pred * target).sum((1, 2)) / np.square(pred).sum((1, 2))
    scaled_errors = np.linalg.norm(scale[:, None, None] * pred - target, axis=-1)
    pred, target = pred - pred.mean(1, keepdims=True), target - target.mean(1, keepdims=True)
    U, singular, Vh = np.linalg.svd(target.transpose(0, 2, 1) @ pred)
    sign = np.sign(np.linalg.det(U @ Vh))
    U[:, :, 2] *= sign[:, None]
    singular[:, 2] *= sign
    scale = singular.sum(1) / np.square(pred).sum((1, 2))
    aligned = scale[:, None, None] * pred @ (U @ Vh).transpose(0, 2, 1)
    return {
        "mpjpe/flip=none/scale=none": errors.mean(1),
        "n_mpjpe/flip=none/scale=lstsq": scaled_errors.mean(1),
        "p_mpjpe/flip=none": np.linalg.norm(aligned - target, axis=-1).mean(1),
        "pck@150/flip=none": (scaled_errors < 150).mean(1),
        "auc/flip=none": np.mean([(scaled_errors < threshold).mean(1) for threshold in range(0, 151, 5)], axis=0),
    }


def ordered(figures):
    """The figures by the names of the measures, which have to be all of them."""
    assert sorted(figures) == KEYS
    return [figures[key] for key in KEYS]


@pytest.mark.poses(cpu=(10_000, 100_000), cuda=(100_000, 543_344))
def bench_metrics(measure, device, poses):
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(poses, JOINTS, 3, generator=generator) * torch.tensor([180.0, 400.0, 160.0])
    pred = 0.8 * target + 60 * torch.randn(poses, JOINTS, 3, generator=generator)
    arrays = pred.numpy(), target.numpy()
    some = [array[:NUMPY_POSES] for array in arrays]
    pred, target = pred.to(device), target.to(device)

    def ours():
        return ordered(evaluate_poses(pred, target).per_pose)

    exact = ordered(evaluate_poses(pred[:2000].double(), target[:2000].double()).per_pose)
    expected = ordered(numpy_metrics(*(array[:2000].astype(np.float64) for array in arrays)))
    compare("ites_fast", exact, flatten(expected), 1e-6)
    arms = {
        "ites_fast": Arm(ours, compared=False),
        "numpy": Arm(lambda: ordered(numpy_metrics(*some)), poses=len(some[0]), in_torch=False),
        "ites_fast, 2 threads": Arm(ours, threads=2, compared=False),
    }
    moved = nbytes(pred, target) + len(KEYS) * 4 * poses
    work = Work("metrics", "all five", poses, moved, FLOPS_A_JOINT * JOINTS * poses, settings={"joints": JOINTS})
    measure(work, arms, reference="numpy")
