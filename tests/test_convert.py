"""python -m ites_fast.convert."""

import subprocess
import sys

import numpy as np
import pytest

from ites_fast.convert import ConvertOptions, main
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.scene import Person, Scene
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.skeleton import H36M_17


@pytest.fixture(scope="session")
def lifted() -> Scene:
    """Two people as a lifter leaves them: root-relative, body units, camera axes."""
    with np.load(BUNDLED) as file:
        pose = file["positions_mm"][file["sequence"] == 0][:30] / np.float32(720)
    pose = np.ascontiguousarray((pose - pose[:, :1])[..., [1, 2, 0]] * np.float32([-1, -1, 1]))
    people = (
        Person("1", np.arange(30), pose, np.ones((30, 17), np.float32)),
        Person("2", np.arange(10, 20), pose[:10], np.ones((10, 17), np.float32)),
    )
    return Scene("clip.mp4", H36M_17, people, 30)


@pytest.fixture
def file(lifted, tmp_path):
    return write_scene(lifted, tmp_path / "clip.npz")[0]


@pytest.fixture
def convert(run_command):
    """Runs the command in this process: exit status, what it printed, and its errors."""
    return lambda *arguments: run_command(main, ConvertOptions, *arguments)


def test_command(file, tmp_path):
    command = [sys.executable, "-m", "ites_fast.convert", file, tmp_path / "clip.bvh"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert result.stdout == f"written: {tmp_path / 'clip_1.bvh'}\nwritten: {tmp_path / 'clip_2.bvh'}\n"
    assert read_scene(tmp_path / "clip_1.bvh").frames == 30


@pytest.mark.parametrize("suffix", [".json", ".csv", ".trc", ".glb"])
def test_formats(suffix, file, convert, tmp_path):
    status, out, err = convert(file, tmp_path / f"out{suffix}")
    assert (status, err) == (0, "")
    assert out.count("written: ") == (2 if suffix == ".trc" else 1)


def test_options(file, lifted, convert, tmp_path):
    options = ["--up", "z", "--person", "2", "--frames", "12:18", "--fps", "50", "--height", "1.8"]
    assert convert(file, tmp_path / "out.json", *options)[0] == 0
    scene = read_scene(tmp_path / "out.json")
    assert (scene.axes, scene.units, scene.fps, scene.frames) == ("z", "metres", 50, 6)
    assert [person.name for person in scene.people] == ["2"]
    pose, before = scene.people[0].positions, lifted.people[1].positions[2:8]
    np.testing.assert_array_equal(scene.people[0].frame, np.arange(6))
    np.testing.assert_allclose(pose[..., 2].min(1), 0, atol=1e-6)
    # a body unit is 1.8 m / 2.337; the camera's y points down
    np.testing.assert_allclose(pose[:, 10, 2] - pose[:, 0, 2], -before[:, 10, 1] * 1.8 / 2.337, rtol=1e-3)


def test_frames_may_be_left_open(file, convert, tmp_path):
    assert convert(file, tmp_path / "a.json", "--frames", "25:")[0] == 0
    assert read_scene(tmp_path / "a.json").frames == 5
    assert convert(file, tmp_path / "b.json", "--frames", ":5")[0] == 0
    assert read_scene(tmp_path / "b.json").frames == 5


def test_skeleton(file, convert, tmp_path):
    assert convert(file, tmp_path / "out.npz", "--skeleton", "coco_17")[0] == 0
    assert read_scene(tmp_path / "out.npz").skeleton.name == "coco_17"


def test_bad_input(file, convert, tmp_path):
    half = tmp_path / "half.npz"
    half.write_bytes(file.read_bytes()[:5000])
    empty = tmp_path / "empty.json"
    empty.touch()
    photo = tmp_path / "photo.json"
    photo.write_bytes(b"\xff\xd8\xff\xe0 JFIF")
    metres = tmp_path / "metres.trc"
    convert(file, metres, "--person", "1")
    out = tmp_path / "out.json"
    for arguments, message in [
        ([tmp_path / "none.npz", out], "none.npz: no such file"),
        ([file, tmp_path / "out.c3d"], "out.c3d: unknown suffix '.c3d', expected one of .npz"),
        ([half, out], "half.npz: not a whole npz file"),
        ([empty, out], "empty.json: not JSON"),
        ([photo, out], "photo.json: not JSON"),
        ([file, file], "input and output are the same file"),
        ([file, metres], "metres.trc: exists already"),
        ([file, out, "--person", "3"], "nobody is called '3'; people: 1, 2"),
        ([file, out, "--frames", "5"], "--frames 5: expected START:END"),
        ([file, out, "--frames", "9:50"], "frames 9:50, expected a part of 0:30"),
        ([file, out, "--fps", "0"], "0.0 frames a second"),
        ([file, out, "--skeleton", "horse"], "horse"),
        ([file, out, "--height", "180"], "expected metres"),
        ([metres, out, "--height", "1.8"], "in metres already"),
        ([metres, out, "--up", "camera"], "y up, and does not say where the camera was"),
        ([file, tmp_path / "out.bvh", "--up", "z"], ".bvh files always have y up"),
    ]:
        if "metres.trc: exists" in message:
            arguments = [*arguments, "--person", "1"]
        status, printed, err = convert(*arguments)
        assert (status, printed) == (2, ""), arguments
        assert err.startswith("error: "), arguments
        assert err.count("\n") == 1, err
        assert message in err, err
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "clip.npz",
        "empty.json",
        "half.npz",
        "metres.trc",
        "photo.json",
    ]


def test_same_file_by_another_name(file, convert, tmp_path):
    (tmp_path / "link.npz").symlink_to(file)
    status, _, err = convert(file, tmp_path / "link.npz", "--overwrite")
    assert status == 2
    assert "same file" in err
