"""The lifting command on recorded detections: what it writes, what it says, and what a user gets wrong."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from ites_fast import lift
from ites_fast.lift import LiftOptions
from ites_fast.scene.files import read_scene

RECORDED = Path(__file__).parent / "detections" / "recorded"
ONE, TWO = RECORDED / "one_person", RECORDED / "two_people"


@pytest.fixture
def status(run_command):
    """Runs the command: its exit status, and what it printed."""
    return lambda *arguments: run_command(lift.main, LiftOptions, *arguments)


def people_of(folder):
    """The numbers of people in the frames of an OpenPose folder."""
    return [len(json.loads(path.read_text())["people"]) for path in sorted(folder.iterdir()) if path.suffix == ".json"]


def test_an_openpose_folder_becomes_a_scene(status, tmp_path):
    output = tmp_path / "poses.npz"
    code, printed, errors = status(ONE, "--output", output)
    assert (code, errors) == (0, "")
    assert "body_25" in printed
    scene = read_scene(output)
    (person,) = scene.people
    assert scene.frames >= len(person) >= sum(people_of(ONE)) - 2
    assert (scene.axes, scene.units, scene.placed) == ("camera", "body units", False)
    head, ankles = scene.skeleton.head, [3, 6]
    assert (person.positions[:, head, 1] < person.positions[:, ankles, 1].min(1)).mean() > 0.95  # y points down


def test_a_height_gives_metres_and_a_camera_gives_places(status, tmp_path):
    size = ("--image-size", 1000, 1000)
    code, printed, _ = status(ONE, *size, "--fov", 55, "--height", 1.8, "--output", tmp_path / "p.json")
    assert code == 0
    scene = read_scene(tmp_path / "p.json")
    assert (scene.units, scene.placed) == ("metres", True)
    positions = scene.people[0].positions
    assert 1 < np.median(positions[:, 0, 2]) < 20  # metres before the camera
    thigh = np.linalg.norm(positions[:, 2] - positions[:, 1], axis=-1)
    assert 0.3 < np.median(thigh) < 0.55
    assert np.ptp(thigh) < 0.06  # one body
    assert "metres" in printed


def test_smoothing_and_constant_bones_are_options(status, tmp_path):
    raw = ("--smooth", "none", "--no-constant-bones", "--no-consistent-depth")
    for name, options in (("raw", raw), ("smooth", ())):
        assert status(ONE, *options, "--output", tmp_path / f"{name}.npz")[0] == 0
    raw, smooth = (read_scene(tmp_path / f"{name}.npz").people[0].positions for name in ("raw", "smooth"))
    jitter = [np.linalg.norm(np.diff(positions, 2, axis=0), axis=-1).mean() for positions in (raw, smooth)]
    assert jitter[1] < 0.6 * jitter[0]
    spreads = [np.std(np.linalg.norm(p[:, 2] - p[:, 1], axis=-1)) for p in (raw, smooth)]
    assert spreads[1] < 0.3 * spreads[0]


def test_several_people_stand_beside_each_other(status, tmp_path):
    code, printed, _ = status(TWO, "--output", tmp_path / "p.npz")
    assert code == 0
    scene = read_scene(tmp_path / "p.npz")
    assert len(scene.people) >= 2
    assert scene.placed
    places = [np.median(person.positions[:, 0], axis=0) for person in scene.people]
    assert np.linalg.norm(places[0] - places[1]) > 0.5
    assert "The image's size is not known" in printed


def test_all_files_of_one_call(status, tmp_path):
    outputs = [
        tmp_path / f"walk{suffix}" for suffix in (".npz", ".json", ".csv", ".bvh", ".glb", ".trc", ".png", ".html")
    ]
    code, printed, _ = status(ONE, "--output", *outputs)
    assert code == 0
    assert [f"written: {path}" for path in outputs] == [line for line in printed.splitlines() if "written" in line]
    assert all(path.stat().st_size > 1000 for path in outputs)
    assert sorted(tmp_path.iterdir()) == sorted(outputs)


def test_without_an_output_it_writes_a_page_here(status, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert status(ONE)[0] == 0
    assert [path.name for path in tmp_path.iterdir()] == ["one_person.html"]


def test_files_that_exist_are_kept_unless_told_otherwise(status, tmp_path):
    output = tmp_path / "p.npz"
    output.write_bytes(b"mine")
    code, _, errors = status(ONE, "--output", output)
    assert code == 2
    assert "exists already" in errors
    assert output.read_bytes() == b"mine"
    assert status(ONE, "--output", output, "--overwrite")[0] == 0
    assert read_scene(output).poses


def test_a_world_with_z_up_stands_on_the_floor(status, tmp_path):
    assert status(ONE, "--axes", "z", "--output", tmp_path / "p.csv")[0] == 0
    scene = read_scene(tmp_path / "p.csv")
    positions = scene.people[0].positions
    assert scene.axes == "z"
    np.testing.assert_allclose(positions[..., 2].min(1), 0, atol=1e-4)
    assert (positions[:, scene.skeleton.head, 2] > 1).mean() > 0.95


def test_one_frame_and_frames_without_people(status, tmp_path):
    folder = tmp_path / "one"
    folder.mkdir()
    first = sorted(ONE.glob("*.json"))[0]
    shutil.copy(first, folder)
    assert status(folder, "--output", tmp_path / "one.npz")[0] == 0
    assert read_scene(tmp_path / "one.npz").poses == 1
    nobody = folder / first.name.replace(first.stem.split("_")[1], f"{int(first.stem.split('_')[1]) + 1:012d}")
    nobody.write_text('{"version": 1.2, "people": []}')
    assert status(folder, "--output", tmp_path / "two.npz")[0] == 0
    assert read_scene(tmp_path / "two.npz").frames == 2


def broken(tmp_path, what):
    """A folder of OpenPose files with one thing wrong."""
    folder = tmp_path / "detections"
    shutil.copytree(ONE, folder, ignore=shutil.ignore_patterns("README*", "LICENSE*"))
    path = sorted(folder.glob("*.json"))[3]
    content = json.loads(path.read_text())
    keypoints = content["people"][0]["pose_keypoints_2d"]
    if what == "cut":
        path.write_text(path.read_text()[:200])
        return folder
    if what == "empty":
        shutil.rmtree(folder)
        folder.mkdir()
        return folder
    if what == "unsure":
        for each in folder.glob("*.json"):
            content = json.loads(each.read_text())
            for person in content["people"]:
                person["pose_keypoints_2d"][2::3] = [0.0] * 25
            each.write_text(json.dumps(content))
        return folder
    content["people"][0]["pose_keypoints_2d"] = {"short": keypoints[:-3], "infinite": [float("inf"), *keypoints[1:]]}[
        what
    ]
    path.write_text(json.dumps(content))
    return folder


@pytest.mark.parametrize(
    ("what", "message"),
    [
        ("cut", "000"),
        ("empty", "an empty folder"),
        ("unsure", "nobody is seen"),
        ("short", "72"),
        ("infinite", "inf"),
    ],
)
def test_broken_folders(status, tmp_path, what, message):
    folder = broken(tmp_path, what)
    code, _, errors = status(folder, "--output", tmp_path / "p.npz")
    assert code == 2
    assert str(folder) in errors
    assert message in errors.lower()
    assert errors.count("\n") == 1
    assert not (tmp_path / "p.npz").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "--output", "p.npz"], "nowhere: no such file or folder"),
        ([ONE, "--output", "p.xyz"], "unknown suffix '.xyz'"),
        ([ONE, "--skeleton", "alien"], "alien"),
        ([ONE, "--skeleton", "coco_17"], "17"),
        ([ONE, "--format", "alphapose"], "one_person"),
        ([ONE, "--format", "alien"], "format 'alien' is unknown"),
        ([ONE, "--fps", "0"], "fps"),
        ([ONE, "--image-size", "0", "5"], "image_size"),
        ([ONE, "--fov", "190", "--image-size", "9", "9"], "fov"),
        ([ONE, "--fov", "50", "--focal", "900", "--image-size", "9", "9"], "fov"),
        ([ONE, "--focal", "900"], "needs image_size"),
        ([ONE, "--height", "180"], "1.80"),
        ([ONE, "--min-frames", "100000"], "nobody is seen well enough"),
        ([ONE, "--min-frames", "0"], "--min-frames"),
        ([ONE, "--video", "none.mp4"], "--video none.mp4: no such file"),
        ([ONE, "--checkpoint", "none.safetensors"], "none.safetensors"),
        ([ONE, "--output", Path(__file__) / "p.npz"], "test_lift.py"),
    ],
)
def test_mistakes_are_one_line_and_status_2(status, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, errors = status(*arguments)
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".json", ".html", ".mp4"])
def test_a_killed_command_leaves_no_broken_file(tmp_path, suffix):
    """It is killed at several moments: the final name is whole or not there."""
    output = tmp_path / f"poses{suffix}"
    command = [sys.executable, "-m", "ites_fast.lift", str(ONE), "--overwrite", "--output", str(output)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    subprocess.run(command, check=True, capture_output=True, env=environment)
    whole = output.read_bytes()
    output.unlink()
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment)
    while not any(tmp_path.iterdir()) and process.poll() is None:  # until the temporary file appears
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not output.exists() or output.stat().st_size > 0.9 * len(whole)
    subprocess.run(command, check=True, capture_output=True, env=environment)
    assert output.stat().st_size > 0.9 * len(whole)
