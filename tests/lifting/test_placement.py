"""Cameras that are said in several ways, the size of an average body, and places in space by known poses."""

import numpy as np
import pytest

from ites_fast.camera import Camera
from ites_fast.data import mocap17
from ites_fast.errors import InputError
from ites_fast.lifting import placement
from ites_fast.lifting.placement import check_height, check_image_size, choose_view, root_translation
from ites_fast.skeleton import H36M_17

PIXELS = np.array([[100.0, 200.0], [1900.0, 1000.0], [960.0, 540.0]])


@pytest.fixture(scope="module")
def bundled():
    with np.load(mocap17.BUNDLED) as file:
        return {"pose": file["positions_mm"] / 1000.0, "subject": file["sequence_subject"][file["sequence"]]}


def test_the_average_body_is_that_of_the_bundled_motion_capture(bundled):
    pose, subject = bundled["pose"], bundled["subject"]
    bones = np.stack([np.linalg.norm(pose[:, a] - pose[:, b], axis=1) for a, b in H36M_17.edges], 1)
    hip_to_head = np.linalg.norm(pose[:, H36M_17.head] - pose[:, H36M_17.root], axis=1)
    assert bones.mean() / hip_to_head.mean() == pytest.approx(placement.MEAN_BONE, abs=5e-4)
    assert hip_to_head.mean() == pytest.approx(placement.METRES_PER_BODY_UNIT, abs=0.01)
    legs = [bone for bone, (child, _) in enumerate(H36M_17.edges) if child in (2, 3, 5, 6)]  # knees and ankles
    ratios = []
    for person in np.unique(subject):
        length = np.median(bones[subject == person], 0)
        ratios.append(length[legs].sum() / 2 / 0.491 / length.mean())
    assert np.mean(ratios) * placement.MEAN_BONE == pytest.approx(placement.STATURE, abs=0.01)


@pytest.mark.parametrize(
    "arguments",
    [
        {"focal": 1500},
        {"focal": (1500.0, 1500.0)},
        {"fov": np.rad2deg(2 * np.arctan(960 / 1500))},
        {"camera": Camera((1500, 1500), (960, 540))},
    ],
)
def test_one_camera_said_in_several_ways(arguments):
    view = choose_view(**arguments, image_size=(1920, 1080))
    assert view.known
    assert view.notes == ()
    np.testing.assert_allclose(view.camera.undistort(PIXELS), (PIXELS - [960, 540]) / 1500, rtol=1e-12)


def test_the_field_of_view_is_that_of_the_longer_side():
    wide, tall = (choose_view(fov=60, image_size=size).camera for size in ((1920, 1080), (1080, 1920)))
    np.testing.assert_allclose(wide.focal, tall.focal)
    assert wide.undistort([1920, 540])[0] == pytest.approx(np.tan(np.deg2rad(30)))
    assert tall.principal.tolist() == [540, 960]


def test_what_is_not_said_is_assumed_and_noted():
    view = choose_view(image_size=(1080, 1920))
    assert not view.known
    assert view.camera.focal.tolist() == [1920 * placement.ASSUMED_FOCAL] * 2
    assert "assumed" in view.notes[0]
    nothing = choose_view()
    assert nothing.camera is None
    assert not nothing.known
    assert "No camera" in nothing.notes[0]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"focal": 900}, "focal: needs image_size"),
        ({"fov": 60}, "fov: needs image_size"),
        ({"fov": 60, "focal": 900, "image_size": (640, 480)}, "focal and fov are given together"),
        ({"fov": 180, "image_size": (640, 480)}, "fov: expected degrees between 0 and 180, .* got 180"),
        ({"fov": float("nan"), "image_size": (640, 480)}, "fov: expected degrees"),
        ({"fov": True, "image_size": (640, 480)}, "fov: expected degrees"),
        ({"fov": "60", "image_size": (640, 480)}, "fov: expected degrees"),
        ({"focal": -900, "image_size": (640, 480)}, "focal: expected one or two positive numbers"),
        ({"focal": (900, 900, 900), "image_size": (640, 480)}, "focal: expected one or two"),
        ({"focal": "long", "image_size": (640, 480)}, "focal: expected one or two"),
        ({"focal": 1.145, "image_size": (640, 480)}, "focal: expected pixels, got 1.145 for an image 640 pixels long"),
        ({"camera": np.eye(3)}, "camera: expected an ites_fast.Camera, got ndarray"),
        ({"camera": Camera((900, 900), (320, 240), (640, 480)), "image_size": (1920, 1080)}, "but the camera's is"),
        ({"image_size": (640,)}, r"image_size: expected two numbers, \(width, height\)"),
        ({"image_size": 640}, "image_size: expected two numbers"),
        ({"image_size": "big"}, "image_size: expected two numbers"),
        ({"image_size": (640, 0)}, "image_size: expected two positive numbers"),
        ({"image_size": (640, float("inf"))}, "image_size: expected two positive numbers"),
    ],
)
def test_cameras_that_cannot_be(arguments, message):
    with pytest.raises(InputError, match=message):
        choose_view(**arguments)


