"""Times the implementations of one case side by side: same inputs, same process, checked, warm, synchronised, in turn.

A benchmark builds its inputs and hands the fixture ``measure`` a ``Work`` and its arms, of which ``ites_fast`` is
ours and ``eager`` the definition. Every round calls each arm once, so that whatever else the machine does disturbs all
alike; ratios are taken within a round. pytest-benchmark selects, repeats and stores; the arms are in ``extra_info``.
"""

import gc
import math
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import torch

from bench.arms import Arm, Missing, Work
from bench.measurements import compare, flatten, peak_bytes, quartiles, summary
from bench.roofline import Ceilings, measure_ceilings, synchronise

OURS, REFERENCE = "ites_fast", "eager"
MIN_ROUNDS, MAX_ROUNDS = 10, 200
SLOW_ROUNDS = 5  # of a case that takes longer than SLOW_SECONDS
SLOW_SECONDS = {"cpu": 20.0, "cuda": 6.0}
TIMED_SECONDS = 1e-3  # a shorter call is repeated until one timing takes this
MAX_CALLS = 200
WARM_CALLS = 2  # after the first one: a CUDA graph is captured by the second
CASE_SECONDS = {"cpu": 3.0, "cuda": 1.0}  # rounds fill this, if the least number of rounds leaves any
COMPILE_MODES = {"cpu": ("default",), "cuda": ("reduce-overhead", "max-autotune")}
COMPILING_SHARE = 0.5  # of the session's seconds, after which nothing more is compiled
RESULT_TOLERANCE = 1e-3


