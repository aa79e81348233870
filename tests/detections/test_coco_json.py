"""COCO's lists of results and annotation files."""

import json

import numpy as np
import pytest

from ites_fast.detections import read_detections, recognised_format
from ites_fast.errors import InputError
from ites_fast.skeleton import get_skeleton

COCO = get_skeleton("coco_17")


def person(image, joints=17, x=100.0, confidence=0.5, **more):
    flat = [value for joint in range(joints) for value in (x + joint, 50.0 + 3 * joint, confidence)]
    return {"image_id": image, "category_id": 1, "keypoints": flat, **more}


def annotation_file(annotations, images=3, **more):
    listed = [{"id": 10 + i, "file_name": f"{i:06d}.jpg", "width": 640, "height": 480} for i in range(images)]
    categories = [{"id": 1, "name": "person", "keypoints": list(COCO.joint_names), "skeleton": [[16, 14]]}]
    return {"images": listed, "annotations": annotations, "categories": categories, **more}


def write(tmp_path, value):
    file = tmp_path / "keypoints.json"
    file.write_text(json.dumps(value))
    return file


def test_results(tmp_path):
    file = write(tmp_path, [person(f, x=x + 3 * f, score=0.8) for f in (2, 0, 1) for x in (100, 900)])
    detections = read_detections(file)
    assert recognised_format(file) == "coco"
    assert (detections.skeleton.name, detections.frames) == ("coco_17", 3)
    for track in detections.tracks:
        np.testing.assert_array_equal(track.frame, [0, 1, 2])
        np.testing.assert_array_equal(np.diff(track.keypoints[:, 0, 0]), [3, 3])


def test_numbers_of_pictures_that_are_no_video(tmp_path):
    detections = read_detections(write(tmp_path, [person(i, score=1.0) for i in (581929, 139, 397133)]))
    assert detections.frames == 3
    assert any("139 to 581929" in note for note in detections.notes)


def test_a_piece_of_a_long_video_starts_with_its_first_people(tmp_path):
    detections = read_detections(write(tmp_path, [person(5000 + i, score=1.0) for i in range(4)]))
    assert detections.frames == 4
    assert any("from 5000 on" in note for note in detections.notes)


def test_annotations(tmp_path):
    flat = [value for joint in range(17) for value in (100.0 + joint, 50.0, joint % 3)]
    file = write(tmp_path, annotation_file([{**person(11), "keypoints": flat, "id": 1, "num_keypoints": 11}]))
    detections = read_detections(file)
    assert recognised_format(file) == "coco"
    assert (detections.frames, detections.image_size) == (3, (640, 480))
    np.testing.assert_array_equal(detections.tracks[0].frame, [1])
    np.testing.assert_array_equal(detections.tracks[0].keypoints[0, :6, 2], [0, 0.5, 1, 0, 0.5, 1])


def test_annotations_before_the_pictures_with_boxes_and_tracks(tmp_path):
    annotations = [person(10 + f, x=x, track_id=t, confidence=2) for f in range(3) for t, x in ((5, 100), (6, 102))]
    annotations.append({"image_id": 10, "category_id": 3, "bbox": [0, 0, 5, 5]})
    whole = annotation_file(annotations)
    detections = read_detections(write(tmp_path, {key: whole[key] for key in ("annotations", "images", "categories")}))
    assert [(track.name, len(track)) for track in detections.tracks] == [("5", 3), ("6", 3)]


def test_frame_id_of_pictures_is_the_frame(tmp_path):
    whole = annotation_file([person(10, confidence=2), person(12, confidence=2)])
    for image, frame in zip(whole["images"], (4, 6, 8), strict=True):
        image["frame_id"] = frame
    detections = read_detections(write(tmp_path, whole))
    np.testing.assert_array_equal(detections.tracks[0].frame, [0, 4])
    assert detections.frames == 5


def test_names_of_joints_tell_the_skeleton(tmp_path):
    whole = annotation_file([person(10, confidence=2)])
    whole["categories"][0]["keypoints"] = list(get_skeleton("mpi_inf_3dhp_17").joint_names)
    assert read_detections(write(tmp_path, whole)).skeleton.name == "mpi_inf_3dhp_17"


def test_wholebody_keys_are_put_together(tmp_path):
    parts = {
        "foot_kpts": (6, 3),
        "face_kpts": (68, 4),
        "lefthand_kpts": (21, 5),
        "righthand_kpts": (21, 6),
    }  # joints, x
    more = {key: [x, 1, 2] * joints for key, (joints, x) in parts.items()}
    detections = read_detections(write(tmp_path, annotation_file([person(10, confidence=2, **more)])))
    assert detections.skeleton.name == "coco_wholebody_133"
    x = detections.tracks[0].keypoints[0, :, 0]
    np.testing.assert_array_equal(x[[16, 17, 22, 23, 90, 91, 111, 112, 132]], [116, 3, 3, 4, 4, 5, 5, 6, 6])
    joints = {name: index for index, name in enumerate(detections.skeleton.joint_names)}
    assert x[joints["left_heel"]] == 3
    assert next(name for name, index in joints.items() if x[index] == 5).startswith("left_hand")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([person(0), None], "entry 1: expected the JSON object of a person, got None"),
        ([person("x")], "entry 0: image_id: expected a whole number, got 'x'"),
        ([person(True)], "entry 0: image_id: expected a whole number, got True"),
        ([person(-1)], "entry 0: the frame number -1 is negative"),
        ([{"image_id": 1}], "entry 0: keypoints: expected a list of numbers, got None"),
        ([person(0, joints=14)], "no skeleton is known by its 14 joints"),
        ([person(0, confidence=0)], "the confidence of all joints is zero"),
        (annotation_file([person(99)]), "annotations 0: its picture 99 is not among the images"),
        (annotation_file([person(10, foot_kpts=[1], face_kpts=[], lefthand_kpts=[], righthand_kpts=[])]), "foot_kpts"),
        (annotation_file([person(10)], images=0), "annotations 0: its picture 10 is not among the images"),
        ({"images": [{"id": 1}, {"id": 1}]}, "images 1: there is another picture with the id 1"),
        ({"images": [3]}, "images 0: expected the JSON object of a picture, got 3"),
        ({"images": [{"id": 1, "video_id": 1}, {"id": 2, "video_id": 2}]}, "pictures of several videos (1, 2)"),
        ({"images": [{"id": 1, "width": "w", "height": 2}]}, "images 0: width: expected a whole number, got 'w'"),
        ([], "nobody is seen in any of its 0 frames"),
        ({}, "nobody is seen in any of its 0 frames"),
    ],
)
def test_bad_files(tmp_path, value, message):
    file = write(tmp_path, value)
    with pytest.raises(InputError) as error:
        read_detections(file, format="coco")
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)
