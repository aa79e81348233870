"""What every benchmark's JSON says about its conditions: the kind of machine, never its name, and how busy it was."""

import os
import platform

import pytest
import torch

from ites_fast import build_info


def pytest_benchmark_generate_machine_info(config):
    info = build_info()
    return {
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "load_at_start": round(os.getloadavg()[0], 1),
        **{name: info[name] for name in ("ites_fast", "python", "torch", "triton", "extension")},
    }


def pytest_benchmark_update_json(config, benchmarks, output_json):
    """Keep the statistics, drop the single timings."""
    for result in output_json["benchmarks"]:
        result["stats"].pop("data", None)


@pytest.fixture
def threads():
    """Sets the number of threads of torch and of our kernels for one benchmark."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)
