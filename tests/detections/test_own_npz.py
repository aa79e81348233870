"""Our own npz of detections: what is written comes back, and what cannot be read says why."""

import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ites_fast.camera import Camera
from ites_fast.detections import own_npz, tracks_npz
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS

RECORDED = Path(__file__).parent / "recorded_arrays"


@pytest.fixture(scope="module")
def wild() -> Detections:
    return tracks_npz.read(RECORDED / "wild_tracks.npz", None)


@pytest.fixture
def write(tmp_path):
    """Function that writes arrays to an npz file, by default 4 frames of 17 joints of coco_17."""

    def write(**arrays):
        points = np.arange(4 * 17 * 3, dtype=np.float32).reshape(4, 17, 3)
        content = {"keypoints": points, "skeleton": np.array("coco_17")} | arrays
        np.savez(tmp_path / "d.npz", **{key: value for key, value in content.items() if value is not None})
        return tmp_path / "d.npz"

    return write


def test_round_trip(tmp_path, wild):
    camera = Camera((900, 905), (320, 240), (640, 480), (-0.1, 0.05, 0.01), (1e-3, -2e-3))
    late = replace(wild.tracks[1], frame=wild.tracks[1].frame[3:] + 30, keypoints=wild.tracks[1].keypoints[3:])
    detections = replace(
        wild, tracks=(wild.tracks[0], late), frames=77, fps=29.97, image_size=(640, 480), camera=camera
    )
    own_npz.write(detections, tmp_path / "kept.npz")
    assert own_npz.recognise(tmp_path / "kept.npz")
    back = own_npz.read(tmp_path / "kept.npz", None)
    assert (back.frames, back.fps, back.image_size, back.skeleton) == (77, 29.97, (640, 480), wild.skeleton)
    for track, written in zip(back.tracks, detections.tracks, strict=True):
        assert track.name == written.name
        np.testing.assert_array_equal(track.frame, written.frame)
        np.testing.assert_array_equal(track.keypoints, written.keypoints)
    for name in ("focal", "principal", "image_size", "radial", "tangential"):
        np.testing.assert_array_equal(getattr(back.camera, name), getattr(camera, name))


def test_a_video_without_people_comes_back(tmp_path, wild):
    own_npz.write(replace(wild, tracks=()), tmp_path / "empty.npz")
    back = own_npz.read(tmp_path / "empty.npz", None)
    assert (back.tracks, back.frames) == ((), 20)


def test_people_by_people(write):
    points = np.arange(2 * 4 * 17 * 2, dtype=np.float64).reshape(2, 4, 17, 2)
    points[1, 2] = np.nan
    back = own_npz.read(write(keypoints=points, frame=np.array([3, 4, 5, 9]), track=np.array(["ann", "bob"])), None)
    assert [(track.name, track.frame.tolist()) for track in back.tracks] == [("ann", [3, 4, 5, 9]), ("bob", [3, 4, 9])]
    np.testing.assert_array_equal(back.tracks[1].keypoints[..., :2], points[1, [0, 1, 3]])
    assert (back.tracks[1].keypoints[..., 2] == 1).all()
    assert back.frames == 10


def test_rows_in_any_order(write):
    points = np.arange(4 * 17 * 2, dtype=np.float32).reshape(4, 17, 2)
    back = own_npz.read(write(keypoints=points, frame=np.array([1, 0, 0, 1]), track=np.array([8, 7, 8, 7])), None)
    assert [(track.name, track.frame.tolist()) for track in back.tracks] == [("8", [0, 1]), ("7", [0, 1])]
    np.testing.assert_array_equal(back.tracks[0].keypoints[..., :2], points[[2, 0]])


def test_what_was_not_detected(write):
    points = np.ones((3, 17, 3))
    points[0, 1, 0] = np.nan
    points[0, 2, 2] = 0
    points[0, 3, 2] = np.nan
    points[0, 4, 2] = 1.3
    points[0, 5] = np.inf, np.inf, 0
    points[2, :, 2] = 0
    (track,) = own_npz.read(write(keypoints=points), None).tracks
    assert track.frame.tolist() == [0, 1]
    missing = track.keypoints[0, [1, 2, 3, 5]]
    assert np.isnan(missing[:, :2]).all()
    assert (missing[:, 2] == 0).all()
    assert track.keypoints[0, 4].tolist() == [1, 1, 1]
    assert own_npz.read(write(keypoints=points * [1, 1, 0]), None).tracks == ()


