"""One training step of the ``official`` student on the CPU: ours, the released code, and ours through torch.compile.

    pytest bench/bench_student.py --official DIR --benchmark-json=bench/results/student_cpu.json
    python bench/render.py bench/results/student_cpu.json > bench/results/student_cpu.md

A step is the main pass, the equivariance pass over S turned copies of each pose, both losses, backward and SGD. Both
networks start from the same weights, and their depths are compared before they are timed. Before each timed step of
one arm the other takes one, so that whatever else the machine does disturbs both alike; ``ratio`` compares those two.
"""

import statistics
import time

import pytest
import torch

from ites_fast import losses, ops
from ites_fast.models import AdaptiveGCN
from ites_fast.skeleton import H36M_17

POSES, CAMERA_DEPTH = 128, 5.0
ROUNDS, WARMUP_ROUNDS = 10, 2


@pytest.fixture(scope="module")
def views():
    """Normalised 2D poses (B, J, 2) and depths to distil (B, J)."""
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(POSES, 17, 2, generator=generator), 0.1 * torch.randn(POSES, 17, generator=generator)


def training_step(network, loss_of, views):
    """A function that takes one step."""
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9, weight_decay=5e-4)

    def step():
        optimizer.zero_grad()
        loss = loss_of(network, *views)
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def our_loss(draws):
    generator = torch.Generator().manual_seed(0)

    def loss_of(network, pose_2d, teacher_depth):
        depth = network(pose_2d)
        pose = ops.unproject(pose_2d, depth, CAMERA_DEPTH)
        rotation = ops.random_rotations((draws, POSES), "vertical", generator=generator)
        distillation = losses.distillation_loss(depth, teacher_depth)
        return 5 * distillation + losses.rotation_equivariance_loss(network, pose, rotation, CAMERA_DEPTH)

    return loss_of


@pytest.fixture
def steps(request, views, copy_weights):
    """Steps of the arm and of the one it is interleaved with, which is None where there is no clone."""

    def build(arm, draws):
        ours = AdaptiveGCN(H36M_17, "official").train()
        has_release = request.config.getoption("--official") is not None
        release = None
        if has_release and draws == 4:
            official = request.getfixturevalue("official")
            theirs = official.student()
            copy_weights(theirs, ours)
            expected = theirs.predict(views[0])[..., 0]
            torch.testing.assert_close(ours(views[0]), expected, rtol=1e-5, atol=1e-5 * expected.abs().max().item())
            release = training_step(theirs, official.training_loss, views)
        our_step = training_step(ours, our_loss(draws), views)
        if arm == "release":
            return release, our_step
        if arm == "ites_fast":
            return our_step, release
        return training_step(torch.compile(AdaptiveGCN(H36M_17, "official")), our_loss(draws), views), our_step

    return build


@pytest.mark.benchmark(group="student training step, float32, CPU")
@pytest.mark.parametrize("used", [1, 2], ids="threads={}".format)
@pytest.mark.parametrize("draws", [4, 1], ids="draws={}".format)
@pytest.mark.parametrize("arm", ["ites_fast", "release", pytest.param("ites_fast, compiled", marks=pytest.mark.slow)])
def bench_training_step(benchmark, request, steps, threads, arm, draws, used):
    if arm == "release":
        request.getfixturevalue("official")
        if draws != 4:
            pytest.skip("the release always draws 4 rotations")
    threads(used)
    step, beside = steps(arm, draws)
    times = []

    def step_beside():
        if beside is not None:
            start = time.perf_counter()
            beside()
            times.append(time.perf_counter() - start)

    benchmark.extra_info |= {"device": "cpu", "dtype": "float32", "poses": POSES, "draws": draws, "threads": used}
    benchmark.pedantic(step, setup=step_beside, rounds=ROUNDS, warmup_rounds=WARMUP_ROUNDS)
    if beside is not None:
        median = statistics.median(times[-ROUNDS:])
        benchmark.extra_info |= {
            "beside": "ites_fast" if arm != "ites_fast" else "release",
            "beside_median_s": median,
            "beside_iqr_s": _quartile_range(times[-ROUNDS:]),
            "ratio": median / benchmark.stats.stats.median,
        }


def _quartile_range(times):
    first, _, third = statistics.quantiles(times, n=4)
    return third - first
