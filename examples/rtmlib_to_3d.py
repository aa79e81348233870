"""rtmlib's output to 3D: people without names are followed from frame to frame and written to one glb.

``body = rtmlib.Body()`` gives keypoints (P, 17, 2) and scores (P, 17) of a picture; here they are read from a file.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from ites_fast import Lifter
from ites_fast.detections import Detections
from ites_fast.detections.tracking import follow
from ites_fast.lifting.detections import lift_detections
from ites_fast.saving import save_scene
from ites_fast.skeleton import get_skeleton

recorded = np.load(Path(__file__).parent / "recorded" / "rtmlib.npz")
image_size = tuple(recorded["image_size"].tolist())


def body() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What ``rtmlib.Body()`` says of each picture."""
    ends = np.cumsum(recorded["people"])[:-1]
    yield from zip(np.split(recorded["keypoints"], ends), np.split(recorded["scores"], ends), strict=True)


frames = []
for keypoints, scores in body():
    frames.append(np.concatenate([keypoints, scores[..., None]], -1))

skeleton = get_skeleton("coco_17")
people = Detections("rtmlib", skeleton, follow(frames), len(frames), fps=float(recorded["fps"]), image_size=image_size)
scene = lift_detections(Lifter.from_pretrained().frames(skeleton, image_size), people, min_frames=10)
for person in scene.people:
    print(f"person {person.name}: {len(person)} poses from frame {person.frame[0]} on, {scene.units}")
save_scene(scene, "rtmlib.glb")
