"""The named skeletons: every one is a tree that mirrors itself, in the order in which its detector writes joints."""

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17, SKELETONS, get_body, get_skeleton

ALL = pytest.mark.parametrize("skeleton", SKELETONS.values(), ids=SKELETONS)

# Joints whose numbers the formats' own documents give.
NUMBERS = {
    "h36m_17": {"hip": 0, "right_ankle": 3, "left_ankle": 6, "thorax": 8, "head": 10, "left_wrist": 13},
    "coco_17": {"nose": 0, "right_ear": 4, "left_shoulder": 5, "right_wrist": 10, "left_hip": 11, "right_ankle": 16},
    "halpe_26": {"right_ankle": 16, "head": 17, "neck": 18, "hip": 19, "right_big_toe": 21, "left_heel": 24},
    "body_25": {"neck": 1, "right_wrist": 4, "left_wrist": 7, "mid_hip": 8, "right_eye": 15, "left_ear": 18},
    "body_25b": {"left_shoulder": 5, "right_ankle": 16, "upper_neck": 17, "head_top": 18, "left_heel": 21},
    "mpi_inf_3dhp_17": {"head_top": 0, "neck": 1, "right_wrist": 4, "left_ankle": 13, "pelvis": 14, "head": 16},
    "mpi_inf_3dhp_28": {"spine": 3, "pelvis": 4, "head_top": 7, "left_hand": 12, "right_shoulder": 14, "right_toe": 27},
    "mediapipe_33": {"left_ear": 7, "right_mouth": 10, "left_pinky": 17, "left_hip": 23, "right_foot_index": 32},
    "coco_wholebody_133": {
        "left_big_toe": 17,
        "right_heel": 22,
        "face_0": 23,
        "left_hand_root": 91,
        "right_pinky_4": 132,
    },
}


@ALL
def test_it_is_a_tree(skeleton):
    assert len(set(skeleton.joint_names)) == skeleton.num_joints == len(skeleton.parents)
    assert skeleton.num_joints == int(skeleton.name.rsplit("_", 1)[-1].rstrip("b"))
    assert list(skeleton.parents).count(-1) == 1
    assert len(skeleton.edges) == skeleton.num_joints - 1
    for joint in range(skeleton.num_joints):
        for _ in range(skeleton.num_joints):
            joint = joint if joint == skeleton.root else skeleton.parents[joint]
        assert joint == skeleton.root


@ALL
def test_it_mirrors_itself(skeleton):
    flip = skeleton.flip_order
    assert [flip[joint] for joint in flip] == list(range(skeleton.num_joints))
    assert len(skeleton.left) == len(skeleton.right)
    assert not set(skeleton.left) & set(skeleton.right)
    for joint, name in enumerate(skeleton.joint_names):
        if not name.startswith("face_"):
            assert skeleton.joint_names[flip[joint]] == swapped(name)
        parent = skeleton.parents[joint]
        assert skeleton.parents[flip[joint]] == (-1 if parent < 0 else flip[parent])
    links = {frozenset(link) for link in skeleton.links}
    assert links == {frozenset(flip[joint] for joint in link) for link in links}
    for left, right in skeleton.symmetric_bones:
        assert flip[skeleton.edges[left][0]] == skeleton.edges[right][0]


def swapped(name):
    other = {"left": "right", "right": "left"}
    return "_".join(other.get(word, word) for word in name.split("_"))


@ALL
def test_joints_have_the_numbers_of_the_format(skeleton):
    for name, number in NUMBERS[skeleton.name].items():
        assert skeleton.joint_names[number] == name


def test_the_first_seventeen_of_these_are_those_of_coco():
    coco = SKELETONS["coco_17"].joint_names
    for name in ("halpe_26", "body_25b", "coco_wholebody_133"):
        assert SKELETONS[name].joint_names[:17] == coco


def test_only_pairs_of_the_face_have_no_side_in_their_name():
    wholebody = SKELETONS["coco_wholebody_133"]
    names = np.array(wholebody.joint_names)
    corners = {"face_54": "face_48", "face_16": "face_0", "face_26": "face_17", "face_45": "face_36"}  # left: right
    pairs = dict(zip(names[list(wholebody.left)], names[list(wholebody.right)], strict=True))
    assert corners.items() <= pairs.items()
    middle = {f"face_{i}" for i in (8, 27, 28, 29, 30, 33, 51, 57, 62, 66)}
    assert {name for name in names if name.startswith("face_")} == middle | {
        name for pair in pairs.items() for name in pair if name.startswith("face_")
    }


def test_the_lifters_skeleton():
    assert H36M_17.root == 0
    assert H36M_17.joint_names[H36M_17.head] == "head"
    assert H36M_17.hips == (1, 4)
    assert all(parent < child for child, parent in H36M_17.edges)  # parents first
    assert sorted(joint for group in H36M_17.pair_groups for joint in group) == list(range(17))


def test_get_skeleton():
    assert get_skeleton("h36m_17") is H36M_17
    with pytest.raises(InputError, match=r"skeleton 'coco' is unknown; known: h36m_17, coco_17, .*\.yaml"):
        get_skeleton("coco")


def test_only_a_body_with_a_head_can_be_trained_on():
    assert get_body("h36m_17") is SKELETONS["h36m_17"]
    with pytest.raises(InputError, match="'coco_17' has no head to measure a body by; known: h36m_17"):
        get_body("coco_17")
    with pytest.raises(InputError, match="'my\\.yaml' is unknown"):
        get_body("my.yaml")
