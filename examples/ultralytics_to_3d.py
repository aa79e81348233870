"""Ultralytics' output to 3D: ``Results.to_json()`` of each frame of ``model.track(video, stream=True)``, one a line."""

import json
from pathlib import Path

import numpy as np

from ites_fast import Lifter

recorded = Path(__file__).parent / "recorded" / "ultralytics.jsonl"
image_size = (1088, 1920)  # Results.orig_shape, turned round

people: dict[int, list[np.ndarray]] = {}
for line in recorded.read_text().splitlines():
    for person in json.loads(line):
        points = person["keypoints"]
        keypoints = np.stack([points["x"], points["y"], points["visible"]], -1)  # (17, 3)
        people.setdefault(person["track_id"], []).append(keypoints)

lifter = Lifter.from_pretrained()
for name, keypoints in people.items():
    poses = lifter(np.stack(keypoints), skeleton="coco_17", image_size=image_size, fps=60, smooth="savitzky_golay")
    print(f"person {name}: {poses}")
    print("first left wrist from the hip:", poses.positions[0, poses.joint_names.index("left_wrist")])
    poses.save(f"ultralytics_{name}.bvh")
