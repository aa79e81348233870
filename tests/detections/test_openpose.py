"""OpenPose's folders: what is in the recorded files comes out, and what is wrong with others is said."""

import json
from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import openpose, read_detections
from ites_fast.errors import InputError

RECORDED = Path(__file__).parent / "recorded"


def person(joints=25, x=500.0, confidence=0.5, **more):
    """Somebody whose hips and neck are where BODY_25 has them: all joints on one point, each a pixel below the last."""
    flat = [value for joint in range(joints) for value in (x, 300.0 + joint, confidence)]
    return {"pose_keypoints_2d": flat, "face_keypoints_2d": [1.0, 2.0, 3.0], **more}


def write(folder, people_of_frame):
    folder.mkdir(exist_ok=True)
    for number, people in people_of_frame.items():
        (folder / f"clip_{number:012d}_keypoints.json").write_text(json.dumps({"version": 1.3, "people": people}))
    return folder


def test_recorded_one_person_is_read_number_for_number():
    detections = read_detections(RECORDED / "one_person")
    assert (detections.skeleton.name, detections.frames, len(detections.tracks)) == ("body_25", 12, 1)
    track = detections.tracks[0]
    np.testing.assert_array_equal(track.frame, np.arange(12))
    for file, keypoints in zip(sorted((RECORDED / "one_person").iterdir()), track.keypoints, strict=True):
        written = json.loads(file.read_text())["people"][0]["pose_keypoints_2d"]
        expected = np.array(written, np.float32).reshape(25, 3)
        expected[expected[:, 2] == 0] = np.nan, np.nan, 0
        np.testing.assert_array_equal(keypoints, expected)


def test_recorded_body_25b_is_told_from_body_25():
    assert read_detections(RECORDED / "two_people").skeleton.name == "body_25b"
    detections = read_detections(RECORDED / "two_people", skeleton="body_25")
    assert detections.skeleton.name == "body_25"
    assert not detections.notes
    assert "body_25b" in read_detections(RECORDED / "two_people").notes[0]


@pytest.mark.parametrize(
    ("name", "number"),
    [
        ("14_000000000052_keypoints.json", 52),
        ("cam01.0081.json", 81),
        ("walk2_7_keypoints.json", 7),
        ("img12.json", 12),
        ("2024-11-20_frame3.json", 3),
        ("keypoints.json", None),
    ],
)
def test_frame_number(name, number):
    assert openpose.frame_number(name) == number


def test_frames_are_in_the_order_of_their_numbers_and_missing_ones_are_empty(tmp_path):
    folder = tmp_path / "clip"
    folder.mkdir()
    for number in (9, 10, 13):  # as text, 10 and 13 come before 9
        (folder / f"f{number}.json").write_text(json.dumps({"people": [person(x=500.0 + number)]}))
    (folder / "notes.txt").write_text("of no interest")
    (folder / "._f1.json").write_bytes(b"\x00\x05\x16\x07")
    detections = read_detections(folder)
    np.testing.assert_array_equal(detections.tracks[0].frame, [0, 1, 4])
    np.testing.assert_array_equal(detections.tracks[0].keypoints[:, 0, 0], [509, 510, 513])
    assert detections.frames == 5


def test_frames_without_people_count(tmp_path):
    nobody = {"pose_keypoints_2d": []}
    detections = read_detections(write(tmp_path / "clip", {0: [], 1: [person()], 2: [nobody], 3: [person()], 4: []}))
    assert detections.frames == 5
    np.testing.assert_array_equal(detections.tracks[0].frame, [1, 3])


def test_people_with_ids_keep_them(tmp_path):
    frames = {
        0: [person(x=100, person_id=[4]), person(x=900, person_id=[7])],
        1: [person(x=100, person_id=[7]), person(x=900, person_id=[4])],
    }
    tracks = {track.name: track for track in read_detections(write(tmp_path / "clip", frames)).tracks}
    np.testing.assert_array_equal(tracks["4"].keypoints[:, 0, 0], [100, 900])
    np.testing.assert_array_equal(tracks["7"].keypoints[:, 0, 0], [900, 100])


def test_of_a_repeated_id_the_more_confident_person_is_kept(tmp_path):
    twice = [person(x=100, person_id=[4], confidence=0.3), person(x=900, person_id=[4], confidence=0.6)]
    detections = read_detections(write(tmp_path / "clip", {0: twice, 1: twice[::-1]}))
    np.testing.assert_array_equal(detections.tracks[0].keypoints[:, 0, 0], [900, 900])
    assert any("2 people have the id of another person" in note and "frame 0" in note for note in detections.notes)


