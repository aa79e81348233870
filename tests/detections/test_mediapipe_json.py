"""MediaPipe's landmarks in the layouts that people write."""

import json

import numpy as np
import pytest

from ites_fast.detections import read_detections, recognised_format
from ites_fast.errors import InputError

SIZE = (640, 480)


def landmarks(x=0.25, y=0.5, scale=(1, 1), **more):
    """33 landmarks, each a thousandth of the picture to the right of the one before."""
    return [
        {"x": (x + joint / 1000) * scale[0], "y": y * scale[1], "z": -0.1, "visibility": 0.5 + joint / 100, **more}
        for joint in range(33)
    ]


def as_lists(person):
    return [list(landmark.values()) for landmark in person]


ONE = landmarks()
LAYOUTS = {
    "list of frames": [ONE, None, ONE],
    "empty frames": [[], ONE, [], ONE],
    "lists of numbers": [as_lists(ONE), [], as_lists(ONE)],
    "objects": [{"frame": f, "landmarks": ONE if f != 1 else None} for f in range(3)],
    "objects from 1 on": [{"frame_number": f, "pose_landmarks": ONE if f != 2 else []} for f in (1, 2, 3)],
    "tasks": [{"pose_landmarks": [ONE] if f != 1 else [], "pose_world_landmarks": []} for f in range(3)],
    "javascript": {"frames": [{"poseLandmarks": ONE if f != 1 else None} for f in range(3)]},
    "protocol buffers": [{"pose_landmarks": {"landmark": ONE}}, {"pose_landmarks": None}, {"landmarks": ONE}],
}


def write(tmp_path, value):
    file = tmp_path / "landmarks.json"
    file.write_text(json.dumps(value))
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_a_video(tmp_path, layout):
    file = write(tmp_path, LAYOUTS[layout])
    assert recognised_format(file) == "mediapipe"
    detections = read_detections(file, image_size=SIZE)
    assert (detections.skeleton.name, detections.image_size) == ("mediapipe_33", SIZE)
    (track,) = detections.tracks
    assert np.diff(track.frame).tolist() == [2]
    expected = [[640 * (0.25 + joint / 1000), 240, 0.5 + joint / 100] for joint in range(33)]
    np.testing.assert_allclose(track.keypoints, [expected, expected], rtol=1e-6)
    assert "shares of a picture of 640 x 480 pixels" in " ".join(detections.notes)


@pytest.mark.parametrize(
    "value", [ONE, {"pose_landmarks": ONE}, {"pose_landmarks": [ONE]}, {"landmarks": [as_lists(ONE)]}]
)
def test_a_picture(tmp_path, value):
    file = write(tmp_path, value)
    assert recognised_format(file) == "mediapipe"
    detections = read_detections(file, image_size=SIZE)
    assert (detections.frames, len(detections.tracks)) == (1, 1)


def test_several_people_in_changing_order(tmp_path):
    left, right = landmarks(x=0.2), landmarks(x=0.8)
    frames = [{"pose_landmarks": [left, right] if f % 2 else [right, left]} for f in range(6)]
    tracks = read_detections(write(tmp_path, frames), image_size=SIZE).tracks
    assert [track.keypoints[:, 0, 0].round().tolist() for track in tracks] == [[512] * 6, [128] * 6]


@pytest.mark.parametrize(
    "size", [{"image_size": [640, 480]}, {"width": 640, "height": 480}, {"image_width": 640, "image_height": 480}]
)
def test_size_and_rate_of_the_file(tmp_path, size):
    file = write(tmp_path, {**size, "fps": 29.97, "frames": [ONE]})
    detections = read_detections(file)
    assert (detections.image_size, detections.fps) == (SIZE, 29.97)
    np.testing.assert_allclose(detections.tracks[0].keypoints[0, 0, :2], [160, 240])
    assert read_detections(file, image_size=(64, 48)).tracks[0].keypoints[0, 0, 0] == 16


def test_pixels_are_told_from_shares(tmp_path):
    detections = read_detections(write(tmp_path, [landmarks(scale=SIZE)]))
    np.testing.assert_allclose(detections.tracks[0].keypoints[0, 0, :2], [160, 240])
    assert any("read as pixels" in note for note in detections.notes)


def test_presence_lowers_the_confidence(tmp_path):
    keypoints = read_detections(write(tmp_path, [landmarks(presence=0.6)]), image_size=SIZE).tracks[0].keypoints[0]
    np.testing.assert_allclose(keypoints[[0, 32], 2], [0.5, 0.6])


def test_world_landmarks_are_refused(tmp_path):
    world = [dict(landmark) for landmark in ONE]
    for joint, x in ((23, -0.1), (24, 0.1)):
        world[joint].update(x=x, y=0.001)
    with pytest.raises(InputError, match="these are world landmarks"):
        read_detections(write(tmp_path, [world] * 3), image_size=SIZE)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([ONE], "its size is not in the file; give it with --image-size WIDTH HEIGHT (image_size)"),
        ([ONE[:20]], "entry 0: person 0: 20 landmarks, expected 33"),
        ([ONE, 5], "entry 1: expected a list of landmarks, got 5"),
        ([ONE, {"other": 1}], "entry 1: expected one of pose_landmarks, poseLandmarks, landmarks, got other"),
        ([[ONE, [3]]], "entry 0: person 1: 1 landmarks, expected 33"),
        ([[ONE, ["a"] * 33]], "entry 0: person 1: expected a landmark, got 'a'"),
        ([[{**ONE[0], "x": "a"}, *ONE[1:]]], "entry 0: person 0: expected numbers, got 'a' among them"),
        ([[{**ONE[0], "visibility": []}, *ONE[1:]]], "entry 0: person 0: expected numbers, got a list of 0"),
        ([[{**ONE[0], "y": float("inf")}, *ONE[1:]]], "entry 0: person 0: a number is infinite"),
        ([{"frame": 0.5, "landmarks": ONE}], "entry 0: frame: expected a whole number, got 0.5"),
        ([{"frame": -1, "landmarks": ONE}], "entry 0: the frame number -1 is negative"),
        ({"image_size": "big", "frames": [ONE]}, "image_size must be width and height, got 'big'"),
        ({"image_size": [0, 5], "frames": [ONE]}, "image size 0 x 5, expected pixels"),
        ({"width": 5, "height": 5, "fps": 0, "frames": [ONE]}, "fps must be above 0"),
        ([None, []], "nobody is seen in any of its 2 frames"),
    ],
)
def test_bad_files(tmp_path, value, message):
    file = write(tmp_path, value)
    with pytest.raises(InputError) as error:
        read_detections(file, format="mediapipe")
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)
