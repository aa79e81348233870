"""Formats are recognised, what the user says replaces what the file says, and damaged files are told."""

import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from ites_fast.detections import json_file, read_detections, recognised_format
from ites_fast.detections.loading import READERS
from ites_fast.errors import InputError

RECORDED = Path(__file__).parent / "recorded"
FLAT = [value for joint in range(17) for value in (100.0 + joint, 50.0 + 3 * joint, 0.5)]
POINTS = [[100.0 + joint, 50.0 + 3 * joint] for joint in range(17)]
LANDMARKS = [{"x": 0.2 + joint / 1000, "y": 0.5, "z": 0.0, "visibility": 0.5} for joint in range(33)]
FILES = {
    "alphapose": [{"image_id": f"{f}.jpg", "category_id": 1, "keypoints": FLAT, "score": 1.0} for f in range(40)],
    "coco": [{"image_id": f, "category_id": 1, "keypoints": FLAT, "score": 1.0} for f in range(40)],
    "mmpose": [{"frame_id": f, "instances": [{"keypoints": POINTS, "keypoint_scores": [0.5] * 17}]} for f in range(40)],
    "mediapipe": [{"frame": f, "landmarks": LANDMARKS} for f in range(40)],
    "openpose": {"version": 1.3, "people": [{"pose_keypoints_2d": FLAT}]},
}


def write(tmp_path, text, name="some.json"):
    file = tmp_path / name
    file.write_text(text if isinstance(text, str) else json.dumps(text))
    return file


@pytest.mark.parametrize("name", FILES)
def test_formats_are_recognised_from_content(tmp_path, name):
    file = write(tmp_path, FILES[name], name="data.txt")
    assert [other for other, reader in READERS.items() if reader.recognise(file)] == [name]
    assert recognised_format(file) == name
    assert len(read_detections(file, image_size=(640, 480)).tracks) == 1


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("recorded/one_person", "openpose"),
        ("recorded/two_people", "openpose"),
        ("recorded_arrays/wild_tracks.npz", "tracks_npz"),
        ("recorded_arrays/balancing.npz", "calibrated_npz"),
        ("recorded_arrays/upright.mp4", "video"),
        ("webcam:0", "video"),
    ],
)
def test_recorded_files_fit_one_format(path, name):
    path = Path(path) if path.startswith("webcam") else RECORDED.parent / path
    assert [other for other, reader in READERS.items() if reader.recognise(path)] == [name]
    assert recognised_format(path) == name


def test_one_of_several_in_a_file():
    detections = read_detections(f"{RECORDED.parent / 'recorded_arrays' / 'balancing.npz'}::2")
    assert detections.skeleton.name == "body_25b"
    assert detections.camera is not None


def test_recognition_does_not_read_large_files(tmp_path):
    file = write(tmp_path, "[" + ",".join([json.dumps(FILES["coco"][0])] * 20000) + "]")
    tracemalloc.start()
    assert recognised_format(file) == "coco"
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < file.stat().st_size / 2  # it does not grow with the file, which is 7 MB


def test_what_the_user_says_replaces_what_the_file_says(tmp_path):
    file = write(tmp_path, {"fps": 25, "width": 640, "height": 480, "frames": [LANDMARKS]})
    detections = read_detections(file)
    assert (detections.fps, detections.image_size) == (25, (640, 480))
    detections = read_detections(file, fps=50, image_size=(1280, 960))
    assert (detections.fps, detections.image_size) == (50, (1280, 960))
    assert read_detections(RECORDED / "one_person", skeleton="body_25b", fps=30).skeleton.name == "body_25b"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fps": 0}, "fps must be a positive number, got 0"),
        ({"fps": float("nan")}, "fps must be a positive number, got nan"),
        ({"fps": "30"}, "fps must be a positive number, got '30'"),
        ({"image_size": (0, 5)}, r"image_size must be width and height in pixels, got \(0, 5\)"),
        ({"image_size": 640}, "image_size must be width and height in pixels, got 640"),
        ({"format": "opnpose"}, "format 'opnpose' is unknown; known: openpose, alphapose"),
        ({"skeleton": "coco"}, "skeleton 'coco' is unknown"),
        ({"format": "csv"}, "one_person: a folder, expected a file of the format csv"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(InputError, match=message):
        read_detections(RECORDED / "one_person", **options)


def test_what_is_not_recognised_says_why_and_lists_the_formats(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(b"x")
    cases = {
        tmp_path / "nothing": "no such file or folder",
        tmp_path / "empty": "an empty folder",
        tmp_path / "pictures": "a folder of 1 files without JSON",
        write(tmp_path, "", "empty.json"): "an empty file",
        write(tmp_path, "{'people': []}", "python.json"): "not JSON",
        write(tmp_path, "[]", "list.json"): "no frame and no person in it",
        write(tmp_path, '{"a": [1, 2]}', "other.json"): "its content is not recognised",
    }
    (tmp_path / "latin.json").write_bytes('{"people": "é"}'.encode("latin-1"))
    cases[tmp_path / "latin.json"] = "not UTF-8 at byte 12"
    for path, reason in cases.items():
        with pytest.raises(InputError) as error:
            read_detections(path)
        assert str(error.value).startswith(f"{path}: {reason}"), path
        assert path.name == "nothing" or all(name in str(error.value) for name in (*READERS, "--format"))


def test_a_file_that_could_be_two_formats_asks(tmp_path, monkeypatch):
    monkeypatch.setitem(READERS, "csv", READERS["coco"])
    with pytest.raises(InputError, match="could be coco or csv; say which with --format"):
        read_detections(write(tmp_path, FILES["coco"]))


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.3, 0.6, 0.99])
def test_json_that_is_cut(tmp_path, name, share):
    text = json.dumps(FILES[name])
    file = write(tmp_path, text[: int(len(text) * share)])
    with pytest.raises(
        InputError, match=r"not whole JSON at character \d+: the file ends in the middle; was it cut?"
    ) as error:
        read_detections(file, image_size=(640, 480))
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[{"image_id": 1, "keypoints": [1,2,3]} {"a": 1}]', "not whole JSON at character 39: expected ',' or ']'"),
        ('[{"image_id": 1, "keypoints": [1,2,3]}]\n[]', "more text after the end of the JSON"),
        ('[{"image_id": 1, "image_id": 2, "keypoints": [1,2,3]}]', "the key 'image_id' appears twice"),
        ('{"images": [{"id": 1, "width": 1}], "images": []}', "the key 'images' appears twice"),
        ('[{"image_id": 1, "keypoints": [1,2,1e999]}]', "a number is infinite"),
        ('[{"image_id": 1, "keypoints": [1,2,-Infinity]}]', "a number is infinite"),
        ('[{"image_id": 1, "keypoints": [1,2,' + "9" * 400 + "]}]", "a number is infinite"),
        ('[{"image_id": 1, "keypoints": [1,2,' + "9" * 5000 + "]}]", "a number has too many digits"),
        ('[{"image_id": 1, "keypoints": ' + "[" * 100_000 + "]" * 100_000 + "}]", "nested too deeply"),
        ('[{"image_id": 1, "keypoints": ' + "[" * 500 + "]" * 500 + "}]", "expected numbers, got a list of 1"),
        ('[{"image_id": 1, "keypoints": [1,2,"\\ud800"]}]', "got '\\ud800' among them"),
        ("{3: 4}", "expected a key in quotes"),
        ('{"images" [3]}', "expected ':'"),
        ('"people"', "expected a JSON list or object"),
    ],
)
def test_json_that_is_wrong(tmp_path, text, message):
    file = write(tmp_path, text)
    with pytest.raises(InputError) as error:
        read_detections(file, format="coco")
    assert str(error.value).startswith(str(file))
    assert message in str(error.value)


