"""Calls every function of the extension on sizes and values made to be difficult; ``test_sanitizers.py`` runs it.

    python tests/sanitize.py PATH_OF_THE_EXTENSION [FAULT]

A FAULT is a mistake of the caller's that a sanitizer has to report. Only numpy is needed: the module is loaded by its
path, without torch, which AddressSanitizer slows down a lot. Arrays have exactly the sizes that the functions state.
"""

import importlib.util
import itertools
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

Arguments = dict[str, Any]

POSES = (0, 1, 9, 65)  # none, one, one more than a vector of poses, one more than a tile
THREADED_POSES = 2100  # a thread takes at least 1024
JOINTS = (1, 2, 17, 28)
FILLS = (0.0, 1.0, 1e30, np.nan)  # factor of random numbers
FITS = 8
FLIPS = {"none": 0, "best": 1, "both": 2}


def random(fill: float, *shape: int, dtype: type = np.float32) -> np.ndarray:
    with np.errstate(all="ignore"):
        return (np.random.default_rng(0).normal(size=shape) * fill).astype(dtype)


def empty(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.full(shape, 77, dtype)


def pose_pairs() -> Iterator[Arguments]:
    """What both Procrustes functions take."""
    sizes = [*itertools.product(POSES, JOINTS), (THREADED_POSES, 3)]
    for dtype, (poses, joints), fill in itertools.product((np.float32, np.float64), sizes, FILLS):
        shape = (poses, joints, 3)
        yield {
            "float64": dtype == np.float64,
            "source": random(fill, *shape, dtype=dtype),
            "target": random(1, *shape, dtype=dtype),
            "poses": poses,
            "joints": joints,
        }


def alignments() -> Iterator[Arguments]:
    for batch, with_scale in itertools.product(pose_pairs(), (True, False)):
        poses, dtype = batch["poses"], batch["source"].dtype
        outputs = {"rotation": (poses, 3, 3), "scale": (poses,), "translation": (poses, 3)}
        yield batch | {"with_scale": with_scale} | {name: empty(*s, dtype=dtype) for name, s in outputs.items()}


def errors() -> Iterator[Arguments]:
    choices = [(range(FITS), "both"), ([1], "best"), ([3, 2], "none"), ([], "none")]
    for batch, (fits, flip) in itertools.product(pose_pairs(), choices):
        poses, joints, dtype = batch["poses"], batch["joints"], batch["source"].dtype
        candidates = 2 if flip == "both" else 1
        outputs = {"errors": empty(len(fits), candidates, poses, joints, dtype=dtype)}
        if flip == "best":
            outputs["flipped"] = empty(poses, dtype=np.uint8)
        yield batch | {"root": joints - 1, "fits": list(fits), "flip": FLIPS[flip]} | outputs


def students() -> Iterator[Arguments]:
    for poses, joints, (channels, layers), fill in itertools.product(POSES, (1, 2, 17, 32), ((16, 0), (48, 2)), FILLS):
        J, C, L = joints, channels, layers
        parts = [2 * J * J, 4 * C, C, L * J * J, 2 * L * C * C, L * C * C, L * C, L, L * C // 2, L * C * C // 2]
        parts += [L * C] * 3 + [2 * C, 2 * J * J, 1]
        yield {
            "pose_2d": random(fill, poses, joints, 2),
            "weights": random(0.1, sum(map(padded, parts))),
            "poses": poses,
            "joints": joints,
            "channels": channels,
            "layers": layers,
            "depth": empty(poses, joints),
        }


def networks() -> Iterator[Arguments]:
    for poses, (inputs, outputs), layers, half, fill in itertools.product(
        (0, 1, 5, 97), ((1, 1), (51, 18)), (0, 2), (False, True), FILLS
    ):
        width = 48
        head = [width, width, layers * width, layers * width, width * padded(outputs), padded(outputs)]
        weights = padded(width * inputs) + padded(layers * width * width)
        yield {
            "features": random(fill, poses, inputs),
            "weights": random(0.1, weights, dtype=np.float16 if half else np.float32),
            "head": random(0.1, sum(map(padded, head))),
            "poses": poses,
            "inputs": inputs,
            "width": width,
            "layers": layers,
            "outputs": outputs,
            "half_weights": half,
            "result": empty(poses, outputs),
        }


def padded(size: int) -> int:
    return -(-size // 16) * 16


def on_cpu(cases: Callable[[], Iterator[Arguments]]) -> Callable[[ModuleType], Iterator[Arguments]]:
    """The cases on every instruction set, with 1 to 3 threads where there are poses enough."""

    def with_threads(module: ModuleType) -> Iterator[Arguments]:
        for case, name in itertools.product(cases(), module.supported_instruction_sets()):
            for threads in (1, 2, 3) if case["poses"] >= THREADED_POSES else (2,):
                yield case | {"threads": threads, "instruction_set": name}

    return with_threads


def in_tiles(cases: Callable[[], Iterator[Arguments]]) -> Callable[[ModuleType], Iterator[Arguments]]:
    """The cases that stand for CUDA's kernels, through shared memory where a tile fits."""

    def tiled(module: ModuleType) -> Iterator[Arguments]:
        for case in cases():
            for staged in (False, True) if not case["float64"] and case["joints"] <= 27 else (False,):
                yield case | {"staged": staged}

    return tiled


# One line for a function: what it is called with.
CALLS: dict[str, Callable[[ModuleType], Iterator[Arguments]]] = {
    "procrustes_cpu": on_cpu(alignments),
    "procrustes_tiles": in_tiles(alignments),
    "aligned_errors_cpu": on_cpu(errors),
    "aligned_errors_tiles": in_tiles(errors),
    "student_infer_cpu": on_cpu(students),
    "mlp_infer_cpu": on_cpu(networks),
}
WITHOUT_ARGUMENTS = ("supported_instruction_sets", "compiled_instruction_sets")


def first(name: str, module: ModuleType) -> Arguments:
    """A case of 9 ordinary poses."""
    return next(case for case in CALLS[name](module) if case["poses"] == 9)


def shorten(arguments: Arguments, name: str) -> Arguments:
    return arguments | {name: arguments[name].ravel()[:-1].copy()}


FAULTS: dict[str, Callable[[ModuleType], None]] = {
    "write": lambda module: call(module.aligned_errors_cpu, shorten(first("aligned_errors_cpu", module), "errors")),
    "read": lambda module: call(module.procrustes_cpu, shorten(first("procrustes_cpu", module), "source")),
    "tile": lambda module: call(module.procrustes_tiles, shorten(first("procrustes_tiles", module), "rotation")),
    "misaligned": lambda module: call(module.procrustes_cpu, first("procrustes_cpu", module), offset=1),
}


def call(function: Callable[..., None], arguments: Arguments, offset: int = 0) -> None:
    """Call a function with the addresses of its arrays, ``offset`` bytes further on."""
    function(**{k: v.ctypes.data + offset if isinstance(v, np.ndarray) else v for k, v in arguments.items()})


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("_C", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main(path: str, fault: str | None = None) -> None:
    module = load(Path(path))
    if fault is not None:
        FAULTS[fault](module)
        return
    functions = {name for name, value in vars(module).items() if callable(value) and not name.startswith("__")}
    assert functions == {*CALLS, *WITHOUT_ARGUMENTS}, f"this file calls {sorted(CALLS)}, there are {sorted(functions)}"
    for name, cases in CALLS.items():
        count = 0
        for count, arguments in enumerate(cases(module), start=1):  # noqa: B007
            call(getattr(module, name), arguments)
        print(f"{name}: {count} calls")


if __name__ == "__main__":
    main(*sys.argv[1:])
