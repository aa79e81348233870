"""Contact sheets and films: what is in the files, and what is left when writing fails."""

from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from ites_fast.errors import InputError
from ites_fast.pictures import video
from ites_fast.pictures.contact_sheet import COLUMNS, FRAMES, write_png
from ites_fast.pictures.video import HEIGHT, Film, write_video
from ites_fast.pictures.view_2d import View2D, image_extent

av = pytest.importorskip("av", reason="needs PyAV (extra video)")


def decoded(path):
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(stream)], float(stream.average_rate)


def write_pictures(path, colours, size=(64, 48)):
    """A film of plain pictures."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=15)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        for colour in colours:
            picture = np.full((size[1], size[0], 3), colour, np.uint8)
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def test_a_sheet_has_a_cell_for_each_frame(two_walkers, tmp_path):
    write_png(two_walkers, tmp_path / "sheet.png")
    width, height = Image.open(tmp_path / "sheet.png").size
    one = replace(two_walkers, people=(replace_rows(two_walkers.people[0], slice(3, 4)),))
    write_png(one, tmp_path / "one.png")
    cell = Image.open(tmp_path / "one.png").size
    assert abs(width - COLUMNS * cell[0]) < COLUMNS * 9
    assert abs(height - FRAMES // COLUMNS * cell[1]) < 20


def replace_rows(person, rows):
    names = ("frame", "positions", "confidence", "keypoints")
    return replace(person, **{name: getattr(person, name)[rows] for name in names})


def test_a_film_has_every_frame_and_moves(two_walkers, tmp_path):
    path = tmp_path / "film.mp4"
    write_video(two_walkers, path)
    pictures, fps = decoded(path)
    assert len(pictures) == two_walkers.frames
    assert fps == pytest.approx(15)
    assert pictures[0].shape == (HEIGHT, 2 * HEIGHT, 3)
    assert np.abs(pictures[0].astype(int) - pictures[12]).max() > 100


def test_the_film_shows_the_video_under_the_keypoints(walker, tmp_path):
    colours = [(200, 20, 20) if frame < 12 else (20, 20, 200) for frame in range(walker.frames)]
    write_pictures(tmp_path / "video.mp4", colours, size=(100, 100))
    scene = replace(walker, image_size=(100, 100))
    film = list(Film(scene, 120, range(walker.frames), tmp_path / "video.mp4"))
    corner = [picture.getpixel((5, 5)) for picture in film]
    assert corner[3][0] > 150
    assert corner[3][2] < 80
    assert corner[20][2] > 150
    assert corner[20][0] < 80


def test_a_shorter_video_ends_in_plain_pictures(walker, tmp_path):
    write_pictures(tmp_path / "video.mp4", [(200, 20, 20)] * 5, size=(100, 100))
    film = list(Film(replace(walker, image_size=(100, 100)), 120, range(walker.frames), tmp_path / "video.mp4"))
    assert len(film) == walker.frames
    assert film[3].getpixel((5, 5))[0] > 150 > film[3].getpixel((5, 5))[1]
    assert min(film[-1].getpixel((5, 5))) > 200


def test_a_gif_is_thinned_and_keeps_its_speed(walker, tmp_path):
    path = tmp_path / "film.gif"
    write_video(replace(walker, fps=60.0), path)
    with Image.open(path) as gif:
        assert gif.n_frames == walker.frames / 4
        assert gif.info["duration"] == pytest.approx(1000 / 15, abs=10)


def test_a_person_without_keypoints_is_drawn_in_3d_only(walker, tmp_path):
    scene = replace(walker, people=(replace(walker.people[0], keypoints=None),))
    assert Film(scene, 120, range(3), None).size == (120, 120)
    write_png(scene, tmp_path / "sheet.png")


def test_the_extent_of_an_unknown_image_is_that_of_the_keypoints(walker):
    low, high = image_extent(replace(walker, image_size=None))
    points = walker.people[0].keypoints[..., :2].reshape(-1, 2)
    assert (low < points.min(0)).all()
    assert (high > points.max(0)).all()
    assert (high - low < 1.3 * np.ptp(points, axis=0).max()).all()


def test_missing_keypoints_are_not_drawn(walker):
    person = walker.people[0]
    keypoints = np.full_like(person.keypoints, np.nan)
    nothing = View2D(replace(walker, people=(replace(person, keypoints=keypoints),)), (100, 100)).draw(0).finish()
    assert nothing.getcolors() == [(100 * 100, (232, 232, 236))]


@pytest.mark.parametrize("write", [write_png, write_video])
def test_nobody_to_draw(walker, tmp_path, write):
    with pytest.raises(InputError, match="nobody is in it"):
        write(replace(walker, people=()), tmp_path / "out.mp4")
    assert list(tmp_path.iterdir()) == []


def test_suffixes_and_long_gifs(walker, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"'.avi', expected .mp4 or .gif"):
        write_video(walker, tmp_path / "film.avi")
    monkeypatch.setattr(video, "GIF_FRAMES", 20)
    with pytest.raises(InputError, match="a GIF of 24 frames, expected 20 at most"):
        write_video(walker, tmp_path / "film.gif")


@pytest.mark.parametrize("suffix", [".mp4", ".gif"])
def test_a_film_that_breaks_off_leaves_nothing(walker, tmp_path, suffix, monkeypatch):
    def draw(self, number, picture=None):
        if number == 5:
            raise KeyboardInterrupt
        return Image.new("RGB", self.size)

    monkeypatch.setattr(Film, "draw", draw)
    with pytest.raises(KeyboardInterrupt):
        write_video(walker, tmp_path / f"film{suffix}")
    assert list(tmp_path.iterdir()) == []
