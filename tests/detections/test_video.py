"""Pictures of real small videos, made here with PyAV, and people found in them by a detector that knows them."""

import os
import sys
import types
from pathlib import Path
from typing import ClassVar
from urllib.error import URLError

import numpy as np
import pytest

from ites_fast.detections import tracks_npz, video
from ites_fast.detections.frames import turned
from ites_fast.detections.rtmlib_detector import RtmlibDetector
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS, get_skeleton

av = pytest.importorskip("av")

RECORDED = Path(__file__).parent / "recorded_arrays"
WIDTH, HEIGHT = 96, 64


def make(path: Path, pictures: int = 12, *, fps: int = 25, pts=None, ratio: int = 1, codec: str = "mpeg4") -> Path:
    """A video whose picture i has brightness 20 i, from 0 again after the twelfth."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=fps)
        stream.width, stream.height, stream.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        stream.codec_context.sample_aspect_ratio = ratio
        for i in range(pictures):
            frame = av.VideoFrame.from_ndarray(np.full((HEIGHT, WIDTH, 3), 20 * (i % 13), np.uint8), format="rgb24")
            if pts is not None:
                frame.pts = pts[i]
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return path


def numbers(path: Path) -> list[int]:
    return [round(picture.mean() / 20) for picture in video.frames(path)]


class RecordedDetector:
    """Gives the detections of MotioNet's video, frame by frame."""

    skeleton = SKELETONS["body_25"]

    def __init__(self, people=(0,)):
        tracks = tracks_npz.read(RECORDED / "wild_tracks.npz", None).tracks
        self.keypoints = np.stack([tracks[person].keypoints for person in people], 1)  # (T, P, 25, 3)
        self.calls = 0

    def __call__(self, picture):
        self.calls += 1
        return self.keypoints[self.calls - 1]


def test_pictures(tmp_path):
    path = make(tmp_path / "v.mp4")
    assert video.recognise(path)
    assert video.video_info(path) == video.VideoInfo(WIDTH, HEIGHT, 25.0, 12)
    assert numbers(path) == list(range(12))
    picture = next(video.frames(path))
    assert (picture.shape, picture.dtype) == ((HEIGHT, WIDTH, 3), np.uint8)


def test_a_video_of_a_phone_is_upright():
    info = video.video_info(RECORDED / "upright.mp4")
    assert (info.width, info.height, info.frames) == (48, 64, 10)
    first, *_, last = video.frames(RECORDED / "upright.mp4")
    red, blue, dark = first[8, 8], first[56, 8], first[8, 40]
    assert red[0] > 200 > 50 > red[2]
    assert blue[2] > 200 > 50 > blue[0]
    assert dark.max() < 60
    # A white mark moves up by 2 pixels a picture.
    rows = [np.flatnonzero(picture[:, 35].min(-1) > 128).mean() for picture in (first, last)]
    assert rows[0] - rows[1] == pytest.approx(18, abs=1)


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_display_matrices(degrees, mirrored):
    """Each stored pixel is seen where the matrix of the file says, up to a shift into the picture."""
    stored = np.arange(6 * 4 * 3).reshape(6, 4, 3)
    cos, sin = round(np.cos(np.radians(degrees))), round(np.sin(np.radians(degrees)))
    a, b, c, d = (-cos if mirrored else cos), (-sin if mirrored else sin), -sin, cos
    seen = turned(stored, tuple(65536 * value for value in (a, b, 0, c, d, 0, 0, 0, 16384)))
    y, x = np.mgrid[:6, :4]
    to_x, to_y = a * x + c * y, b * x + d * y
    expected = np.empty_like(stored, shape=(6, 4, 3) if cos else (4, 6, 3))
    expected[to_y - to_y.min(), to_x - to_x.min()] = stored
    np.testing.assert_array_equal(seen, expected)


