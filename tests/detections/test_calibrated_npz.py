"""Detections of calibrated cameras, one camera at a time."""

from pathlib import Path

import numpy as np
import pytest

from ites_fast.data import body25b_npz
from ites_fast.detections import calibrated_npz
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS

FILE = Path(__file__).parent / "recorded_arrays" / "balancing.npz"


@pytest.fixture
def written(tmp_path):
    """Function that writes the recorded arrays with changes."""

    def write(**arrays):
        with np.load(FILE) as file:
            np.savez(tmp_path / "c.npz", **(dict(file) | arrays))
        return tmp_path / "c.npz"

    return write


def test_the_chosen_camera():
    detections = calibrated_npz.read(Path(f"{FILE}::3"), None)
    with np.load(FILE) as file:
        points, K, dist = file["body25b"][2], file["K"][2], file["dist"][2]
    (track,) = detections.tracks
    seen = points[..., 2] > 0
    np.testing.assert_array_equal(track.keypoints[seen], points[seen])
    assert np.isnan(track.keypoints[~seen][:, :2]).all()
    assert (detections.skeleton.name, detections.fps, detections.frames) == ("body_25b", 60, 10)
    assert detections.image_size == detections.camera.image_size == (1088, 1920)
    np.testing.assert_array_equal(detections.camera.focal, K.diagonal()[:2])
    np.testing.assert_array_equal(detections.camera.radial, [*dist[:2], 0])
    np.testing.assert_array_equal(detections.camera.tangential, dist[2:])


def test_the_3d_falls_on_the_detections():
    """The lens, the rotation and the position are those with which the 3D was triangulated."""
    for camera in range(4):
        detections = calibrated_npz.read(Path(f"{FILE}::{camera + 1}"), None)
        with np.load(FILE) as file:
            world = file["joints17_3d"].astype(np.float64)
            joints = body25b_npz.to_17(file["body25b"][camera])
        pixels = detections.camera.project(detections.camera.to_camera(world))
        assert np.nanmedian(np.linalg.norm(pixels - joints, axis=-1)) < 20  # of 1920


def test_several_cameras_ask_for_one(written):
    assert calibrated_npz.recognise(FILE)
    assert calibrated_npz.recognise(Path(f"{FILE}::1"))
    with pytest.raises(InputError, match=r"holds 4 cameras; choose one, as .*balancing.npz::1, of 1, 2, 3, 4"):
        calibrated_npz.read(FILE, None)
    with pytest.raises(InputError, match="'5' is none of its cameras: 1, 2, 3, 4"):
        calibrated_npz.read(Path(f"{FILE}::5"), None)
    with np.load(FILE) as file:
        one = {key: file[key][:1] for key in calibrated_npz.SHAPES}
    assert calibrated_npz.read(written(**one), None).frames == 10


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"K": np.ones((3, 3, 3))}, r"K has shape \(3, 3, 3\), expected \(4, 3, 3\)"),
        ({"K": np.zeros((4, 3, 3))}, "camera 1: K is .*, expected fx 0 cx"),
        ({"body25b": np.ones((4, 0, 25, 3))}, "expected at least one frame"),
        ({"body25b": np.ones((4, 2, 25, 3), object)}, "body25b is an object array"),
        ({"size": np.full((4, 2), np.nan)}, r"camera 1: size is \[nan, nan\], expected width and height"),
        ({"fps": np.array(-3.0)}, "fps is -3, expected a positive number"),
        ({"R": np.full((4, 3, 3), np.nan)}, "camera 1: camera rotation must be"),
    ],
)
def test_bad_content(written, arrays, message):
    with pytest.raises(InputError, match=message):
        calibrated_npz.read(Path(f"{written(**arrays)}::1"), None)


def test_another_skeleton_does_not_fit():
    with pytest.raises(InputError, match="25 joints, expected 17 for coco_17"):
        calibrated_npz.read(Path(f"{FILE}::1"), SKELETONS["coco_17"])
