"""People in perspective: where joints land, what the camera follows, and which side has which colour."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.pictures.canvas import LEFT, RIGHT
from ites_fast.pictures.view_3d import View3D, _axes, framing

SIZE = (300, 300)


def pixels_like(picture, colour):
    """Places (N, 2), x and y, of pixels close to a colour."""
    distance = np.abs(np.asarray(picture, int) - colour).sum(-1)
    return np.argwhere(distance < 60)[:, ::-1]


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
def test_the_axes_are_a_rotation_and_the_world_is_upright(yaw):
    axes = _axes(yaw)
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(axes) == pytest.approx(1)
    assert axes[0, 2] == 0  # the horizon is level
    assert (axes @ [0, 0, 1])[1] < 0  # up in the world is up in the picture


@pytest.mark.parametrize("yaw", [0.0, 2.0, 4.0])
def test_every_joint_is_in_the_picture(two_walkers, yaw):
    view = View3D(two_walkers.to_world("z"), SIZE)
    for person in view.scene.people:
        for frame, positions in zip(person.frame, person.positions, strict=True):
            points, _ = view.project(positions, view.framing.centre[frame], _axes(yaw))
            assert (points > 0).all()
            assert (points < SIZE).all()


def test_the_first_view_is_the_original_camera_s(walker):
    """Left and right, up and down are as in the image: joints keep their order along both axes."""
    scene = walker.to_world("z")
    view = View3D(scene, SIZE)
    points, depth = view.project(scene.people[0].positions[0], view.framing.centre[0], _axes(0.0))
    image = walker.people[0].keypoints[0, :, :2]
    for axis in (0, 1):
        assert np.corrcoef(points[:, axis], image[:, axis])[0, 1] > 0.98
    assert np.corrcoef(depth, walker.people[0].positions[0, :, 2])[0, 1] > 0.8


def test_sides_have_their_colours(walker):
    scene = walker.to_world("z")
    view = View3D(scene, SIZE)
    picture = view.draw(0).finish()
    points, _ = view.project(scene.people[0].positions[0], view.framing.centre[0], _axes(0.0))
    for colour, side in ((LEFT, scene.skeleton.left), (RIGHT, scene.skeleton.right)):
        found = pixels_like(picture, colour)
        assert len(found) > 30
        nearest = np.linalg.norm(found[:, None] - points[list(side)], axis=-1).min(1)
        assert np.median(nearest) < 25


def test_who_walks_far_is_followed(walker):
    person = walker.people[0]
    way = np.linspace(0, 30, len(person), dtype=np.float32)[:, None, None] * np.float32([1, 0, 0])
    scene = replace(walker, people=(replace(person, positions=person.positions + way),)).to_world("z")
    still, moving = framing(walker.to_world("z")), framing(scene)
    assert np.ptp(still.centre, axis=0).max() == 0
    assert np.ptp(moving.centre, axis=0)[0] > 15
    assert moving.radius < 8


def test_a_joint_that_was_not_seen_is_faint(walker):
    person = walker.people[0]
    confidence = person.confidence.copy()
    confidence[:, list(walker.skeleton.left)] = 0
    faint = replace(walker, people=(replace(person, confidence=confidence),)).to_world("z")
    strong = pixels_like(View3D(walker.to_world("z"), SIZE).draw(0).finish(), LEFT)
    assert len(pixels_like(View3D(faint, SIZE).draw(0).finish(), LEFT)) < 0.1 * len(strong)


def test_a_person_is_drawn_only_where_there(two_walkers):
    view = View3D(two_walkers.to_world("z"), SIZE)
    alone, both = (len(pixels_like(view.draw(frame).finish(), RIGHT)) for frame in (2, 10))
    assert both > 1.5 * alone
