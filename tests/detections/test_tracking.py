"""People keep their names from frame to frame."""

from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import read_detections
from ites_fast.detections.tracking import Tracker, follow, merge_duplicates

RECORDED = Path(__file__).parent / "recorded"
HALF = [(4, -5), (9, -3), (20, 25), (30, 60), (32, 90), (13, 100), (14, 145), (15, 190)]
# Nose, and eye, ear, shoulder, elbow, wrist, hip, knee, ankle of both sides: somebody 195 pixels tall.
STANDING = np.array([(0, 0), *((side * x, y) for x, y in HALF for side in (-1, 1))], np.float32)


def people_at(*middles, missing=(), noise=0.0, generator=None):
    """People (P, 17, 3) with confidence 0.9 whose noses are at ``middles``."""
    keypoints = np.full((len(middles), 17, 3), 0.9, np.float32)
    for keypoint, middle in zip(keypoints, middles, strict=True):
        keypoint[:, :2] = STANDING + np.array(middle)
        if noise:
            keypoint[:, :2] += generator.normal(0, noise, (17, 2))
        keypoint[list(missing)] = np.nan, np.nan, 0
    return keypoints


def test_recorded_people_in_changing_order_are_one_track_each():
    """Two of the three stay in their place, the drawn one has confidences of exactly 1; the third walks past both."""
    detections = read_detections(RECORDED / "two_people")
    assert len(detections.tracks) == 3
    drawn, standing, walking = detections.tracks
    for track in (drawn, standing, walking):
        points = np.where(track.keypoints[..., 2:] > 0, track.keypoints[..., :2], np.nan)
        np.testing.assert_array_equal(np.diff(track.frame), 1)
        # Between two frames no joint that is seen well moves by more than a fifth of the body: nobody is swapped.
        size = np.nanmax(np.nanmax(points, 1) - np.nanmin(points, 1))
        well = (track.keypoints[1:, :, 2] > 0.5) & (track.keypoints[:-1, :, 2] > 0.5)
        steps = np.linalg.norm(np.diff(points, axis=0), axis=-1)
        assert np.median(steps[well]) < 0.02 * size
        assert np.percentile(steps[well], 99) < 0.2 * size
    seen = drawn.keypoints[..., 2] > 0
    np.testing.assert_array_equal(drawn.keypoints[..., 2][seen], 1)
    assert standing.keypoints[..., 2].max() < 0.9
    assert walking.keypoints[..., 2].max() < 1
    assert np.nanmax(standing.keypoints[..., 0]) < 150
    np.testing.assert_array_equal([len(drawn), len(standing), len(walking)], [50, 50, 48])
    assert walking.keypoints[-1, 0, 0] - walking.keypoints[0, 0, 0] > 200  # to the right, by the nose


def test_the_parts_of_a_recorded_body_are_put_together():
    """In frame 37 OpenPose gave the legs of the walking person as another one."""
    walking = read_detections(RECORDED / "two_people").tracks[2]
    before, parted = (walking.keypoints[walking.frame == frame][0] for frame in (36, 37))
    assert (parted[:, 2] > 0).sum() > 20
    legs = slice(11, 17)
    np.testing.assert_allclose(parted[legs, :2], before[legs, :2], atol=25)


@pytest.mark.parametrize("speed", [3.0, 12.0])
def test_two_people_who_cross_keep_their_names(speed):
    generator = np.random.default_rng(5)
    steps = np.arange(60)
    left, right = 500 - speed * 30 + speed * steps, 500 + speed * 30 - speed * steps
    frames = [people_at((a, 300), (b, 315), noise=1.0, generator=generator) for a, b in zip(left, right, strict=True)]
    tracks = follow([generator.permutation(frame) for frame in frames])
    assert len(tracks) == 2
    for track in tracks:
        nose = track.keypoints[:, 0, 0]
        assert abs(nose[-1] - nose[0]) > 50 * speed  # whoever turns back has been swapped
        assert len(track) >= 58  # where they hide each other they may be one for a moment