class Clock:
    """How much of the session's time is left."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.start = time.monotonic()

    def spent(self, share: float = 1.0) -> bool:
        return time.monotonic() - self.start > share * self.seconds


class Measure:
    """What a benchmark calls. Built by the fixture ``measure``.

    Args:
        benchmark: pytest-benchmark's fixture.
        device: that every tensor is on.
        clock: of the session.
        ceilings: of the device by number of threads; measured when they are needed, and kept for the session.
        is_largest: whether this case has the most poses of its kind; only then is anything compiled.
        check_only: call and compare every arm once, and time nothing.
    """

    def __init__(
        self,
        benchmark: Any,
        device: torch.device,
        clock: Clock,
        ceilings: dict[int, Ceilings],
        is_largest: bool,
        check_only: bool,
    ) -> None:
        self.benchmark = benchmark
        self.device = device
        self.clock = clock
        self.ceilings = ceilings
        self.is_largest = is_largest
        self.check_only = check_only

    def compiled(self, function: Callable, step: Callable[[Callable], Any]) -> dict[str, Arm | Missing]:
        """Arms that run ``step`` with ``torch.compile`` of ``function``, one for each mode of the device."""
        return self.compiled_from(lambda compile: partial(step, compile(function)))

    def compiled_from(self, build: Callable[[Callable], Callable[[], Any]]) -> dict[str, Arm | Missing]:
        """As ``compiled``, of what ``build`` makes, once for each mode, from a function that compiles."""
        arms = {}
        for mode in COMPILE_MODES[self.device.type]:
            name = "torch.compile" if mode == "default" else f"torch.compile, {mode}"
            if self.is_largest:
                arms[name] = Arm(build(partial(torch.compile, mode=mode, dynamic=False)), compiles=True)
            else:
                arms[name] = Missing("compiled for the largest case only")
        return arms

    def __call__(
        self,
        work: Work,
        arms: Mapping[str, Callable[[], Any] | Arm | Missing],
        tolerance: float = RESULT_TOLERANCE,
        reference: str = REFERENCE,
    ) -> None:
        """Check and time the arms of one case.

        Args:
            work: what each of them does.
            arms: by name, ours as ``ites_fast``.
            tolerance: by which results may differ from the reference's, relative to the largest value of a tensor.
            reference: name of the arm that the others are compared with.
        """
        missing = {name: arm.reason for name, arm in arms.items() if isinstance(arm, Missing)}
        present = {name: arm for name, arm in arms.items() if name not in missing}
        runnable = {name: arm if isinstance(arm, Arm) else Arm(arm) for name, arm in present.items()}
        if self.check_only:
            missing |= {name: "only checked" for name, arm in runnable.items() if arm.compiles}
        torch.compiler.reset()
        ready = self._warm(runnable, missing, tolerance, reference)
        if self.check_only:
            self.benchmark.pedantic(ready[OURS].run, rounds=1)
            return
        calls = {name: 1 if work.one_call else self._calls(arm) for name, arm in ready.items()}
        times = self._rounds(ready, calls)
        results = {}
        for name, arm in ready.items():
            torch.set_num_threads(arm.threads)
            results[name] = summary(times[name]) | {
                "ratio": statistics.median(round_ratios(times, name, ready, work.poses)),
                "peak_bytes": peak_bytes(arm.run, self.device) if arm.in_torch else None,
                "calls_a_timing": calls[name],
                "threads": arm.threads,
                "poses": arm.poses or work.poses,
            }
        self.benchmark.extra_info |= self._description(work, results, missing, times, ready)
        self.benchmark.group = f"{work.operator}, {work.what}"
        self.benchmark.pedantic(ready[OURS].run, rounds=5, iterations=calls[OURS])

    def _warm(
        self, arms: dict[str, Arm], missing: dict[str, str], tolerance: float, reference: str = REFERENCE
    ) -> dict[str, Arm]:
        """The arms that run, after calls that compile and warm up; each gave what the reference gives."""
        expected = flatten(self._run(arms[reference]))
        ready = {}
        for name, arm in arms.items():
            if name in missing:
                continue
            if arm.compiles and self.clock.spent(COMPILING_SHARE):
                missing[name] = "the session had no time left to compile it (--bench-seconds)"
                continue
            try:
                # the first result counts: a training step changes what the second one sees
                result = expected if name == reference else flatten(self._run(arm))
                for _ in range(0 if self.check_only else WARM_CALLS):
                    self._run(arm)
            except Exception as error:
                if name in (OURS, reference):
                    raise
                first_line = next(iter(str(error).splitlines()), "")
                missing[name] = f"failed: {type(error).__name__}: {first_line[:200]}"
                continue
            if arm.compared:
                compare(name, result, expected, tolerance, arm.poses)
            ready[name] = arm
        return ready

    def _run(self, arm: Arm) -> Any:
        torch.set_num_threads(arm.threads)
        result = arm.run()
        synchronise(self.device)
        return result

    def _timed(self, arm: Arm, calls: int) -> float:
        """Seconds of one call."""
        torch.set_num_threads(arm.threads)
        synchronise(self.device)
        start = time.perf_counter()
        for _ in range(calls):
            arm.run()
        synchronise(self.device)
        return (time.perf_counter() - start) / calls

    def _calls(self, arm: Arm) -> int:
        return min(MAX_CALLS, max(1, math.ceil(TIMED_SECONDS / self._timed(arm, 1))))

    def _rounds(self, arms: dict[str, Arm], calls: dict[str, int]) -> dict[str, list[float]]:
        """Seconds of one call of each arm, one number a round; every round begins with another arm."""
        names, times = list(arms), {name: [] for name in arms}
        collecting = gc.isenabled()
        gc.collect()
        gc.disable()
        try:
            start, device = time.monotonic(), self.device.type
            for turn in range(MAX_ROUNDS):
                seconds = time.monotonic() - start
                if seconds > (SLOW_SECONDS if turn < MIN_ROUNDS else CASE_SECONDS)[device] and turn >= SLOW_ROUNDS:
                    break
                first = turn % len(names)
                for name in names[first:] + names[:first]:
                    times[name].append(self._timed(arms[name], calls[name]))
        finally:
            if collecting:
                gc.enable()
        return times

    def _description(
        self,
        work: Work,
        results: dict[str, dict[str, Any]],
        missing: dict[str, str],
        times: dict[str, list[float]],
        arms: dict[str, Arm],
    ) -> dict[str, Any]:
        equals = [name for name, arm in arms.items() if arm.is_rival and arm.threads == arms[OURS].threads]
        rivals = [name for name in equals if name != OURS]
        best = min(rivals, key=lambda name: results[name]["ratio"])
        ratios = round_ratios(times, best, arms, work.poses)
        return asdict(work) | {
            "device": self.device.type,
            "arms": results,
            "not_timed": missing,
            "best_rival": best,
            "ratio": statistics.median(ratios),
            "ratio_quartiles": quartiles(ratios),
            **self._roofline(work, results[OURS]),
        }

    def _roofline(self, work: Work, ours: dict[str, Any]) -> dict[str, Any]:
        """The share of the roofline that ours reaches, and which ceiling is over it; None where nothing was counted."""
        if work.moved_bytes is None or work.flops is None:
            return {"roofline_percent": None, "bound": None}
        if ours["threads"] not in self.ceilings:
            self.ceilings[ours["threads"]] = measure_ceilings(self.device, ours["threads"])
        ceilings = self.ceilings[ours["threads"]]
        least = ceilings.least_seconds(work.moved_bytes, work.flops, work.precision)
        by_bytes = ceilings.least_seconds(work.moved_bytes, 0, work.precision)
        bound = "bytes" if by_bytes == least else "FLOPs"
        return {"roofline_percent": 100 * least / ours["median_s"], "bound": bound}


def round_ratios(times: Mapping[str, list[float]], name: str, arms: Mapping[str, Arm], poses: int) -> list[float]:
    """How many times as long as ours an arm took for each pose, round by round."""
    share = (arms[OURS].poses or poses) / (arms[name].poses or poses)
    return [theirs / ours * share for theirs, ours in zip(times[name], times[OURS], strict=True)]
