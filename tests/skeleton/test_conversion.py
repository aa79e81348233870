"""Conversions between skeletons: every registered pair, mirror images, missing joints, confidences."""

import itertools

import numpy as np
import pytest

from ites_fast.data.body25b_npz import to_17
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17, SKELETONS, Skeleton, conversion

COCO, BODY_25, HALPE = SKELETONS["coco_17"], SKELETONS["body_25"], SKELETONS["halpe_26"]
PAIRS = pytest.mark.parametrize(
    ("source", "target"),
    list(itertools.product(SKELETONS.values(), repeat=2)),
    ids=["-".join(pair) for pair in itertools.product(SKELETONS, repeat=2)],
)


def detections(skeleton, samples=5, seed=0):
    generator = np.random.default_rng(seed)
    keypoints = generator.uniform(0, 1000, (samples, skeleton.num_joints, 3))
    keypoints[..., 2] = generator.uniform(0.1, 1, keypoints.shape[:2])
    return keypoints.astype(np.float32)


def lose(keypoints, share=0.25, seed=1):
    lost = keypoints.copy()
    lost[np.random.default_rng(seed).random(lost.shape[:2]) < share] = (np.nan, np.nan, 0)
    return lost


def without(keypoints, skeleton, *names):
    """The keypoints with these joints not detected."""
    lost = keypoints.copy()
    lost[..., [skeleton.joint_names.index(name) for name in names], :] = (np.nan, np.nan, 0)
    return lost


def joint(keypoints, skeleton, *names):
    """The mean position of joints."""
    return keypoints[..., [skeleton.joint_names.index(name) for name in names], :2].mean(-2)


@PAIRS
def test_every_pair_converts(source, target):
    keypoints = lose(detections(source))
    rules = conversion(source, target)
    converted = rules.apply(keypoints)
    assert converted.shape == (5, target.num_joints, 3)
    assert converted.dtype == np.float32
    missing = np.isnan(converted[..., 0])
    np.testing.assert_array_equal(missing, np.isnan(converted[..., 1]))
    np.testing.assert_array_equal(missing, converted[..., 2] == 0)
    kinds = np.array([joint.kind for joint in rules.joints])
    assert set(kinds) <= {"exact", "averaged", "extrapolated", "missing"}
    assert missing[:, kinds == "missing"].all()
    assert [joint.name for joint in rules.joints] == list(target.joint_names)


@PAIRS
def test_a_mirrored_person_gives_the_mirror_image(source, target):
    keypoints = lose(detections(source))
    rules = conversion(source, target)

    def mirrored(points, skeleton):
        return points[:, list(skeleton.flip_order)] * np.float32([-1, 1, 1])

    expected = mirrored(rules.apply(keypoints), target)
    np.testing.assert_allclose(rules.apply(mirrored(keypoints, source)), expected, rtol=1e-5, atol=1e-2)


@PAIRS
def test_exact_joints_survive_a_round_trip_to_the_bit(source, target):
    keypoints = detections(source)
    there, back = conversion(source, target), conversion(target, source)
    returned = back.apply(there.apply(keypoints))
    exact = {joint.sources[0]: joint.name for joint in there.joints if joint.kind == "exact"}
    both = [
        index
        for index, joint in enumerate(back.joints)
        if joint.kind == "exact" and exact.get(joint.name) == joint.sources[0]
    ]
    assert len(both) >= 12  # shoulders, elbows, wrists, hips, knees and ankles
    np.testing.assert_array_equal(returned[:, both], keypoints[:, both])


@PAIRS
def test_a_sample_is_converted_as_if_it_were_alone(source, target):
    keypoints = np.stack([detections(source), lose(detections(source)), lose(detections(source), 0.6, seed=3)])
    rules = conversion(source, target)
    for index in np.ndindex(keypoints.shape[:2]):
        np.testing.assert_allclose(rules.apply(keypoints)[index], rules.apply(keypoints[index]), rtol=1e-6)


@PAIRS
def test_three_dimensional_points_follow_the_same_rules(source, target):
    keypoints = lose(detections(source))
    points = np.concatenate([keypoints[..., :2], keypoints[..., :1]], -1)  # depth repeats x
    rules = conversion(source, target)
    converted = rules.apply_points(points)
    np.testing.assert_array_equal(converted[..., :2], rules.apply(keypoints)[..., :2])
    np.testing.assert_array_equal(converted[..., 2], converted[..., 0])


