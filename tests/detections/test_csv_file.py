"""Tables of keypoints, wide, long and DeepLabCut's."""

from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import csv_file, tracks_npz
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS

RECORDED = Path(__file__).parent / "recorded_arrays" / "wild_tracks.npz"
AXES = ("x", "y", "confidence")
COCO = SKELETONS["coco_17"].joint_names


@pytest.fixture(scope="module")
def wild() -> Detections:
    return tracks_npz.read(RECORDED, None)


@pytest.fixture
def table(tmp_path):
    """Function that writes text to a file."""

    def write(text: str, encoding: str = "utf-8") -> Path:
        (tmp_path / "t.csv").write_bytes(text.encode(encoding))
        return tmp_path / "t.csv"

    return write


def cell(value: float) -> str:
    return "" if np.isnan(value) else repr(float(value))


def wide(detections: Detections, delimiter: str = ",", order: slice = slice(None)) -> str:
    names = [f"{name}_{axis}" for name in detections.skeleton.joint_names for axis in AXES]
    lines = [[*names[order], "frame", "person"]]
    for track in detections.tracks:
        for frame, pose in zip(track.frame, track.keypoints, strict=True):
            lines.append([*map(cell, pose.reshape(-1)[order]), str(frame), track.name])
    return "\n".join(delimiter.join(line) for line in lines)


def long(detections: Detections) -> str:
    lines = ["joint,frame,confidence,person,y,x"]
    for track in detections.tracks:
        for frame, pose in zip(track.frame, track.keypoints, strict=True):
            for name, (x, y, confidence) in zip(detections.skeleton.joint_names, pose, strict=True):
                lines.append(f"{name},{frame},{cell(confidence)},{track.name},{cell(y)},{cell(x)}")
    return "\n".join(lines)


def deeplabcut(detections: Detections) -> str:
    """All people side by side, as its tables of several animals have them."""
    columns = [
        (track.name, name, axis)
        for track in detections.tracks
        for name in detections.skeleton.joint_names
        for axis in ("x", "y", "likelihood")
    ]
    lines = [["scorer", *("net" for _ in columns)]]
    for title, row in zip(("individuals", "bodyparts", "coords"), zip(*columns, strict=True), strict=True):
        lines.append([title, *row])
    for frame in range(detections.frames):
        people = [track.keypoints[track.frame == frame].reshape(-1) for track in detections.tracks]
        lines.append([str(frame), *map(cell, np.concatenate(people))])
    return "\n".join(map(",".join, lines))


def same(back: Detections, detections: Detections) -> None:
    assert back.skeleton.name == detections.skeleton.name
    assert back.frames == detections.frames
    for track, written in zip(back.tracks, detections.tracks, strict=True):
        assert track.name == written.name
        np.testing.assert_array_equal(track.frame, written.frame)
        np.testing.assert_array_equal(track.keypoints, written.keypoints)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
@pytest.mark.parametrize("order", [slice(None), slice(None, None, -1)])
def test_wide(table, wild, delimiter, order):
    path = table(wide(wild, delimiter, order))
    assert csv_file.recognise(path)
    same(csv_file.read(path, SKELETONS["body_25"]), wild)


def test_long(table, wild):
    path = table(long(wild))
    assert csv_file.recognise(path)
    same(csv_file.read(path, SKELETONS["body_25"]), wild)


def test_deeplabcut(table, wild):
    path = table(deeplabcut(wild))
    assert csv_file.recognise(path)
    same(csv_file.read(path, SKELETONS["body_25"]), wild)


def test_deeplabcut_of_one(table):
    text = "scorer,n,n,n,n\nbodyparts,nose,nose,left hip,left hip\ncoords,x,y,x,y\n0,1,2,3,4\n1,5,6,,\n"
    (track,) = csv_file.read(table(text), SKELETONS["coco_17"]).tracks
    assert track.frame.tolist() == [0, 1]
    assert track.keypoints[0, [0, COCO.index("left_hip")]].tolist() == [[1, 2, 1], [3, 4, 1]]
    assert track.keypoints[1, COCO.index("left_hip"), 2] == 0


def test_the_skeleton_is_the_one_with_these_joints(table):
    text = "frame," + ",".join(f"{name}_{axis}" for name in reversed(COCO) for axis in "xy")
    path = table(text + "\n" + ",".join(["0", *map(str, range(34))]))
    detections = csv_file.read(path, None)
    assert detections.skeleton.name == "coco_17"
    assert detections.tracks[0].keypoints[0, 0].tolist() == [32, 33, 1]
    halpe = csv_file.read(path, SKELETONS["halpe_26"])
    assert halpe.tracks[0].keypoints.shape == (1, 26, 3)
    assert (halpe.tracks[0].keypoints[0, :, 2] == 1).sum() == 17


