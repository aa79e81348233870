"""Cameras solved from points, and points that do not determine one."""

import numpy as np
import pytest

from ites_fast.camera import Camera
from ites_fast.data.resection import rotation_from_vector, solve_camera, spread_points
from ites_fast.data.virtual_cameras import orbit_camera
from ites_fast.errors import InputError

POINTS = np.random.default_rng(2).uniform([-1.5, -1.5, 0], [1.5, 1.5, 1.8], (2000, 3))


def camera(factor=2.0):
    view = orbit_camera(azimuth=30, elevation=12, roll=2, distance=4.5, target=0.9)
    return Camera(
        np.array([1400.0, 1390.0]), np.array([980.0, 520.0]), (1920, 1080), np.array([-0.2, 0.2, -0.02]),
        np.array([1e-3, -2e-3]), view.rotation, view.position, factor,
    )  # fmt: skip


def solve(world, pixels, factor=2.0):
    return solve_camera(world, pixels, (1920, 1080), tangential_factor=factor, source="clip")


@pytest.mark.parametrize("factor", [1.0, 2.0])
def test_exact_points_give_the_camera_back(factor):
    true = camera(factor)
    solved, residual = solve(POINTS, true.project(true.to_camera(POINTS)), factor)
    assert residual < 1e-6
    for name in ("focal", "principal", "radial", "tangential", "rotation", "position"):
        np.testing.assert_allclose(getattr(solved, name), getattr(true, name), rtol=1e-5, atol=1e-7)


def test_residual_is_the_noise():
    true = camera()
    noise = np.random.default_rng(0).normal(0, 0.3, (len(POINTS), 2))
    solved, residual = solve(POINTS, true.project(true.to_camera(POINTS)) + noise)
    assert residual == pytest.approx(0.3 * np.sqrt(2), rel=0.05)
    np.testing.assert_allclose(solved.position, true.position, atol=0.02)


def test_too_few_points():
    with pytest.raises(InputError, match="clip: 99 points, expected at least 100"):
        solve(POINTS[:99], POINTS[:99, :2])


def test_points_in_a_plane():
    true, flat = camera(), POINTS * [1, 1, 0]
    with pytest.raises(InputError, match="clip: the points lie in a plane or on a line"):
        solve(flat, true.project(true.to_camera(flat)))


def test_mirrored_points():
    true = camera()
    with pytest.raises(InputError, match="clip: the pixels show the mirror image of the points"):
        solve(POINTS * [-1, 1, 1], true.project(true.to_camera(POINTS)))


def test_spread_points_reach_the_thin_parts():
    rng = np.random.default_rng(0)
    pixels = np.concatenate([rng.normal(500, 5, (50_000, 2)), rng.uniform(0, 1000, (500, 2))])
    chosen = spread_points(pixels, rng)
    assert len(np.unique(chosen)) == len(chosen) < 1000
    assert (chosen >= 50_000).sum() > 450


def test_rotation_from_vector():
    np.testing.assert_allclose(rotation_from_vector(np.zeros(3)), np.eye(3))
    quarter = rotation_from_vector(np.array([0, 0, np.pi / 2]))
    np.testing.assert_allclose(quarter @ [1, 0, 0], [0, 1, 0], atol=1e-15)
    tiny = rotation_from_vector(np.array([1e-9, 0, 0]))
    np.testing.assert_allclose(tiny[2, 1], 1e-9)
