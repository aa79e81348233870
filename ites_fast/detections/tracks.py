"""2D keypoints of people in a video: what every reader of detections returns."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ites_fast.camera import Camera
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class Track:
    """One person, in the frames in which the detector saw that person.

    Args:
        name: the detector's or the tracker's name of the person.
        frame: numbers of the frames (N,) int64, strictly increasing, from 0.
        keypoints: x, y in pixels and confidence (N, J, 3) float32; a joint that was not detected is NaN, NaN, 0.

    Raises:
        ValueError: shapes that do not fit, or frames that do not increase.
    """

    name: str
    frame: np.ndarray
    keypoints: np.ndarray

    def __post_init__(self) -> None:
        if self.frame.ndim != 1 or self.keypoints.ndim != 3 or self.keypoints.shape[::2] != (len(self.frame), 3):
            raise ValueError(f"{len(self.frame)} frames and keypoints {self.keypoints.shape}, expected (N, J, 3)")
        if len(self.frame) and (self.frame[0] < 0 or (np.diff(self.frame) <= 0).any()):
            raise ValueError("the frames of a track must increase from 0 on")

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Detections:
    """People in one video or picture.

    Args:
        source: what messages call it, for example the file's name.
        skeleton: joints of all keypoints.
        tracks: the people, each at most once in a frame.
        frames: how many frames the video has, those without people included.
        fps: frames a second, None where the file does not say.
        image_size: width and height, pixels, None where the file does not say.
        camera: with which it was taken, None where the file does not say.
        video: the pictures, where there are any.
        notes: what people should know of the reading, one sentence each, for example people who were left out.
    """

    source: str
    skeleton: Skeleton
    tracks: tuple[Track, ...]
    frames: int
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    camera: Camera | None = None
    video: Path | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for track in self.tracks:
            if track.keypoints.shape[1] != self.skeleton.num_joints:
                raise InputError(
                    f"{self.source}: person {track.name} has {track.keypoints.shape[1]} joints, "
                    f"expected {self.skeleton.num_joints} for {self.skeleton.name}"
                )
            if len(track) and track.frame[-1] >= self.frames:
                raise InputError(
                    f"{self.source}: person {track.name} is in frame {track.frame[-1]} of only {self.frames} frames"
                )
