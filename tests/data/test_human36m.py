"""The Human3.6M reader on files in VideoPose3D's layout."""

import json

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.errors import InputError


def test_solved_cameras_give_the_true_camera_frame(human36m):
    truth = human36m()
    data = load(truth.folder, "train")
    assert data.subjects == ("S1",)
    assert data.fps == 50
    expected = [view for views in truth.camera_frame["S1"].values() for view in views]
    np.testing.assert_allclose(data.pose_3d, np.concatenate(expected), atol=1e-5)  # metres: a hundredth of a mm
    expected_2d = [view for views in truth.gt["S1"].values() for view in views]
    np.testing.assert_array_equal(data.pose_2d, np.concatenate(expected_2d))


def test_projection_with_distortion_returns_to_the_2d(human36m):
    data = load(human36m().folder, "all")
    for number, camera in enumerate(data.cameras):
        at = data.camera == number
        np.testing.assert_allclose(camera.project(data.pose_3d[at]), data.pose_2d[at], atol=0.01)  # pixels


def test_image_coordinates_are_undistorted(human36m):
    data = load(human36m().folder, "test")
    np.testing.assert_allclose(data.image(), data.pose_3d[..., :2] / data.pose_3d[..., 2:], atol=1e-6)


def test_solved_parameters(human36m):
    truth = human36m()
    data = load(truth.folder, "train")
    for camera, true in zip(data.cameras, truth.cameras["S1"], strict=True):
        np.testing.assert_allclose(camera.focal, true["focal"], atol=0.01)
        np.testing.assert_allclose(camera.principal, true["principal"], atol=0.01)
        np.testing.assert_allclose(camera.position, true["position"], atol=1e-5)


def test_splits_and_names(human36m):
    truth = human36m(subjects=("S1", "S11", "S9"))
    assert load(truth.folder, "train").subjects == ("S1",)
    test = load(truth.folder, "test")
    assert test.subjects == ("S9", "S11")
    assert test.actions == ("Directions", "Walking")  # takes of one action count as one
    runs = np.flatnonzero(np.diff(test.frame) != 1) + 1
    assert len(runs) + 1 == 2 * 2 * 4  # subjects, actions, cameras
    assert all(test.camera[run] != test.camera[run - 1] for run in runs)
    one = load(truth.folder, "all", subjects=["S11"])
    assert {one.subjects[index] for index in one.subject} == {"S11"}


def test_files_with_17_joints(human36m):
    truth = human36m(joints=17)
    data = load(truth.folder, "train")
    np.testing.assert_allclose(data.pose_3d[:36], truth.camera_frame["S1"]["Directions"][0], atol=1e-5)


def test_detections_take_the_cameras_of_the_exact_file(human36m):
    truth = human36m()
    data = load(truth.folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz", "test")
    views = [
        view[: len(pose)]
        for a in truth.cpn["S9"]
        for view, pose in zip(truth.cpn["S9"][a], truth.camera_frame["S9"][a], strict=True)
    ]
    np.testing.assert_array_equal(data.pose_2d, np.concatenate(views))
    expected = [view for views in truth.camera_frame["S9"].values() for view in views]
    np.testing.assert_allclose(data.pose_3d, np.concatenate(expected), atol=1e-5)


def test_missing_action_is_left_out(human36m):
    truth = human36m(subjects=("S11",))
    del truth.cpn["S11"]["Directions"]
    path = truth.folder / "data_2d_h36m_cpn_ft_h36m_dbb.npz"
    np.savez_compressed(path, positions_2d=truth.cpn, metadata={})
    assert load(path, "test").actions == ("Walking",)


def test_cameras_from_json(human36m):
    truth = human36m(subjects=("S9",), gt=False)
    entries = [
        {
            "focal": list(camera["focal"]),
            "principal": list(camera["principal"]),
            "image_size": [1000, 1002],
            "radial": list(camera["radial"]),
            "tangential": list(camera["tangential_xy"][::-1]),
            "rotation": camera["rotation"].tolist(),
            "position": list(camera["position"]),
        }
        for camera in truth.cameras["S9"]
    ]
    path = truth.folder / "cameras_h36m.json"
    path.write_text(json.dumps({"S9": entries}))
    data = load(truth.folder, "test")
    np.testing.assert_allclose(data.pose_3d[:36], truth.camera_frame["S9"]["Directions"][0], atol=1e-5)
    exact = data.cameras[0].project(data.pose_3d[:36])
    np.testing.assert_allclose(exact, truth.gt["S9"]["Directions"][0], atol=1e-3)

    del entries[2]["focal"]
    path.write_text(json.dumps({"S9": entries}))
    with pytest.raises(InputError, match=r"cameras_h36m.json: S9, camera 2: keys .*expected .*focal"):
        load(truth.folder, "test")
    path.write_text("{")
    with pytest.raises(InputError, match=r"cameras_h36m.json: not readable as JSON"):
        load(truth.folder, "test")


def test_detections_alone_say_what_is_missing(human36m):
    truth = human36m(gt=False)
    with pytest.raises(InputError, match=r"cameras are unknown; place data_2d_h36m_gt.npz .* or cameras_h36m.json"):
        load(truth.folder, "test")


def test_detections_named_as_exact_do_not_pass(human36m):
    truth = human36m(cpn=False)
    np.savez_compressed(truth.folder / "data_2d_h36m_gt.npz", positions_2d=truth.cpn, metadata={})
    with pytest.raises(InputError, match=r"S9, camera 0: the solved camera leaves \d\.\d\d px, expected at most 0.5"):
        load(truth.folder, "test")


def test_missing_3d_file(human36m):
    truth = human36m()
    (truth.folder / "data_3d_h36m.npz").unlink()
    with pytest.raises(InputError, match=r"data_3d_h36m.npz: no such file; .* must lie in one folder"):
        load(truth.folder / "data_2d_h36m_gt.npz", "test")


def test_empty_split(human36m):
    truth = human36m(subjects=("S1",))
    with pytest.raises(InputError, match=r"test split is empty: it needs subjects S9, S11, there are S1"):
        load(truth.folder, "test")


@pytest.mark.parametrize("shape", [(36, 16, 2), (35, 17, 2), (36, 34)])
def test_2d_of_another_shape(human36m, shape):
    truth = human36m(subjects=("S9",), cpn=False)
    truth.gt["S9"]["Directions"][1] = np.zeros(shape, np.float32)
    np.savez_compressed(truth.folder / "data_2d_h36m_gt.npz", positions_2d=truth.gt, metadata={})
    with pytest.raises(InputError, match=r"S9, Directions, camera 1: .*(expected \(frames, 17, 2\)|35 frames in 2D)"):
        load(truth.folder, "test")


def test_nan_in_3d(human36m):
    truth = human36m(subjects=("S9",), cpn=False)
    truth.world["S9"]["Directions"][4, 3, 1] = np.nan
    np.savez_compressed(truth.folder / "data_3d_h36m.npz", positions_3d=truth.world)
    with pytest.raises(InputError, match=r"pose_3d of sample 4, joint 3 \(right_ankle\), is nan"):
        load(truth.folder, "test")
