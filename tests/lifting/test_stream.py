"""Streams of people who come and go: who is whom, what is remembered, and what later frames cannot change."""

import gc
import sys
import tracemalloc

import numpy as np
import pytest
import torch

from ites_fast import load_lifter
from ites_fast.errors import InputError
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.placement import choose_view
from ites_fast.lifting.stream import Stream
from ites_fast.skeleton import H36M_17, get_skeleton

FPS = 15.0


@pytest.fixture(scope="module")
def lifter(camera):
    return FrameLifter(load_lifter(), H36M_17, view=choose_view(camera), height=1.75)


@pytest.fixture
def stream(lifter):
    return Stream(lifter, FPS)


@pytest.fixture(scope="module")
def people(clean):
    """Three people in 40 frames (40, 3, 17, 2)."""
    return np.stack([one.keypoints[:40] for one in clean[:3]], 1)


def test_without_options_it_is_the_lifter_frame_by_frame(lifter, people):
    stream = Stream(lifter, FPS, smooth=None, consistent_depth=False)
    for frame in people[:5]:
        got, expected = stream(frame, "abc"), lifter(frame)
        np.testing.assert_allclose(got.positions, expected.positions, atol=1e-6)
        np.testing.assert_allclose(got.translation, expected.translation, atol=1e-6)
        np.testing.assert_array_equal(got.confidence, expected.confidence)
        np.testing.assert_array_equal(got.ambiguity, expected.ambiguity)
        assert got.ids == ("a", "b", "c")
        assert got.units == "metres"


def test_people_are_told_apart_by_their_ids(lifter, people):
    together, alone = (
        Stream(lifter, FPS, constant_bones=True),
        {i: Stream(lifter, FPS, constant_bones=True) for i in "abc"},
    )
    for t, frame in enumerate(people[:20]):
        order = np.random.default_rng(t).permutation(3)
        ids = ["abc"[i] for i in order]
        got = together(frame[order], ids)
        for row, name in enumerate(ids):
            expected = alone[name](frame["abc".index(name)], [name])
            np.testing.assert_allclose(got.positions[row], expected.positions[0], atol=2e-5)
            np.testing.assert_allclose(got.translation[row], expected.translation[0], atol=2e-4)


def test_a_frame_depends_on_no_later_one(lifter, people):
    one, other = Stream(lifter, FPS), Stream(lifter, FPS)
    for t in range(20):
        first = one(people[t], "abc", copy=True)
        second = other(people[t] if t < 10 else people[-t], "abc", copy=True)
        assert np.array_equal(first.positions, second.positions) == (t < 10)


def test_noise_is_smoothed(lifter, noisy):
    raw, calm = [], []
    for one in noisy[:6]:
        stream = Stream(lifter, one.fps)
        frames = zip(one.keypoints, one.frame / one.fps, strict=True)
        poses = np.concatenate([stream(keypoints, time=time, copy=True).positions for keypoints, time in frames])
        raw.append((one.errors(one.positions).mean(), one.acceleration_error(one.positions)))
        calm.append((one.errors(poses).mean(), one.acceleration_error(poses)))
    assert (np.mean(calm, 0) < [0.97, 0.6] * np.mean(raw, 0)).all()


def test_who_returns_soon_continues_and_who_returns_late_is_new(lifter, people):
    def after_a_break(seconds):
        stream = Stream(lifter, FPS, forget_after=2.0)
        for t in range(10):
            stream(people[t], "abc", t / FPS)
        stream(people[10, :1], "a", 10 / FPS)
        got = stream(people[11], "abc", 9 / FPS + seconds)
        return got.positions, stream

    fresh = Stream(lifter, FPS)(people[11], "abc").positions
    soon, _ = after_a_break(1.9)
    late, stream = after_a_break(2.04)
    assert np.abs(soon[1] - fresh[1]).max() > 1e-3
    np.testing.assert_allclose(late[1:], fresh[1:], atol=1e-6)  # b and c
    assert np.abs(late[0] - fresh[0]).max() > 1e-3  # a was seen a frame later
    assert len(stream._pose) <= 4  # the numbers of b and c were given again


