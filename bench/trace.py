"""``python -m bench.trace``: where the time of a training step and of inference goes, by torch.profiler.

For each piece of work: how long one call takes, how much of that the device computes, how many kernels it launches and
which of them take the most. ``--once NAME`` warms up, then marks one call for Nsight Compute, which looks at that alone
with ``--profile-from-start off``.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.profiler import ProfilerActivity, profile

from bench import steps
from bench.roofline import synchronise
from ites_fast.models import AdaptiveGCN
from ites_fast.models.packed import PackedStudent
from ites_fast.skeleton import H36M_17

WARM_CALLS, CALLS, SHOWN = 5, 10, 12


def inference(poses: int, device: torch.device) -> Callable[[], object]:
    """Depths of poses by the ``official`` student, packed into one operator."""
    torch.manual_seed(0)
    network = PackedStudent(AdaptiveGCN(H36M_17, "official").eval()).to(device)
    pose_2d = steps.views(poses, device)
    return lambda: network(pose_2d)


def step_of(stage: Callable) -> Callable[[int, torch.device], Callable[[], object]]:
    return lambda poses, device: steps.training_step(stage(steps.views(poses, device)))


WORK = {
    "student step, 128 poses": (step_of(steps.student_stage), 128),
    "student step, 4096 poses": (step_of(steps.student_stage), 4096),
    "teacher step, 128 poses": (step_of(steps.teacher_stage), 128),
    "lifter step, 256 poses": (step_of(steps.lifter_stage), 256),
    "inference, 1 pose": (inference, 1),
    "inference, 1024 poses": (inference, 1024),
}


def trace(run: Callable[[], object], device: torch.device) -> dict[str, Any]:
    """Seconds of a call, of the device's work in it, its kernels, and the largest of them."""
    for _ in range(WARM_CALLS):
        run()
    synchronise(device)
    start = time.perf_counter()
    for _ in range(CALLS):
        run()
    synchronise(device)
    seconds = (time.perf_counter() - start) / CALLS
    on_gpu = device.type == "cuda"
    with profile(activities=[ProfilerActivity.CPU, *[ProfilerActivity.CUDA] * on_gpu]) as profiler:
        for _ in range(CALLS):
            run()
        synchronise(device)
    events = []
    for event in profiler.key_averages():
        is_kernel = event.device_type == torch.autograd.DeviceType.CUDA if on_gpu else event.self_cpu_time_total > 0
        if is_kernel:
            total = event.self_device_time_total if on_gpu else event.self_cpu_time_total
            events.append({"name": event.key, "calls": event.count / CALLS, "us": total / CALLS})
    events.sort(key=lambda event: -event["us"])
    busy = sum(event["us"] for event in events) * 1e-6
    return {
        "seconds": seconds,
        "busy_seconds": busy,
        "launches": sum(event["calls"] for event in events),
        "largest": events[:SHOWN],
    }


def text(name: str, found: dict[str, Any]) -> str:
    """A few lines for people."""
    head = f"{name}: {found['seconds'] * 1e3:.3f} ms, device busy {found['busy_seconds'] * 1e3:.3f} ms"
    rows = [f"  {event['us']:10.1f} us {event['calls']:7.1f} x  {event['name'][:100]}" for event in found["largest"]]
    return "\n".join([f"{head}, {found['launches']:.0f} launches", *rows])


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.trace", description=__doc__)
    parser.add_argument("--json", type=Path, help="file for the figures")
    parser.add_argument("--only", default="", help="work whose name contains this")
    parser.add_argument("--once", help="run this piece of work once, for Nsight Compute")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if options.once:
        build, poses = WORK[options.once]
        run = build(poses, device)
        for _ in range(WARM_CALLS):
            run()
        torch.cuda.synchronize()
        torch.cuda.profiler.start()
        run()
        torch.cuda.synchronize()
        torch.cuda.profiler.stop()
        return 0
    found, failed = {}, 0
    for name, (build, poses) in WORK.items():
        if options.only not in name:
            continue
        try:
            found[name] = trace(build(poses, device), device)
            print(text(name, found[name]), flush=True)
        except Exception as error:  # the other pieces are still worth their figures
            failed += 1
            found[name] = {"error": f"{type(error).__name__}: {error}"[:500]}
            print(f"{name}: FAILED: {found[name]['error']}", flush=True)
    if options.json:
        options.json.write_text(json.dumps({"device": str(device), "work": found}, indent=1))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
