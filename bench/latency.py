"""How long a call takes in a loop, caches warm: ``python bench/latency.py [--threads 1] [--json FILE]``.

``bench_lifter.py`` times the same calls in turn with others, which empty the caches; a program that lifts frame after
frame sees these. From keypoints in pixels to placed poses with ambiguity, numpy to numpy; medians and quartiles.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from ites_fast import Lifter, load, load_lifter
from ites_fast.export import INPUTS, trace, write_onnx
from ites_fast.files import write_json
from ites_fast.lifting.traced import TracedLifter

POSES = {1: 2000, 1000: 60}  # poses a call, calls


def main() -> None:
    """Print a Markdown table, and write it as JSON where that is asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    lifter, data = Lifter.from_pretrained(), load("mocap17", "test")
    camera, session = data.cameras[0], onnx_session(options.threads)
    frames = lifter.frames(camera=camera)
    intrinsics = np.array([*camera.focal, *camera.principal], np.float32)
    print(f"threads: {options.threads}; milliseconds (quartiles)\n")
    print("| poses | Lifter | Lifter.frames | onnxruntime |\n|--:|--:|--:|--:|")
    rows = []
    for poses, calls in POSES.items():
        keypoints = data.pose_2d[:poses]
        inputs = dict(
            zip(INPUTS, (np.dstack([keypoints, np.ones((poses, 17))]).astype(np.float32), intrinsics), strict=True)
        )
        arms = {
            "lifter": lambda keypoints=keypoints: lifter(keypoints, camera=camera),
            "frames": lambda keypoints=keypoints: frames(keypoints),
            "onnxruntime": lambda inputs=inputs: session.run(None, inputs),
        }
        quartiles = {name: in_a_loop(call, calls) for name, call in arms.items()}
        cells = [f"{median:.3g} ({low:.3g} to {high:.3g})" for low, median, high in quartiles.values()]
        print(f"| {poses:,} | {' | '.join(cells)} |")
        rows.append({"poses": poses, "calls": calls, "milliseconds": quartiles})
    if options.json:
        write_json(options.json, {"threads": options.threads, "torch": torch.__version__, "rows": rows})


def in_a_loop(call: Callable[[], object], calls: int) -> list[float]:
    """Quartiles of the times of calls, milliseconds."""
    for _ in range(max(5, calls // 10)):
        call()
    times = []
    for _ in range(calls):
        start = time.perf_counter()
        call()
        times.append(1000 * (time.perf_counter() - start))
    return np.quantile(times, (0.25, 0.5, 0.75)).tolist()


def onnx_session(threads: int):
    """The bundled weights in onnxruntime, with the mean of both mirror images, as ``Lifter`` has it by default."""
    import onnxruntime

    network = load_lifter()
    network.mirror_average = True
    module = TracedLifter(network).eval()
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = threads
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder, "lifter.onnx"))
        write_onnx(trace(module), module, path)
        return onnxruntime.InferenceSession(path, settings, providers=["CPUExecutionProvider"])


if __name__ == "__main__":
    main()
