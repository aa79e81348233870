"""All common metrics of 100,000 poses: mpjpe, n_mpjpe, p_mpjpe, pck and auc, flip=none, each pose's own figure.

The competitor is what evaluation scripts do: numpy, vectorised, batched SVD, one comparison per threshold. Both are
checked against each other in float64 before they are timed.
"""

import numpy as np
import pytest
import torch

from ites_fast.measures import COMMON_MEASURES, evaluate_poses

POSES, JOINTS = 100_000, 17


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


@pytest.fixture(scope="module")
def poses():
    generator = torch.Generator().manual_seed(0)
    target = torch.randn(POSES, JOINTS, 3, generator=generator) * torch.tensor([180.0, 400.0, 160.0])
    pred = 0.8 * target + 60 * torch.randn(POSES, JOINTS, 3, generator=generator)
    return pred, target


def check(poses):
    """Both implementations give the same figures in float64."""
    pred, target = (pose[:2000].double() for pose in poses)
    expected = numpy_metrics(pred.numpy(), target.numpy())
    actual = evaluate_poses(pred, target).per_pose
    assert actual.keys() == expected.keys() == {measure.key for measure in COMMON_MEASURES}
    for key, values in expected.items():
        torch.testing.assert_close(actual[key], torch.from_numpy(values))


@pytest.mark.benchmark(group="common metrics, float32, 17 joints, CPU")
@pytest.mark.parametrize("arm", ["ites_fast", "ites_fast, 2 threads", "numpy"])
def bench_metrics(benchmark, poses, arm, threads):
    check(poses)
    used = 2 if "2 threads" in arm else 1
    threads(used)
    benchmark.extra_info |= {"poses": POSES, "joints": JOINTS, "dtype": "float32", "threads": used, "device": "cpu"}
    if arm == "numpy":
        benchmark.pedantic(numpy_metrics, args=tuple(pose.numpy() for pose in poses), rounds=3, warmup_rounds=1)
    else:
        benchmark.pedantic(evaluate_poses, args=poses, rounds=15, warmup_rounds=2)
