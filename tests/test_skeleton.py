"""The joint convention: every derived property against the definition."""

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17, get_skeleton


def test_tree():
    assert H36M_17.num_joints == 17
    assert H36M_17.root == 0
    assert H36M_17.joint_names[H36M_17.head] == "head"
    assert len(H36M_17.edges) == 16
    assert all(parent < child for child, parent in H36M_17.edges)  # parents first


def test_symmetry():
    names = np.array(H36M_17.joint_names)
    flipped = names[list(H36M_17.flip_order)]
    other = {"left": "right", "right": "left"}
    swapped = ["_".join(other.get(word, word) for word in name.split("_")) for name in names]
    assert list(flipped) == swapped
    for left, right in H36M_17.symmetric_bones:
        assert H36M_17.flip_order[H36M_17.edges[left][0]] == H36M_17.edges[right][0]


def test_pair_groups_hold_every_joint_once():
    assert sorted(joint for group in H36M_17.pair_groups for joint in group) == list(range(17))


def test_get_skeleton():
    assert get_skeleton("h36m_17") is H36M_17
    with pytest.raises(InputError, match=r"skeleton 'coco' is unknown; known: h36m_17"):
        get_skeleton("coco")
