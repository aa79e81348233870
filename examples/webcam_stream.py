"""Poses from a camera, frame by frame: ``python webcam_stream.py [webcam:0 | recorded]``. Ctrl-C ends it.

Needs ``pip install "ites_fast[video]"``. Where there is no camera or no detector, recorded detections take its place.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ites_fast import InputError, Lifter
from ites_fast.detections.frames import frames, video_info
from ites_fast.detections.rtmlib_detector import RtmlibDetector
from ites_fast.skeleton import get_skeleton

source = sys.argv[1] if len(sys.argv) > 1 else "webcam:0"
skeleton = get_skeleton("coco_17")
try:
    info = video_info(source)
    detector = RtmlibDetector(skeleton)
    size, keypoints = (info.width, info.height), map(detector, frames(source))
except InputError as error:
    print(f"{error}; recorded detections instead")
    recorded = np.load(Path(__file__).parent / "recorded" / "rtmlib.npz")
    people = np.concatenate([recorded["keypoints"], recorded["scores"][..., None]], -1)
    size, keypoints = recorded["image_size"].tolist(), np.split(people, np.cumsum(recorded["people"])[:-1])


def wrists(keypoints: Iterator[np.ndarray]) -> Iterator[str]:
    """How high the right wrists are above the hips; people (P, 17, 3) of each frame in, a line out."""
    stream = Lifter.from_pretrained().stream(skeleton="coco_17", image_size=size, fps=30)
    for people in keypoints:
        frame = stream(people)  # without ids, people are followed by where they are
        heights = -frame.positions[:, 16, 1]  # y points down
        yield ", ".join(f"person {name}: {height:+.2f}" for name, height in zip(frame.ids, heights, strict=True))


for line in wrists(keypoints):
    print(line)