def test_strangers_who_come_and_go_take_no_memory(stream, people):
    for t in range(300):
        stream(people[t % 40], [t, t + 1, t + 2], t / 2)
    assert len(stream._pose) < 30
    assert len(stream._last_seen) < 30


def test_nobody_in_a_frame_and_one_person_without_an_axis(stream, people):
    empty = stream([])
    assert empty.ids == ()
    assert empty.positions.shape == (0, 17, 3)
    assert empty.translation.shape == (0, 3)
    first = stream(people[0, 0])
    assert first.ids == (0,)
    assert first.positions.shape == (1, 17, 3)
    assert stream(np.empty((0, 17, 2)), []).confidence.shape == (0, 17)
    tensor = stream(torch.from_numpy(people[1, 0]))
    assert tensor.ids == (0,)
    without_camera = Stream(FrameLifter(load_lifter(), H36M_17), FPS)
    assert without_camera(people[0], "abc").translation is None
    assert without_camera([]).units == "body units"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (lambda p: (p[0], ["a", "a", "b"]), "ids repeat, expected one for each of 3 people"),
        (lambda p: (p[0], ["a", "b"]), "ids are 2, expected one for each of 3 people"),
        (lambda p: (p[0, :, :16], "abc"), r"keypoints: expected \(P, 17, 2 or 3\) .* for h36m_17, got \(3, 16, 2\)"),
        (lambda p: (p[0][..., :1], "abc"), r"got \(3, 17, 1\)"),
        (lambda p: ([[1, 2], [3]], "a"), "keypoints: expected numbers"),
        (lambda p: (p[0], "abc", -1.0), r"time: expected seconds after 0, got -1\.0"),
        (lambda p: (p[0], "abc", float("nan")), "time: expected seconds"),
    ],
)
def test_what_a_caller_gets_wrong(stream, people, arguments, message):
    stream(people[0], "abc")
    with pytest.raises(InputError, match=message):
        stream(*arguments(people))
    # nothing has happened to the stream
    got = stream(people[1], "abc", copy=True)
    again = Stream(stream.lifter, FPS)
    again(people[0], "abc")
    np.testing.assert_array_equal(got.positions, again(people[1], "abc").positions)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"smooth": "savitzky_golay"}, "smooth: expected 'one_euro'"),
        ({"fps": 0}, "fps"),
        ({"forget_after": -1}, "forget"),
    ],
)
def test_options_out_of_range(lifter, options, message):
    with pytest.raises(InputError, match=message):
        Stream(lifter, **options)


def test_people_without_ids_are_followed(stream, people):
    apart = people + np.array([-2000, 0, 2000])[:, None, None].astype(np.float32)
    names = stream(apart[0]).ids
    assert len(set(names)) == 3
    for t in range(1, 20):
        order = np.random.default_rng(t).permutation(3)
        assert stream(apart[t, order]).ids == tuple(names[i] for i in order)
    assert stream(apart[20, [2, 0]]).ids == (names[2], names[0])


def test_a_person_too_little_of_whom_is_seen_keeps_the_last_pose(stream, people):
    keypoints = people[:, 0].copy()
    nothing = np.full_like(keypoints[:1], np.nan)
    assert np.isnan(stream(nothing, "a").positions).all()
    before = stream(keypoints[:1], "a", copy=True)
    held = stream(nothing, "a")
    np.testing.assert_array_equal(held.positions, before.positions)
    np.testing.assert_array_equal(held.translation, before.translation)
    assert (held.confidence == 0).all()
    assert np.isfinite(stream(keypoints[1:2], "a").positions).all()


def test_joints_that_come_and_go_do_not_jump(lifter, clean):
    """A joint is lost for half a second and found again: what the viewer sees, and how wrong it is."""
    steps, errors = {True: [], False: []}, {True: [], False: []}
    joints = [3, 6, 13, 16]  # ankles and wrists
    for number, one in enumerate(clean):
        joint = joints[number % 4]
        keypoints = one.keypoints.copy()
        keypoints[12:19, joint] = np.nan
        stream = Stream(lifter, one.fps, smooth=None, consistent_depth=False)
        faded = np.concatenate([stream(frame, copy=True).positions for frame in keypoints])
        for fades, poses in ((True, faded), (False, lifter(keypoints).positions)):
            steps[fades].append([np.linalg.norm(poses[t, joint] - poses[t - 1, joint]) for t in (12, 19)])
            scale = (poses * one.truth).sum((1, 2)) / np.square(poses).sum((1, 2))
            error = np.linalg.norm(poses * scale[:, None, None] - one.truth, axis=-1)
            errors[fades].append(error[12:19, joint].mean())
    assert (np.mean(steps[True], 0) < 0.7 * np.mean(steps[False], 0)).all()  # when it is lost, and when it is found
    assert np.mean(errors[True]) < np.mean(errors[False])


