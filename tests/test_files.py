"""Files that are whole or not there."""

import errno
import json
import os
import stat

import pytest

from ites_fast.files import atomic_path, write_json


def test_the_file_appears_when_the_block_succeeds(tmp_path):
    path = tmp_path / "new" / "metrics.json"
    write_json(path, {"p_mpjpe": 51.9})
    assert json.loads(path.read_text()) == {"p_mpjpe": 51.9}
    assert [entry.name for entry in path.parent.iterdir()] == ["metrics.json"]


def test_the_file_has_the_permissions_of_any_new_file(tmp_path):
    (tmp_path / "plain").touch()
    write_json(tmp_path / "written.json", 1)
    assert stat.S_IMODE(os.stat(tmp_path / "written.json").st_mode) == stat.S_IMODE(os.stat(tmp_path / "plain").st_mode)


def test_a_failing_block_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "metrics.json"
    write_json(path, "old")

    def fail():
        with atomic_path(path) as temporary:
            temporary.write_text("half")
            raise RuntimeError("interrupted")

    with pytest.raises(RuntimeError, match="interrupted"):
        fail()
    assert json.loads(path.read_text()) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_a_full_disk_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "metrics.json"
    write_json(path, "old")

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_json(path, "new")
    assert json.loads(path.read_text()) == "old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["metrics.json"]


def test_nan_is_not_json(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "metrics.json", {"p_mpjpe": float("nan")})
    assert list(tmp_path.iterdir()) == []
