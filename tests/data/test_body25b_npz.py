"""Detections by calibrated cameras with triangulated 3D, in a file of the layout that is made here."""

import logging

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.data.body25b_npz import to_17
from ites_fast.data.loading import READERS, reader_of
from ites_fast.data.plain_npz import save_npz
from ites_fast.errors import InputError

FRAMES = 6
# H36M_17 from BODY_25B for the joints that are one point in both
SAME = {1: 12, 2: 14, 3: 16, 4: 11, 5: 13, 6: 15, 9: 17, 10: 18, 11: 5, 12: 7, 13: 9, 14: 6, 15: 8, 16: 10}


def lens(points, K, k1, k2, p1, p2):
    """Pixels of points in the camera's frame by OpenCV's model, written out."""
    x, y = points[..., 0] / points[..., 2], points[..., 1] / points[..., 2]
    r2 = x * x + y * y
    gain = 1 + k1 * r2 + k2 * r2 * r2
    u = x * gain + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    v = y * gain + 2 * p2 * x * y + p1 * (r2 + 2 * y * y)
    return np.stack([K[0, 0] * u + K[0, 2], K[1, 1] * v + K[1, 2]], -1)


@pytest.fixture
def content(world):
    """A person seen by three cameras: 17 joints whose middle joints are means, as in files of this layout."""
    pose = world(3, FRAMES).astype(np.float64)
    pose[:, 0] = (pose[:, 1] + pose[:, 4]) / 2
    pose[:, 8] = (pose[:, 11] + pose[:, 14]) / 2
    pose[:, 7] = (pose[:, 0] + pose[:, 8]) / 2
    generator = np.random.default_rng(2)
    K = np.tile(np.eye(3), (3, 1, 1))
    K[:, 0, 0], K[:, 1, 1], K[:, 0, 2], K[:, 1, 2] = (900, 910, 920), (905, 915, 925), (300, 310, 320), 240
    dist = generator.uniform(-0.02, 0.02, (3, 4))
    angle = np.array([0.3, 1.9, 4.0])
    zero, one = np.zeros(3), np.ones(3)
    right = np.stack([np.sin(angle), -np.cos(angle), zero], -1)
    forward = np.stack([-np.cos(angle), -np.sin(angle), zero], -1)
    R = np.stack([right, np.stack([zero, zero, -one], -1), forward], 1)
    T = np.tile([0.1, 1.0, 5.0], (3, 1))
    body = generator.uniform(0, 600, (3, FRAMES, 25, 3)).astype(np.float32)
    body[..., 2] = 0.6
    for camera in range(3):
        seen = lens(pose @ R[camera].T + T[camera], K[camera], *dist[camera])
        for joint, source in SAME.items():
            body[camera, :, source, :2] = seen[:, joint]
    size = np.tile([640.0, 480.0], (3, 1))
    return {"K": K, "dist": dist, "R": R, "T": T, "size": size, "body25b": body, "joints17_3d": pose, "fps": 60.0}


@pytest.fixture
def write(tmp_path, content):
    def write(**changes):
        np.savez(tmp_path / "any_name.npz", **{**content, **changes})
        return tmp_path / "any_name.npz"

    return write


def test_joints_and_cameras_fit_each_other(write, content):
    path = write()
    assert reader_of(path) is READERS["BODY_25B npz with cameras"]
    data = load(path, "test")
    assert len(data) == 3 * FRAMES
    truth = data.pose_3d[..., :2] / data.pose_3d[..., 2:]
    np.testing.assert_allclose(data.image()[:, list(SAME)], truth[:, list(SAME)], atol=1e-5)
    # the middle of two points in space is not seen exactly in the middle of the two in the image
    np.testing.assert_allclose(data.image(), truth, atol=0.01)
    np.testing.assert_allclose(
        data.pose_3d[:FRAMES], content["joints17_3d"] @ content["R"][0].T + content["T"][0], atol=1e-5
    )
    np.testing.assert_array_equal(data.camera, np.repeat([0, 1, 2], FRAMES))
    np.testing.assert_array_equal(data.frame, np.tile(np.arange(FRAMES), 3))
    assert [data.actions[index] for index in data.action[::FRAMES]] == ["camera 1", "camera 2", "camera 3"]
    assert data.cameras[2].image_size == (640, 480)
    assert (data.fps, data.missing_joints) == (60, 0)
    assert load(path, "all").subjects == data.subjects