def test_all_weights_sum_to_one():
    shift = np.array([300.0, -40.0])
    for source, target in itertools.product(SKELETONS.values(), repeat=2):
        points = detections(source)[..., :2].astype(float)
        rules = conversion(source, target)
        np.testing.assert_allclose(rules.apply_points(points + shift), rules.apply_points(points) + shift)


def test_coco_to_h36m():
    keypoints = detections(COCO)
    converted = conversion(COCO, H36M_17).apply(keypoints)
    hips = joint(keypoints, COCO, "left_hip", "right_hip")
    thorax = joint(keypoints, COCO, "left_shoulder", "right_shoulder")
    head = thorax + 1.7 * (joint(keypoints, COCO, "left_ear", "right_ear") - thorax)
    expected = {"hip": hips, "thorax": thorax, "spine": (hips + thorax) / 2, "head": head}
    expected["neck_nose"] = thorax + 0.4 * (head - thorax)
    for name, position in expected.items():
        np.testing.assert_allclose(joint(converted, H36M_17, name), position, rtol=1e-4, err_msg=name)
    kinds = {found.name: found.kind for found in conversion(COCO, H36M_17).joints}
    assert kinds.pop("left_wrist") == "exact"
    assert {name for name, kind in kinds.items() if kind == "averaged"} == {"hip", "spine", "thorax"}
    assert {name for name, kind in kinds.items() if kind == "extrapolated"} == {"neck_nose", "head"}


def test_alternatives_where_joints_of_body_25_are_missing():
    keypoints = detections(BODY_25)
    rules = conversion(BODY_25, H36M_17)

    def found(name, *missing):
        return joint(rules.apply(without(keypoints, BODY_25, *missing)), H36M_17, name)

    def given(*names):
        return joint(keypoints, BODY_25, *names)

    np.testing.assert_array_equal(found("hip"), given("mid_hip"))
    np.testing.assert_allclose(found("hip", "mid_hip"), given("left_hip", "right_hip"), rtol=1e-6)
    assert np.isnan(found("hip", "mid_hip", "left_hip")).all()
    np.testing.assert_array_equal(found("thorax"), given("neck"))
    np.testing.assert_allclose(found("thorax", "neck"), given("left_shoulder", "right_shoulder"), rtol=1e-6)
    np.testing.assert_allclose(found("spine"), given("mid_hip", "neck"), rtol=1e-6)
    np.testing.assert_allclose(
        found("spine", "mid_hip"), (given("left_hip", "right_hip") + given("neck")) / 2, rtol=1e-5
    )
    one_ear = given("neck") + 1.7 * (given("left_ear") - given("neck"))
    np.testing.assert_allclose(found("head", "right_ear"), one_ear, rtol=1e-4)
    trunk = given("neck") + 0.5 * (given("neck") - given("mid_hip"))
    np.testing.assert_allclose(found("head", "right_ear", "left_ear"), trunk, rtol=1e-4)
    assert np.isnan(found("head", "neck", "left_shoulder")).all()
    assert np.isnan(found("left_wrist", "left_wrist")).all()


def test_halpe_has_a_head_top_but_no_neck_below_it():
    keypoints = detections(HALPE)
    rules = conversion(HALPE, H36M_17)
    expected = 0.6 * joint(keypoints, HALPE, "neck") + 0.4 * joint(keypoints, HALPE, "head")
    np.testing.assert_allclose(joint(rules.apply(keypoints), H36M_17, "neck_nose"), expected, rtol=1e-5)
    assert {found.kind for found in rules.joints} == {"exact", "averaged"}


def test_body_25b_is_read_as_by_the_reader_of_calibrated_detections():
    keypoints = detections(SKELETONS["body_25b"])
    converted = conversion(SKELETONS["body_25b"], H36M_17).apply(keypoints)
    np.testing.assert_allclose(converted[..., :2], to_17(keypoints), rtol=1e-6)


