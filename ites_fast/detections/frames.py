"""Pictures of videos, one after the other: upright, with square pixels, at a constant rate, in bounded memory."""

import contextlib
import logging
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ites_fast.errors import InputError

if TYPE_CHECKING:
    import av

log = logging.getLogger(__name__)

WEBCAM = re.compile(r"webcam:(\d{1,3})")
PIP = 'pip install "ites_fast[video]"'
# FFmpeg's names of files that hold videos and pictures themselves; others are lists of further files, or devices.
CONTAINERS = (
    *("mov", "matroska", "avi", "mpegts", "mpeg", "mpegvideo", "flv", "ogg", "asf", "mxf", "nut", "dv", "rm", "ivf"),
    *("m4v", "h264", "hevc", "av1", "obu", "mjpeg", "gif", "apng", "png_pipe", "jpeg_pipe", "webp_pipe", "bmp_pipe"),
)
DEFAULT_FPS = 30.0
MAX_FPS = 1000.0  # beyond it the rate in the header is the clock's and not the camera's
MAX_PIXELS = 1 << 26  # of a picture; twice 8K
MAX_GAP = 10.0  # seconds between two pictures; a longer one is a jump of the clock
MAX_DAMAGED = 1000  # packets in a row


@dataclass(frozen=True)
class VideoInfo:
    """What a video is.

    Args:
        width: of the upright picture, pixels.
        height: of the upright picture, pixels.
        fps: at which ``frames`` gives pictures, frames a second.
        frames: how many there are, as far as the file's header says it; None where it does not. A broken file, and one
            whose rate varies, can have some more or less.
    """

    width: int
    height: int
    fps: float
    frames: int | None


def webcam_number(path: str | Path) -> int | None:
    """N of ``webcam:N``, None for anything else."""
    found = WEBCAM.fullmatch(str(path))
    return int(found[1]) if found else None


def video_info(path: str | Path) -> VideoInfo:
    """Size, rate and length of a video, from its header and its first picture.

    Raises:
        InputError: as ``frames``.
    """
    with _opened(path) as (container, stream):
        picture = next(_pictures(container, stream, path))[1]
        fps = _fps(stream)
        seconds = float(stream.duration * stream.time_base) if stream.duration and stream.time_base else None
        if seconds is None and container.duration:
            seconds = container.duration / 1e6
        count = round(seconds * fps) if seconds else stream.frames
    return VideoInfo(picture.shape[1], picture.shape[0], fps, count if count > 0 else None)


def frames(path: str | Path) -> Iterator[np.ndarray]:
    """Pictures of a video file, or of a camera ("webcam:0") until it stops.

    The picture is turned as the file says (phones store upright videos lying on their side), its pixels are made
    square, and the rate is constant: where the video has a gap the last picture is given again, the same array; where
    it is faster than its mean rate pictures are left out. A picture's number is therefore its time, number / fps, and
    is the same each time the file is read. Damaged parts are left out, with a warning in the log.

    Yields:
        RGB (H, W, 3) uint8, all of one size.

    Raises:
        InputError: no such file or camera, no video in it, nothing that can be decoded, a picture of more than 67
            million pixels, or PyAV is not installed.
    """
    with _opened(path) as (container, stream):
        fps = _fps(stream)
        given, start, last = 0, None, None  # start: time of the picture number 0
        for time, picture in _pictures(container, stream, path):
            number = given if time is None or start is None else round((time - start) * fps)
            if not given - 1 <= number <= given + MAX_GAP * fps:
                number, start = given, None
            if time is not None and start is None:
                start = time - number / fps
            while given < number:
                yield last
                given += 1
            last = picture
            if number == given:
                yield picture
                given += 1


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple["av.container.InputContainer", "av.VideoStream"]]:
    av = _import_av()
    number = webcam_number(path)
    if number is None and not Path(path).is_file():
        raise InputError(f"{path}: no such file")
    try:
        if number is None:
            # Names and playlists must not reach other places than this file.
            container = av.open(
                f"file:{path}", options={"protocol_whitelist": "file", "format_whitelist": ",".join(CONTAINERS)}
            )
        else:
            container = _open_camera(av, number)
    except (av.FFmpegError, ValueError, OSError) as error:
        raise InputError(_why_not_opened(path, number, error)) from error
    with container:
        if not container.streams.video:
            kinds = ", ".join(sorted({stream.type for stream in container.streams})) or "nothing"
            raise InputError(f"{path}: has no video in it, only {kinds}")
        stream = container.streams.video[0]
        if stream.codec_context is None:
            raise InputError(f"{path}: its pictures are coded in a way that PyAV does not know")
        _check_size(stream.width, stream.height, path)
        # No threads that decode frames: with a log level set anywhere, PyAV can deadlock when it closes such a decoder,
        # as their messages wait for the interpreter and the interpreter for them.
        stream.thread_type = "SLICE"
        yield container, stream


