"""npz and json: everything a scene holds comes back."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ites_fast.errors import InputError
from ites_fast.scene import Person, Scene
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.skeleton import H36M_17, Skeleton

LOSSLESS = [".npz", ".json"]
CHAIN = Skeleton("chain", ("a", "b, b", "ç"), (-1, 0, 1), left=(), right=(), head=2)
TEXT = st.text(st.characters(blacklist_categories=("Cs",), blacklist_characters="\0"), max_size=8)


@st.composite
def people(draw):
    J = CHAIN.num_joints
    frame = np.array(sorted(draw(st.sets(st.integers(0, 50), min_size=1, max_size=5))), np.int64)
    number = st.floats(-100, 100, width=32)
    share = st.floats(0, 1, width=32)

    def array(shape, elements):
        return draw(arrays.arrays(np.float32, shape, elements=elements))

    N = len(frame)
    keypoints = array((N, J, 3), number)
    keypoints[draw(st.integers(0, N - 1)), 1] = np.nan, np.nan, 0
    keypoints[..., 2] = abs(np.nan_to_num(keypoints[..., 2])) / 100
    ambiguity = array(N, share) if draw(st.booleans()) else None
    keypoints = keypoints if draw(st.booleans()) else None
    return frame, array((N, J, 3), number), array((N, J), share), ambiguity, keypoints


@st.composite
def scenes(draw):
    names = draw(st.lists(TEXT, unique=True, max_size=3))
    return Scene(
        source=draw(TEXT),
        skeleton=CHAIN,
        people=tuple(Person(name, *draw(people())) for name in names),
        frames=draw(st.integers(51, 10_000)),
        fps=draw(st.floats(0.1, 1000)),
        units=draw(st.sampled_from(["metres", "body units"])),
        axes=draw(st.sampled_from(["camera", "y", "z"])),
        placed=draw(st.booleans()),
        elevation=draw(st.floats(-90, 90)),
        image_size=draw(st.none() | st.tuples(st.integers(1, 9999), st.integers(1, 9999))),
        notes=tuple(draw(st.lists(TEXT, max_size=3))),
    )


def assert_same(read: Scene, written: Scene, atol: float = 0) -> None:
    for name in ("source", "skeleton", "frames", "fps", "units", "axes", "placed", "elevation", "image_size", "notes"):
        assert getattr(read, name) == getattr(written, name), name
    assert [person.name for person in read.people] == [person.name for person in written.people]
    for a, b in zip(read.people, written.people, strict=True):
        np.testing.assert_array_equal(a.frame, b.frame)
        assert a.frame.dtype == np.int64
        for name in ("positions", "confidence", "ambiguity", "keypoints"):
            one, other = getattr(a, name), getattr(b, name)
            assert (one is None) == (other is None), name
            if one is not None:
                assert one.dtype == np.float32
                np.testing.assert_allclose(one, other, rtol=0, atol=atol)


@pytest.mark.parametrize("suffix", LOSSLESS)
@given(scene=scenes())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_everything_comes_back(suffix, scene, tmp_path):
    path = tmp_path / f"scene{suffix}"
    assert write_scene(scene, path) == [path]
    assert_same(read_scene(path), scene, atol=1e-6 if suffix == ".json" else 0)


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_people_who_come_and_go(suffix, crowd, tmp_path):
    path = tmp_path / f"scene{suffix}"
    write_scene(crowd, path)
    read = read_scene(path)
    assert_same(read, crowd, atol=4e-5 if suffix == ".json" else 0)  # float32 pixels round to 3e-5
    assert read.skeleton is H36M_17


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_an_empty_scene(suffix, walk, tmp_path):
    path = tmp_path / f"scene{suffix}"
    write_scene(replace(walk, people=()), path)
    assert_same(read_scene(path), replace(walk, people=()))


def test_the_arrays_of_npz_are_plain_and_documented(crowd, tmp_path):
    write_scene(crowd, tmp_path / "scene.npz")
    with np.load(tmp_path / "scene.npz", allow_pickle=False) as file:
        arrays_of = dict(file)
    assert arrays_of["positions"].shape == (61, 17, 3)
    assert arrays_of["positions"].dtype == np.float32
    ann = arrays_of["person"] == list(arrays_of["person_name"]).index("ann, the first")
    np.testing.assert_array_equal(arrays_of["frame"][ann], crowd.people[1].frame)
    np.testing.assert_array_equal(arrays_of["positions"][ann], crowd.people[1].positions)
    assert np.isnan(arrays_of["ambiguity"][~ann]).all()


def test_json_has_no_nan(crowd, tmp_path):
    write_scene(crowd, tmp_path / "scene.json")

    def refuse(constant):
        raise AssertionError(f"{constant} is not JSON")

    read = json.loads((tmp_path / "scene.json").read_text(), parse_constant=refuse)
    assert read["people"][1]["keypoints"][3][4] == [None, None, 0]
    assert read["people"][0]["keypoints"] is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"fps": "30"}, "fps is '30'"),
        ({"fps": 10**400}, "fps is 1000"),
        ({"frames": 12.5}, "frames is '12.5'"),
        ({"units": "yards"}, "units 'yards'"),
        ({"parents": [0] * 17}, "no tree"),
        ({"parents": [1, 0, *[-1] * 15]}, "no tree"),
        ({"joint_names": ["a"]}, "no tree"),
        ({"head": 17}, "no tree"),
        ({"notes": "text"}, "notes is 'text'"),
        ({"image_size": [5]}, "image size"),
        ({"notes": ["\ud800"]}, "no text that can be written"),
        ({"people": [1]}, "people"),
        ({"people": [{"name": 5}]}, "name is '5'"),
        ({"people": [{"name": "a", "frame": [0.5]}]}, "list of integers"),
        ({"people": [{"name": "a", "frame": [0], "positions": [[1, 2]]}]}, "positions is"),
        ({"people": [{"name": "a", "frame": [0], "positions": [[1, [2]]]}]}, "positions must hold numbers"),
    ],
)
def test_json_that_is_wrong(change, message, walk, tmp_path):
    path = tmp_path / "scene.json"
    write_scene(walk, path)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message) as error:
        read_scene(path)
    assert "scene.json" in str(error.value)


@pytest.mark.parametrize("key", ["positions", "person", "fps", "joint_names", "person_name", "frame"])
def test_npz_that_lacks_an_array(key, walk, tmp_path):
    path = tmp_path / "scene.npz"
    write_scene(walk, path)
    with np.load(path) as file:
        kept = {name: array for name, array in file.items() if name != key}
    np.savez(path, **kept)
    with pytest.raises(InputError, match=f"scene.npz.*{key}"):
        read_scene(path)