def test_mpi_inf_3dhp_is_h36m_in_another_order():
    for name in ("mpi_inf_3dhp_17", "mpi_inf_3dhp_28"):
        assert {found.kind for found in conversion(SKELETONS[name], H36M_17).joints} == {"exact"}
    sources = {found.name: found.sources for found in conversion(SKELETONS["mpi_inf_3dhp_28"], H36M_17).joints}
    assert sources["neck_nose"] == ("head",)
    assert sources["head"] == ("head_top",)
    assert sources["thorax"] == ("neck",)


def test_confidence_is_the_least_of_the_sources_and_half_of_it_where_extrapolated():
    keypoints = detections(COCO, 1)[0]
    keypoints[:, 2] = np.linspace(0.2, 1, 17)
    keypoints[COCO.joint_names.index("left_hip"), 2] = 0.3
    converted = conversion(COCO, H36M_17).apply(keypoints)
    confidence = dict(zip(H36M_17.joint_names, converted[:, 2], strict=True))
    assert confidence["left_hip"] == confidence["hip"] == confidence["spine"] == np.float32(0.3)
    ears_and_shoulders = keypoints[3:7, 2]
    assert confidence["head"] == confidence["neck_nose"] == ears_and_shoulders.min() / 2
    without_ears = conversion(COCO, H36M_17).apply(without(keypoints, COCO, "left_ear", "right_ear"))
    assert without_ears[H36M_17.head, 2] == np.float32(0.3) / 2


@pytest.mark.parametrize("lost", [(1.0, 1.0, 0.0), (np.nan, 1.0, 0.9), (1.0, np.inf, 0.9), (1.0, 1.0, np.nan)])
def test_what_counts_as_missing(lost):
    keypoints = detections(COCO)
    keypoints[2, COCO.joint_names.index("left_wrist")] = lost
    converted = conversion(COCO, H36M_17).apply(keypoints)
    wrist = H36M_17.joint_names.index("left_wrist")
    assert np.argwhere(converted[..., 2] == 0).tolist() == [[2, wrist]]
    np.testing.assert_array_equal(converted[2, wrist], [np.nan, np.nan, 0])


def test_identity_returns_its_input():
    keypoints = lose(detections(COCO))
    assert conversion(COCO, COCO).apply(keypoints) is keypoints
    assert conversion(COCO, COCO).apply_points(keypoints) is keypoints
    same = Skeleton(COCO.name, COCO.joint_names, COCO.parents, COCO.left, COCO.right, links=COCO.links)
    assert conversion(same, COCO).apply(keypoints) is keypoints


def test_a_conversion_is_made_once():
    assert conversion(COCO, H36M_17) is conversion(COCO, H36M_17)


def test_no_samples():
    assert conversion(COCO, H36M_17).apply(np.zeros((0, 17, 3))).shape == (0, 17, 3)
    assert conversion(BODY_25, H36M_17).apply_points(np.zeros((2, 0, 25, 2), np.float32)).shape == (2, 0, 17, 2)


@pytest.mark.parametrize(
    ("keypoints", "message"),
    [
        (np.zeros((25, 3)), r"expected numbers \(..., 17, coordinates\) for coco_17, got float64 \(25, 3\)"),
        (np.zeros(17), r"got float64 \(17,\)"),
        (np.array([["a"] * 3] * 17), r"got <U1 \(17, 3\)"),
        (np.zeros((17, 2)), r"keypoints must be x, y and confidence \(..., J, 3\), got \(17, 2\)"),
    ],
)
def test_wrong_arrays(keypoints, message):
    with pytest.raises(InputError, match=message):
        conversion(COCO, H36M_17).apply(keypoints)


def test_whole_numbers_and_double_precision_are_converted_in_double_precision():
    keypoints = np.arange(51).reshape(17, 3) + 1
    converted = conversion(COCO, H36M_17).apply(keypoints)
    assert converted.dtype == np.float64
    np.testing.assert_array_equal(converted, conversion(COCO, H36M_17).apply(keypoints.astype(float)))


def test_describe():
    lines = conversion(COCO, H36M_17).describe().splitlines()
    assert lines[0] == "| joint | kind | sources | where these are missing |"
    assert lines[2] == "| hip | averaged | mean of left_hip, right_hip |  |"
    assert lines[3] == "| right_hip | exact | right_hip |  |"
    assert len(lines) == 19
    assert "| nose | missing |  |  |" in conversion(H36M_17, COCO).describe()
