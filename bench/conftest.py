"""Fixtures of the benchmarks, and what their JSON says about its conditions: the kind of machine, never its name."""

import importlib.metadata
import os
import platform
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parent.parent
if str(ROOT) not in sys.path:
    sys.path.append(str(ROOT))  # for "import bench"; last, so that ites_fast is the installed one

from bench.harness import Clock, Measure  # noqa: E402
from ites_fast import build_info  # noqa: E402

SECONDS = {"cpu": 560, "cuda": 450}  # a session stays under ten minutes on two cores, under eight on a GPU
CHECKED_POSES = 33
FIRST = ("bench_training", "bench_infer")  # what a session that runs out of time should have
LIBRARIES = ("numpy", "scipy", "roma", "onnxruntime", "torch-geometric")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")


def pytest_addoption(parser):
    group = parser.getgroup("benchmarks of ites_fast")
    group.addoption("--bench-seconds", type=float, default=SECONDS[DEVICE.type], help="time for the whole session")
    group.addoption("--bench-check", action="store_true", help=f"compare every arm on {CHECKED_POSES} poses, time none")
    group.addoption("--bench-commit", default=None, help="what the JSON calls the version, where there is no clone")


def pytest_configure(config):
    config.addinivalue_line("markers", "poses(cpu, cuda): numbers of poses to time, by device, the largest one last")
    config.bench_clock = Clock(config.getoption("--bench-seconds"))
    config.bench_ceilings = {}
    config.bench_load = round(os.getloadavg()[0], 1)


def pytest_generate_tests(metafunc):
    marker = metafunc.definition.get_closest_marker("poses")
    if marker is not None:
        checks = metafunc.config.getoption("--bench-check")
        metafunc.parametrize("poses", (CHECKED_POSES,) if checks else marker.kwargs[DEVICE.type])


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: FIRST.index(item.path.stem) if item.path.stem in FIRST else len(FIRST))


@pytest.fixture(scope="session")
def device() -> torch.device:
    """The GPU where there is one."""
    return DEVICE


@pytest.fixture(autouse=True)
def time_left(request):
    """Skips what the session has no time for, before anything is built."""
    clock = request.config.bench_clock
    if clock.spent():
        pytest.skip(f"the session's {clock.seconds:.0f} seconds are over; --bench-seconds N gives more")


@pytest.fixture
def measure(benchmark, request, device):
    """Checks and times the arms of a case: ``bench.harness.Measure``."""
    config = request.config
    marker = request.node.get_closest_marker("poses")
    is_largest = marker is None or request.node.callspec.params["poses"] == marker.kwargs[device.type][-1]
    threads, precision = torch.get_num_threads(), torch.backends.cuda.matmul.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    yield Measure(
        benchmark,
        device,
        config.bench_clock,
        config.bench_ceilings,
        is_largest,
        check_only=config.getoption("--bench-check") or benchmark.disabled,
    )
    torch.set_num_threads(threads)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = precision


def pytest_benchmark_generate_machine_info(config):
    info = build_info()
    return {
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "driver": _driver() if torch.cuda.is_available() else None,
        "load_at_start": config.bench_load,
        "ceilings": {str(threads): asdict(ceilings) for threads, ceilings in config.bench_ceilings.items()},
        "libraries": {name: _version(name) for name in LIBRARIES},
        "cuda": torch.version.cuda,
        **{name: info[name] for name in ("ites_fast", "python", "torch", "triton", "extension")},
    }


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Keep the statistics, drop the single timings."""
    for result in output_json["benchmarks"]:
        result["stats"].pop("data", None)
    if config.getoption("--bench-commit"):
        output_json["commit_info"] = {"id": config.getoption("--bench-commit"), "dirty": None}


def _version(library):
    try:
        return importlib.metadata.version(library)
    except importlib.metadata.PackageNotFoundError:
        return None


def _driver():
    command = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return None
