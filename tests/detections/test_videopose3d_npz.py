"""VideoPose3D's files of 2D keypoints."""

import os
from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import tracks_npz, videopose3d_npz
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS

RECORDED = Path(__file__).parent / "recorded_arrays" / "wild_tracks.npz"
METADATA = {
    "layout_name": "coco",
    "num_joints": 17,
    "keypoints_symmetry": [[1, 3, 5, 7, 9, 11, 13, 15], [2, 4, 6, 8, 10, 12, 14, 16]],
    "video_metadata": {"dance.mp4": {"w": 640, "h": 480, "fps": 30}, "walk.mp4": {"w": 1920, "h": 1080, "fps": 25.0}},
}


class Forbidden:
    def __reduce__(self):
        return os.getcwd, ()


@pytest.fixture(scope="module")
def poses() -> np.ndarray:
    """Real keypoints (60, 17, 2), in the order of h36m_17."""
    tracks = tracks_npz.read(RECORDED, SKELETONS["h36m_17"]).tracks
    return np.concatenate([track.keypoints[..., :2] for track in tracks])


@pytest.fixture
def write(tmp_path):
    """Function that writes positions and metadata; the file's path, with a choice."""

    def write(positions, metadata=METADATA, choice=None) -> Path:
        content = {"positions_2d": np.array(positions, object)}
        if metadata is not None:
            content["metadata"] = np.array(metadata, object)
        np.savez_compressed(tmp_path / "data_2d.npz", **content)
        return tmp_path / ("data_2d.npz" if choice is None else f"data_2d.npz::{choice}")

    return write


def test_own_video(write, poses):
    path = write({"dance.mp4": {"custom": [poses]}})
    assert videopose3d_npz.recognise(path)
    detections = videopose3d_npz.read(path, None)
    assert detections.skeleton.name == "coco_17"
    assert (detections.fps, detections.image_size, detections.frames) == (30, (640, 480), 60)
    (track,) = detections.tracks
    seen = np.isfinite(poses).all(-1)
    np.testing.assert_array_equal(track.keypoints[seen][:, :2], poses[seen])
    np.testing.assert_array_equal(track.keypoints[..., 2], seen)


def test_human36m(write, poses):
    positions = {
        "S9": {"Walking 1": [poses[:20], poses[20:40], None, poses[40:]], "Sitting": [poses[:5]]},
        "S11": {"Directions": [poses[:7]]},
    }
    h36m = {"layout_name": "h36m", "num_joints": 17}
    chosen = videopose3d_npz.read(write(positions, h36m, "S9/Walking 1/1"), None)
    assert chosen.skeleton.name == "h36m_17"
    assert (chosen.fps, chosen.image_size, chosen.frames) == (50, (1000, 1000), 20)
    seen = np.isfinite(poses[20:40]).all(-1)
    np.testing.assert_array_equal(chosen.tracks[0].keypoints[seen][:, :2], poses[20:40][seen])
    assert videopose3d_npz.read(write(positions, h36m, "S9/Walking 1/3"), None).image_size == (1000, 1002)
    assert videopose3d_npz.read(write(positions, h36m, "S11"), None).frames == 7
    assert videopose3d_npz.read(write(positions, h36m, "S9/Sitting"), None).frames == 5
    with pytest.raises(InputError, match=r"holds 5 videos; choose one, as .*data_2d.npz::S9/Walking 1/0, of S9/Walk"):
        videopose3d_npz.read(write(positions, h36m), None)
    with pytest.raises(InputError, match=r"holds 3 videos; .* of S9/Walking 1/0, S9/Walking 1/1, S9/Walking 1/3$"):
        videopose3d_npz.read(write(positions, h36m, "S9/Walking 1"), None)
    with pytest.raises(InputError, match=r"'S1' is none of its videos: S9/Walking 1/0"):
        videopose3d_npz.read(write(positions, h36m, "S1"), None)


def test_without_metadata_the_skeleton_is_asked_for(write, poses):
    path = write({"v": {"custom": [poses]}}, None)
    with pytest.raises(InputError, match="does not say which skeleton its 17 joints are; name it: "):
        videopose3d_npz.read(path, None)
    detections = videopose3d_npz.read(path, SKELETONS["coco_17"])
    assert (detections.fps, detections.image_size) == (None, None)


@pytest.mark.parametrize(
    ("positions", "metadata", "message"),
    [
        ([1, 2], METADATA, "positions_2d is no dictionary of subjects"),
        ({"a": [1]}, METADATA, "positions_2d is no dictionary of subjects"),
        ({"a": {"b": 3}}, METADATA, "positions_2d is no dictionary of subjects"),
        ({7: {"b": []}}, METADATA, "positions_2d is no dictionary of subjects"),
        ({}, METADATA, "holds no videos"),
        ({"a": {"b": [np.ones((0, 17, 2))]}}, METADATA, "holds no videos"),
        ({"a": {"b": [np.ones((3, 17))]}}, METADATA, r"a/b/0 is float64 \(3, 17\), expected \(T, joints, 2 or 3\)"),
        ({"a": {"b": [np.ones((3, 17, 2), complex)]}}, METADATA, "a/b/0 is complex128"),
        ({"a": {"b": [np.full((3, 17, 2), None)]}}, METADATA, "a/b/0 is object"),
        ({"a": {"b": [np.ones((3, 16, 2))]}}, METADATA, "16 joints, expected 17 for coco_17"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, {"layout_name": "horse"}, "its skeleton 'horse' is unknown"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, {"layout_name": 5}, "layout_name is int, expected text"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, [5], "metadata is no dictionary"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, METADATA | {"video_metadata": 5}, "video_metadata of a is no dictionary"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, METADATA | {"video_metadata": {"a": {"fps": 10**400}}}, "fps is int inf"),
        ({"a": {"b": [np.ones((3, 17, 2))]}}, METADATA | {"video_metadata": {"a": {"w": "1"}}}, "w is str nan"),
        ({"a": {"b": [Forbidden()]}}, METADATA, "refused to unpickle posix.getcwd"),
    ],
)
def test_bad_content(write, positions, metadata, message):
    with pytest.raises(InputError, match=message):
        videopose3d_npz.read(write(positions, metadata), None)


def test_truncated(write, poses):
    path = write({"dance.mp4": {"custom": [poses]}})
    whole = path.read_bytes()
    for length in range(0, len(whole), 211):
        path.write_bytes(whole[:length])
        assert not videopose3d_npz.recognise(path)
        with pytest.raises(InputError, match="not a whole npz file"):
            videopose3d_npz.read(path, None)
