"""ASF/AMC files: kinematics against the bundled sample, and files that do not fit each other."""

import re
import shutil

import numpy as np
import pytest

from ites_fast.data import asf_amc, load
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.errors import InputError


@pytest.fixture
def folder(tmp_path, raw):
    """The skeleton and the first 5 frames of the run."""
    shutil.copy(raw / "09.asf", tmp_path)
    text = (raw / "09_01.amc").read_text()
    (tmp_path / "09_01.amc").write_text(text[: text.index("\n6\n") + 1])
    return tmp_path


def change(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_positions_are_those_of_the_bundled_sample(raw):
    """Within the sample's rounding to whole millimetres, up to 0.87 mm a joint; the file's origin is another."""
    motion = asf_amc.read(raw / "09_01.amc")
    assert (motion.subject, len(motion), motion.fps) == ("09", 148, 120)
    with np.load(BUNDLED) as file:
        at = file["sequence"] == list(file["sequence_name"]).index("09_01")
        expected, frame = file["positions_mm"][at], file["frame"][at]
    positions = motion.positions[frame] * 1000
    positions -= positions[:, 0].mean(0)
    assert np.linalg.norm(positions - expected, axis=-1).max() < 1


def test_as_a_data_set(folder):
    data = load(folder, "test")
    assert len(data) == 4 * 5
    assert data.subjects == ("09",)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "lradius 108.082\n",
            "lradius 108.082 3\n",
            r"line \d+: lradius has 2 values, expected 1 \(rx\) by the skeleton 09.asf",
        ),
        ("lradius 108.082\n", "tail 1\n", r"line \d+: bone 'tail' is not in the skeleton 09.asf"),
        ("lradius 108.082\n", "lwrist 1\n", r"line \d+: lwrist outside a frame or twice in it"),
        ("lradius 108.082\n", "", r"line 33: frame 1 has no values for lradius"),
        ("lradius 108.082\n", "lradius x\n", "lradius: could not convert string to float"),
        ("lradius 108.082\n", "lradius nan\n", "lradius: values that are NaN or infinite"),
        (":DEGREES", ":RADIANS", "line 3: angles in radians, expected :DEGREES"),
    ],
)
def test_motion_that_does_not_fit(folder, old, new, message):
    change(folder / "09_01.amc", old, new)
    with pytest.raises(InputError, match=rf"09_01.amc.*{message}"):
        load(folder / "09_01.amc", "test")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("name lradius", "name ulna", "broken hierarchy: lradius not joined to the root"),
        ("lhumerus lradius", "lhumerus lradius rradius", "broken hierarchy: rradius has two parents"),
        ("lclavicle lhumerus", "lhumerus lhumerus", "broken hierarchy: bones not joined to the root"),
        ("length 0.45", "size 0.45", "no usable 'length' under :units"),
        ("length 0.45", "length -1", "no usable 'length' under :units, expected a positive number"),
        ("length 0.45", "length nan", "no usable 'length' under :units, expected a positive number"),
        ("length 3.58675", "length nan", "lradius has direction '.*' and length 'nan', expected three finite numbers"),
        ("length 3.58675", "length -2", "lradius has direction '.*' and length '-2', expected three finite numbers"),
        ("length 3.58675", "", "lradius needs a direction of three numbers and a length"),
        ("angle deg", "angle rad", "angles in 'rad', expected 'deg'"),
        ("order TX TY TZ RX RY RZ", "order TX TY TZ", "root order 'TX TY TZ', expected TX TY TZ RX RY RZ"),
        ("dof ry rz", "dof ry l", "lclavicle has degrees of freedom 'ry l', expected only rx ry rz"),
        ("axis 180 -30 -90   XYZ", "axis 180 -30", "axis '180 -30', expected three angles and their order"),
        ("     name lfoot", "", "a bone without a name"),
        ("    lhumerus lradius\n    lradius lwrist", "    lhumerus lwrist", "bones lradius are missing"),
    ],
)
def test_broken_skeleton(folder, old, new, message):
    change(folder / "09.asf", old, new)
    with pytest.raises(InputError, match=f"09.asf: {message}"):
        load(folder / "09_01.amc", "test")


@pytest.mark.parametrize("direction", ["0 0 0", "1 0", "1 0 0 0", "1 nan 0", "inf 0 0"])
def test_a_bone_without_a_direction_is_named(folder, direction):
    text = (folder / "09.asf").read_text()
    text = re.sub(r"(name lradius\s+direction) .*", rf"\1 {direction}", text)
    (folder / "09.asf").write_text(text)
    with pytest.raises(
        InputError, match=rf"09.asf: lradius has direction '{direction}' and length '3.58675', expected"
    ):
        load(folder / "09_01.amc", "test")


def test_a_colon_alone(folder):
    change(folder / "09.asf", ":units", ":\n:units")
    with pytest.raises(InputError, match=r"09.asf, line \d+: ':' without a keyword"):
        load(folder / "09_01.amc", "test")


def test_tabs_separate_words_too(folder):
    spaces = load(folder, "test")
    for name in ("09.asf", "09_01.amc"):
        (folder / name).write_text((folder / name).read_text().replace(" ", "\t"))
    np.testing.assert_array_equal(load(folder, "test").pose_3d, spaces.pose_3d)


def test_no_frames(folder):
    (folder / "09_01.amc").write_text(":DEGREES\n")
    with pytest.raises(InputError, match=r"09_01.amc: no frames"):
        load(folder / "09_01.amc", "test")


def test_which_skeleton(folder):
    (folder / "09_01.amc").rename(folder / "run.amc")
    assert asf_amc.find_skeleton(folder / "run.amc").name == "09.asf"
    shutil.copy(folder / "09.asf", folder / "10.asf")
    with pytest.raises(
        InputError, match=r"run.amc: no skeleton: expected run.asf or one ASF file beside it, found 09.asf"
    ):
        asf_amc.find_skeleton(folder / "run.amc")
    assert asf_amc.find_skeleton(folder / "10_07.amc").name == "10.asf"
    shutil.copy(folder / "09.asf", folder / "run.asf")
    assert asf_amc.find_skeleton(folder / "run.amc").name == "run.asf"


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"a.amc: no such file"):
        asf_amc.read(tmp_path / "a.amc")
