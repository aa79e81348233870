"""The bundled sample and files in its format."""

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.errors import InputError


@pytest.fixture(scope="module")
def content():
    with np.load(BUNDLED) as file:
        return {key: file[key] for key in file.files}


@pytest.fixture(scope="module")
def test_views():
    return load("mocap17", "test")


def test_documented_counts(test_views):
    train = load("mocap17", "train")
    assert (len(train), len(test_views), len(load("mocap17"))) == (183_620, 18_964, 202_584)
    assert {test_views.subjects[index] for index in np.unique(test_views.subject)} == {"2", "49", "127"}
    assert not np.isin(test_views.subject, train.subject).any()
    assert test_views.pose_2d.dtype == test_views.pose_3d.dtype == np.float32


def test_views_follow_the_documented_formula(content, test_views):
    for view in (0, 1, 7000, 18_963):
        sequence, frame = test_views.sequence[view], test_views.frame[view]
        camera = test_views.camera[view] - 4 * sequence
        pose = content["positions_mm"][(content["sequence"] == sequence) & (content["frame"] == frame)][0]
        centre, rotation = content["camera_position"][sequence, camera], content["camera_rotation"][sequence, camera]
        expected = (pose / 1000 - centre) @ rotation.T
        np.testing.assert_allclose(test_views.pose_3d[view], expected, atol=2e-6)
        pixels = 1145 * expected[:, :2] / expected[:, 2:] + 500
        np.testing.assert_allclose(test_views.pose_2d[view], pixels, atol=1e-3)
        assert test_views.actions[test_views.action[view]] == content["sequence_label"][sequence]


def test_views_of_one_camera_are_contiguous_and_in_order(test_views):
    key = test_views.camera.astype(np.int64)
    starts = np.flatnonzero(np.diff(key, prepend=-1))
    assert len(starts) == len(np.unique(key))
    assert (np.diff(test_views.sequence) >= 0).all()
    same = np.diff(key) == 0
    assert (np.diff(test_views.frame)[same] > 0).all()


def test_image_coordinates(test_views):
    np.testing.assert_allclose(test_views.image(), test_views.pose_3d[..., :2] / test_views.pose_3d[..., 2:], atol=1e-6)


def test_another_file_in_the_format(tmp_path, content):
    """Two sequences, frames in any order, another subject, no labels."""
    keep = np.flatnonzero(content["sequence"] < 2)[::-1]
    part = content | {key: content[key][keep] for key in ("positions_mm", "sequence", "frame")}
    part |= {key: content[key][:2] for key in content if key.startswith(("sequence_", "camera_"))}
    part["sequence_subject"] = np.array([900, 901], np.int32)
    part["sequence_split"] = np.array(["train", "test"])
    del part["sequence_label"]
    np.savez_compressed(tmp_path / "other.npz", **part)
    data = load(tmp_path / "other.npz", "test")
    assert data.name == str(tmp_path / "other.npz")
    assert set(data.sequence) == {1}
    assert data.actions[data.action[0]] == content["sequence_name"][1]
    assert data.subjects[data.subject[0]] == "901"
    bundled = load("mocap17", "all")
    np.testing.assert_array_equal(data.pose_3d, bundled.pose_3d[bundled.sequence == 1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"positions_mm": np.zeros((6, 16, 3), np.int16)},
            r"positions_mm has shape \(6, 16, 3\), expected \(6, 17, 3\)",
        ),
        ({"frame": np.zeros(5, np.int32)}, r"frame has shape \(5,\), expected \(6\)"),
        ({"sequence": np.full(6, 417, np.int32)}, "sequence numbers 417, expected 0 to 416"),
        ({"camera_position": None}, "key 'camera_position' is missing"),
        ({"positions_mm": np.full((6, 17, 3), "far")}, "positions_mm is <U3, expected numbers"),
        ({"sequence": np.zeros(6)}, r"sequence is float64 \(6,\), expected integers \(6,\)"),
        ({"focal_px": np.array(0.0)}, "camera focal must be positive"),
        ({"fps": np.array(np.nan)}, r"fps is float64 \(\), expected one finite number"),
    ],
)
def test_broken_files(tmp_path, content, change, message):
    part = content | {key: content[key][:6] for key in ("positions_mm", "sequence", "frame")} | change
    np.savez(tmp_path / "broken.npz", **{key: value for key, value in part.items() if value is not None})
    with pytest.raises(InputError, match=f"broken.npz: {message}"):
        load(tmp_path / "broken.npz")


def test_empty_split(tmp_path, content):
    part = content | {"sequence_split": np.full(417, "train")}
    np.savez(tmp_path / "all_train.npz", **part)
    with pytest.raises(InputError, match=r"all_train.npz: the test split is empty"):
        load(tmp_path / "all_train.npz", "test")


def test_licence_lies_beside_the_data():
    text = BUNDLED.with_name("MOCAP17_LICENSE.txt").read_text()
    assert "free for all uses" in text
    assert "NSF EIA-0196217" in text