def test_fewest_keys(write):
    back = own_npz.read(write(skeleton=None, keypoints=np.ones((1, 26, 2), np.int16)), None)
    assert (back.skeleton.name, back.frames, back.fps, back.image_size) == ("halpe_26", 1, None, None)
    assert own_npz.read(write(skeleton=None), SKELETONS["mpi_inf_3dhp_17"]).skeleton.name == "mpi_inf_3dhp_17"


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"keypoints": np.ones((4, 16, 3))}, "d.npz: 16 joints, expected 17 for coco_17"),
        ({"keypoints": np.ones((4, 17))}, r"keypoints is \(4, 17\), expected \(T, J, 2 or 3\)"),
        ({"keypoints": np.ones((4, 17, 4))}, r"keypoints is \(4, 17, 4\), expected"),
        ({"keypoints": np.ones((0, 17, 3))}, "expected at least one frame"),
        ({"keypoints": np.ones((4, 17, 3), complex)}, "keypoints is complex128, expected numbers"),
        ({"keypoints": np.full((4, 17, 3), "a")}, "keypoints is <U1, expected numbers"),
        ({"keypoints": np.full((4, 17, 3), None)}, "keypoints is an object array, expected numbers"),
        ({"keypoints": np.full((4, 17, 3), np.inf)}, r"keypoints\[0, 0\] is \[inf, inf, inf\], expected pixels"),
        ({"keypoints": np.full((4, 17, 2), 1e300)}, r"keypoints\[0, 0\] is \[inf, inf, 1.0\], expected pixels"),
        ({"keypoints": None}, "key 'keypoints' is missing; it holds skeleton"),
        ({"skeleton": None}, "does not say which skeleton its 17 joints are; name it: .*coco_17"),
        ({"skeleton": np.array("horse")}, "its skeleton 'horse' is unknown; known: "),
        ({"skeleton": np.array("/etc/passwd.yaml")}, "its skeleton '/etc/passwd.yaml' is unknown"),
        ({"skeleton": np.array(5)}, "skeleton is int64 .*, expected one text"),
        ({"frame": np.arange(5)}, r"frame is \(5,\), expected \(4,\)"),
        ({"frame": np.arange(4.0)}, "frame is float64 .*, expected integers"),
        ({"frame": np.array([0, 1, 2, -1])}, "frame -1, expected 0 to 9999999"),
        ({"frame": np.array([0, 1, 2, 2**63], np.uint64)}, "frame 9223372036854775808, expected 0 to"),
        ({"frame": np.array([0, 1, 1, 2])}, "person 1 is in frame 1 twice"),
        ({"track": np.zeros(3, int)}, r"track is int64 \(3,\), expected integers or text \(4,\)"),
        ({"track": np.full(4, 0x110000, np.uint32).view("U1")}, "track holds characters that are not Unicode"),
        ({"track": np.full(4, 0xD800, np.uint32).view("U1")}, "track holds characters that are not Unicode"),
        ({"keypoints": np.ones((2, 3, 17, 3)), "track": np.array([1, 1])}, "track names a person twice"),
        ({"frames": np.array(3)}, "frames is 3, expected an integer from 4"),
        ({"fps": np.array(0)}, "fps is 0, expected a positive number"),
        ({"fps": np.array(np.nan)}, "fps is float64 .*, expected one finite number"),
        ({"image_size": np.array([640, -1])}, r"image_size is \[640, -1\], expected width and height"),
        ({"K": np.eye(4)}, r"K is \(4, 4\) and dist \(0,\), expected \(3, 3\)"),
        ({"K": np.ones((3, 3))}, "expected fx 0 cx / 0 fy cy / 0 0 1"),
        ({"K": np.diag([-1.0, 1, 1])}, "camera focal must be positive"),
        ({"dist": np.zeros(4)}, "has dist but no K"),
    ],
)
def test_bad_content(write, arrays, message):
    with pytest.raises(InputError, match=message):
        own_npz.read(write(**arrays), None)


def test_every_truncation_is_told(tmp_path, write):
    whole = write().read_bytes()
    path = tmp_path / "cut.npz"
    for length in range(0, len(whole), 101):
        path.write_bytes(whole[:length])
        assert not own_npz.recognise(path)
        with pytest.raises(InputError, match=r"cut.npz: not a whole npz file; was it truncated\?"):
            own_npz.read(path, None)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((10**6, 17, 10**5), "expected at most"),
        ((9000, 17, 3), "was it truncated?"),
        ((1,) * 9000, r"cannot be read \(Header info length .{100,200}\.\.\.\); is the file damaged\?$"),  # in one line
    ],
)
def test_announced_size_takes_no_memory(tmp_path, shape, message):
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}"
    header = header.ljust(117) + "\n"
    with zipfile.ZipFile(tmp_path / "big.npz", "w") as archive:
        archive.writestr("keypoints.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(InputError, match=message):
        own_npz.read(tmp_path / "big.npz", None)


def test_what_opencv_cannot_say_is_not_written(tmp_path, wild):
    human36m = Camera((900, 900), (320, 240), tangential=(1e-3, 0), tangential_factor=1.0)
    with pytest.raises(InputError, match=r"tangential factor 1\.0, OpenCV's is 2"):
        own_npz.write(replace(wild, camera=human36m), tmp_path / "d.npz")
    with pytest.raises(InputError, match=r"d.json: expected a name that ends in .npz"):
        own_npz.write(wild, tmp_path / "d.json")
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        own_npz.write(wild, tmp_path / "file" / "d.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file"]
