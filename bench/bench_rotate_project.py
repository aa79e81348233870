"""``rotate_project`` with its gradients: eager reference, torch.compile of it, and the operator.

pytest bench/bench_rotate_project.py --benchmark-json=bench/results/rotate_project_cpu.json
pytest bench/bench_rotate_project.py -m "slow or not slow"    # with torch.compile
"""

import pytest
import torch

from ites_fast import ops, reference

DRAWS, JOINTS, CAMERA_DEPTH = 4, 17, 5.0
DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA"))]
IMPLEMENTATIONS = {
    "eager": lambda: reference.rotate_project,
    "compile": lambda: torch.compile(reference.rotate_project),
    "op": lambda: ops.rotate_project,
}
ARMS = ["eager", pytest.param("compile", marks=pytest.mark.slow), "op"]


@pytest.mark.parametrize("poses", [128, 4096, 65536])
@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("arm", ARMS)
def bench_forward_backward(benchmark, threads, arm, device, poses):
    generator = torch.Generator().manual_seed(0)
    pose = torch.randn(poses, JOINTS, 3, generator=generator).to(device).requires_grad_()
    rotation = ops.random_rotations((DRAWS, poses), "vertical", generator=generator, device=device)
    grad_uv = torch.randn(DRAWS, poses, JOINTS, 2, generator=generator).to(device)
    function = IMPLEMENTATIONS[arm]()
    threads(1)

    def step():
        (grad_pose,) = torch.autograd.grad(function(pose, rotation, CAMERA_DEPTH), pose, grad_uv)
        if device == "cuda":
            torch.cuda.synchronize()
        return grad_pose

    (expected,) = torch.autograd.grad(reference.rotate_project(pose, rotation, CAMERA_DEPTH), pose, grad_uv)
    torch.testing.assert_close(step(), expected, rtol=1e-4, atol=1e-5)
    benchmark.group = f"rotate_project forward and backward, float32, {DRAWS} draws, {device}, {poses} poses"
    benchmark.extra_info |= {"device": device, "dtype": "float32", "poses": poses, "joints": JOINTS, "draws": DRAWS}
    benchmark.pedantic(step, rounds=20 if poses > 10_000 else 50, warmup_rounds=3)
