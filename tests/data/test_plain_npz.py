"""Our own npz, and the checks that every data set goes through."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.camera import Camera
from ites_fast.data import PoseDataset, load
from ites_fast.data.plain_npz import save_npz
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17


@pytest.fixture
def dataset(world):
    pose = world(3, 20) + np.array([0, 0, 5], np.float32)
    cameras = tuple(
        Camera(
            np.array([900.0, 905.0 + n]), np.array([320.0, 240.0]), (640, 480),
            radial=np.array([-0.1, 0.05, 0.0]), tangential=np.array([1e-3, -2e-3]), position=np.full(3, float(n)),
            tangential_factor=1.0 + n,
        )
        for n in range(2)
    )  # fmt: skip
    camera = np.repeat(np.arange(2, dtype=np.int32), 10)
    return PoseDataset(
        name="made",
        skeleton=H36M_17,
        pose_2d=np.concatenate([cameras[n].project(pose[camera == n]) for n in range(2)]).astype(np.float32),
        pose_3d=pose,
        cameras=cameras,
        camera=camera,
        subjects=("ann", "bob"),
        subject=camera.copy(),
        actions=("run",),
        action=np.zeros(20, np.int32),
        sequence=camera + 4,
        frame=np.tile(np.arange(10, dtype=np.int32), 2) * 3,
        fps=25.0,
    )


def test_missing_joints_are_taken_where_the_file_says_so(tmp_path, dataset):
    pose_2d = dataset.pose_2d.copy()
    pose_2d[3, 5], pose_2d[4, 0], pose_2d[4, 2, 1] = np.nan, np.nan, np.nan
    incomplete = replace(dataset, pose_2d=pose_2d)
    save_npz(incomplete, tmp_path / "d.npz")
    with pytest.raises(InputError, match=r"pose_2d of sample 3, joint 5 \(left_knee\), is nan"):
        load(tmp_path / "d.npz")
    save_npz(replace(incomplete, allow_missing=True), tmp_path / "d.npz")
    back = load(tmp_path / "d.npz")
    assert back.missing_joints == 3
    np.testing.assert_array_equal(back.pose_2d, pose_2d)
    image, whole = back.image(), dataset.image()
    seen = ~np.isnan(pose_2d).any(-1)
    np.testing.assert_allclose(image[seen], whole[seen], atol=1e-6)
    assert np.isnan(image[~seen]).any(-1).all()
    with pytest.raises(InputError, match=r"3 of 340 joints are missing \(NaN\); training needs all joints"):
        back.require_complete("training")
    dataset.require_complete("training")
    for key, bad in (("pose_2d", np.inf), ("pose_3d", np.nan)):
        values = getattr(back, key).copy()
        values[6, 7, 0] = bad
        with pytest.raises(InputError, match=rf"{key} of sample 6, joint 7 \(spine\), is {bad}"):
            replace(back, **{key: values}).check()


def test_round_trip(tmp_path, dataset):
    save_npz(dataset, tmp_path / "d.npz", np.where(dataset.subject == 1, "test", "train"))
    back = load(tmp_path / "d.npz", "all")
    for name in ("pose_2d", "pose_3d", "camera", "subject", "action", "sequence", "frame"):
        np.testing.assert_array_equal(getattr(back, name), getattr(dataset, name))
    assert (back.subjects, back.actions, back.fps) == (dataset.subjects, dataset.actions, dataset.fps)
    for a, b in zip(back.cameras, dataset.cameras, strict=True):
        assert a.image_size == b.image_size
        assert a.tangential_factor == b.tangential_factor
        for name in ("focal", "principal", "radial", "tangential", "rotation", "position"):
            np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_allclose(back.image(), dataset.pose_3d[..., :2] / dataset.pose_3d[..., 2:], atol=1e-6)
    test = load(tmp_path / "d.npz", "test")
    assert len(test) == 10
    assert set(test.subject) == {1}


def test_fewest_keys(tmp_path, dataset):
    np.savez(
        tmp_path / "few.npz", pose_2d=dataset.pose_2d, camera_focal=[[900.0, 900.0]], camera_principal=[[320.0, 240.0]]
    )
    data = load(tmp_path / "few.npz", "test")
    assert data.pose_3d is None
    assert (data.subjects, data.actions, data.fps) == (("unknown",), ("unknown",), None)
    np.testing.assert_array_equal(data.frame, np.arange(20))


def test_file_without_split_is_test_data(tmp_path, dataset):
    save_npz(dataset, tmp_path / "d.npz")
    assert len(load(tmp_path / "d.npz", "test")) == 20
    with pytest.raises(InputError, match=r"d.npz: the train split is empty: the file has no key 'split'"):
        load(tmp_path / "d.npz", "train")


def test_subset(dataset):
    part = dataset.subset(dataset.camera == 1)
    part.check()
    np.testing.assert_array_equal(part.pose_3d, dataset.pose_3d[10:])
    assert part.subset(np.array([3, 1])).frame.tolist() == [9, 3]
    assert replace(dataset, pose_3d=None).subset(np.array([0])).pose_3d is None


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("pose_2d", np.nan, r"pose_2d of sample 13, joint 5 \(left_knee\), is nan"),
        ("pose_2d", -np.inf, r"pose_2d of sample 13, joint 5 \(left_knee\), is -inf"),
        ("pose_3d", np.nan, r"pose_3d of sample 13, joint 5 \(left_knee\), is nan"),
    ],
)
def test_joints_that_are_not_finite(tmp_path, dataset, name, value, message):
    getattr(dataset, name)[13, 5, 1] = value
    save_npz(dataset, tmp_path / "d.npz")
    with pytest.raises(InputError, match=f"d.npz: {message}"):
        load(tmp_path / "d.npz")


def test_zero_size(tmp_path, dataset):
    dataset.pose_2d[7] = 320.0
    save_npz(dataset, tmp_path / "d.npz")
    with pytest.raises(InputError, match=r"d.npz: pose_2d of sample 7 has zero size: hip and head coincide"):
        load(tmp_path / "d.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_2d": np.ones((20, 16, 2))}, r"pose_2d has shape \(20, 16, 2\), expected \(N, 17, 2\)"),
        ({"pose_3d": np.ones((20, 16, 3))}, r"pose_3d has shape \(20, 16, 3\), expected \(20, 17, 3\)"),
        ({"pose_3d": np.ones((19, 17, 3))}, r"pose_3d has shape \(19, 17, 3\), expected \(20, 17, 3\)"),
        ({"camera": np.full(20, 2)}, "camera numbers up to 2, there are 2"),
        ({"subject": np.zeros(19, int)}, r"subject is int64 \(19,\), expected integers \(20,\)"),
        ({"frame": np.zeros(20)}, r"frame is float64 \(20,\), expected integers \(20,\)"),
        ({"split": np.array(["test"])}, r"split has shape \(1,\), expected \(20,\)"),
        ({"split": np.array(["train"] * 20)}, "the test split is empty"),
        ({"skeleton": np.array("alien")}, "skeleton 'alien' is unknown"),
        ({"camera_focal": np.ones((2, 3))}, r"camera_focal has shape \(2, 3\), expected \(2, 2\)"),
        ({"camera_position": np.ones((1, 3))}, r"camera_position has shape \(1, 3\), expected \(2, 3\)"),
        ({"camera_focal": np.full((2, 2), np.nan)}, "camera focal must be"),
        (
            {"camera_focal": np.array([[900.0, 900.0], [900.0, 0.0]])},
            r"camera focal must be positive, got \[900.0, 0.0\]",
        ),
        ({"camera_focal": np.full((2, 2), -900.0)}, "camera focal must be positive"),
        ({"camera_image_size": np.full((2, 2), np.inf)}, "cannot convert float infinity to integer"),
        ({"camera_rotation": np.full((2, 3, 3), "east")}, "camera_rotation is <U4, expected numbers"),
        ({"pose_2d": np.full((20, 17, 2), "far")}, "pose_2d is <U3, expected numbers"),
        ({"pose_3d": np.full((20, 17, 3), True)}, "pose_3d is bool, expected numbers"),
        ({"fps": np.array([25.0, 30.0])}, r"fps is float64 \(2,\), expected one finite number"),
        ({"fps": np.array("fast")}, "fps is <U4, expected numbers"),
        ({"camera_principal": None}, "key 'camera_principal' is missing"),
        ({"actions": np.array([{}], dtype=object)}, "'actions' cannot be read"),
    ],
)
def test_broken_files(tmp_path, dataset, change, message):
    save_npz(dataset, tmp_path / "good.npz")
    with np.load(tmp_path / "good.npz") as file:
        content = dict(file) | change
    np.savez(tmp_path / "d.npz", **{key: value for key, value in content.items() if value is not None})
    with pytest.raises(InputError, match=message):
        load(tmp_path / "d.npz", "test")


def test_image_needs_cameras(dataset):
    with pytest.raises(InputError, match="made: no cameras"):
        replace(dataset, cameras=()).image()


def test_arrays_of_different_lengths(dataset):
    with pytest.raises(InputError, match=r"made: action has shape \(3,\), expected \(20,\)"):
        replace(dataset, action=dataset.action[:3]).check()
