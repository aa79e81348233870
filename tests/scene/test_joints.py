"""Scenes with the joints of other skeletons."""

from dataclasses import replace

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.scene.joints import with_joints
from ites_fast.skeleton import H36M_17, Skeleton, get_skeleton


def test_joints_of_coco(crowd):
    coco = get_skeleton("coco_17")
    scene = with_joints(crowd, coco)
    scene.check()
    assert scene.skeleton is coco
    before, after = crowd.people[1], scene.people[1]
    for name in ("left_wrist", "right_knee", "left_shoulder"):
        source, target = H36M_17.joint_names.index(name), coco.joint_names.index(name)
        np.testing.assert_allclose(after.positions[:, target], before.positions[:, source], atol=1e-6)
        np.testing.assert_allclose(after.confidence[:, target], before.confidence[:, source])
    eye = coco.joint_names.index("left_eye")
    assert not after.confidence[:, eye].any()
    np.testing.assert_array_equal(after.positions[:, eye], before.positions[:, 10])  # the top of the head
    assert after.keypoints.shape == (20, 17, 3)
    assert np.isnan(after.keypoints[:, eye, :2]).all()
    np.testing.assert_array_equal(after.ambiguity, before.ambiguity)
    assert scene.notes[:2] == crowd.notes
    assert "left_eye" in scene.notes[2]


def test_a_joint_without_a_source_lies_at_the_joint_it_hangs_on(crowd):
    target = get_skeleton("halpe_26")
    scene = with_joints(crowd, target)
    ankle, heel = (target.joint_names.index(f"left_{name}") for name in ("ankle", "heel"))
    np.testing.assert_array_equal(scene.people[0].positions[:, heel], scene.people[0].positions[:, ankle])
    np.testing.assert_array_equal(scene.people[0].positions[:, ankle], crowd.people[0].positions[:, 6])


def test_a_mean_is_as_certain_as_its_least_certain_joint(crowd):
    coco = with_joints(crowd, get_skeleton("coco_17"))
    sure = coco.people[1].confidence.copy()
    left, right = (coco.skeleton.joint_names.index(f"{side}_hip") for side in ("left", "right"))
    sure[:10, [left, right]] = 0.3, 0.8
    sure[10:, [left, right]] = 0.9, 0.2
    back = with_joints(replace(coco, people=(replace(coco.people[1], confidence=sure),)), H36M_17).people[0]
    np.testing.assert_allclose(back.confidence[:, 0], [0.3] * 10 + [0.2] * 10)
    np.testing.assert_allclose(back.positions[:, 0], coco.people[1].positions[:, [left, right]].mean(1), atol=1e-6)


def test_the_same_skeleton_and_one_of_strangers(crowd):
    assert with_joints(crowd, H36M_17) is crowd
    horse = Skeleton("horse", ("mane", "tail"), (-1, 0), (), (), None)
    with pytest.raises(InputError, match="h36m_17 says nothing about the joints of horse"):
        with_joints(replace(crowd), horse)
