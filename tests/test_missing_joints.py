"""Training needs every joint; a run's report says why it does not evaluate on poses that lack some."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.data.plain_npz import save_npz
from ites_fast.run_data import load_report_views as load_test_views


@pytest.fixture
def incomplete(small_mocap, tmp_path):
    """Our own file with 40 views to train on and 40 to test on; three joints are missing in one of the two parts."""

    def write(part):
        data = load(small_mocap, "test").subset(np.arange(80))
        split = np.repeat(["train", "test"], 40)
        pose_2d = data.pose_2d.copy()
        pose_2d[np.flatnonzero(split == part)[[3, 3, 8]], [5, 9, 0]] = np.nan
        save_npz(replace(data, pose_2d=pose_2d, allow_missing=True), tmp_path / "data.npz", split)
        return tmp_path / "data.npz"

    return write


def test_training_refuses_missing_joints(incomplete, status_and_errors, tmp_path):
    path = incomplete("train")
    status, printed = status_and_errors(["--data", str(path), "--output", str(tmp_path / "run"), "--device", "cpu"])
    assert status == 2
    assert f"error: {path}: 3 of 680 joints are missing (NaN); training needs all joints of every view" in printed
    assert not (tmp_path / "run").exists()


def test_a_report_does_not_end_in_an_error(incomplete, capsys):
    path = incomplete("test")
    assert load_test_views(str(path)) is None
    message = f"not evaluated: {path}: 3 of 680 joints are missing (NaN); this report needs all joints of every view\n"
    assert capsys.readouterr().out == message
    assert len(load_test_views(str(incomplete("train")))) == 40