def test_a_rate_that_varies_becomes_constant(tmp_path):
    """Pictures at 0, 1, 2, 7, 8 and 11 of a clock of 25 a second; the gaps are filled with what was seen last."""
    path = make(tmp_path / "v.mkv", 6, pts=[0, 1, 2, 7, 8, 11])
    assert numbers(path) == [0, 1, 2, 2, 2, 2, 2, 3, 4, 4, 4, 5]
    pictures = list(video.frames(path))
    assert all(pictures[i] is pictures[2] for i in range(3, 7))


def test_a_jump_of_the_clock_is_no_gap(tmp_path):
    path = make(tmp_path / "v.mkv", 4, pts=[0, 1, 100_000, 100_001])
    assert numbers(path)[:1] == [0]
    assert len(numbers(path)) <= 12


def test_pixels_become_square(tmp_path):
    path = make(tmp_path / "v.mp4", 2, ratio=2)
    assert video.video_info(path).width == 2 * WIDTH
    assert next(video.frames(path)).shape == (HEIGHT, 2 * WIDTH, 3)


def test_people_are_found_and_followed():
    detector = RecordedDetector(people=(0, 1))
    detections = video.read(RECORDED / "upright.mp4", None, detector=detector)
    assert (detections.frames, detections.fps, detections.image_size) == (10, 25, (48, 64))
    assert detections.video == RECORDED / "upright.mp4"
    assert detections.skeleton.name == "body_25"
    assert len(detections.tracks) == 2
    for person, track in enumerate(detections.tracks):
        np.testing.assert_array_equal(track.keypoints, detector.keypoints[:10, person])


def test_a_picture_given_again_is_not_searched_again(tmp_path):
    path = make(tmp_path / "v.mkv", 6, pts=[0, 1, 2, 7, 8, 11])
    detector = RecordedDetector()
    (track,) = video.read(path, None, detector=detector).tracks
    assert detector.calls == 6
    assert track.frame.tolist() == list(range(12))
    np.testing.assert_array_equal(track.keypoints[6], detector.keypoints[2, 0])


def test_one_picture(tmp_path):
    from PIL import Image

    Image.fromarray(np.full((20, 30, 3), 90, np.uint8)).save(tmp_path / "p.png")
    assert video.recognise(tmp_path / "p.png")
    detections = video.read(tmp_path / "p.png", None, detector=RecordedDetector())
    assert (detections.frames, detections.image_size, len(detections.tracks[0])) == (1, (30, 20), 1)


@pytest.mark.parametrize("shape", [(2, 24, 3), (2, 25, 2), (25, 3)])
def test_a_detector_that_gives_other_shapes(shape):
    class Wrong(RecordedDetector):
        def __call__(self, picture):
            return np.ones(shape)

    with pytest.raises(InputError, match=r"the detector gave .*, expected \(people, 25, 3\)"):
        video.read(RECORDED / "upright.mp4", None, detector=Wrong())


