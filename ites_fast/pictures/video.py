"""A scene as a film: the image with its keypoints beside the poses in 3D, which a camera slowly goes around."""

import itertools
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image
from tqdm import tqdm

from ites_fast.detections.frames import frames as frames_of_video
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.pictures.canvas import Canvas
from ites_fast.pictures.view_2d import View2D, has_image, image_extent
from ites_fast.pictures.view_3d import View3D
from ites_fast.scene import Scene

HEIGHT = 480  # pixels
TURN = np.radians(12.0)  # a second
QUALITY = "20"  # constant rate factor of H.264
GIF_FPS, GIF_HEIGHT, GIF_FRAMES = 15.0, 300, 2000  # a GIF is held in memory until it is written
TEXT = 13


def write_video(scene: Scene, path: str | os.PathLike, video: str | os.PathLike | None = None) -> None:
    """Write an .mp4 (H.264) or a .gif of all frames, in the speed of the original.

    Args:
        scene: in any axes.
        path: the film; its suffix says which of both.
        video: the pictures that the keypoints were found in, frame by frame; without it they are drawn over nothing.

    Raises:
        InputError: nobody is in the scene, the suffix is another one, the video cannot be read, PyAV is not installed,
            or a GIF would have more than ``GIF_FRAMES`` frames.
        OSError: the file cannot be written.
    """
    path = Path(path)
    if scene.poses == 0:
        raise InputError(f"{scene.source}: nobody is in it, so there is nothing to draw")
    if path.suffix.lower() == ".mp4":
        film = Film(scene, HEIGHT, range(scene.frames), video)
        with atomic_path(path) as temporary:
            _write_mp4(film, temporary, scene.fps)
    elif path.suffix.lower() == ".gif":
        step = max(1, round(scene.fps / GIF_FPS))
        numbers = range(0, scene.frames, step)
        if len(numbers) > GIF_FRAMES:
            raise InputError(
                f"{path}: a GIF of {len(numbers)} frames, expected {GIF_FRAMES} at most; write an .mp4 instead"
            )
        film = Film(scene, GIF_HEIGHT, numbers, video)
        with atomic_path(path) as temporary:
            _write_gif(film, temporary, scene.fps / step)
    else:
        raise InputError(f"{path}: suffix {path.suffix!r}, expected .mp4 or .gif")


class Film:
    """The pictures of a film, one after the other.

    Args:
        scene: in any axes, with at least one pose.
        height: of the pictures, even.
        numbers: of the frames that are drawn, increasing.
        video: the original pictures, where there are any.
    """

    def __init__(self, scene: Scene, height: int, numbers: range, video: str | os.PathLike | None) -> None:
        self.scene = scene.to_world("z")
        self.numbers = numbers
        self.video = None if video is None else Path(video)
        self.view = View3D(self.scene, (height, height))
        self.image = None
        if has_image(scene):
            low, high = image_extent(scene)
            width = float(np.clip(height * (high - low)[0] / (high - low)[1], height / 3, 2 * height))
            self.image = View2D(self.scene, (2 * round(width / 2), height))

    @property
    def size(self) -> tuple[int, int]:
        """Width and height of each picture."""
        width, height = self.view.size
        return (width if self.image is None else width + self.image.size[0]), height

    def __len__(self) -> int:
        return len(self.numbers)

    def __iter__(self) -> Iterator[Image.Image]:
        for number, picture in zip(self.numbers, self._pictures(), strict=False):
            yield self.draw(number, picture)

    def draw(self, number: int, picture: np.ndarray | None = None) -> Image.Image:
        """One frame, with the ``picture`` (H, W, 3) of the video where there is one."""
        seconds = number / self.scene.fps
        pose = self.view.draw(number, yaw=TURN * seconds)
        self._caption(pose, number, seconds)
        pose = pose.finish()
        if self.image is None:
            return pose
        image = self.image.draw(number, picture).finish()
        both = Image.new("RGB", self.size)
        both.paste(image, (0, 0))
        both.paste(pose, (image.width, 0))
        return both

    def _caption(self, canvas: Canvas, number: int, seconds: float) -> None:
        right = canvas.size[0] - 8
        canvas.text((right, 6), f"{seconds:.2f} s, frame {number}", size=TEXT, anchor="ra")
        doubtful = [
            person.name
            for person, row in self.view.people_at(number)
            if person.ambiguity is not None and person.ambiguity[row] > 0.5
        ]
        if doubtful:
            canvas.text((right, 24), f"depth is a guess: {', '.join(doubtful)}", size=TEXT, anchor="ra")

    def _pictures(self) -> Iterator[np.ndarray | None]:
        """A picture for each number; none where the video is missing or has ended."""
        if self.video is None or self.image is None:
            return itertools.repeat(None)
        chosen = itertools.islice(frames_of_video(self.video), 0, None, self.numbers.step)
        return itertools.chain(chosen, itertools.repeat(None))


def _progress(film: Film, path: Path) -> Iterator[Image.Image]:
    return tqdm(film, desc=f"drawing {path.suffix}", unit="frame", disable=None, delay=1.0)


def _write_mp4(film: Film, path: Path, fps: float) -> None:
    try:
        import av
    except ImportError as error:
        raise InputError(f'{path.suffix}: needs PyAV: pip install "ites_fast[video]"') from error
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        stream.width, stream.height = film.size
        stream.pix_fmt = "yuv420p"
        stream.options = {"crf": QUALITY, "preset": "veryfast"}
        for picture in _progress(film, path):
            container.mux(stream.encode(av.VideoFrame.from_image(picture)))
        container.mux(stream.encode())


def _write_gif(film: Film, path: Path, fps: float) -> None:
    pictures = iter(_progress(film, path))
    first = next(pictures).quantize(255, dither=Image.Dither.NONE)
    others = (picture.quantize(palette=first, dither=Image.Dither.NONE) for picture in pictures)
    first.save(path, format="GIF", save_all=True, append_images=others, duration=round(1000 / fps), loop=0)