def test_a_file_in_latin_1_beyond_its_head(tmp_path):
    file = tmp_path / "late.json"
    people = ",".join([json.dumps(FILES["coco"][0])] * 200)
    file.write_bytes(f'[{people}, {{"name": "é"}}]'.encode("latin-1"))
    with pytest.raises(InputError, match=r"late.json: not UTF-8"):
        read_detections(file)


def test_a_byte_order_mark_is_skipped(tmp_path):
    file = tmp_path / "mark.json"
    file.write_text(json.dumps(FILES["coco"]), encoding="utf-8-sig")
    assert read_detections(file).frames == 40


@pytest.mark.parametrize("chunk", [1, 2, 7, 64])
def test_entries_do_not_depend_on_where_the_text_is_cut(tmp_path, monkeypatch, chunk):
    value = {"a": [1, -23.5e-7, 'x]\\"', [], {}], "b": {"c": [True, None]}, "": [], "d": 12345, "e": "\u00e9\u4e2d"}
    file = write(tmp_path, json.dumps(value, indent=1, ensure_ascii=False))
    monkeypatch.setattr(json_file, "CHUNK", chunk)
    expected = [("a", i, entry) for i, entry in enumerate(value["a"])]
    expected += [(key, None, value[key]) for key in ("b", "d", "e")]
    assert list(json_file.entries(file)) == expected
    assert list(json_file.entries(write(tmp_path, "[1,22, 333]"))) == [(None, 0, 1), (None, 1, 22), (None, 2, 333)]


def test_heads_close_where_the_text_ends(tmp_path):
    value = {"people": [{"a, b": [1.5, ']}{[\\"'], "c": None}, {"d": {}}]}
    text = json.dumps(value)
    for length in range(1, len(text)):
        head = json_file.head(write(tmp_path, text[:length]))
        assert isinstance(head, dict)
        assert head.keys() <= {"people"}
    assert json_file.head(write(tmp_path, text + " rest")) == value


def test_one_large_entry_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(json_file, "MAX_ENTRY", 1000)
    monkeypatch.setattr(json_file, "CHUNK", 100)
    with pytest.raises(InputError, match="an entry of more than 1000 characters"):
        list(json_file.entries(write(tmp_path, [[0] * 5000])))


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may read every file")
def test_a_file_that_may_not_be_read(tmp_path):
    file = write(tmp_path, FILES["coco"])
    file.chmod(0)
    with pytest.raises((OSError, InputError)):
        read_detections(file)


# /proc, because ru_maxrss begins with the peak of the process that started this one.
LARGE = """
import sys
from pathlib import Path
from ites_fast.detections import read_detections
def peak():
    return int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
before = peak()
detections = read_detections(sys.argv[1])
print(detections.frames, len(detections.tracks), len(detections.tracks[0]))
print((peak() - before) / 1024)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc to measure memory")
def test_a_hundred_thousand_frames_take_less_memory_than_the_file(tmp_path):
    generator = np.random.default_rng(0)
    file = tmp_path / "long.json"
    with file.open("w") as text:
        for frame in range(100_000):
            points = (np.array(POINTS) + generator.normal(0, 1, (17, 2))).tolist()
            instance = {"keypoints": points, "keypoint_scores": generator.random(17).tolist()}
            text.write(("," if frame else "[") + json.dumps({"frame_id": frame, "instances": [instance]}))
        text.write("]")
    done = subprocess.run([sys.executable, "-c", LARGE, str(file)], capture_output=True, text=True, check=True)
    counts, megabytes = done.stdout.splitlines()
    assert counts == "100000 1 100000"
    assert float(megabytes) < 200  # the arrays are 20 MB; the text is 100 MB, and 600 MB as Python's objects
