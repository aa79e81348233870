"""What a stream of people costs: processor time of one core, and the latency of a frame.

``python bench/bench_stream.py [--people 3] [--fps 60] [--json bench/results/stream.json]``

People of the bundled sample walk through the stream, with exact keypoints in the joints of coco_17, a known camera and
one thread. A round is ``--frames`` frames as fast as they go; the share of a core is the process's CPU time (all its
threads) a frame times the frame rate, the latency the time of a call. Medians and quartiles over rounds.
"""

import argparse
import statistics
import time
from pathlib import Path

import numpy as np
import torch

from ites_fast import load
from ites_fast.files import write_json
from ites_fast.lifter import Lifter
from ites_fast.lifting.stream import Stream
from ites_fast.skeleton import H36M_17, conversion, get_skeleton

VARIANTS = {
    "lifter alone": {"smooth": None, "consistent_depth": False},
    "default": {},
    "default and constant bones": {"constant_bones": True},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--people", type=int, default=3)
    parser.add_argument("--fps", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--frames", type=int, default=300, help="of a round")
    parser.add_argument("--json", type=Path, help="write the figures to this file")
    options = parser.parse_args()
    torch.set_num_threads(1)
    keypoints = people(options.people)
    lifter = Lifter.from_pretrained()
    streams = {
        name: lifter.stream("coco_17", (1000, 1000), fps=options.fps, focal=1145.0, **variant)
        for name, variant in VARIANTS.items()
    }
    rows: dict[str, list[tuple[float, float, float]]] = {name: [] for name in streams}
    for stream in streams.values():
        one_round(stream, keypoints, options.frames)
    for _ in range(options.rounds):
        for name, stream in streams.items():  # in turns, so that a busy moment hits all of them
            rows[name].append(one_round(stream, keypoints, options.frames))
    figures = {name: summary(rounds, options.fps) for name, rounds in rows.items()}
    print(f"{options.people} people, {options.fps:g} a second, {options.rounds} rounds of {options.frames} frames\n")
    print("| stream | share of a core (quartiles) | latency, ms, median | 99th percentile |\n|---|--:|--:|--:|")
    for name, row in figures.items():
        share = f"{row['core_share']:.1%} ({row['core_share_q1']:.1%} to {row['core_share_q3']:.1%})"
        print(f"| {name} | {share} | {row['latency_ms']:.2f} | {row['latency_p99_ms']:.2f} |")
    if options.json is not None:
        write_json(options.json, {"people": options.people, "fps": options.fps, "streams": figures})


def people(count: int) -> np.ndarray:
    """Keypoints (T, P, 17, 3) of coco_17; its eyes and ears, which the sample does not have, are not seen."""
    views = load("mocap17", "test")
    length = len(views) // max(count, 8)
    chosen = np.arange(length)[:, None] + np.arange(count) * length
    pixels = np.concatenate([views.pose_2d, np.ones_like(views.pose_2d[..., :1])], -1)[chosen]
    return conversion(H36M_17, get_skeleton("coco_17")).apply(pixels)


def one_round(stream: Stream, keypoints: np.ndarray, frames: int) -> tuple[float, float, float]:
    """CPU seconds a frame, median latency and its 99th percentile, of ``frames`` frames."""
    ids, latency = list(range(keypoints.shape[1])), []
    used = time.process_time()
    for index in range(frames):
        frame = keypoints[index % len(keypoints)]
        start = time.perf_counter()
        stream(frame, ids)
        latency.append(time.perf_counter() - start)
    used = time.process_time() - used
    return used / frames, statistics.median(latency), float(np.quantile(latency, 0.99))


def summary(rounds: list[tuple[float, float, float]], fps: float) -> dict[str, float]:
    """Medians over rounds."""
    cpu, latency, slowest = (list(values) for values in zip(*rounds, strict=True))
    first, third = np.quantile(cpu, [0.25, 0.75]).tolist()
    return {
        "core_share": statistics.median(cpu) * fps,
        "core_share_q1": first * fps,
        "core_share_q3": third * fps,
        "latency_ms": statistics.median(latency) * 1000,
        "latency_p99_ms": statistics.median(slowest) * 1000,
    }


if __name__ == "__main__":
    main()
