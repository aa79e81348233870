"""Virtual cameras around a motion."""

import numpy as np

from ites_fast.data.motion import Motion
from ites_fast.data.virtual_cameras import draw_cameras, orbit_camera, views


def motion(world, sequence, name):
    positions = world(sequence, 30)
    positions[..., 0] += np.linspace(-3, 3, 30)[:, None]  # walks further than the cameras' least distance allows
    return Motion(name, "7", positions, np.arange(30, dtype=np.int32) * 8, 15.0)


def test_cameras_are_drawn_as_documented(world):
    positions = motion(world, 3, "a").centred().positions
    reach = np.linalg.norm(positions[:, 0, :2], axis=-1).max()
    for seed in range(50):
        for camera in draw_cameras(positions, np.random.default_rng(seed)):
            np.testing.assert_allclose(camera.rotation @ camera.rotation.T, np.eye(3), atol=1e-12)
            assert np.linalg.det(camera.rotation) > 0
            # It looks at the centre of the motion, right way up.
            np.testing.assert_allclose(camera.to_camera(np.zeros(3))[:2], 0, atol=1e-12)
            assert camera.rotation[1, 2] < -0.9
            assert 4 <= np.linalg.norm(camera.position) - max(0, reach - 1.6) <= 6


def test_orbit_camera_by_hand():
    camera = orbit_camera(azimuth=-90, elevation=0, roll=0, distance=5, target=1)
    np.testing.assert_allclose(camera.position, [0, -5, 1], atol=1e-12)
    np.testing.assert_allclose(camera.to_camera(np.array([1.0, 0.0, 3.0])), [1, -2, 5], atol=1e-12)


def test_cameras_depend_on_seed_and_key_only(world):
    first, second = motion(world, 3, "a"), motion(world, 24, "b")
    both, alone = views({"a.bvh": first, "b.bvh": second}, 5, "x"), views({"b.bvh": second}, 5, "x")
    np.testing.assert_array_equal(both.pose_2d[120:], alone.pose_2d)
    assert (views({"b.bvh": second}, 6, "x").pose_2d != alone.pose_2d).any()
    assert (views({"c.bvh": second}, 5, "x").pose_2d != alone.pose_2d).any()
    both.check()


def test_motions_of_one_name_are_one_action_seen_by_cameras_of_their_own(world):
    walk = motion(world, 3, "walk")
    data = views({"A/walk.bvh": walk, "B/walk.bvh": walk, "A/run.bvh": motion(world, 24, "run")}, 0, "x")
    assert data.actions == ("run", "walk")
    assert np.bincount(data.action).tolist() == [120, 240]
    np.testing.assert_array_equal(data.sequence, np.repeat([0, 1, 2], 120))
    assert not np.isclose(data.cameras[0].position, data.cameras[4].position).all()


def test_order_of_views(world):
    data = views({"1": motion(world, 3, "b"), "2": motion(world, 24, "a")}, 0, "x")
    assert len(data) == 2 * 4 * 30
    assert data.actions == ("a", "b")
    np.testing.assert_array_equal(data.action, np.repeat([1, 0], 120))
    np.testing.assert_array_equal(data.camera, np.repeat(np.arange(8), 30))
    np.testing.assert_array_equal(data.sequence, np.repeat([0, 1], 120))
    np.testing.assert_array_equal(data.frame, np.tile(np.arange(30) * 8, 8))
