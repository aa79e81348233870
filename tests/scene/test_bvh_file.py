"""BVH: the positions come back, by our reader and by an independent one."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ites_fast.data import bvh
from ites_fast.errors import InputError
from ites_fast.scene import Person, armature, bvh_file
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.scene.scene import FLOOR_QUANTILE
from ites_fast.skeleton import H36M_17, Skeleton

RAW = Path(__file__).parents[1] / "data" / "raw"


@pytest.fixture
def dance(rigid, walk):
    """Constant bones, a body that turns around and bends back."""
    person = Person("dancer", np.arange(98), rigid(35, 98).astype(np.float32), np.ones((98, 17), np.float32))
    return replace(walk, people=(person,), frames=98)


def test_positions_come_back_where_bones_are_constant(dance, tmp_path):
    assert write_scene(dance, tmp_path / "dance.bvh") == [tmp_path / "dance.bvh"]
    read = read_scene(tmp_path / "dance.bvh")
    np.testing.assert_allclose(read.people[0].positions, dance.people[0].positions, atol=1e-5)  # metres
    assert (read.units, read.axes, read.fps, read.frames, read.placed) == ("metres", "y", 30, 98, True)
    assert read.skeleton is H36M_17
    assert read.people[0].name == "dance"


def test_bones_that_vary_become_constant(walk, tmp_path):
    rng = np.random.default_rng(0)
    person = walk.people[0]
    noisy = person.positions + rng.normal(0, 0.01, person.positions.shape).astype(np.float32)
    write_scene(replace(walk, people=(replace(person, positions=noisy),)), tmp_path / "walk.bvh")
    read = read_scene(tmp_path / "walk.bvh").people[0].positions
    bones = np.linalg.norm(read - read[:, np.maximum(H36M_17.parents, 0)], axis=-1)
    np.testing.assert_allclose(bones, np.tile(bones[0], (40, 1)), atol=1e-5)
    np.testing.assert_allclose(bones[:, H36M_17.left], bones[:, H36M_17.right], atol=1e-5)
    np.testing.assert_allclose(bones[0], armature.bone_lengths(noisy), atol=1e-5)
    parent = np.maximum(H36M_17.parents, 0)
    for pose, other in ((read, noisy), (noisy, read)):  # bones keep their directions
        along = ((pose - pose[:, parent]) * (other - other[:, parent])).sum(-1)
        lengths = np.linalg.norm(pose - pose[:, parent], axis=-1) * np.linalg.norm(other - other[:, parent], axis=-1)
        np.testing.assert_allclose(along[:, 1:], lengths[:, 1:], rtol=1e-5)


def test_an_independent_reader_finds_the_same_joints(dance, tmp_path):
    bvhio = pytest.importorskip("bvhio", reason="needs bvhio, an independent reader")
    write_scene(dance, tmp_path / "dance.bvh")
    root = bvhio.readAsHierarchy(str(tmp_path / "dance.bvh"))
    for frame in (0, 40, 97):
        root.loadPose(frame)
        found = {joint.Name: np.array(joint.PositionWorld) / 100 for joint, _, _ in root.layout()}
        expected = dance.people[0].positions[frame]
        for joint in armature.JOINTS:
            np.testing.assert_allclose(found[joint.name], expected[joint.at], atol=1e-5, err_msg=joint.name)


def test_hierarchy_is_a_t_pose_in_centimetres(dance, tmp_path):
    write_scene(dance, tmp_path / "dance.bvh")
    file = bvh.parse(tmp_path / "dance.bvh")
    nodes = {node.name: node for node in file.nodes}
    assert nodes["Hips"].channels[:3] == ("Xposition", "Yposition", "Zposition")
    lengths = armature.bone_lengths(dance.people[0].positions) * 100
    np.testing.assert_allclose(nodes["LeftLeg"].offset, [0, -lengths[5], 0], atol=1e-5)
    np.testing.assert_allclose(nodes["LeftForeArm"].offset, [lengths[12], 0, 0], atol=1e-5)
    np.testing.assert_allclose(nodes["RightForeArm"].offset, [-lengths[15], 0, 0], atol=1e-5)
    np.testing.assert_allclose(nodes["Head end"].offset, [0, lengths[10], 0], atol=1e-5)
    assert 30 < lengths[5] < 60
    assert nodes["LeftFoot end"].offset[2] > 0  # toes point forward
    still = [index for index, node in enumerate(file.nodes) if node.name in ("LeftFoot", "RightHand")]
    starts = np.cumsum([0, *(len(node.channels) for node in file.nodes)])
    for index in still:
        assert not file.frames[:, starts[index] : starts[index + 1]].any()


def test_several_people_go_to_files_of_their_own(crowd, tmp_path):
    paths = write_scene(crowd, tmp_path / "out.bvh")
    assert [path.name for path in paths] == ["out_1.bvh", "out_2.bvh", "out_3.bvh"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [path.name for path in paths]
    ann = read_scene(paths[1]).people[0]
    assert len(ann) == crowd.frames
    assert read_scene(paths[1]).fps == pytest.approx(29.97)
    hip = crowd.people[1].positions[:, 0]
    np.testing.assert_allclose(ann.positions[crowd.people[1].frame, 0], hip, atol=1e-5)
    np.testing.assert_allclose(ann.positions[12:15, 0], np.tile(hip[9], (3, 1)), atol=1e-5)  # a gap stands still
    np.testing.assert_allclose(ann.positions[:2, 0], np.tile(hip[0], (2, 1)), atol=1e-5)
    np.testing.assert_allclose(ann.positions[25:, 0], np.tile(hip[-1], (15, 1)), atol=1e-5)


def test_camera_axes_and_body_units_are_turned_and_scaled(dance, tmp_path):
    turned = dance.people[0].positions * np.float32([1, -1, -1]) / np.float32(0.72)
    seen = replace(dance, people=(replace(dance.people[0], positions=turned),), axes="camera", units="body units")
    write_scene(seen, tmp_path / "seen.bvh")
    read = read_scene(tmp_path / "seen.bvh").people[0].positions
    expected = dance.people[0].positions
    floor = np.float32([0, np.quantile(expected[..., 1].min(1), FLOOR_QUANTILE, method="lower"), 0])
    np.testing.assert_allclose(read, expected - floor, atol=1e-5)


def test_a_root_in_the_origin_is_not_placed(walk, tmp_path):
    person = walk.people[0]
    centred = person.positions - person.positions[:, :1] * np.float32([1, 0, 1])
    write_scene(replace(walk, people=(replace(person, positions=centred),), placed=False), tmp_path / "walk.bvh")
    assert not read_scene(tmp_path / "walk.bvh").placed


def test_a_recording_of_the_cmu_database():
    scene = read_scene(RAW / "07_01.bvh")
    assert (scene.axes, scene.units, scene.frames) == ("z", "metres", len(scene.people[0]))
    pose = scene.people[0].positions
    assert (pose[:, 10, 2] > pose[:, 0, 2]).all()
    motion = bvh.read(RAW / "07_01.bvh")
    np.testing.assert_allclose(pose, motion.positions, atol=1e-6)


def test_what_bvh_cannot_hold(walk, tmp_path):
    with pytest.raises(InputError, match="nobody"):
        write_scene(replace(walk, people=()), tmp_path / "walk.bvh")
    other = Skeleton("five", ("a", "b", "c", "d", "e"), (-1, 0, 1, 2, 3), (), (), 4)
    person = Person("a", np.arange(2), np.zeros((2, 5, 3), np.float32), np.zeros((2, 5), np.float32))
    with pytest.raises(InputError, match="h36m_17, got five"):
        write_scene(replace(walk, people=(person,), skeleton=other), tmp_path / "walk.bvh")
    assert list(tmp_path.iterdir()) == []


def test_channels_follow_the_tree(dance, tmp_path):
    """Joints stand in the file in the order in which their numbers stand in a line."""
    write_scene(dance, tmp_path / "dance.bvh")
    text = (tmp_path / "dance.bvh").read_text()
    assert re.findall(r"(?:ROOT|JOINT) (\w+)", text) == [joint.name for joint in armature.JOINTS]
    assert len(bvh_file.PLACES) == 17