def _import_av():
    try:
        import av
    except ImportError as error:
        raise InputError(f"reading videos needs PyAV: {PIP}") from error
    return av


def _open_camera(av, number: int) -> "av.container.InputContainer":
    if sys.platform == "darwin":
        return av.open(str(number), format="avfoundation", options={"framerate": "30"})
    if sys.platform == "win32":
        raise ValueError("cameras of Windows have names; record a video, or use the stream of a lifter")
    return av.open(f"/dev/video{number}", format="v4l2")


def _why_not_opened(path: str | Path, number: int | None, error: Exception) -> str:
    why = getattr(error, "strerror", None) or str(error)
    if number is None:
        return f"{path}: is no video that can be read ({why}); was it truncated?"
    return f"{path}: there is no camera {number} that can be opened ({why})"


def _fps(stream: "av.VideoStream") -> float:
    for rate in (stream.average_rate, stream.guessed_rate, stream.base_rate):
        if rate and 0 < rate <= MAX_FPS:
            return float(rate)
    return DEFAULT_FPS


def _pictures(container, stream, path: str | Path) -> Iterator[tuple[float | None, np.ndarray]]:
    """Time in seconds, if it is known, and picture."""
    size, damaged, in_a_row = None, 0, 0
    for frame in _decoded(container, stream):
        if frame is None:
            damaged, in_a_row = damaged + 1, in_a_row + 1
            if in_a_row > MAX_DAMAGED:
                break
            continue
        in_a_row = 0
        if size is None:
            size = _square_size(frame.width, frame.height, float(stream.sample_aspect_ratio or 1), path)
        array = frame.reformat(width=size[0], height=size[1], format="rgb24").to_ndarray()
        yield frame.time, turned(array, _display_matrix(frame))
    if size is None:
        raise InputError(f"{path}: no picture of it can be decoded; is it damaged?")
    if damaged:
        log.warning("%s: %d damaged parts were left out", path, damaged)


def _decoded(container, stream):
    """Decoded frames, and None for each part that is damaged."""
    import av

    packets = container.demux(stream)
    while True:
        try:
            packet = next(packets, None)
            if packet is None:
                return
            decoded = packet.decode()
        except av.EOFError:
            return
        except (av.FFmpegError, ValueError):
            yield None
            continue
        yield from decoded


def _square_size(width: int, height: int, ratio: float, path: str | Path) -> tuple[int, int]:
    """Size of the picture with square pixels, from one whose pixels are ``ratio`` times as wide as high."""
    if not 1 / 16 < ratio < 16:
        ratio = 1.0
    size = round(width * ratio), height
    _check_size(*size, path)
    return size


def _check_size(width: int, height: int, path: str | Path) -> None:
    if width * height > MAX_PIXELS:
        raise InputError(f"{path}: pictures of {width} x {height}, expected at most {MAX_PIXELS} pixels")


def _display_matrix(frame) -> tuple[int, ...] | None:
    data = frame.side_data.get("DISPLAYMATRIX")
    return tuple(np.frombuffer(bytes(data), np.int32, 9).tolist()) if data is not None else None


def turned(picture: np.ndarray, matrix: tuple[int, ...] | None) -> np.ndarray:
    """The picture as it is meant to be seen.

    Args:
        picture: as it is stored (H, W, 3).
        matrix: nine numbers a b u / c d v / x y w of FFmpeg's display matrix: what is stored at (x, y) is seen at
            (a x + c y, b x + d y). Turns by multiples of 90 degrees and mirror images are followed; other angles are
            taken for the nearest of them.
    """
    if matrix is None:
        return picture
    a, b, _, c, d = matrix[:5]
    if abs(b) + abs(c) > abs(a) + abs(d):
        picture, right, down = picture.transpose(1, 0, 2), c, b
    else:
        right, down = a, d
    return np.ascontiguousarray(picture[:: -1 if down < 0 else 1, :: -1 if right < 0 else 1])
