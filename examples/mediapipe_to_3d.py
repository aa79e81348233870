"""MediaPipe's landmarks to 3D: its x and y are shares of the picture; its own z, a guess without a unit, is not used.

``result.pose_landmarks[0]`` of each frame, as lists of {x, y, z, visibility}; here they are read from a file.
"""

import json
from pathlib import Path

import numpy as np

from ites_fast import Lifter

recorded = Path(__file__).parent / "recorded" / "mediapipe.json"
image_size = (1088, 1920)
width, height = image_size

keypoints = np.array(
    [
        [[mark["x"] * width, mark["y"] * height, mark["visibility"]] for mark in landmarks]
        for landmarks in json.loads(recorded.read_text())
    ]
)  # (T, 33, 3) pixels and confidence

lifter = Lifter.from_pretrained()
poses = lifter(keypoints, skeleton="mediapipe_33", image_size=image_size, fps=60, height=1.75, constant_bones=True)
print(poses)
print(*poses.notes, sep="\n")
poses.to_world(up="y").save("mediapipe.csv")
