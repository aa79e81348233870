"""python -m ites_fast.prepare."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ites_fast import cli
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.prepare import Options, main

RAW = Path(__file__).parent / "data" / "raw"


@pytest.fixture
def folder(tmp_path):
    """A run, a walk one folder deeper, and two files that cannot be used."""
    (tmp_path / "in" / "walks").mkdir(parents=True)
    for name, place in (("09.asf", ""), ("09_01.amc", ""), ("07_01.bvh", "walks")):
        shutil.copy(RAW / name, tmp_path / "in" / place)
    (tmp_path / "in" / "08_01.bvh").write_text("HIERARCHY\nROOT a\n")
    (tmp_path / "in" / "09_02.amc").write_text("1\nroot 0 0 0 0 0 0\ntail 3\n")
    return tmp_path / "in"


def test_command(folder, tmp_path):
    command = [sys.executable, "-m", "ites_fast.prepare", folder, tmp_path / "out.npz", "--test-subjects", "09"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "2 files, 2 subjects, 59 poses, 236 views" in result.stdout
    assert "skipped 08_01.bvh: broken hierarchy: no MOTION section" in result.stdout
    assert "skipped 09_02.amc: " in result.stdout

    train, test = load(tmp_path / "out.npz", "train"), load(tmp_path / "out.npz", "test")
    assert (len(train), len(test)) == (160, 76)
    assert train.fps == pytest.approx(15, abs=0.01)
    assert {test.subjects[index] for index in test.subject} == {"09"}

    report = json.loads((tmp_path / "out.report.json").read_text())
    assert [entry["file"] for entry in report["used"]] == ["09_01.amc", "walks/07_01.bvh"]
    assert report["used"][0] == {"file": "09_01.amc", "subject": "09", "frames": 148, "kept": 19}
    assert [entry["file"] for entry in report["skipped"]] == ["08_01.bvh", "09_02.amc"]
    assert "line 3: bone 'tail' is not in the skeleton 09.asf" in report["skipped"][1]["reason"]
    assert report["joint_mapping"]["bvh"]["neck_nose"] == ["Neck1", "Head"]


def test_poses_are_those_of_the_bundled_sample(folder, tmp_path):
    """The same recording, thinned in the same way; only the cameras and the rounding differ."""
    main(Options(folder, tmp_path / "out.npz"))
    made, bundled = load(tmp_path / "out.npz"), load("mocap17", subjects=["9"])
    frame, pose = first_view(made, made.action == made.actions.index("09_01"))
    expected_frame, expected = first_view(bundled, bundled.sequence == bundled.sequence.min())  # 09_01
    np.testing.assert_array_equal(frame, expected_frame)
    np.testing.assert_allclose(pose, expected, atol=0.002)


def first_view(data, chosen):
    """Frames and root-relative poses in the world of the first camera among the chosen views."""
    number = data.camera[chosen].min()
    at = data.camera == number
    pose = data.pose_3d[at] @ data.cameras[number].rotation
    return data.frame[at], pose - pose[:, :1]


def test_seed_and_rate(folder, tmp_path):
    for name, seed, fps in (("a", 0, 30.0), ("b", 0, 30.0), ("c", 1, 30.0)):
        main(Options(folder, tmp_path / f"{name}.npz", fps=fps, still_mm=0, seed=seed))
    a, b, c = (load(tmp_path / f"{name}.npz") for name in "abc")
    np.testing.assert_array_equal(a.pose_2d, b.pose_2d)
    assert (a.pose_2d != c.pose_2d).any()
    assert len(a) == 4 * (37 + 79)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nowhere", "out.npz"], "error: nowhere: no such folder"),
        (["empty", "out.npz"], "error: empty: no BVH or AMC file in it or below it"),
        (["bad", "out.npz"], "error: bad: none of 1 files can be used: a.bvh: broken hierarchy: no MOTION section"),
        (["empty", "out.npy"], "error: out.npy: expected a name that ends in .npz"),
    ],
)
def test_nothing_usable_is_status_2(tmp_path, monkeypatch, capsys, arguments, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "a.bvh").write_text("HIERARCHY\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["prepare", *arguments])
    with pytest.raises(SystemExit) as stop:
        cli.run(main, Options, prog="prepare", description="")
    assert stop.value.code == 2
    assert message in capsys.readouterr().err
    assert not (tmp_path / "out.npz").exists()


def test_unknown_test_subject(folder, tmp_path):
    with pytest.raises(InputError, match="--test-subjects: 9 not among 07, 09"):
        main(Options(folder, tmp_path / "out.npz", test_subjects=("9",)))
    assert not (tmp_path / "out.npz").exists()


def test_rates_must_be_positive(folder, tmp_path):
    with pytest.raises(InputError, match=r"--fps 0 must be positive"):
        main(Options(folder, tmp_path / "out.npz", fps=0))


def test_a_file_that_cannot_be_opened_is_skipped(folder, tmp_path, monkeypatch):
    read_text = Path.read_text

    def refuse(path, *arguments, **keywords):
        if path.name == "07_01.bvh":
            raise PermissionError(13, "Permission denied", str(path))
        return read_text(path, *arguments, **keywords)

    monkeypatch.setattr(Path, "read_text", refuse)
    main(Options(folder, tmp_path / "out.npz"))
    monkeypatch.undo()
    report = json.loads((tmp_path / "out.report.json").read_text())
    assert [entry["file"] for entry in report["used"]] == ["09_01.amc"]
    assert {entry["file"]: entry["reason"] for entry in report["skipped"]}["walks/07_01.bvh"].endswith(
        f"Permission denied: '{folder / 'walks' / '07_01.bvh'}'"
    )


def test_a_jump_is_skipped(folder, tmp_path):
    text = (folder / "09_01.amc").read_text()
    (folder / "09_01.amc").write_text(text.replace("root -0.307087", "root 9.5", 1))
    main(Options(folder, tmp_path / "out.npz"))
    report = json.loads((tmp_path / "out.report.json").read_text())
    reasons = {entry["file"]: entry["reason"] for entry in report["skipped"]}
    assert "m/s, expected at most 40" in reasons["09_01.amc"]