def test_what_was_not_detected_is_missing(write, content, caplog):
    body = content["body25b"]
    body[1, 2, 12] = 0  # right hip: hip and spine are means of it
    body[2, 0, 9] = 0  # left wrist
    body[2, 1, 0] = 0  # nose: no joint of ours
    with caplog.at_level(logging.INFO, "ites_fast"):
        data = load(write(), "test")
    assert np.argwhere(np.isnan(data.pose_2d).any(-1)).tolist() == [[8, 0], [8, 1], [8, 7], [12, 13]]
    assert "4 of 306 joints are missing" in caplog.text
    assert np.isfinite(data.pose_3d).all()


def test_missing_joints_survive_our_own_file(write, content, tmp_path):
    content["body25b"][1, 2, 12] = 0
    data = load(write(), "test")
    save_npz(data, tmp_path / "ours.npz")
    back = load(tmp_path / "ours.npz", "test")
    assert back.allow_missing
    np.testing.assert_array_equal(back.pose_2d, data.pose_2d)
    np.testing.assert_allclose(back.image(), data.image())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"body25b": np.zeros((3, 5, 25, 3))}, r"joints17_3d has shape \(6, 17, 3\), expected \(5, 17, 3\)"),
        ({"dist": np.zeros((3, 5))}, r"dist has shape \(3, 5\), expected \(3, 4\)"),
        ({"K": np.zeros((3, 3, 3))}, "camera 1: camera focal must be positive"),
        ({"T": np.full((3, 3), np.nan)}, "camera 1: camera position must be"),
        ({"size": np.full((3, 2), np.nan)}, "camera 1: cannot convert float NaN"),
        ({"joints17_3d": np.full((6, 17, 3), np.nan)}, r"pose_3d of sample 0, joint 0 \(hip\), is nan"),
        ({"R": np.array(["a"])}, "R is <U1, expected numbers"),
        (
            {"K": np.zeros((0, 3, 3)), "dist": np.zeros((0, 4)), "R": np.zeros((0, 3, 3)), "T": np.zeros((0, 3)),
             "size": np.zeros((0, 2)), "body25b": np.zeros((0, 6, 25, 3))},
            "the test split is empty",
        ),
    ],
)  # fmt: skip
def test_unusable_files_are_told(write, change, message):
    with pytest.raises(InputError, match=message):
        load(write(**change), "test")


def test_there_is_nothing_to_train_on(write):
    with pytest.raises(InputError, match=r"any_name.npz: the train split is empty: real detections to test on"):
        load(write(), "train")


def test_the_real_file(pose2sim):
    """Detections lie where the 3D that was made from them is seen, and the 17 joints are those of the file."""
    data = load(pose2sim, "test")
    assert len(data) == 400
    assert data.missing_joints == 6
    with np.load(pose2sim) as file:
        given, detections = file["joints17_2d"], file["body25b"]
    seen = ~np.isnan(data.pose_2d).any(-1)
    np.testing.assert_allclose(data.pose_2d[seen], given.reshape(-1, 17, 3)[..., :2][seen], atol=1e-3)
    np.testing.assert_array_equal(seen, given.reshape(-1, 17, 3)[..., 2] > 0)
    np.testing.assert_array_equal(np.isnan(to_17(detections)).any(-1).reshape(-1, 17), ~seen)
    pixels = np.concatenate([data.cameras[n].project(data.pose_3d[data.camera == n]) for n in range(4)])
    distance = np.linalg.norm(pixels - data.pose_2d, axis=-1)
    by_joint = np.nanmedian(distance, axis=0)
    assert by_joint.max() < 15  # px of 1920
    for joint in range(17):  # no other joint fits better
        others = np.nanmedian(np.linalg.norm(pixels[:, joint, None] - data.pose_2d, axis=-1), axis=0)
        assert others.argmin() == joint
