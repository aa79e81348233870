"""BVH files: kinematics against the bundled sample, and files that are broken."""

import numpy as np
import pytest

from ites_fast.data import bvh, load
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.errors import InputError


@pytest.fixture
def text(raw):
    """The walk with its first 20 frames."""
    lines = (raw / "07_01.bvh").read_text().splitlines()
    motion = lines.index("MOTION")
    return "\n".join([*lines[: motion + 1], "Frames: 20", lines[motion + 2], *lines[motion + 3 : motion + 23]]) + "\n"


def test_positions_are_those_of_the_bundled_sample(raw):
    """Within the sample's rounding to whole millimetres, up to 0.87 mm a joint; the file's origin is another."""
    motion = bvh.read(raw / "07_01.bvh")
    assert (motion.subject, len(motion), round(motion.fps)) == ("07", 316, 120)
    with np.load(BUNDLED) as file:
        at = file["sequence"] == list(file["sequence_name"]).index("07_01")
        expected, frame = file["positions_mm"][at], file["frame"][at]
    positions = motion.positions[frame - motion.frame[0]] * 1000
    positions -= positions[:, 0].mean(0)
    assert np.linalg.norm(positions - expected, axis=-1).max() < 1


def test_bones_keep_their_length(raw):
    positions = bvh.read(raw / "07_01.bvh").positions
    for a, b in ((1, 2), (2, 3), (11, 12), (12, 13), (8, 9)):
        length = np.linalg.norm(positions[:, a] - positions[:, b], axis=-1)
        np.testing.assert_allclose(length, length[0], atol=1e-9 if a != 8 else 0.02)


def test_one_bone_by_hand(tmp_path):
    """Rotations apply in the order of the channels, the last one first."""
    (tmp_path / "a.bvh").write_text(
        "HIERARCHY\nROOT a\n{\nOFFSET 0 0 0\nCHANNELS 6 Xposition Yposition Zposition Zrotation Yrotation Xrotation\n"
        "JOINT b\n{\nOFFSET 0 2 0\nCHANNELS 3 Zrotation Xrotation Yrotation\nEnd Site\n{\nOFFSET 0 1 0\n}\n}\n}\n"
        "MOTION\nFrames: 1\nFrame Time: 0.01\n10 20 30 90 0 90 -90 0 0\n"
    )
    parsed = bvh.parse(tmp_path / "a.bvh")
    root, joint, end = bvh.forward_kinematics(parsed)
    assert [node.name for node in parsed.nodes] == ["a", "b", "b end"]
    np.testing.assert_allclose(root, [[10, 20, 30]])
    np.testing.assert_allclose(joint, [[10, 20, 32]], atol=1e-12)  # up, turned about x to z; z stays under Rz
    np.testing.assert_allclose(end, [[10, 21, 32]], atol=1e-12)
    assert parsed.fps == pytest.approx(100)


def test_units(tmp_path, text, raw):
    """The same body in centimetres has the same size."""
    lines = text.splitlines()
    factor = 0.0254 / 0.45 * 100
    for number, line in enumerate(lines):
        words = line.split()
        if words[:1] == ["OFFSET"]:
            lines[number] = " ".join(["OFFSET", *(str(float(w) * factor) for w in words[1:])])
        elif number > lines.index("MOTION") + 2:
            lines[number] = " ".join([*(str(float(w) * factor) for w in words[:3]), *words[3:]])
    (tmp_path / "cm.bvh").write_text("\n".join(lines))
    np.testing.assert_allclose(
        bvh.read(tmp_path / "cm.bvh").positions, bvh.read(raw / "07_01.bvh").positions[:19], atol=1e-9
    )


def test_as_a_data_set(tmp_path, text):
    (tmp_path / "07_01.bvh").write_text(text)
    data = load(tmp_path / "07_01.bvh", "test")
    assert len(data) == 4 * 19
    np.testing.assert_allclose(data.cameras[2].project(data.pose_3d[38:57]), data.pose_2d[38:57], atol=1e-3)
    with pytest.raises(InputError, match=r"train split is empty: motion files have no split"):
        load(tmp_path, "train")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("ROOT Hips\n{", "ROOT Hips", r"line 3: broken hierarchy: 'OFFSET .*' is not understood"),
        ("ROOT", "JOINT", r"line 2: broken hierarchy: 'JOINT Hips' in an unexpected place"),
        ("\tOFFSET 0 0 0\n", "", r"LHipJoint has no OFFSET"),
        ("1.85590 -1.73949", "1.85590 nan", "3 values, expected 3 finite numbers"),
        ("1.85590 -1.73949", "1.85590", "2 values, expected 3 finite numbers"),
        ("1.85590", "wide", "broken hierarchy: could not convert"),
        ("CHANNELS 3", "CHANNELS 4", "expected 4 channels such as Xrotation"),
        ("JOINT LowerBack", "JOINT LHipJoint", "a second joint called 'LHipJoint'"),
        ("JOINT LowerBack\n\t{", "JOINT LowerBack\n\t}", "'}' without '{'"),
        ("}\nMOTION", "MOTION", "MOTION before the hierarchy is closed"),
        ("}\nMOTION", "}\n}\nMOTION", "'}' without '{'"),
        ("MOTION", "", r"'Frames: 20' is not understood"),
        ("Frames: 20", "Frames: 21", r"20 frames of motion, expected 21; was the file truncated\?"),
        ("Frame Time:", "Rate:", "expected 'Frames: N' and 'Frame Time: seconds'"),
        ("JOINT Neck1", "JOINT Throat", "joints Neck1 are missing; it has Hips"),
        ("-21 0 0", "-21 0", "95 values, expected 96 finite numbers"),
        ("2.36836 -6.50702", "2.36836 -6.5e9", r"the leg is 6.5e\+09 units long"),
    ],
)
def test_broken_files(tmp_path, text, old, new, message):
    assert old in text
    (tmp_path / "broken.bvh").write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"(?s)broken.bvh.*{message}"):
        load(tmp_path / "broken.bvh", "test")


def test_truncated_hierarchy(tmp_path, text):
    (tmp_path / "broken.bvh").write_text(text[:1500])
    with pytest.raises(InputError, match=r"broken.bvh.*broken hierarchy"):
        load(tmp_path / "broken.bvh", "test")


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"a.bvh: no such file"):
        bvh.read(tmp_path / "a.bvh")
