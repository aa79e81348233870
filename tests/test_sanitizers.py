"""The extension under AddressSanitizer and UndefinedBehaviorSanitizer: ``sanitize.py`` calls every function of it."""

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["pyproject.toml", "setup.py", "CMakeLists.txt", "LICENSE", "README.md", "csrc", "ites_fast", "kernels"]
BUILD_TOOLS = ("cmake", "ninja", "pybind11")
RUNTIMES = ("libasan.so", "libubsan.so", "libstdc++.so.6")  # the last one, so that exceptions can be intercepted

pytestmark = pytest.mark.slow


def runtime(name):
    """Path of a library of the compiler, or a skip."""
    compiler = os.environ.get("CXX", "g++")
    if shutil.which(compiler) is None:
        pytest.skip(f"needs a C++ compiler: there is no {compiler}")
    command = [compiler, f"-print-file-name={name}"]
    path = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    if not Path(path).is_absolute():
        pytest.skip(f"needs {name} of {compiler}")
    return str(Path(path).resolve())


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory):
    """Calls the driver with an extension that was compiled with both sanitizers."""
    preload = " ".join(runtime(name) for name in RUNTIMES)
    folder = tmp_path_factory.mktemp("sanitized")
    source, site = folder / "source", folder / "site"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            ignored = shutil.ignore_patterns("*.so", "*.npz", "*.safetensors", "__pycache__")
            shutil.copytree(ROOT / name, source / name, ignore=ignored)
        else:
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), str(source)]
    if all(importlib.util.find_spec(tool) for tool in BUILD_TOOLS):
        command.append("--no-build-isolation")
    build = {"ITES_FAST_CUDA": "0", "ITES_FAST_WERROR": "1", "ITES_FAST_SANITIZE": "1"}
    result = subprocess.run(command, env=os.environ | build, capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    (extension,) = (site / "ites_fast").glob("_C.*")

    environment = os.environ | {
        "LD_PRELOAD": preload,
        "ASAN_OPTIONS": "detect_leaks=0:abort_on_error=0",  # Python keeps memory until it exits
        "UBSAN_OPTIONS": "print_stacktrace=1",
        "PYTHONMALLOC": "malloc",  # so that every object has a block of its own
    }

    def run(*arguments):
        command = [sys.executable, str(ROOT / "tests" / "sanitize.py"), str(extension), *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=900)

    return run


def test_nothing_is_found(sanitized):
    result = sanitized()
    print(result.stdout)
    assert result.returncode == 0, result.stdout + result.stderr
    assert result.stderr == ""


@pytest.mark.parametrize(
    ("fault", "report"),
    [
        ("write", r"AddressSanitizer: heap-buffer-overflow"),
        ("read", r"AddressSanitizer: heap-buffer-overflow"),
        ("tile", r"AddressSanitizer: heap-buffer-overflow"),
        ("misaligned", r"misaligned address"),
    ],
)
def test_a_fault_is_reported(sanitized, fault, report):
    """An output or an input that is too short, and pointers that no number can have."""
    result = sanitized(fault)
    assert result.returncode != 0
    assert report in result.stderr