def test_as_spreadsheets_write_it(table):
    """A mark at the beginning, decimal commas, blanks, quotes, blank lines and lines that end in CR LF."""
    text = 'Frame;Person; "Left Hip_x";left-hip_Y;LEFT_HIP_confidence\r\n\r\n 3 ;"Ann, B";12,5;-7;0,5\r\n;;;;\r\n'
    (track,) = csv_file.read(table(text, "utf-8-sig"), SKELETONS["coco_17"]).tracks
    assert (track.name, track.frame.tolist()) == ("Ann, B", [3])
    assert track.keypoints[0, COCO.index("left_hip")].tolist() == [12.5, -7, 0.5]


HEAD = "frame,person,nose_x,nose_y\n"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "t.csv: is empty"),
        (HEAD, "has a header but no rows"),
        (HEAD + "0,1,2", "t.csv, line 2: 3 cells, expected 4"),
        (HEAD + "0,1,2,3\n1,1,2,3,4", "t.csv, line 3: 5 cells, expected 4"),
        (HEAD + "0,1,2,3\n\n1,1,2,abc", "t.csv, line 4, column nose_y: 'abc', expected a number"),
        (HEAD + "0,1,inf,3", "line 2, column nose_x: 'inf', expected a number up to 1000000"),
        (HEAD + "0,1,1e7,3", "line 2, column nose_x: '1e7', expected a number up to 1000000"),
        (HEAD + "0.5,1,2,3", "line 2, column frame: '0.5', expected an integer from 0"),
        (HEAD + ",1,2,3", "line 2, column frame: '', expected an integer"),
        (HEAD + "-1,1,2,3", "line 2, column frame: '-1', expected an integer"),
        (HEAD + "1e9,1,2,3", "line 2, column frame: '1e9', expected an integer from 0 to 9999999"),
        (HEAD + "0,1,2,3\n0,1,2,3", "person 1 is in frame 0 twice"),
        (HEAD + '0,1,2,"3', "t.csv, line 2: unexpected end of data"),
        ("frame,nose_x,nose_y,speed\n0,1,2,3", "line 1: column 'speed' is unknown; expected frame, person"),
        ("frame,nose_x\n0,1", "nose has no column y"),
        ("frame,nose_x,nose_y,nose_x\n0,1,2,3", "column nose_x is there twice"),
        ("frame,joint,x\n0,nose,1", "the table has no column y"),
        ("frame,joint,x,y\n0,nose,1,2\n0,nose,1,2", "t.csv, line 3: joint nose of person 1 is in frame 0 twice"),
        ("frame,joint,x,y\n0, ,1,2", "t.csv, line 2, column joint: is empty"),
        ("frame,joint,x,y\n0,tail,1,2", "joints tail are not in coco_17, which has nose"),
        ("frame,person\n0,1", "no columns of joints"),
        ("time,nose_x,nose_y\n0,1,2", "no header of 2D keypoints; expected a column frame"),
        ("frame,nose_x,nose_y,nose_z\n0,1,2,3", "and no z"),
        ("scorer,n\nbodyparts,nose\n0,1", "rows scorer, bodyparts and coords, got scorer, bodyparts, 0"),
        ("scorer,n,n\nbodyparts,nose,nose\ncoords,x\n", "the rows of the header have different numbers of cells"),
        ("scorer,n,n\nbodyparts,nose,nose\ncoords,x,x\n0,1,1", "column 3: 'x' of nose, expected x, y and likeli"),
        ("scorer,n,n\nbodyparts,nose,nose\ncoords,x,y\n0,1,a", "line 4, column nose y: 'a', expected a number"),
    ],
)
def test_bad_content(table, text, message):
    with pytest.raises(InputError, match=message):
        csv_file.read(table(text), SKELETONS["coco_17"])


def test_joints_that_several_skeletons_have(table):
    with pytest.raises(InputError, match=r"its 1 joints could be those of coco_17, .*; say which skeleton it is"):
        csv_file.read(table(HEAD + "0,1,2,3"), None)
    with pytest.raises(InputError, match=r"joints tail, wing are not in \w+, which has"):
        csv_file.read(table("frame,tail_x,tail_y,wing_x,wing_y\n0,1,2,3,4"), None)


def test_what_is_no_text(tmp_path, table):
    path = table(HEAD + "0,Zoë,1,2", "latin-1")
    with pytest.raises(InputError, match="is not UTF-8 text"):
        csv_file.read(path, SKELETONS["coco_17"])
    assert not csv_file.recognise(RECORDED)
    assert not csv_file.recognise(tmp_path)
    path = table("frame" + "," * (1 << 20))
    assert not csv_file.recognise(path)
    with pytest.raises(InputError, match="a line has more than 1048576 characters"):
        csv_file.read(path, None)


def test_all_zero_confidence_is_nobody(table):
    text = "frame,nose_x,nose_y,nose_confidence\n0,5,5,0\n1,5,5,0\n"
    detections = csv_file.read(table(text), SKELETONS["coco_17"])
    assert (detections.tracks, detections.frames) == ((), 2)
