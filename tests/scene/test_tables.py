"""CSV and TRC: tables that other programs read."""

import csv
from dataclasses import replace

import numpy as np
import pytest

from ites_fast.errors import InputError
from ites_fast.scene import Person, Scene
from ites_fast.scene.files import read_scene, write_scene
from ites_fast.skeleton import H36M_17, Skeleton


def lines_of(path):
    return path.read_text(encoding="utf-8").splitlines()


def test_csv_comes_back(crowd, tmp_path):
    path = tmp_path / "walk.csv"
    assert write_scene(crowd, path) == [path]
    read = read_scene(path)
    for name in ("source", "skeleton", "frames", "fps", "units", "axes", "placed", "image_size", "notes"):
        assert getattr(read, name) == getattr(crowd, name), name
    assert [person.name for person in read.people] == [person.name for person in crowd.people]
    for one, other in zip(read.people, crowd.people, strict=True):
        np.testing.assert_array_equal(one.frame, other.frame)
        np.testing.assert_allclose(one.positions, other.positions, rtol=0, atol=1e-6)
        np.testing.assert_allclose(one.confidence, other.confidence, rtol=0, atol=1e-6)


def test_csv_is_a_plain_table_below_its_comments(crowd, tmp_path):
    write_scene(crowd, tmp_path / "walk.csv")
    lines = lines_of(tmp_path / "walk.csv")
    comments = [line for line in lines if line.startswith("#")]
    assert '# units: "metres"' in comments
    assert '# axes: "y"' in comments
    table = list(csv.DictReader(lines[len(comments) :]))
    assert len(table) == crowd.poses * 17
    row = table[40 * 17 + 3 * 17 + 13]  # the 4th pose of the second person
    assert (row["person"], row["joint"], row["frame"]) == ("ann, the first", "left_wrist", "5")
    assert float(row["time"]) == pytest.approx(5 / 29.97, abs=1e-6)
    wrist = crowd.people[1].positions[3, 13]
    np.testing.assert_allclose([float(row[axis]) for axis in "xyz"], wrist, atol=1e-6)
    assert float(row["confidence"]) == pytest.approx(crowd.people[1].confidence[3, 13], abs=1e-6)


def test_csv_lines_may_come_in_any_order(crowd, tmp_path):
    path = tmp_path / "walk.csv"
    write_scene(crowd, path)
    lines = lines_of(path)
    start = next(index for index, line in enumerate(lines) if line.startswith("frame,")) + 1
    np.random.default_rng(0).shuffle(body := lines[start:])
    path.write_text("\n".join(lines[:start] + body), encoding="utf-8")
    read = read_scene(path)
    for person in crowd.people:
        np.testing.assert_allclose(read.person(person.name).positions, person.positions, atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('# format: "ites_fast scene"', "# hello", "not a scene"),
        ("joint,x", "bone,x", "columns joint are missing"),
        ("head", "heat", "heat"),
        ("39,1.3", "39.5,1.3", "integers"),
        ("39,1.3", "-1,1.3", "integers"),
        ("39,1.3", "38,1.3", "each of the 17 joints once"),
        ("39,1.3", "x,1.3", "holds no numbers"),
        ("39,1.3", "nan,1.3", "not finite"),
        ("# frames: 40", "# frames: 39", "only 39"),
    ],
)
def test_csv_that_is_wrong(old, new, message, walk, tmp_path):
    path = tmp_path / "walk.csv"
    write_scene(walk, path)
    head, found, tail = path.read_text().rpartition(old)
    assert found
    path.write_text(head + new + tail)
    with pytest.raises(InputError, match=rf"walk\.csv.*{message}"):
        read_scene(path)


def test_csv_cut_between_two_poses(walk, tmp_path):
    path = tmp_path / "walk.csv"
    write_scene(walk, path)
    path.write_text("\n".join(lines_of(path)[:-17]))
    with pytest.raises(InputError, match=r"expected 40 poses.*truncated"):
        read_scene(path)


def test_trc_comes_back(walk, tmp_path):
    path = tmp_path / "walk.trc"
    assert write_scene(walk, path) == [path]
    read = read_scene(path)
    assert (read.units, read.axes, read.fps, read.frames, read.placed) == ("metres", "y", 30, 40, True)
    assert read.skeleton is H36M_17
    np.testing.assert_allclose(read.people[0].positions, walk.people[0].positions, rtol=0, atol=1e-6)


