"""Tracks of several videos in one npz."""

from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import tracks_npz
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS

FILE = Path(__file__).parent / "recorded_arrays" / "wild_tracks.npz"


@pytest.fixture
def recorded() -> dict[str, np.ndarray]:
    with np.load(FILE) as file:
        return dict(file)


@pytest.fixture
def written(tmp_path, recorded):
    """Function that writes the recorded arrays with changes; None leaves a key out."""

    def write(**arrays):
        content = {key: value for key, value in (recorded | arrays).items() if value is not None}
        np.savez(tmp_path / "t.npz", **content)
        return tmp_path / "t.npz"

    return write


def test_each_video_is_a_person_from_its_own_frame_0(recorded):
    assert tracks_npz.recognise(FILE)
    detections = tracks_npz.read(FILE, None)
    assert detections.skeleton.name == "body_25"
    assert [track.name for track in detections.tracks] == ["motionet_0", "motionet_1", "motionet_3"]
    assert detections.frames == 20
    for number, track in enumerate(detections.tracks):
        assert track.frame.tolist() == list(range(20))
        points = recorded["body25"][recorded["track"] == number]
        seen = points[..., 2] > 0
        np.testing.assert_array_equal(track.keypoints[seen], points[seen])
        assert np.isnan(track.keypoints[~seen][:, :2]).all()
    assert "3 separate videos" in detections.notes[0]


def test_one_video_is_chosen(written, recorded):
    one = tracks_npz.read(Path(f"{FILE}::motionet_1"), None)
    assert [track.name for track in one.tracks] == ["motionet_1"]
    assert one.notes == ()
    np.testing.assert_array_equal(one.tracks[0].keypoints[0, 0], recorded["body25"][20, 0])
    short = recorded["track"].copy()
    short[55:] = 0
    assert tracks_npz.read(Path(f"{written(track=short)}::motionet_3"), None).frames == 15
    with pytest.raises(InputError, match=r"'ann' is none of its tracks: motionet_0, motionet_1, motionet_3"):
        tracks_npz.read(Path(f"{FILE}::ann"), None)


def test_frames_in_which_nothing_was_seen_keep_their_number(written, recorded):
    points = recorded["body25"].copy()
    points[[2, 20]] = 0
    first, second, _ = tracks_npz.read(written(body25=points), None).tracks
    assert first.frame.tolist() == [0, 1, *range(3, 20)]
    assert second.frame.tolist() == list(range(1, 20))


def test_the_joints_of_h36m_where_they_are_asked_for(recorded):
    detections = tracks_npz.read(FILE, SKELETONS["h36m_17"])
    np.testing.assert_array_equal(detections.tracks[0].keypoints[0, 0], recorded["joints17"][0, 0])
    with pytest.raises(InputError, match="25 joints, expected 17 for coco_17"):
        tracks_npz.read(FILE, SKELETONS["coco_17"])


def test_without_names(written):
    assert [track.name for track in tracks_npz.read(written(track_name=None), None).tracks] == ["0", "1", "2"]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"body25": np.ones((60, 24, 3))}, "24 joints, expected 25 for body_25"),
        ({"body25": np.ones((0, 25, 3)), "track": np.ones(0, int)}, r"body25 is \(0, 25, 3\), expected"),
        ({"body25": np.ones((60, 25, 2))}, r"body25 is \(60, 25, 2\), expected \(N, joints, 3\)"),
        ({"track": np.zeros(3, int)}, r"track is int64 \(3,\), expected integers \(60,\)"),
        ({"track": np.full(60, -1)}, "track is -1, expected 0 or more"),
        ({"track": np.full(60, 3)}, "track is 3, there are 3 names"),
        ({"track": np.full(60, 10**9), "track_name": None}, "track is 1000000000, expected less than the 60 rows"),
        ({"track_name": np.array(["a", "b", "a"])}, "expected different texts"),
        ({"track": None}, "key 'track' is missing"),
    ],
)
def test_bad_content(written, arrays, message):
    with pytest.raises(InputError, match=message):
        tracks_npz.read(written(**arrays), None)
