"""``Poses``: frames of coordinates, the floor, scenes, and files, as arrays and as tensors."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast import Poses
from ites_fast.data import load, mocap17
from ites_fast.errors import InputError
from ites_fast.scene.files import read_scene
from ites_fast.scene.scene import FLOOR_QUANTILE
from ites_fast.skeleton import H36M_17


@pytest.fixture(scope="module")
def views():
    """A clip of a person who walks, seen by one camera."""
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, 40))


@pytest.fixture(params=["array", "tensor"])
def poses(request, lifter, views):
    pixels = views.pose_2d if request.param == "array" else torch.from_numpy(views.pose_2d)
    return lifter(pixels, camera=views.cameras[0], fps=15)


def array(values):
    return values.numpy() if isinstance(values, torch.Tensor) else values


def test_what_they_say(poses, lifter, views):
    assert poses.joint_names == H36M_17.joint_names
    assert poses.frame == "camera (x right, y down, z forward)"
    assert poses.to_world("y").frame == "world, y up (x right, z towards the camera)"
    assert repr(poses) == "Poses(40 of h36m_17, metres, camera (x right, y down, z forward), placed in space)"
    assert repr(lifter(views.pose_2d[0])) == (
        "Poses(1 of h36m_17, body units, camera (x right, y down, z forward), root-relative)"
    )
    assert "2 x 20 of" in repr(lifter(views.pose_2d.reshape(2, 20, 17, 2)))


def test_absolute(poses):
    np.testing.assert_allclose(array(poses.absolute)[:, 0], array(poses.translation))
    np.testing.assert_array_equal(
        array(poses.absolute), array(poses.positions) + array(poses.translation)[:, None], strict=True
    )
    with pytest.raises(InputError, match="absolute positions: nothing is known of the camera"):
        replace(poses, translation=None).absolute  # noqa: B018


@pytest.mark.parametrize(("up", "axis"), [("y", 1), ("z", 2)])
def test_worlds(poses, up, axis):
    poses = replace(poses, elevation=0.0)
    world = poses.to_world(up)
    assert type(world.positions) is type(poses.positions)
    camera, turned = array(poses.positions).astype(np.float64), array(world.positions).astype(np.float64)
    # one proper rotation for all: no axis is negated alone, and x stays x
    turn = np.linalg.lstsq(camera.reshape(-1, 3), turned.reshape(-1, 3))[0].T
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-5)
    assert np.linalg.det(turn) == pytest.approx(1, abs=1e-5)
    np.testing.assert_array_equal(turned[..., 0], camera[..., 0])
    assert (turned[:, 10, axis] == turned[..., axis].max(1)).mean() > 0.9  # the head is above all else
    absolute = array(world.absolute)
    lowest = absolute[..., axis].min(1)
    assert np.quantile(lowest, FLOOR_QUANTILE, method="lower") == pytest.approx(0, abs=1e-6)
    assert lowest.min() > -0.05
    assert (array(world.positions)[:, 0] == 0).all()
    away = {"y": -absolute[:, 0, 2], "z": absolute[:, 0, 1]}[up]
    np.testing.assert_allclose(away, array(poses.translation)[:, 2], rtol=1e-5)


def test_from_world_to_world(poses):
    """The floor is found once; what is up in one world is up in the other."""
    for first, second in (("y", "z"), ("z", "y")):
        there, direct = poses.to_world(first).to_world(second), poses.to_world(second)
        for name in ("positions", "translation"):
            np.testing.assert_allclose(array(getattr(there, name)), array(getattr(direct, name)), atol=1e-5)
        assert direct.to_world(second) is direct
    with pytest.raises(InputError, match="up: expected 'y' or 'z', got 'x'"):
        poses.to_world("x")


def test_without_a_place_each_pose_stands_on_the_floor(lifter, views):
    for pixels in (views.pose_2d, torch.from_numpy(views.pose_2d)):
        poses = lifter(pixels)
        world = poses.to_world("z")
        assert not world.placed
        absolute = array(world.absolute)
        np.testing.assert_allclose(absolute[..., 2].min(1), 0, atol=1e-6)
        assert (absolute[:, 0, :2] == 0).all()
        assert poses.to_world("z", floor=False).translation is None


def test_placed_poses_move_together(poses):
    world, hanging = poses.to_world("z"), poses.to_world("z", floor=False)
    difference = array(world.translation) - array(hanging.translation)
    np.testing.assert_allclose(difference, difference[:1].repeat(len(difference), 0), atol=1e-6)
    assert (difference[0, :2] == 0).all()
    before = array(poses.translation).copy()
    poses.to_world("z")
    np.testing.assert_array_equal(array(poses.translation), before)


def test_nobody_is_no_floor(lifter, views):
    pixels = views.pose_2d.copy()
    pixels[:5] = np.nan
    world = lifter(pixels, camera=views.cameras[0]).to_world("z")
    lowest = world.absolute[5:, :, 2].min(1)
    assert np.quantile(lowest, FLOOR_QUANTILE, method="lower") == pytest.approx(0, abs=1e-6)
    nobody = lifter(np.full_like(pixels, np.nan), camera=views.cameras[0]).to_world("z")
    assert np.isnan(nobody.absolute).all()


def test_a_camera_that_looks_down_sees_upright_people_lean(lifter, views):
    """Told the elevation, they stand as the motion capture says; scenes and poses agree on the estimate."""
    camera = views.cameras[0]
    poses = lifter(views.pose_2d, camera=camera, fps=15)
    up = camera.rotation[:, 2]  # of the world, in the camera's frame
    truth = np.degrees(np.arctan2(-up[2], -up[1]))
    assert 0 < poses.elevation < 1.5 * truth
    assert "if people stand upright" in " ".join(poses.notes)
    told = lifter(views.pose_2d, camera=camera, elevation=truth).to_world("z", floor=False)
    assert told.elevation == 0
    vertical = np.linalg.lstsq(poses.positions.reshape(-1, 3), told.positions.reshape(-1, 3))[0][:, 2]
    assert np.degrees(np.arccos(vertical @ up)) < 8  # what is left is the camera's roll
    scene = poses.scene()
    assert scene.elevation == poses.elevation
    world = poses.to_world("z")
    np.testing.assert_allclose(scene.to_world("z").people[0].positions, world.absolute, atol=1e-5)


def test_an_elevation_is_degrees(lifter, views):
    assert lifter(views.pose_2d[:14], camera=views.cameras[0]).elevation == 0  # too few poses to say
    for elevation in (100, "steep", float("nan")):
        with pytest.raises(InputError, match="elevation: expected degrees from -90 to 90"):
            lifter(views.pose_2d, camera=views.cameras[0], elevation=elevation)


def test_a_scene_is_the_poses(poses):
    scene = poses.scene()
    (person,) = scene.people
    np.testing.assert_array_equal(person.positions, array(poses.absolute))
    np.testing.assert_array_equal(person.confidence, array(poses.confidence))
    np.testing.assert_array_equal(person.keypoints, array(poses.keypoints))
    np.testing.assert_array_equal(person.ambiguity, array(poses.ambiguity))
    assert (scene.frames, scene.fps, scene.units, scene.axes, scene.placed) == (40, 15.0, "metres", "camera", True)
    assert scene.notes == poses.notes
    assert poses.scene(fps=24).fps == 24
    for up in ("y", "z"):
        turned, direct = poses.to_world(up).scene(), scene.to_world(up)
        assert turned.axes == direct.axes == up
        np.testing.assert_allclose(turned.people[0].positions, direct.people[0].positions, atol=1e-5)


def test_a_scene_without_places(lifter, views):
    poses = lifter(views.pose_2d)
    scene = poses.scene()
    np.testing.assert_array_equal(scene.people[0].positions, poses.positions)
    assert not scene.placed
    assert scene.fps == 30
    world = poses.to_world("z").scene()
    np.testing.assert_allclose(world.people[0].positions, scene.to_world("z").people[0].positions, atol=1e-6)


def test_people_of_a_scene(lifter, views):
    pixels = views.pose_2d.reshape(4, 10, 17, 2).copy()
    pixels[0, :3] = np.nan  # comes later
    pixels[2] = np.nan  # never comes
    scene = lifter(pixels).scene(person="dancer")
    assert [person.name for person in scene.people] == ["dancer 2", "dancer 4", "dancer 1"]
    assert scene.people[2].frame.tolist() == [3, 4, 5, 6, 7, 8, 9]
    assert scene.frames == 10
    one = lifter(views.pose_2d[7]).scene()
    assert (one.frames, len(one.people), one.people[0].name) == (1, 1, "person")
    assert lifter(np.empty((0, 17, 2))).scene().frames == 0
    still = lifter(views.pose_2d[0], height=1.8).to_world("y")
    assert still.scene().people[0].positions.shape == (1, 17, 3)


def test_files(poses, tmp_path):
    (path,) = poses.save(tmp_path / "walk.npz")
    scene = read_scene(path)
    np.testing.assert_allclose(scene.people[0].positions, array(poses.absolute), atol=1e-6)
    assert scene.fps == 15
    assert read_scene(*poses.save(tmp_path / "walk.csv", fps=30)).fps == 30
    (path,) = poses.to_world("z").save(tmp_path / "walk.bvh")
    assert path.read_text().startswith("HIERARCHY")
    with pytest.raises(InputError, match="unknown suffix"):
        poses.save(tmp_path / "walk.docx")


def test_they_are_frozen(poses):
    with pytest.raises(AttributeError):
        poses.units = "feet"
    assert isinstance(poses, Poses)
