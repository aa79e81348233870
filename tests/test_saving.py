"""save_scene: the suffix says what is written."""

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.saving import SUFFIXES, save_scene
from ites_fast.scene import Person, Scene
from ites_fast.scene.files import FORMATS, read_scene
from ites_fast.skeleton import H36M_17


@pytest.fixture
def scene() -> Scene:
    """Two people of six frames who move a little, with a head above the hips."""
    rng = np.random.default_rng(0)
    pose = rng.normal(0, 0.1, (17, 3)) + np.outer(
        np.r_[0, 0, -1, -2, 0, -1, -2, 1, 2, 2.5, 3, 2, 1, 0, 2, 1, 0], [0, 0.25, 0]
    )
    moving = (pose + rng.normal(0, 0.01, (6, 17, 3))).astype(np.float32)
    people = tuple(
        Person(name, np.arange(6), moving + np.float32([x, 1, 0]), np.ones((6, 17), np.float32))
        for name, x in (("a", 0), ("b", 1))
    )
    return Scene("two", H36M_17, people, 6, units="metres", axes="y", placed=True)


@pytest.mark.parametrize("suffix", FORMATS)
def test_3d_files(suffix, scene, tmp_path):
    paths = save_scene(scene, tmp_path / "new" / f"two{suffix}")
    assert len(paths) == (2 if suffix in (".bvh", ".trc") else 1)
    assert sum(len(read_scene(path).people) for path in paths) == 2


def test_suffixes_do_not_mind_capitals(scene, tmp_path):
    (path,) = save_scene(scene, tmp_path / "two.NPZ")
    assert path.name == "two.NPZ"
    assert len(read_scene(path).people) == 2


def test_unknown_suffixes_are_told_the_known_ones(scene, tmp_path):
    for name in ("two.c3d", "two"):
        with pytest.raises(InputError) as error:
            save_scene(scene, tmp_path / name)
        assert all(suffix in str(error.value) for suffix in SUFFIXES)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("name", "first"), [("two.json", "two.json"), ("two.bvh", "two_1.bvh")])
def test_files_that_exist_are_kept_on_request(name, first, scene, tmp_path):
    (tmp_path / first).write_text("old")
    with pytest.raises(InputError, match=rf"{first}: exists already"):
        save_scene(scene, tmp_path / name, overwrite=False)
    assert (tmp_path / first).read_text() == "old"
    save_scene(scene, tmp_path / name)
    assert (tmp_path / first).read_text() != "old"


def test_a_folder_is_no_file(scene, tmp_path):
    (tmp_path / "out.json").mkdir()
    with pytest.raises(InputError, match=r"out\.json: a folder"):
        save_scene(scene, tmp_path / "out.json")


@pytest.mark.parametrize(("suffix", "start"), [(".png", b"\x89PNG"), (".gif", b"GIF8"), (".html", b"<!")])
def test_pictures(suffix, start, scene, tmp_path):
    (path,) = save_scene(scene, tmp_path / f"two{suffix}")
    assert path.read_bytes().lstrip().lower().startswith(start.lower())


def test_films(scene, tmp_path):
    pytest.importorskip("av", reason="needs PyAV")
    (path,) = save_scene(scene, tmp_path / "two.mp4")
    assert path.read_bytes()[4:8] == b"ftyp"