def test_people_who_come_and_go():
    frames = []
    for step in range(40):
        middles = [(200 + 2 * step, 300)]
        if step >= 10:
            middles.insert(0, (800, 300))
        if not 15 <= step < 22:
            middles.append((1200 - 4 * step, 500))
        frames.append(people_at(*middles))
    tracks = follow(frames)
    assert [len(track) for track in tracks] == [40, 33, 30]
    np.testing.assert_array_equal(tracks[2].frame, np.arange(10, 40))
    np.testing.assert_allclose(tracks[1].keypoints[:, 0, 0], 1200 - 4 * tracks[1].frame)


def test_after_a_longer_gap_it_is_another_person():
    frames = [people_at((200, 300)) if step < 5 or step >= 16 else people_at() for step in range(20)]
    assert [len(track) for track in follow(frames, max_gap=11)] == [9]
    assert [len(track) for track in follow(frames, max_gap=10)] == [5, 4]


def test_who_walks_on_unseen_is_expected_farther_on():
    """After ten frames somebody else stands where the walking person was last."""
    walking = [(100 + 15 * step, 300) for step in range(31)]
    frames = [people_at(walking[step]) if step < 20 else people_at() for step in range(30)]
    frames.append(people_at(walking[19], walking[30]))
    walker, other = follow(frames)
    assert (len(walker), len(other)) == (21, 1)
    assert walker.keypoints[-1, 0, 0] == 550


def test_gaps_are_counted_in_frame_numbers():
    frames = [people_at((200, 300))] * 4
    assert len(follow(frames, numbers=[0, 1, 30, 31], max_gap=28)) == 1
    assert len(follow(frames, numbers=[0, 1, 30, 31], max_gap=27)) == 2


def test_a_body_seen_in_part_stays_the_same_person():
    """The legs are found again though the frame before had the head alone."""
    frames = [people_at((200, 300)), people_at((202, 300), missing=range(5, 17))]
    frames += [people_at((204, 300), missing=range(11)), people_at((206, 300))]
    assert [len(track) for track in follow(frames)] == [4]


def test_two_skeletons_on_one_body_are_merged_and_neighbours_are_not():
    generator = np.random.default_rng(1)
    weak = people_at((200, 300), noise=2.0, generator=generator)
    weak[..., 2] = 0.4
    strong = people_at((200, 300), missing=(9,))
    neighbour = people_at((240, 300))
    merged = merge_duplicates(np.concatenate([weak, strong, neighbour]))
    assert len(merged) == 2
    np.testing.assert_array_equal(merged[0, 10], strong[0, 10])
    np.testing.assert_array_equal(merged[0, 9], weak[0, 9])
    np.testing.assert_array_equal(merged[1], neighbour[0])


def test_short_tracks_are_dropped_only_when_asked():
    frames = [people_at((200, 300), (800, 300)) if step == 3 else people_at((200, 300)) for step in range(8)]
    assert [len(track) for track in follow(frames)] == [8, 1]
    assert [track.name for track in follow(frames, min_length=2)] == ["1"]


def test_the_nearest_pair_is_taken_first():
    """Each person is nearer to where the other was than some third one, whatever the order of detections."""
    before, after = people_at((200, 300), (260, 300)), people_at((258, 300), (320, 300))
    tracker = Tracker()
    assert tracker.update(0, before) == [1, 2]
    assert tracker.update(1, after)[0] == 2


def test_wrong_shapes_and_orders_are_refused():
    with pytest.raises(ValueError, match=r"\(P, J, 3\), got \(2, 17, 2\)"):
        Tracker().update(0, np.zeros((2, 17, 2)))
    with pytest.raises(ValueError, match="frame 3 after frame 3"):
        follow([people_at((1, 1))] * 2, numbers=[3, 3])
    with pytest.raises(ValueError, match="max_gap"):
        Tracker(max_gap=-1)
