"""MMPose's predictions: of a video, of a picture, and of the demo with meta_info."""

import json

import numpy as np
import pytest

from ites_fast.detections import read_detections, recognised_format
from ites_fast.errors import InputError
from ites_fast.skeleton import get_skeleton


def instance(joints=17, x=100.0, **more):
    points = [[x + joint, 50.0 + 3 * joint] for joint in range(joints)]
    scores = [0.5 + joint / 1000 for joint in range(joints)]
    return {"keypoints": points, "keypoint_scores": scores, "bbox": [[1.0, 2.0, 3.0, 4.0]], "bbox_score": 0.9, **more}


def meta(names):
    return {"dataset_name": "any", "keypoint_id2name": {str(index): name for index, name in enumerate(names)}}


FRAMES = [[instance(x=100), instance(x=900)], [], [instance(x=903), instance(x=103)]]
NUMBERED = [{"frame_id": 1 + number, "instances": instances} for number, instances in enumerate(FRAMES)]
LAYOUTS = {
    "video": NUMBERED,
    "demo": {"meta_info": meta(get_skeleton("coco_17").joint_names), "instance_info": NUMBERED},
    "predictions": {"predictions": FRAMES},
    "list of lists": FRAMES,
}


def write(tmp_path, value):
    file = tmp_path / "results.json"
    file.write_text(json.dumps(value))
    return file


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts_of_a_video(tmp_path, layout):
    file = write(tmp_path, LAYOUTS[layout])
    assert recognised_format(file) == "mmpose"
    detections = read_detections(file)
    assert (detections.skeleton.name, detections.frames) == ("coco_17", 3)
    for track, x in zip(detections.tracks, (100, 900), strict=True):
        np.testing.assert_array_equal(track.frame, [0, 2])
        np.testing.assert_array_equal(track.keypoints[:, 2, 0], [x + 2, x + 5])
        np.testing.assert_allclose(track.keypoints[0, 2], [x + 2, 56, 0.502], rtol=1e-6)


@pytest.mark.parametrize(
    "value", [FRAMES[0], {"meta_info": {}, "instance_info": [{"frame_id": -1, "instances": FRAMES[0]}]}]
)
def test_a_picture(tmp_path, value):
    detections = read_detections(write(tmp_path, value))
    assert (detections.frames, len(detections.tracks)) == (1, 2)


def test_names_of_joints_tell_the_skeleton(tmp_path):
    """MMPose's names for Human3.6M differ a little from ours."""
    theirs = {"hip": "root", "right_ankle": "right_foot", "left_ankle": "left_foot", "neck_nose": "neck_base"}
    names = [theirs.get(name, name) for name in get_skeleton("h36m_17").joint_names]
    file = write(tmp_path, {"meta_info": meta(names), "instance_info": NUMBERED})
    assert read_detections(file).skeleton.name == "h36m_17"
    assert read_detections(file, skeleton="coco_17").skeleton.name == "coco_17"


def test_joints_without_scores_are_sure(tmp_path):
    person = {"keypoints": instance()["keypoints"]}
    person["keypoints"][4] = [None, None]
    keypoints = read_detections(write(tmp_path, [{"instances": [person]}])).tracks[0].keypoints[0]
    np.testing.assert_array_equal(keypoints[:, 2], np.arange(17) != 4)


def test_track_ids(tmp_path):
    frames = [
        {"instances": [instance(x=100 + 500 * f, track_id=1), instance(x=600 - 500 * f, track_id=2)]} for f in (0, 1)
    ]
    tracks = {track.name: track for track in read_detections(write(tmp_path, frames)).tracks}
    np.testing.assert_array_equal(tracks["1"].keypoints[:, 0, 0], [100, 600])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([NUMBERED[0], 3], "entry 1: expected a frame with a list 'instances', got 3"),
        ([{"instances": {}}], "entry 0: expected a frame with a list 'instances'"),
        ([{"frame_id": "a", "instances": []}], "entry 0: frame_id: expected a whole number, got 'a'"),
        ([{"frame_id": -2, "instances": []}], "entry 0: the frame number -2 is negative"),
        ([NUMBERED[0], {"frame_id": 10**12, "instances": []}], "frames are numbered 1 to 1000000000000"),
        ([{"instances": [4]}], "entry 0: person 0: expected the JSON object of a person, got 4"),
        ([{"instances": [{"keypoints": []}]}], "person 0: expected a list of keypoints, got a list of 0"),
        ([{"instances": [{"keypoints": [[1, 2, 3]]}]}], "expected x and y of each of its keypoints, got a list of 3"),
        ([{"instances": [{"keypoints": [[1, "2"]]}]}], "keypoints: expected numbers, got '2' among them"),
        ([{"instances": [instance(keypoint_scores=[1])]}], "1 keypoint_scores for 17 keypoints"),
        ([{"instances": [instance(track_id={})]}], "track_id: expected a whole number, got a JSON object of 0"),
        ({"meta_info": meta(["a"]), "instance_info": NUMBERED}, "no skeleton has the 1 joints a; describe it"),
        (
            {"meta_info": meta(get_skeleton("body_25").joint_names), "instance_info": NUMBERED},
            "17 joints a person, expected 25 as meta_info names",
        ),
        ({"meta_info": {}, "instance_info": []}, "nobody is seen in any of its 0 frames"),
    ],
)
def test_bad_files(tmp_path, value, message):
    file = write(tmp_path, value)
    with pytest.raises(InputError) as error:
        read_detections(file, format="mmpose")
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)
