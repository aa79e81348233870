"""People over time: frames, axes, units, and what a scene must be."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.scene import Person, Scene
from ites_fast.skeleton import H36M_17

RIGHT_WRIST, HEAD, ANKLE = 16, 10, 3


@pytest.fixture
def seen() -> Scene:
    """A camera 3 m away sees a person whose head is above it, and whose right wrist is nearest, on the image's left."""
    pose = np.zeros((2, 17, 3), np.float32)
    pose[..., 2] = 3
    pose[:, HEAD, 1] = -0.5
    pose[:, ANKLE, 1] = [0.9, 1.0]
    pose[:, RIGHT_WRIST] = [-0.4, 0.1, 2.5]
    person = Person("a", np.arange(2), pose, np.ones((2, 17), np.float32))
    return Scene("seen", H36M_17, (person,), 2, units="metres", placed=True)


@pytest.mark.parametrize(("up", "towards_camera"), [("y", (2, 1)), ("z", (1, -1))])
def test_world_has_the_head_up_the_camera_in_front_and_the_floor_at_zero(seen, up, towards_camera):
    world = seen.to_world(up)
    pose = world.people[0].positions
    height = "xyz".index(up)
    assert world.axes == up
    np.testing.assert_allclose(pose[:, HEAD, height], 1.5, atol=1e-6)  # the lowest ankle, 1.0 below the camera, at 0
    np.testing.assert_allclose(pose[:, ANKLE, height], [0.1, 0], atol=1e-6)
    np.testing.assert_allclose(pose[:, RIGHT_WRIST, 0], -0.4)  # x is to the right in the image, in every frame
    axis, sign = towards_camera
    np.testing.assert_allclose(sign * (pose[:, RIGHT_WRIST, axis] - pose[:, 0, axis]), 0.5, atol=1e-6)


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_turn_to_the_world_is_no_mirror(seen, up):
    corners = np.zeros((2, 17, 3), np.float32)
    corners[:, 1:4] = np.eye(3)
    scene = replace(seen, people=(replace(seen.people[0], positions=corners),))
    turned = scene.to_world(up, floor=False).people[0].positions[0, 1:4]
    assert np.linalg.det(turned) == pytest.approx(1)


def test_from_one_world_to_the_other_and_back(seen):
    y, z = seen.to_world("y"), seen.to_world("z")
    np.testing.assert_allclose(y.to_world("z").people[0].positions, z.people[0].positions, atol=1e-6)
    np.testing.assert_allclose(z.to_world("y").people[0].positions, y.people[0].positions, atol=1e-6)
    assert y.to_world("y") is y


def test_people_who_are_not_placed_stand_on_the_floor_in_every_frame(seen):
    pose = replace(seen, placed=False).to_world("z").people[0].positions
    np.testing.assert_allclose(pose[..., 2].min(1), 0, atol=1e-6)


def test_one_joint_that_is_far_too_low_does_not_lower_the_floor(seen):
    pose = np.repeat(seen.people[0].positions[:1], 40, 0)
    pose[7, ANKLE, 1] += 2
    person = Person("a", np.arange(40), pose, np.ones((40, 17), np.float32))
    world = replace(seen, people=(person,), frames=40).to_world("z").people[0].positions
    np.testing.assert_allclose(np.median(world[:, ANKLE, 2]), 0, atol=1e-6)


@pytest.mark.parametrize("up", ["y", "z"])
def test_a_camera_that_looks_down_is_turned_back(seen, up):
    """What lies on the optical axis of a camera that looks down by 30 degrees is below the camera and before it."""
    ahead = np.zeros((2, 17, 3), np.float32)
    ahead[:, 1] = [0, 0, 2]
    scene = replace(seen, elevation=30.0, people=(replace(seen.people[0], positions=ahead),))
    world = scene.to_world(up, floor=False)
    expected = {"y": [0, -1, -(3**0.5)], "z": [0, 3**0.5, -1]}[up]
    np.testing.assert_allclose(world.people[0].positions[0, 1], expected, atol=1e-6)
    assert world.elevation == 0
    with pytest.raises(InputError, match="elevation 91"):
        replace(seen, elevation=91.0).check()


def test_scenes_and_people_are_printed_in_one_line(seen):
    assert repr(seen) == (
        "Scene('seen', 1 people, 2 poses of h36m_17 in 2 frames at 30 a second, metres, camera axes, placed)"
    )
    assert repr(seen.people[0]) == "Person('a', 2 poses)"


def test_to_world_refuses_other_axes(seen):
    with pytest.raises(InputError, match="'x'"):
        seen.to_world("x")


def test_select_people_and_frames(crowd):
    part = crowd.select(frames=(10, 20))
    assert part.frames == 10
    assert [person.name for person in part.people] == ["walker", "ann, the first"]
    ann = part.people[1]
    np.testing.assert_array_equal(ann.frame, [0, 1, 5, 6, 7, 8, 9])
    whole = crowd.people[1]
    np.testing.assert_array_equal(ann.positions, whole.positions[8:15])
    np.testing.assert_array_equal(ann.keypoints, whole.keypoints[8:15])
    np.testing.assert_array_equal(ann.ambiguity, whole.ambiguity[8:15])
    assert [person.name for person in crowd.select(["Zoë", "walker"]).people] == ["Zoë", "walker"]
    part.check()


def test_select_refuses_what_is_not_there(crowd):
    with pytest.raises(InputError, match="'bob'; people: walker, ann, the first, Zoë"):
        crowd.select(["bob"])
    for frames in ((5, 5), (-1, 3), (0, 41)):
        with pytest.raises(InputError, match="0:40"):
            crowd.select(frames=frames)


def test_metres(walk):
    assert walk.in_metres() is walk
    body = replace(walk, units="body units")
    scaled = body.in_metres()
    assert scaled.units == "metres"
    np.testing.assert_allclose(scaled.people[0].positions, 0.72 * walk.people[0].positions, rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"units": "feet"}, "units 'feet'"),
        ({"axes": "x"}, "axes 'x'"),
        ({"fps": 0.0}, "0.0 frames a second"),
        ({"fps": float("nan")}, "nan frames a second"),
        ({"frames": 39}, "in frame 39, but there are only 39"),
        ({"image_size": (0, 5)}, "image size"),
    ],
)
def test_check_names_what_is_wrong(walk, change, message):
    with pytest.raises(InputError, match=message):
        replace(walk, **change).check()


def test_check_looks_at_people(walk):
    person = walk.people[0]
    for key, value in (("positions", np.nan), ("confidence", 1.5), ("ambiguity", -0.1)):
        shapes = {"positions": (40, 17, 3), "confidence": (40, 17), "ambiguity": (40,)}
        wrong = replace(person, **{key: np.full(shapes[key], value, np.float32)})
        with pytest.raises(InputError, match=f"'walker'.*{key}"):
            replace(walk, people=(wrong,)).check()
    with pytest.raises(InputError, match="same name"):
        replace(walk, people=(person, person)).check()
    few = Person("b", person.frame, person.positions[:, :5], person.confidence[:, :5])
    with pytest.raises(InputError, match="5 joints, expected 17 for 'h36m_17'"):
        replace(walk, people=(few,)).check("walk.json")