def test_cut_videos(tmp_path):
    """An MP4 has its index at the end; of a Matroska file what is there is read."""
    whole = make(tmp_path / "v.mp4").read_bytes()
    path = tmp_path / "cut.mp4"
    for length in range(0, len(whole) - 600, 97):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match=r"cut.mp4: (is no video that can be read|has no video in it|no picture)"):
            list(video.frames(path))
    whole = make(tmp_path / "v.mkv").read_bytes()
    (tmp_path / "cut.mkv").write_bytes(whole[: len(whole) * 2 // 3])
    assert 0 < len(numbers(tmp_path / "cut.mkv")) < 12


def test_damaged_pictures_do_not_end_a_video(tmp_path):
    whole = bytearray(make(tmp_path / "v.mkv", 40, codec="mpeg4").read_bytes())
    whole[len(whole) // 2 : len(whole) // 2 + 40] = os.urandom(40)
    (tmp_path / "damaged.mkv").write_bytes(whole)
    assert len(numbers(tmp_path / "damaged.mkv")) >= 15


def test_sound_alone(tmp_path):
    with av.open(str(tmp_path / "s.mka"), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=8000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 800), np.int16), format="s16", layout="mono")
        frame.sample_rate = 8000
        container.mux(stream.encode(frame))
    with pytest.raises(InputError, match="has no video in it, only audio"):
        list(video.frames(tmp_path / "s.mka"))


def test_a_playlist_reaches_no_other_file(tmp_path):
    make(tmp_path / "v.mp4")
    (tmp_path / "list.m3u8").write_text("#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/v.mp4\n")
    assert not video.recognise(tmp_path / "list.m3u8")
    with pytest.raises(InputError, match=r"list.m3u8: (is no video|has no video|no picture)"):
        list(video.frames(tmp_path / "list.m3u8"))


def test_no_such_file_or_camera(tmp_path):
    with pytest.raises(InputError, match=r"v.mp4: no such file"):
        video.read(tmp_path / "v.mp4", None)
    assert video.recognise(Path("webcam:99"))
    assert not video.recognise(tmp_path)
    with pytest.raises(InputError, match="webcam:99: there is no camera 99 that can be opened"):
        video.read(Path("webcam:99"), None)


def test_without_pyav(monkeypatch):
    monkeypatch.setitem(sys.modules, "av", None)
    with pytest.raises(InputError, match=r'reading videos needs PyAV: pip install "ites_fast\[video\]"'):
        next(video.frames(RECORDED / "upright.mp4"))


def rtmlib_of(monkeypatch, solution) -> None:
    monkeypatch.setitem(sys.modules, "rtmlib", types.SimpleNamespace(BodyWithFeet=solution, Body=solution))


class Solution:
    """rtmlib's interface: boxes in BGR pictures, keypoints and scores in them; without boxes, a person all the same."""

    MODE: ClassVar = {
        "balanced": {"det": "https://example.org/a/finder.zip", "pose": "https://example.org/a/pointer.zip"}
    }
    boxes = 0

    def __init__(self, mode, backend, device):
        self.pictures = []

    def det_model(self, picture):
        self.pictures.append(picture)
        return np.ones((self.boxes, 4))

    def pose_model(self, picture, bboxes):
        count = max(len(bboxes), 1)
        return np.full((count, 26, 2), 7.0), np.full((count, 26), 0.5)


def test_rtmlib_gives_nobody_where_it_finds_no_box(monkeypatch):
    rtmlib_of(monkeypatch, Solution)
    detector = RtmlibDetector()
    assert detector.skeleton.name == "halpe_26"
    picture = np.zeros((4, 5, 3), np.uint8)
    picture[..., 0] = 200
    assert detector(picture).shape == (0, 26, 3)
    assert detector._solution.pictures[0][0, 0].tolist() == [0, 0, 200]  # blue, green, red
    monkeypatch.setattr(Solution, "boxes", 2)
    assert detector(picture).shape == (2, 26, 3)
    assert detector(picture)[0, 0].tolist() == [7, 7, 0.5]


def test_networks_that_cannot_be_had(monkeypatch, tmp_path):
    class Refused(Solution):
        def __init__(self, mode, backend, device):
            raise URLError("no network")

    rtmlib_of(monkeypatch, Refused)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(InputError, match="no network") as caught:
        RtmlibDetector()
    assert f"put finder.onnx and pointer.onnx into {tmp_path}/hub/checkpoints" in str(caught.value)
    assert "keypoints of another detector" in str(caught.value)


def test_rtmlib_is_asked_for_what_it_has(monkeypatch):
    with pytest.raises(InputError, match=r"rtmlib finds the joints of coco_17, .*, not those of body_25"):
        RtmlibDetector(get_skeleton("body_25"))
    monkeypatch.setitem(sys.modules, "rtmlib", None)
    with pytest.raises(InputError, match=r'needs rtmlib .*: pip install "ites_fast\[video\]"'):
        RtmlibDetector()
