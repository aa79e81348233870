"""What is shipped: the sdist builds, the wheel made from it holds the package and nothing else, and it works alone."""

import json
import os
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def distributions(tmp_path_factory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "-m", "build", "--outdir", str(folder), str(ROOT)]
    subprocess.run(command, check=True, env=os.environ | {"ITES_FAST_CUDA": "0"}, cwd=folder)
    (sdist,), (wheel,) = folder.glob("*.tar.gz"), folder.glob("*.whl")
    return sdist, wheel


def test_sdist(distributions):
    with tarfile.open(distributions[0]) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    assert {
        "pyproject.toml",
        "setup.py",
        "CMakeLists.txt",
        "LICENSE",
        "csrc/procrustes.h",
        "csrc/bindings.cpp",
        "kernels/rotate_project.py",
    } <= names
    assert not {"tests", "bench", "build"} & {name.partition("/")[0] for name in names}


def test_wheel(distributions):
    names = zipfile.ZipFile(distributions[1]).namelist()
    assert {name.partition("/")[0] for name in names} == {"ites_fast", "ites_fast-0.1.0.dist-info"}
    assert any(name.startswith("ites_fast/_C.") for name in names)
    assert "ites_fast/kernels/rotate_project.py" in names
    assert {"ites_fast/data/mocap17.npz", "ites_fast/data/MOCAP17_LICENSE.txt"} <= set(names)
    assert {"ites_fast/pictures/player/player.js", "ites_fast/weights/lifter.safetensors"} <= set(names)
    weights = (ROOT / "ites_fast" / "weights").glob("*.*")
    assert {f"ites_fast/weights/{file.name}" for file in weights} <= set(names)
    assert not any(name.endswith((".cpp", ".cu", ".h")) for name in names)


def test_wheel_works_alone(distributions, tmp_path):
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--no-deps", "--target", str(site), str(distributions[1])], check=True
    )
    script = "import json, ites_fast; print(json.dumps([ites_fast.__file__, ites_fast.build_info()]))"
    command = [sys.executable, "-c", script]
    result = subprocess.run(
        command, check=True, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(site)}, stdout=subprocess.PIPE
    )
    file, info = json.loads(result.stdout)
    assert Path(file).is_relative_to(site)
    assert info["extension"] is not None
    assert info["operators"]["procrustes"]["cpu"].startswith("C++")
