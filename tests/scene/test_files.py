"""What all formats share: suffixes, content, whole files or none, the same bytes for the same scene."""

import os
import signal
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.scene import Person
from ites_fast.scene.files import FORMATS, read_scene, targets, write_scene

SUFFIXES = sorted(FORMATS)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_same_scene_gives_the_same_bytes(suffix, walk, tmp_path):
    (first,) = write_scene(walk, tmp_path / "a" / f"walk{suffix}")
    (second,) = write_scene(walk, tmp_path / "b" / f"walk{suffix}")
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_of_an_unknown_suffix_is_recognised(suffix, walk, tmp_path):
    (path,) = write_scene(walk, tmp_path / f"walk{suffix}")
    renamed = path.rename(tmp_path / "walk.dat")
    read = read_scene(renamed)
    np.testing.assert_allclose(read.people[0].positions[:, 0], walk.people[0].positions[:, 0], atol=1e-5)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_targets_are_what_is_written(suffix, crowd, walk, tmp_path):
    for number, scene in enumerate((crowd, walk)):
        path = tmp_path / f"{number}{suffix}"
        expected = targets(scene, path)
        assert write_scene(scene, path) == expected
        assert all(file.is_file() for file in expected)
    assert len(list(tmp_path.iterdir())) == (4 if suffix in (".bvh", ".trc") else 2)


@pytest.mark.skipif(sys.platform != "linux", reason="needs file names of any bytes")
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_names_that_are_no_utf_8(suffix, walk, tmp_path):
    name = os.fsdecode(b"caf\xe9")
    (path,) = write_scene(replace(walk, source=f"{name}.mp4"), tmp_path / f"{name}{suffix}")
    path = path.rename(tmp_path / f"cafe{suffix}")
    if suffix not in (".bvh", ".trc"):  # they know no source
        assert read_scene(path).source == "caf?.mp4"
    assert len(read_scene(path).people) == 1


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_single_pose(suffix, walk, tmp_path):
    person = walk.people[0].cut(7, 8)
    (path,) = write_scene(replace(walk, people=(person,), frames=1), tmp_path / f"one{suffix}")
    read = read_scene(path)
    assert (len(read.people[0]), read.frames) == (1, 1)
    atol = 0.02 if suffix in (".bvh", ".glb") else 1e-6  # the bones of left and right become alike
    np.testing.assert_allclose(read.people[0].positions, person.positions, atol=atol)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_scene_that_is_wrong_is_not_written(suffix, walk, tmp_path):
    wrong = replace(walk.people[0], positions=np.full_like(walk.people[0].positions, np.nan))
    with pytest.raises(InputError, match="not finite"):
        write_scene(replace(walk, people=(wrong,)), tmp_path / f"walk{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_unknown_suffixes(walk, tmp_path):
    with pytest.raises(InputError, match=r"'\.c3d', expected one of \.npz, \.json, \.csv, \.bvh, \.glb, \.trc"):
        write_scene(walk, tmp_path / "walk.c3d")
    (tmp_path / "walk.c3d").write_bytes(b"\x02\x50")
    with pytest.raises(InputError, match=r"walk\.c3d: not recognised"):
        read_scene(tmp_path / "walk.c3d")


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_files_that_are_not_there_empty_or_of_another_kind(suffix, tmp_path):
    path = tmp_path / f"walk{suffix}"
    with pytest.raises(InputError, match="no such file"):
        read_scene(path)
    for content in (
        b"",
        b"\0" * 100,
        b"\xff\xfe",
        b"{}",
        b"[1, 2]",
        b"HIERARCHY\n",
        b"PK\x03\x04",
        b"glTF",
        b"a,b\n1,2\n",
    ):
        path.write_bytes(content)
        with pytest.raises(InputError, match=rf"walk\{suffix}"):
            read_scene(path)
    path.unlink()
    path.mkdir()
    with pytest.raises(InputError, match="not a file"):
        read_scene(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_truncated_files(suffix, crowd, tmp_path):
    path = write_scene(crowd, tmp_path / f"walk{suffix}")[-1]
    data = path.read_bytes()
    for share in np.linspace(0.02, 0.95, 25):
        path.write_bytes(data[: int(share * len(data))])
        with pytest.raises(InputError, match=rf"{path.stem}\{suffix}"):
            read_scene(path)


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_damaged_bytes_raise_nothing_else(suffix, walk, tmp_path):
    """Whatever stands in a file, it is read or an InputError comes."""
    (path,) = write_scene(walk.select(frames=(0, 3)), tmp_path / f"walk{suffix}")
    data = bytearray(path.read_bytes())
    rng = np.random.default_rng(1)
    for _ in range(100):
        damaged = bytearray(data)
        for place in rng.integers(0, len(data), rng.integers(1, 6)):
            damaged[place] = rng.choice([rng.integers(0, 256), ord(" "), ord("-"), ord("9"), ord('"'), ord("\n")])
        path.write_bytes(damaged)
        try:
            read_scene(path).check()
        except InputError:
            continue


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_folder_that_cannot_be_written(suffix, walk, tmp_path):
    (tmp_path / "file").touch()
    path = tmp_path / "file" / f"walk{suffix}"
    with pytest.raises(OSError, match="file"):
        write_scene(walk, path)


KILLED = """
import os, signal, sys
from pathlib import Path
from ites_fast.scene.files import FORMATS, read_scene, write_scene

def kill(event, arguments):
    if event == "os.rename":  # all is written, and the file is about to get its name
        os.kill(os.getpid(), signal.SIGKILL)

scene, folder = read_scene(sys.argv[1]), Path(sys.argv[2])
for suffix in FORMATS:
    child = os.fork()
    if child == 0:
        sys.addaudithook(kill)
        write_scene(scene, folder / f"walk{suffix}")
        os._exit(0)
    print(suffix, os.WTERMSIG(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_writer_that_is_killed_leaves_no_file_of_that_name(walk, tmp_path):
    write_scene(walk, tmp_path / "in.npz")
    command = [sys.executable, "-c", KILLED, tmp_path / "in.npz", tmp_path / "out"]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.split("\n")[:-1] == [f"{suffix} {signal.SIGKILL:d}" for suffix in FORMATS]
    left = [path.name for path in (tmp_path / "out").iterdir()]
    assert len(left) == len(FORMATS)
    assert all(name.startswith(".walk-") for name in left)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_hundred_thousand_frames(suffix, motion, walk, tmp_path):
    pose = np.tile(motion(0, 300), (334, 1, 1))[:100_000]
    person = Person("long", np.arange(100_000), pose, np.ones(pose.shape[:2], np.float32))
    (path,) = write_scene(replace(walk, people=(person,), frames=100_000), tmp_path / f"long{suffix}")
    read = read_scene(path)
    assert (len(read.people[0]), read.frames) == (100_000, 100_000)
    np.testing.assert_allclose(read.people[0].positions[-100:, 0], pose[-100:, 0], atol=1e-5)