def test_confidence_of_a_lost_joint_is_zero(stream, people):
    keypoints = np.concatenate([people[0, :1], np.full((1, 17, 1), 0.8, np.float32)], -1)
    keypoints[0, 13] = np.nan, np.nan, 0
    confidence = stream(keypoints, "a").confidence
    assert confidence[0, 13] == 0
    np.testing.assert_allclose(np.delete(confidence[0], 13), 0.8)


def test_results_are_overwritten_unless_they_are_copied(stream, people):
    first, copied = stream(people[0], "abc"), stream(people[1], "abc", copy=True)
    kept = copied.positions.copy()
    stream(people[2], "abc")
    np.testing.assert_array_equal(copied.positions, kept)
    assert not np.array_equal(first.positions, Stream(stream.lifter, FPS)(people[0], "abc").positions)


def test_reset_forgets_everything(stream, people):
    expected = stream(people[0], "abc", copy=True)
    for frame in people[1:5]:
        stream(frame, "abc")
    stream.reset()
    got = stream(people[0], "abc", 0.0)
    np.testing.assert_array_equal(got.positions, expected.positions)
    np.testing.assert_array_equal(got.translation, expected.translation)


def test_a_negated_pose_stands_where_it_is_seen(lifter, camera, people):
    """The root's place goes with the pose: joints stay on their rays but for the depth that was turned around."""
    stream = Stream(lifter, FPS, smooth=None)
    sure = stream(people[0], "abc", copy=True)
    stream.lifter = _Flipped(lifter)
    got = stream(people[1], "abc")
    expected = lifter(people[1]).positions
    np.testing.assert_allclose(got.positions, expected, atol=1e-6)
    assert np.abs(got.positions - sure.positions).max() > 1e-3
    pixels = camera.project(got.positions + got.translation[:, None])
    assert np.abs(pixels - people[1]).mean() < 12


class _Flipped:
    """A lifter that always returns the copy with the other sign of depth."""

    def __init__(self, lifter):
        self.lifter, self.skeleton, self.target = lifter, lifter.skeleton, lifter.target
        self.units, self.place = lifter.units, lifter.place

    def __call__(self, keypoints):
        lifted = self.lifter(keypoints)
        return lifted._replace(positions=lifted.positions * np.float32([1, 1, -1]))


def test_other_skeletons(people):
    coco = get_skeleton("coco_17")
    stream = Stream(FrameLifter(load_lifter(), coco), 30)
    frame = stream(np.random.default_rng(0).uniform(100, 300, (2, 17, 3)).astype(np.float32), "ab")
    assert frame.positions.shape == (2, 17, 3)


def test_memory_does_not_grow(lifter, people):
    stream = Stream(lifter, 60, constant_bones=True)
    frames = list(people)

    def run(count):
        for index in range(count):
            stream(frames[index % 40], "abc")

    run(20)
    tracemalloc.start()
    try:
        run(10)
        gc.collect()
        before = tracemalloc.get_traced_memory()[0]
        run(80)
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] - before < 2000
        tracemalloc.reset_peak()
        now = tracemalloc.get_traced_memory()[0]
        run(1)
        assert tracemalloc.get_traced_memory()[1] - now < 40_000  # arrays of a few poses, most of them the lifter's
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_memory_does_not_grow_in_ten_thousand_frames(lifter, people):
    stream = Stream(lifter, 60, constant_bones=True)

    def run(count):
        for index in range(count):
            stream(people[index % 40], "abc")
        gc.collect()
        return sys.getallocatedblocks()

    before = run(100)
    assert run(10_000) - before < 100
