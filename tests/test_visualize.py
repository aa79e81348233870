"""The command that draws poses that were saved before."""

from pathlib import Path

import pytest
from PIL import Image

from ites_fast import visualize
from ites_fast.lift import LiftOptions
from ites_fast.lift import main as lift
from ites_fast.visualize import VisualizeOptions

RECORDED = Path(__file__).parent / "detections" / "recorded" / "one_person"


@pytest.fixture(scope="module")
def poses(tmp_path_factory):
    path = tmp_path_factory.mktemp("poses") / "walk.npz"
    lift(LiftOptions(str(RECORDED), output=(str(path),)))
    return path


@pytest.fixture
def status(run_command, monkeypatch, tmp_path):
    """Runs the command in an empty folder: its exit status, and what it printed."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: run_command(visualize.main, VisualizeOptions, *arguments)


def test_a_page_by_default(status, poses, tmp_path):
    assert status(poses) == (0, "written: walk.html\n", "")
    assert "<canvas" in (tmp_path / "walk.html").read_text(encoding="utf-8")


def test_several_pictures(status, poses, tmp_path):
    assert status(poses, "--output", "walk.png", "walk.gif")[0] == 0
    with Image.open(tmp_path / "walk.png") as sheet, Image.open(tmp_path / "walk.gif") as film:
        assert sheet.size[0] > 500
        assert film.n_frames > 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npz"], "none.npz: no such file"),
        (["POSES", "--output", "walk.bvh"], "walk.bvh: expected one of .html, .png"),
        ([__file__], "test_visualize.py"),
    ],
)
def test_mistakes_are_one_line_and_status_2(status, poses, tmp_path, arguments, message):
    code, _, errors = status(*(poses if each == "POSES" else each for each in arguments))
    assert code == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
