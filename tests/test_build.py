"""``build_info`` says what is there, and an installation that cannot compile says so."""

import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

import ites_fast
from ites_fast.extension import extension
from ites_fast.info import table

ROOT = Path(__file__).resolve().parents[1]
SOURCES = ["pyproject.toml", "setup.py", "CMakeLists.txt", "LICENSE", "README.md", "csrc", "ites_fast", "kernels"]
OPERATORS = {"procrustes", "procrustes_errors", "rotate_project", "cycle_loss"}


def test_build_info_names_what_runs():
    info = ites_fast.build_info()
    assert json.loads(json.dumps(info)) == info
    assert set(info["operators"]) >= OPERATORS
    assert not any(name.endswith("_backward") for name in info["operators"])
    assert info["operators"]["rotate_project"]["cpu"] == "PyTorch"
    assert info["operators"]["rotate_project"]["cuda"] == ("Triton" if info["triton"] else "PyTorch")
    if extension is None:
        assert info["extension"] is None
        assert info["operators"]["procrustes"] == {"cpu": "PyTorch", "cuda": "PyTorch"}
    else:
        assert info["extension"]["instruction_set"] in info["extension"]["instruction_sets"]
        assert info["operators"]["procrustes"]["cpu"] == f"C++ ({info['extension']['instruction_set']})"
        has_cuda = info["extension"]["cuda"] is not None
        assert info["operators"]["procrustes"]["cuda"] == ("CUDA" if has_cuda else "PyTorch")


def test_table_names_what_is_missing():
    info = ites_fast.build_info()
    assert "procrustes_errors" in table(info)
    assert "not compiled: the PyTorch reference is used" in table(info | {"extension": None})


def test_info_command():
    command = [sys.executable, "-m", "ites_fast.info", "--json"]
    result = subprocess.run(command, check=True, capture_output=True, text=True)
    assert json.loads(result.stdout)["extension"] == ites_fast.build_info()["extension"]


def install(tmp_path, **environment):
    """Install a copy of the sources into a folder of its own; returns the finished pip and the folder."""
    source, site = tmp_path / "source", tmp_path / "site"
    source.mkdir()
    for name in SOURCES:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("*.so", "__pycache__"))
        else:
            shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "install", "-v", "--no-deps", "--target", str(site), str(source)]
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("ITES_FAST_")}
    result = subprocess.run(command, env=inherited | environment, text=True, capture_output=True)
    return result, site


def run_python(site, script):
    # -S: the finder of an editable installation would look for ites_fast._C in this checkout as well.
    path = os.pathsep.join([str(site), sysconfig.get_path("purelib")])
    command = [sys.executable, "-S", "-c", script]
    environment = os.environ | {"PYTHONPATH": path}
    return subprocess.run(command, cwd=site, env=environment, check=True, capture_output=True, text=True)


@pytest.mark.slow
def test_without_a_compiler_the_reference_is_used(tmp_path):
    result, site = install(tmp_path, CC="/bin/false", CXX="/bin/false", ITES_FAST_CUDA="0")
    assert result.returncode == 0, result.stderr
    assert "ites_fast._C was not built, the PyTorch reference will be used" in result.stdout + result.stderr
    script = """
import torch, ites_fast, ites_fast.ops
pose = torch.randn(5, 17, 3)
assert ites_fast.ops.procrustes_errors(pose, 2 * pose + 1).max() < 1e-4
print(ites_fast.__file__, ites_fast.build_info()["operators"]["procrustes"]["cpu"])
"""
    process = run_python(site, script)
    assert process.stdout.split() == [str(site / "ites_fast" / "__init__.py"), "PyTorch"]
    assert process.stderr.count("alignment and inference run the slower PyTorch reference") == 1


@pytest.mark.slow
def test_without_nvcc_cuda_is_left_out(tmp_path):
    result, site = install(tmp_path, CUDACXX="/bin/false")
    assert result.returncode == 0, result.stderr
    assert "only the CPU kernels are built" in result.stdout + result.stderr
    process = run_python(site, "import ites_fast; print(ites_fast.build_info()['extension']['cuda'])")
    assert process.stdout.strip() == "None"


@pytest.mark.slow
def test_cuda_that_was_asked_for_must_be_built(tmp_path):
    result, _ = install(tmp_path, CUDACXX="/bin/false", ITES_FAST_CUDA="1")
    assert result.returncode != 0
    assert "ITES_FAST_CUDA=1, but no working CUDA compiler (nvcc) was found" in result.stdout + result.stderr


@pytest.mark.slow
def test_unknown_cuda_choice_is_refused(tmp_path):
    result, _ = install(tmp_path, ITES_FAST_CUDA="yes")
    assert result.returncode != 0
    assert "ITES_FAST_CUDA is 'yes'; expected one of auto, 1, 0" in result.stdout + result.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("nvcc") is None, reason="needs nvcc")
@pytest.mark.parametrize("architecture", [80, 90, 100])
@pytest.mark.parametrize("source", sorted((ROOT / "csrc").glob("*.cu")), ids=lambda path: path.name)
def test_cuda_kernels_keep_to_their_registers(source, architecture, tmp_path):
    """Nothing is spilled; the stack holds the matrices of the Jacobi rotations, which are indexed at run time."""
    known = subprocess.run(["nvcc", "--list-gpu-arch"], check=True, capture_output=True, text=True).stdout.split()
    if f"compute_{architecture}" not in known:
        pytest.skip(f"this nvcc does not know sm_{architecture}")
    warnings = ["-Werror=all-warnings", "-Xcompiler=-Wall,-Wextra,-Werror"]
    command = ["nvcc", "-std=c++17", "-O3", "-cubin", f"-arch=sm_{architecture}", "-Xptxas", "-v", *warnings]
    result = subprocess.run([*command, source, "-o", tmp_path / "kernel.cubin"], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    kernels = KERNEL_USAGE.findall(result.stderr)
    print(f"\n{'kernel':60} {'sm':>4} {'registers':>10} {'stack':>6} {'spilled':>8}")
    for name, stack, stores, loads, registers in kernels:
        print(f"{short_name(name):60} {architecture:4} {registers:>10} {stack:>6} {int(stores) + int(loads):8}")
    assert len(kernels) == result.stderr.count("Compiling entry function") > 0
    for name, *usage in kernels:
        stack, stores, loads, registers = map(int, usage)
        bounds = KERNEL_BOUNDS[re.search(r"[a-z]+_kernel", name).group()]
        assert (stores, loads) == (0, 0), name
        assert registers <= bounds[0], name
        assert stack <= bounds[1], name


# Registers of a thread, at most what the launch bounds leave it, and bytes of stack.
KERNEL_BOUNDS = {"align_kernel": (168, 256), "measure_kernel": (168, 256)}
KERNEL_USAGE = re.compile(
    r"Compiling entry function '(\w+)'.*?(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads"
    r".*?Used (\d+) registers",
    re.DOTALL,
)


def short_name(mangled):
    """A kernel's name and the rest of its mangled name, which says the types and constants of the template."""
    return re.sub(r"^_Z.*?\d+(?=[a-z]+_kernel)", "", mangled)
