"""The camera and its lens."""

import numpy as np
import pytest

from ites_fast.camera import Camera, distort, undistort
from ites_fast.data.resection import rotation_from_vector

RADIAL, TANGENTIAL = np.array([-0.21, 0.24, -0.01]), np.array([0.0016, -0.0011])


@pytest.fixture
def image():
    return np.random.default_rng(0).uniform(-0.45, 0.45, (5, 17, 2))


def opencv_lens(image, k, p):
    """The formulas of OpenCV's documentation, coordinate by coordinate."""
    x, y = image[..., 0], image[..., 1]
    r2 = x * x + y * y
    gain = 1 + k[0] * r2 + k[1] * r2**2 + k[2] * r2**3
    u = x * gain + 2 * p[0] * x * y + p[1] * (r2 + 2 * x * x)
    v = y * gain + p[0] * (r2 + 2 * y * y) + 2 * p[1] * x * y
    return np.stack([u, v], -1)


def test_distortion_is_opencvs(image):
    np.testing.assert_allclose(distort(image, RADIAL, TANGENTIAL), opencv_lens(image, RADIAL, TANGENTIAL), atol=1e-15)


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_undistort_is_the_inverse(image, factor):
    seen = distort(image, RADIAL, TANGENTIAL, factor)
    np.testing.assert_allclose(undistort(seen, RADIAL, TANGENTIAL, factor), image, atol=1e-12)


def test_one_lens_a_pose(image):
    radial, tangential = np.outer(np.arange(5) / 5, RADIAL)[:, None], np.outer(np.arange(5) / 5, TANGENTIAL)[:, None]
    seen = distort(image, radial, tangential)
    np.testing.assert_allclose(seen[3], distort(image[3], radial[3, 0], tangential[3, 0]), atol=1e-15)
    np.testing.assert_allclose(undistort(seen, radial, tangential), image, atol=1e-12)


def test_camera_round_trip():
    rotation = rotation_from_vector(np.array([0.3, -2.0, 0.7]))
    camera = Camera(
        np.array([1140.0, 1138.0]), np.array([510.0, 512.0]), (1000, 1002), RADIAL, TANGENTIAL, rotation, np.ones(3)
    )
    points = np.random.default_rng(1).normal(size=(50, 3)) + np.array([0, 0, 5])  # in the camera's frame
    world = points @ rotation + camera.position
    np.testing.assert_allclose(camera.to_camera(world), points, atol=1e-12)
    np.testing.assert_allclose(camera.undistort(camera.project(points)), points[:, :2] / points[:, 2:], atol=1e-9)


def test_a_point_on_the_right_is_on_the_right():
    camera = Camera(np.array([1000.0, 1000.0]), np.array([500.0, 500.0]), (1000, 1000))
    np.testing.assert_allclose(camera.project(np.array([0.5, 0.25, 5.0])), [600, 550])


def test_pixels_of_an_ordinary_list():
    camera = Camera(focal=(1000, 800), principal=(500, 400), radial=(-0.2, 0.1, 0))
    image = camera.undistort([[500, 400], [700, 560]])
    np.testing.assert_allclose(image[0], 0, atol=1e-12)
    np.testing.assert_allclose(camera.project(np.append(image[1], 1.0)), [700, 560])
    with pytest.raises(ValueError, match=r"pixels must be \(..., 2\), got \(4, 3\)"):
        camera.undistort(np.zeros((4, 3)))


@pytest.mark.parametrize("value", [(0, 1000), (1000, -1000)])
def test_focal_lengths_are_positive(value):
    with pytest.raises(ValueError, match="camera focal must be positive"):
        Camera(focal=value, principal=(0, 0))


@pytest.mark.parametrize(("field", "value"), [("focal", [1.0]), ("rotation", np.eye(2)), ("position", [0, np.nan, 0])])
def test_wrong_parameters(field, value):
    given = {"focal": np.ones(2), "principal": np.zeros(2), "image_size": (10, 10), field: value}
    with pytest.raises(ValueError, match=f"camera {field} must be"):
        Camera(**given)
