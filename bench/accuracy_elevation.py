"""How well a camera's elevation is estimated, on the bundled test clips: ``python bench/accuracy_elevation.py``."""

import numpy as np

from ites_fast import Lifter
from ites_fast.data import load
from ites_fast.data.clips import clip_numbers
from ites_fast.lifting.elevation import estimate_elevation


def main() -> None:
    """Print the angle between the estimated and the true vertical, beside that of a camera taken to be level."""
    data = load("mocap17", "test")
    up = np.stack([camera.rotation[:, 2] for camera in data.cameras])[data.camera]  # in each view's frame
    clip = clip_numbers(data)
    errors = {"level": [], "estimated": []}
    for number in np.unique(clip):
        rows = np.flatnonzero(clip == number)
        poses = Lifter.from_pretrained()(data.pose_2d[rows], camera=data.cameras[data.camera[rows[0]]], ambiguity=False)
        estimate = estimate_elevation(poses.positions)
        if estimate is None:
            continue
        for name, elevation in (("level", 0.0), ("estimated", estimate)):
            angle = np.radians(elevation)
            cosine = up[rows[0]] @ [0, -np.cos(angle), -np.sin(angle)]
            errors[name].append(np.degrees(np.arccos(np.clip(cosine, -1, 1))))
    print(f"{len(errors['level'])} of {len(np.unique(clip))} clips, degrees between the vertical and the true one")
    for name, values in errors.items():
        middle, worst = np.quantile(values, (0.5, 0.9))
        print(f"{name:10} mean {np.mean(values):5.1f}  median {middle:5.1f}  90 % {worst:5.1f}")


if __name__ == "__main__":
    main()
