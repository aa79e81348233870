"""People in a video file, a picture, or before a webcam ("webcam:0"), found by rtmlib."""

import logging
from pathlib import Path

import numpy as np
from tqdm import tqdm

from ites_fast.detections.frames import VideoInfo, frames, video_info, webcam_number
from ites_fast.detections.keypoint_rows import MAX_FRAMES, clean_keypoints
from ites_fast.detections.rtmlib_detector import Detector, RtmlibDetector
from ites_fast.detections.tracking import follow
from ites_fast.detections.tracks import Detections
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

__all__ = ["VideoInfo", "frames", "read", "recognise", "video_info"]

log = logging.getLogger(__name__)

# (offset, bytes): what files begin with
SIGNATURES = (
    (4, b"ftyp"),  # MP4, MOV
    (4, b"moov"),
    (8, b"AVI "),
    (8, b"WEBP"),
    (0, b"\x1a\x45\xdf\xa3"),  # Matroska, WebM
    (0, b"OggS"),
    (0, b"FLV\x01"),
    (0, b"\x00\x00\x01\xba"),  # MPEG
    (0, b"\x00\x00\x01\xb3"),
    (0, b"GIF8"),
    (0, b"\x89PNG\r\n"),
    (0, b"\xff\xd8\xff"),  # JPEG
)
TS_PACKET = 188  # bytes; each begins with 0x47


def recognise(path: Path) -> bool:
    """Whether ``path`` is a webcam, or a file that begins as videos or pictures do."""
    if webcam_number(path) is not None:
        return True
    try:
        with path.open("rb") as file:
            head = file.read(2 * TS_PACKET + 1)
    except OSError:
        return False
    stream = len(head) > 2 * TS_PACKET and all(head[i * TS_PACKET] == 0x47 for i in range(3))
    return stream or any(head[at : at + len(word)] == word for at, word in SIGNATURES)


def read(path: Path, skeleton: Skeleton | None, *, detector: Detector | None = None) -> Detections:
    """Find the people in every picture, and follow them. A webcam is read until Ctrl-C.

    Args:
        path: the video or picture, or "webcam:N".
        skeleton: which joints to look for; those of the detector without it.
        detector: what finds people; rtmlib without it.

    Raises:
        InputError: the video cannot be read, or the detector cannot be had; see ``frames`` and ``RtmlibDetector``.
    """
    info = video_info(path)
    detector = detector or RtmlibDetector(skeleton)
    webcam = webcam_number(path) is not None
    people: list[np.ndarray] = []
    last = None
    try:
        for picture in tqdm(frames(path), total=info.frames, unit=" frames", desc=Path(path).name, disable=None):
            # A picture that is given again, where the video has a gap, has the same people.
            found = people[-1] if picture is last else _checked(detector(picture), detector.skeleton, len(people))
            people.append(found)
            last = picture
            if len(people) >= MAX_FRAMES:
                raise InputError(f"{path}: more than {MAX_FRAMES} frames")
    except KeyboardInterrupt:
        if not webcam or not people:
            raise
        log.info("%s: stopped after %d frames", path, len(people))
    return Detections(
        source=str(path),
        skeleton=detector.skeleton,
        tracks=follow(people),
        frames=len(people),
        fps=info.fps,
        image_size=(info.width, info.height),
        video=None if webcam else Path(path),
    )


def _checked(keypoints: np.ndarray, skeleton: Skeleton, frame: int) -> np.ndarray:
    keypoints = np.asarray(keypoints)
    if keypoints.ndim != 3 or keypoints.shape[1:] != (skeleton.num_joints, 3):
        raise InputError(f"the detector gave {keypoints.shape}, expected (people, {skeleton.num_joints}, 3)")
    keypoints = clean_keypoints(keypoints, f"detections of frame {frame}")
    return keypoints[(keypoints[..., 2] > 0).any(-1)]