def test_trc_is_laid_out_as_opensim_documents_it(crowd, tmp_path):
    """Three lines of header, two of labels, an empty one; blank where a person is absent."""
    paths = write_scene(crowd, tmp_path / "out.trc")
    assert [path.name for path in paths] == ["out_1.trc", "out_2.trc", "out_3.trc"]
    lines = [line.split("\t") for line in lines_of(paths[1])]
    assert lines[0] == ["PathFileType", "4", "(X/Y/Z)", "out_2.trc"]
    said = dict(zip(lines[1], lines[2], strict=True))
    assert said == {
        "DataRate": "29.97",
        "CameraRate": "29.97",
        "NumFrames": "40",
        "NumMarkers": "17",
        "Units": "mm",
        "OrigDataRate": "29.97",
        "OrigDataStartFrame": "1",
        "OrigNumFrames": "40",
    }
    assert lines[3][:2] == ["Frame#", "Time"]
    assert lines[3][2::3][:17] == list(H36M_17.joint_names)
    assert lines[4][2:8] == ["X1", "Y1", "Z1", "X2", "Y2", "Z2"]
    assert lines[5] == [""]
    rows = lines[6:]
    assert [row[0] for row in rows] == [str(number) for number in range(1, 41)]
    assert all(len(row) == 2 + 51 for row in rows)
    for frame, row in enumerate(rows):
        assert float(row[1]) == pytest.approx(frame / 29.97, abs=1e-6)
        assert all(cell == "" for cell in row[2:]) == (frame not in crowd.people[1].frame)
    np.testing.assert_allclose(np.array(rows[5][2:], float), 1000 * crowd.people[1].positions[3].ravel(), atol=1e-3)
    read = read_scene(paths[1])
    np.testing.assert_array_equal(read.people[0].frame, crowd.people[1].frame)
    assert read.frames == 40


def test_trc_of_another_program(walk, tmp_path):
    """More markers in another order, in metres, a blank cell, frames that begin at 101, lines without trailing tabs."""
    pose = walk.people[0].positions
    names = ["Extra", *reversed(H36M_17.joint_names)]
    rows = []
    for frame in range(3):
        cells = [f"{value:.6f}" for value in np.concatenate([np.zeros((1, 3)), pose[frame, ::-1]]).ravel()]
        if frame == 1:
            cells[-1] = ""
        rows.append("\t".join([str(101 + frame), f"{frame / 60}", *cells]).rstrip("\t"))
    head = [
        "PathFileType\t4\t(X/Y/Z)\tC:\\data\\a.trc",
        "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits",
        "60.00\t60.00\t3\t18\tm",
        "Frame#\tTime\t" + "\t\t\t".join(names),
        "\t\t" + "\t".join(f"{axis}{i}" for i in range(1, 19) for axis in "XYZ"),
    ]
    path = tmp_path / "other.trc"
    path.write_bytes("\r\n".join([*head, *rows, ""]).encode())
    read = read_scene(path)
    assert (read.fps, read.frames) == (60, 3)
    assert read.notes == ("1 frames in which a marker is blank were left out",)
    np.testing.assert_array_equal(read.people[0].frame, [0, 2])
    np.testing.assert_allclose(read.people[0].positions, pose[[0, 2]], atol=1e-6)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PathFileType", "Path", "no header"),
        ("\tmm\t", "\tfeet\t", "units 'feet'"),
        ("\t17\t", "\t16\t", "17 markers, expected .* 16"),
        ("\t40\t17", "\t41\t17", "40 frames, expected 41; was it truncated"),
        ("left_wrist", "left_hand", "joints of none of"),
        ("\n7\t", "\nseven\t", "line 13"),
        ("\n7\t", "\n5\t", "rise"),
        ("\n7\t", "\n7.5\t", "integers"),
        ("\n7\t", "\n7\t1\t", "line 13: 54 values, expected 53"),
        ("\n30\t30\t", "\n0\t30\t", "0.0 frames a second"),
    ],
)
def test_trc_that_is_wrong(old, new, message, walk, tmp_path):
    path = tmp_path / "walk.trc"
    write_scene(walk, path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(InputError, match=rf"walk\.trc.*{message}"):
        read_scene(path)


@pytest.mark.parametrize("suffix", [".csv", ".trc"])
def test_another_skeleton_is_written(suffix, walk, tmp_path):
    skeleton = Skeleton("three", ("a", "b", "c"), (-1, 0, 1), (), (), 2)
    pose = np.arange(18, dtype=np.float32).reshape(2, 3, 3)
    scene = Scene("s", skeleton, (Person("p", np.arange(2), pose, np.ones((2, 3), np.float32)),), 2, axes="y")
    path = tmp_path / f"s{suffix}"
    write_scene(scene, path)
    if suffix == ".csv":
        assert read_scene(path).skeleton == skeleton
        np.testing.assert_array_equal(read_scene(path).people[0].positions, pose)
    else:
        assert lines_of(path)[3].split("\t")[2::3] == ["a", "b", "c"]
        last = [float(cell) for cell in lines_of(path)[-1].split("\t")[2:]]
        np.testing.assert_allclose(last, 720 * pose[1].ravel())  # a body unit is 720 mm


def test_what_trc_cannot_hold(walk, tmp_path):
    with pytest.raises(InputError, match="nobody"):
        write_scene(replace(walk, people=()), tmp_path / "walk.trc")
    tab = Skeleton("tab", ("a\tb",), (-1,), (), (), 0)
    person = Person("a", np.arange(2), np.zeros((2, 1, 3), np.float32), np.zeros((2, 1), np.float32))
    with pytest.raises(InputError, match="marker"):
        write_scene(replace(walk, people=(person,), skeleton=tab), tmp_path / "walk.trc")
