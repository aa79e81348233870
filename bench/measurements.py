"""What is taken of an arm: its result, compared with the reference's, the memory it holds, statistics of its times."""

import json
import statistics
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.roofline import synchronise

SMALLEST_SHARE = 1e-2


def flatten(result: Any) -> list[torch.Tensor]:
    """The tensors of a result, nested or not; numbers and arrays become tensors."""
    if result is None:
        return []
    if isinstance(result, Mapping):
        result = list(result.values())
    if isinstance(result, Sequence):
        return [tensor for part in result for tensor in flatten(part)]
    return [torch.as_tensor(result).detach().clone()]


def compare(name: str, result: Sequence, expected: Sequence, tolerance: float, poses: int | None = None) -> None:
    """Fail where a result differs from the reference's by more than ``tolerance`` of its largest value.

    A tensor whose values cancel, as the gradient of a bias before a batch norm, is rounding noise: the largest value
    counts as at least ``SMALLEST_SHARE`` of the largest of all tensors.
    """
    assert len(result) == len(expected), f"{name} gave {len(result)} tensors, the reference {len(expected)}"
    sizes = [tensor.abs().max().item() if tensor.numel() else 0.0 for tensor in expected]
    for position, (tensor, wanted, size) in enumerate(zip(result, expected, sizes, strict=True)):
        wanted = wanted if poses is None else wanted[:poses]
        torch.testing.assert_close(
            tensor.to(wanted),
            wanted,
            rtol=tolerance,
            atol=tolerance * max(size, SMALLEST_SHARE * max(sizes)),
            msg=lambda message, position=position: f"{name}, tensor {position}: {message}",
        )


def peak_bytes(run: Callable[[], Any], device: torch.device) -> int:
    """Most bytes that PyTorch held at once for one call, beyond what it held before."""
    if device.type == "cuda":
        synchronise(device)
        before = torch.cuda.memory_allocated(device)
        torch.cuda.reset_peak_memory_stats(device)
        run()
        synchronise(device)
        return torch.cuda.max_memory_allocated(device) - before
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CPU], profile_memory=True) as profile:
        result = run()
        del result
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "trace.json")
        profile.export_chrome_trace(str(path))
        events = json.loads(path.read_text())["traceEvents"]
    held = peak = 0
    for event in sorted((e for e in events if e.get("name") == "[memory]"), key=lambda event: event["ts"]):
        held += event["args"]["Bytes"]
        peak = max(peak, held)
    return peak


def summary(times: Sequence[float]) -> dict[str, Any]:
    """Statistics of the seconds of one call."""
    first, third = quartiles(times)
    return {
        "median_s": statistics.median(times),
        "q1_s": first,
        "q3_s": third,
        "min_s": min(times),
        "rounds": len(times),
    }


def quartiles(values: Sequence[float]) -> list[float]:
    """First and third quartile."""
    first, _, third = statistics.quantiles(values, n=4, method="inclusive")
    return [first, third]
