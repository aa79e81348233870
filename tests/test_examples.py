"""The examples run as they are, on the recorded files beside them."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ites_fast.scene.files import read_scene

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"
SCRIPTS = ("rtmlib_to_3d.py", "ultralytics_to_3d.py", "mediapipe_to_3d.py", "webcam_stream.py")
ELSEWHERE = ("onnx_consumer.py", "blender_import.py")  # tests/test_export.py; Blender


@pytest.fixture
def run(tmp_path):
    """Function that runs an example in an empty folder; what it printed."""

    def run(script: str, *arguments: str) -> str:
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "error::RuntimeWarning"}
        command = [sys.executable, str(EXAMPLES / script), *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stderr
        return done.stdout

    return run


def upright(positions: np.ndarray) -> bool:
    """Whether heads are above hips and hips above ankles, where y points up; joints (N, 17, 3)."""
    height = positions[..., 1].mean(0)
    return height[10] > height[0] + 0.3 and height[0] > height[[3, 6]].max() + 0.3


def test_every_example_is_run():
    assert {path.name for path in EXAMPLES.glob("*.py")} == {*SCRIPTS, *ELSEWHERE}


@pytest.mark.slow
def test_rtmlib(run, tmp_path):
    assert "person 3: 58 poses from frame 2 on" in run("rtmlib_to_3d.py")
    scene = read_scene(tmp_path / "rtmlib.glb")
    assert [(len(person), person.frame[0]) for person in scene.people] == [(60, 0), (60, 0), (58, 2)]
    assert scene.fps == pytest.approx(60)
    # Of the first, at the edge of the picture, half is seen.
    assert all(upright(person.positions) for person in scene.people[1:])


def test_ultralytics(run, tmp_path):
    assert "person 1: Poses(50 of h36m_17, " in run("ultralytics_to_3d.py")
    (person,) = read_scene(tmp_path / "ultralytics_1.bvh").people
    assert len(person) == 50
    assert upright(person.positions)


@pytest.mark.slow
def test_mediapipe(run, tmp_path):
    assert "metres" in run("mediapipe_to_3d.py")
    scene = read_scene(tmp_path / "mediapipe.csv")
    (person,) = scene.people
    assert (len(person), scene.units, scene.axes) == (30, "metres", "y")
    assert upright(person.positions)


@pytest.mark.slow
def test_webcam_without_a_camera(run):
    first, *lines = run("webcam_stream.py", "webcam:99").splitlines()
    assert first.endswith("; recorded detections instead")
    assert len(lines) == 60
    assert all(line.count("person") in (2, 3) for line in lines)
    # The third person walks in with the right arm up, the others let theirs hang.
    heights = {part[:8]: float(part.split()[-1]) for part in lines[-1].split(", ")}
    assert max(heights, key=heights.get) == "person 3"


@pytest.mark.parametrize("script", ELSEWHERE)
def test_what_is_not_run_here_compiles(script):
    compile((EXAMPLES / script).read_text(), script, "exec")


def test_examples_are_short():
    for script in SCRIPTS:
        assert len((EXAMPLES / script).read_text().splitlines()) <= 40
