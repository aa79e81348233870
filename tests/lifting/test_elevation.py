"""The elevation of a camera from how people stand."""

import numpy as np
import pytest

from ites_fast.data import load, mocap17
from ites_fast.data.clips import clip_numbers
from ites_fast.lifting.elevation import FEWEST, STEEPEST, choose_elevation, estimate_elevation


@pytest.fixture(scope="module")
def clips():
    """True poses of clips, and the elevation of the camera of each, degrees."""
    data = load(mocap17.BUNDLED, "test")
    number = clip_numbers(data)
    chosen = [np.flatnonzero(number == each) for each in np.unique(number)[::7]]
    rows = [each for each in chosen if len(each) >= FEWEST]
    ups = [data.cameras[data.camera[each[0]]].rotation[:, 2] for each in rows]
    return [(data.pose_3d[each], np.degrees(np.arctan2(-up[2], -up[1]))) for each, up in zip(rows, ups, strict=True)]


def test_it_is_nearer_to_the_truth_than_a_level_camera(clips):
    errors = [(abs((estimate_elevation(poses) or 0) - truth), abs(truth)) for poses, truth in clips]
    estimated, level = np.mean(errors, 0)
    assert estimated < 0.7 * level


@pytest.mark.parametrize("degrees", [-20, 10, 20])
def test_a_camera_that_is_turned_looks_down_by_as_much_more(clips, degrees):
    poses = clips[0][0]
    sin, cos = np.sin(np.radians(degrees)), np.cos(np.radians(degrees))
    down = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])  # of what was straight below, to the front
    assert estimate_elevation(poses @ down.T) == pytest.approx(estimate_elevation(poses) + degrees, abs=1)


def test_too_few_people_and_people_who_lie_say_nothing(clips):
    poses = clips[0][0]
    assert estimate_elevation(poses[: FEWEST - 1]) is None
    assert estimate_elevation(np.full((50, 17, 3), np.nan)) is None
    lying = poses[..., [0, 2, 1]]
    assert estimate_elevation(lying) is None
    assert choose_elevation(None, lying) == (0.0, ())
    assert choose_elevation(STEEPEST + 1, poses) == (STEEPEST + 1, ())


def test_nobody_in_some_frames_changes_nothing(clips):
    poses = clips[0][0]
    with_gaps = np.insert(poses, [3, 9], np.nan, axis=0)
    assert estimate_elevation(with_gaps) == estimate_elevation(poses)