@pytest.mark.parametrize(
    ("height", "message"),
    [
        (180, "at most 2.8, got 180; 180 cm are 1.80"),
        (12.0, "at most 2.8, got 12$"),
        (0, "got 0"),
        (-1.8, "got -1.8"),
        ("1.8", "got '1.8'"),
        (True, "got True"),
        (float("nan"), "got nan"),
        (float("inf"), "got inf"),
    ],
)
def test_heights_that_cannot_be(height, message):
    with pytest.raises(InputError, match=f"height: expected metres.*{message}"):
        check_height(height)


def test_what_can_be():
    assert check_height(1.8) == 1.8
    assert check_height(np.float32(1.5)) == 1.5
    assert check_image_size(np.array([1920.0, 1080.0])) == (1920, 1080)


def seen(pose, translation):
    placed = pose + translation[:, None]
    return placed[..., :2] / placed[..., 2:]


@pytest.fixture
def people(bundled):
    """Poses in metres, root-relative, in a camera's frame, and places in front of it."""
    rng = np.random.default_rng(0)
    pose = bundled["pose"][:: len(bundled["pose"]) // 200][:, :, [0, 2, 1]] * [1, -1, 1]
    translation = rng.uniform([-1.5, -1, 2.5], [1.5, 1, 8], (len(pose), 3))
    return pose - pose[:, :1], translation


def test_true_poses_stand_where_they_stand(people):
    pose, translation = people
    image, weight = seen(pose, translation), np.random.default_rng(1).uniform(0.1, 1, pose.shape[:2])
    np.testing.assert_allclose(root_translation(pose, image, weight), translation, atol=1e-9)
    single = root_translation(*(values.astype(np.float32) for values in (pose, image, weight)))
    assert np.abs(single - translation).max() < 1e-3


def test_joints_that_were_not_seen_do_not_count(people):
    pose, translation = people
    image, weight = seen(pose, translation), np.ones(pose.shape[:2])
    hidden = np.random.default_rng(1).random(pose.shape[:2]) < 0.5
    image[hidden], weight[hidden] = np.nan, 0
    np.testing.assert_allclose(root_translation(pose, image, weight), translation, atol=1e-8)


def test_it_is_the_least_squares_solution(people):
    """Against a solver of the normal equations, for poses that no ray goes through."""
    pose, translation = people
    rng = np.random.default_rng(2)
    image, weight = seen(pose, translation) + rng.normal(0, 0.01, (*pose.shape[:2], 2)), rng.random(pose.shape[:2])
    found = root_translation(pose, image, weight)
    for n in range(0, len(pose), 20):
        rows, right = [], []
        for j in range(17):
            u, v = image[n, j]
            x, y, z = pose[n, j]
            rows += [np.sqrt(weight[n, j]) * np.array(row) for row in ([1, 0, -u], [0, 1, -v])]
            right += [np.sqrt(weight[n, j]) * value for value in (u * z - x, v * z - y)]
        np.testing.assert_allclose(found[n], np.linalg.lstsq(np.array(rows), np.array(right))[0], atol=1e-8)


def test_nobody_stands_behind_the_camera(people):
    """Pose and image contradict each other here: left is right, and what was far is near."""
    pose, translation = people
    image = seen(pose, translation)
    found = root_translation(pose * [-1, -1, 1], image, np.ones(pose.shape[:2]))
    assert (found[:, None, 2] + pose[..., 2] >= -1e-9).all()
    np.testing.assert_allclose(found[:, 2], translation[:, 2], rtol=0.4)


def test_places_that_nobody_can_say(people):
    pose, translation = people[0][:4], people[1][:4]
    image, weight = seen(pose, translation), np.ones(pose.shape[:2])
    image[0] = image[0, :1]
    weight[1] = 0
    weight[2, 1:] = 0
    found = root_translation(pose, image, weight)
    assert np.isnan(found[:3]).all()
    np.testing.assert_allclose(found[3], translation[3])
    assert root_translation(pose[:0], image[:0], weight[:0]).shape == (0, 3)