def test_coco_18_loses_its_neck_and_is_reordered(tmp_path):
    body = {"pose_keypoints_2d": [value for joint in range(18) for value in (10.0 * joint, 7.0, 0.5)]}
    detections = read_detections(write(tmp_path / "clip", {0: [body]}))
    names = detections.skeleton.joint_names
    x = dict(zip(names, detections.tracks[0].keypoints[0, :, 0].tolist(), strict=True))
    assert detections.skeleton.name == "coco_17"
    # OpenPose's numbers: nose 0, right wrist 4, left shoulder 5, right hip 8, left ankle 13, right eye 14, left ear 17
    chosen = ("nose", "right_wrist", "left_shoulder", "right_hip", "left_ankle", "right_eye", "left_ear")
    assert [x[name] for name in chosen] == [0, 40, 50, 80, 130, 140, 170]
    assert 10 not in x.values()
    assert any("18 joints" in note for note in detections.notes)


def test_one_file_is_one_frame(tmp_path):
    file = tmp_path / "picture.json"
    file.write_text(json.dumps({"people": [person()]}))
    assert read_detections(file).frames == 1


def test_zero_confidence_is_missing_and_people_without_joints_are_noted(tmp_path):
    half = person()
    half["pose_keypoints_2d"][3 * 4 + 2] = 0
    half["pose_keypoints_2d"][3 * 5] = float("nan")
    detections = read_detections(write(tmp_path / "clip", {0: [half, person(confidence=0)]}))
    keypoints = detections.tracks[0].keypoints[0]
    np.testing.assert_array_equal(np.flatnonzero(np.isnan(keypoints[:, 0])), [4, 5])
    np.testing.assert_array_equal(keypoints[4:6, 2], [0, 0])
    assert any("1 people without a joint" in note for note in detections.notes)


def test_the_whole_file_of_zero_confidence_is_refused(tmp_path):
    with pytest.raises(InputError, match="nobody is seen in any of its 2 frames: the confidence of all joints is zero"):
        read_detections(write(tmp_path / "clip", {0: [person(confidence=0)], 1: []}))


@pytest.mark.parametrize(
    ("people", "message"),
    [
        ({"people": {}}, "expected a JSON object with a list 'people'"),
        ([person()], "expected a JSON object with a list 'people'"),
        ({"people": [3]}, "person 0: no 'pose_keypoints_2d'"),
        ({"people": [person(), {"pose_keypoints_2d": "x"}]}, "person 1: pose_keypoints_2d: expected a list of numbers"),
        ({"people": [{"pose_keypoints_2d": [1.0, 2.0]}]}, "2 numbers, expected x, y and confidence"),
        ({"people": [{"pose_keypoints_2d": [1.0, "2", 0.5]}]}, "got '2' among them"),
        ({"people": [{"pose_keypoints_2d": [1.0, True, 0.5]}]}, "got True among them"),
        ({"people": [{"pose_keypoints_2d": [1.0, float("inf"), 0.5] * 25}]}, "a number is infinite"),
        ({"people": [{"pose_keypoints_2d": [1e7, 1.0, 0.5] * 25}]}, "pixels"),
        ({"people": [person(person_id=["a"])]}, "person_id: expected a whole number, got 'a'"),
        ({"people": [person(joints=12)]}, "no skeleton is known by its 12 joints"),
        ({"people": [person(), person(joints=18)]}, "18 joints, expected 25"),
        ({"people": [person()] * 201}, "more than 200 people in one frame"),
    ],
)
def test_bad_frames_name_the_file_and_the_person(tmp_path, people, message):
    folder = write(tmp_path / "clip", {0: [person()]} if "joints" not in message else {})
    bad = folder / "clip_000000000001_keypoints.json"
    bad.write_text(json.dumps(people))
    with pytest.raises(InputError) as error:
        read_detections(folder, format="openpose")
    assert message in str(error.value)
    assert str(bad if "no skeleton" not in message else folder) in str(error.value)


def test_names_of_files_that_cannot_be_ordered(tmp_path):
    folder = write(tmp_path / "clip", {3: [person()]})
    (folder / "other_3.json").write_text("{}")
    with pytest.raises(InputError, match=r"clip_000000000003_keypoints.json and other_3.json are both frame 3"):
        read_detections(folder)
    (folder / "other_3.json").rename(folder / "other.json")
    with pytest.raises(InputError, match=r"other.json: no frame number in its name"):
        read_detections(folder)


def test_frame_numbers_far_apart_are_refused_and_take_no_memory(tmp_path):
    with pytest.raises(InputError, match="frames are numbered 0 to 1000000000000"):
        read_detections(write(tmp_path / "clip", {0: [person()], 10**12: [person()]}))
    (tmp_path / "clip" / f"f{10**40}.json").write_text(json.dumps({"people": []}))
    with pytest.raises(InputError, match="of 41 digits"):
        read_detections(tmp_path / "clip")


def test_wrong_joint_count_for_the_declared_skeleton():
    with pytest.raises(InputError, match="25 joints, expected 17 for the skeleton coco_17"):
        read_detections(RECORDED / "one_person", skeleton="coco_17")


def test_shares_of_the_picture_are_refused(tmp_path):
    small = {"pose_keypoints_2d": [0.5, 0.25, 0.9] * 25}
    with pytest.raises(InputError, match=r"no coordinate is beyond 0.5, expected pixels"):
        read_detections(write(tmp_path / "clip", {0: [small]}))
