"""Recordings for the Rerun viewer, read back by Rerun itself."""

import re
import shutil
import subprocess

import pytest

from ites_fast.pictures.rerun_log import write_rrd

pytest.importorskip("rerun", reason="needs Rerun (extra rerun)")


def test_a_recording_holds_every_pose_of_every_person(two_walkers, tmp_path):
    write_rrd(two_walkers, tmp_path / "scene.rrd")
    command = [shutil.which("rerun"), "rrd", "print", "-v", str(tmp_path / "scene.rrd")]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    chunks = re.findall(r"with (\d+) rows .* - /world/person_(\w+)/bones ", printed)
    rows = {name: sum(int(count) for count, each in chunks if each == name) for name in ("first", "second")}
    assert rows == {"first": 24, "second": 12}
    assert list(tmp_path.iterdir()) == [tmp_path / "scene.rrd"]
