"""AlphaPose's file in its three layouts."""

import json

import numpy as np
import pytest

from ites_fast.detections import read_detections, recognised_format
from ites_fast.errors import InputError


def person(image, joints=17, x=100.0, **more):
    flat = [value for joint in range(joints) for value in (x + joint, 50.0 + 3 * joint, 0.5 + joint / 1000)]
    return {"image_id": image, "category_id": 1, "keypoints": flat, "score": 2.9, **more}


def write(tmp_path, value):
    file = tmp_path / "alphapose-results.json"
    file.write_text(json.dumps(value))
    return file


def test_people_of_a_video(tmp_path):
    people = [person("0.jpg"), person("0.jpg", x=700), person("1.jpg", x=703), person("10.jpg", x=730), person("1.jpg")]
    file = write(tmp_path, people)
    detections = read_detections(file)
    assert recognised_format(file) == "alphapose"
    assert (detections.skeleton.name, detections.frames) == ("coco_17", 11)
    first, second = detections.tracks
    np.testing.assert_array_equal(first.frame, [0, 1])
    np.testing.assert_array_equal(second.frame, [0, 1, 10])
    np.testing.assert_allclose(second.keypoints[-1, 3], [733, 59, 0.503], rtol=1e-6)


@pytest.mark.parametrize(
    "identity", [lambda number: number, lambda number: float(number), lambda number: [[number], 8]]
)
def test_ids_are_numbers_or_lists(tmp_path, identity):
    people = [person(f"{f}.jpg", x=x, idx=identity(n)) for f in range(3) for n, x in ((3, 100 + 400 * f), (5, 900))]
    tracks = {track.name: track for track in read_detections(write(tmp_path, people)).tracks}
    np.testing.assert_array_equal(tracks["3"].keypoints[:, 0, 0], [100, 500, 900])


def test_halpe_136_is_read_as_its_body(tmp_path):
    detections = read_detections(write(tmp_path, [person("0.jpg", joints=136)]))
    assert detections.skeleton.name == "halpe_26"
    np.testing.assert_array_equal(detections.tracks[0].keypoints[0, :, 0], 100 + np.arange(26))


@pytest.mark.parametrize(("joints", "name"), [(26, "halpe_26"), (133, "coco_wholebody_133")])
def test_skeleton_by_its_number_of_joints(tmp_path, joints, name):
    assert read_detections(write(tmp_path, [person("0.jpg", joints=joints)])).skeleton.name == name


@pytest.mark.parametrize(("outer", "inner"), [("bodies", "joints"), ("people", "pose_keypoints_2d")])
def test_cmu_and_open_layouts(tmp_path, outer, inner):
    body = {inner: [value for joint in range(18) for value in (10.0 * joint, 7.0, 0.5)]}
    pictures = {f"{f}.jpg": {"version": "AlphaPose v0.3", outer: [body] if f != 1 else []} for f in range(3)}
    file = write(tmp_path, pictures)
    detections = read_detections(file)
    assert recognised_format(file) == "alphapose"
    np.testing.assert_array_equal(detections.tracks[0].frame, [0, 2])
    assert detections.tracks[0].keypoints[0, 10, 0] == 40  # right wrist, number 4 of OpenPose's COCO order


def test_names_of_pictures_that_are_no_video(tmp_path):
    names = ("000000000785.jpg", "000000397133.jpg", "000000040083.jpg")
    detections = read_detections(write(tmp_path, [person(name, x=100 + 300 * i) for i, name in enumerate(names)]))
    assert detections.frames == 3
    order = {int(frame): track.keypoints[0, 0, 0] for track in detections.tracks for frame in track.frame}
    assert order == {0: 100, 1: 700, 2: 400}
    assert any("785 to 397133: read as pictures" in note for note in detections.notes)


def test_confidences_above_one_are_noted(tmp_path):
    people = person("0.jpg")
    people["keypoints"][2] = 4.5
    detections = read_detections(write(tmp_path, [people]))
    assert detections.tracks[0].keypoints[0, 0, 2] == 1
    assert any("above 1 of 1 people" in note for note in detections.notes)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([person("0.jpg"), 3], "entry 1: expected the JSON object of a person, got 3"),
        ([person("front.jpg")], "entry 0: no frame number in the picture's name 'front.jpg'"),
        ([person("0.jpg", idx="a")], "entry 0: idx: expected a whole number, got 'a'"),
        ([person("0.jpg", idx=1.5)], "entry 0: idx: expected a whole number, got 1.5"),
        ([person("0.jpg"), {"image_id": "1.jpg"}], "entry 1: keypoints: expected a list of numbers, got None"),
        ([person("0.jpg"), person("1.jpg", joints=26)], "entry 1: 26 joints, expected 17"),
        ([person(-3, idx=1)], "entry 0: the frame number -3 is negative"),
        ([person(10**25, idx=1)], "entry 0: the frame number is of 26 digits"),
        ({"0.jpg": {"people": [7]}}, "'0.jpg': person 0: expected a JSON object, got 7"),
        ({"0.jpg": {"people": [{"pose_keypoints_2d": None}]}}, "'0.jpg': person 0: pose_keypoints_2d: expected a list"),
        ({"0.jpg": {"people": []}, "1.jpg": [1]}, "'1.jpg' is a list"),
        ({"0.jpg": {"people": []}, "1.jpg": 4}, "'1.jpg': expected an object with 'bodies' or 'people', got 4"),
        ({"0.jpg": {"people": []}}, "nobody is seen in any of its 1 frames"),
    ],
)
def test_bad_files(tmp_path, value, message):
    file = write(tmp_path, value)
    with pytest.raises(InputError) as error:
        read_detections(file, format="alphapose")
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)
