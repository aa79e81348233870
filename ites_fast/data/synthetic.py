"""Articulated poses of any number from a seed, without any recording.

A body stands in a world with z up: bones of a subject's own lengths, joints turned within limits, feet on the ground,
any heading. Cameras look at it from 3 to 7 m, 10 degrees above the horizon with a deviation of 8.
"""

import re
from itertools import pairwise

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.virtual_cameras import FOCAL_PX, PRINCIPAL_PX, orbit_camera
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

CHUNK = 16384  # poses drawn at a time: another number gives other poses
SUBJECTS = {"train": 64, "test": 8}
CAMERAS_PER_SUBJECT = 4
TEST_SHARE = 10  # one test view for so many training views

# Rest pose of a mean adult: from each joint's parent, metres; x to the person's right, y forward, z up.
OFFSETS = np.array(
    [
        (0, 0, 0),
        (0.11, 0, -0.02),
        (0, 0, -0.42),
        (0, 0, -0.42),
        (-0.11, 0, -0.02),
        (0, 0, -0.42),
        (0, 0, -0.42),
        (0, -0.02, 0.22),
        (0, 0, 0.24),
        (0, 0.03, 0.13),
        (0, 0, 0.13),
        (-0.17, 0, 0.04),
        (0, 0, -0.29),
        (0, 0, -0.25),
        (0.17, 0, 0.04),
        (0, 0, -0.29),
        (0, 0, -0.25),
    ]
)
# Joint: (axis, least, greatest angle) in degrees, turned in this order; the left side mirrors y and z. About x, what
# hangs swings forward and what stands leans backward; about y, what hangs swings to the left.
LIMITS = {
    "spine": (("x", -45, 15), ("y", -20, 20), ("z", -30, 30)),
    "thorax": (("x", -15, 10), ("y", -10, 10), ("z", -15, 15)),
    "neck_nose": (("x", -35, 25), ("y", -20, 20), ("z", -40, 40)),
    "right_hip": (("x", -20, 100), ("y", -40, 10), ("z", -25, 25)),
    "right_knee": (("x", -130, 0),),
    "right_shoulder": (("x", -40, 150), ("y", -110, 10), ("z", -60, 60)),
    "right_elbow": (("x", 0, 140),),
}
LEAN = 8.0  # degrees, deviation of the pelvis from upright about x and y
STATURE = 0.06  # relative deviation of a subject's size
PROPORTION = 0.04  # relative deviation of one bone of a subject
SPREAD = 0.3  # metres, deviation of the body's place from where the cameras look
ELEVATION = (10.0, 8.0)  # degrees, mean and deviation of the cameras
MAX_ELEVATION = 30.0
DISTANCE = (3.0, 7.0)  # metres
LOOK_AT = 0.9  # height, metres


def generate(data: str, split: str) -> PoseDataset:
    """Poses for "synthetic:N" or "synthetic:N:SEED".

    Args:
        data: N is the number of training views; there are N / 10 test views (at least one) of other subjects.
        split: "train", "test" or "all", the training views first.

    Raises:
        InputError: N or SEED is not a whole number, or N is not positive.
    """
    count, seed = _parse(data)
    sizes = {"train": count, "test": max(1, count // TEST_SHARE)}
    splits = ("train", "test") if split == "all" else (split,)
    total = sum(sizes[part] for part in splits)
    pose_2d, pose_3d = np.empty((total, 17, 2), np.float32), np.empty((total, 17, 3), np.float32)
    cameras: list[Camera] = []
    lengths: list[int] = []
    subjects: list[str] = []
    for part in splits:
        generator = np.random.default_rng([seed, list(SUBJECTS).index(part)])
        offsets = _subject_offsets(generator, SUBJECTS[part])
        subjects += [f"{part}-{index:02d}" for index in range(SUBJECTS[part])]
        bounds = np.linspace(0, sizes[part], SUBJECTS[part] * CAMERAS_PER_SUBJECT + 1).astype(np.int64) + sum(lengths)
        for block, (low, high) in enumerate(pairwise(bounds.tolist())):
            cameras.append(_draw_camera(generator))
            lengths.append(high - low)
            for start in range(low, high, CHUNK):
                stop = min(start + CHUNK, high)
                world = _draw_poses(generator, offsets[block // CAMERAS_PER_SUBJECT], stop - start)
                pose = cameras[-1].to_camera(world)
                pose_3d[start:stop] = pose
                pose_2d[start:stop] = pose[..., :2] / pose[..., 2:] * FOCAL_PX + PRINCIPAL_PX
    camera = np.repeat(np.arange(len(cameras), dtype=np.int32), lengths)
    return PoseDataset(
        name=data,
        skeleton=H36M_17,
        pose_2d=pose_2d,
        pose_3d=pose_3d,
        cameras=tuple(cameras),
        camera=camera,
        subjects=tuple(subjects),
        subject=camera // np.int32(CAMERAS_PER_SUBJECT),
        actions=("random pose",),
        action=np.zeros(total, np.int32),
        sequence=camera.copy(),
        frame=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
    )


def _parse(data: str) -> tuple[int, int]:
    match = re.fullmatch(r"synthetic:(\d+)(?::(\d+))?", data)
    if match is None or int(match[1]) == 0:
        raise InputError(f"{data!r}: expected synthetic:N or synthetic:N:SEED with whole numbers, N positive")
    return int(match[1]), int(match[2] or 0)


def _subject_offsets(generator: np.random.Generator, subjects: int) -> np.ndarray:
    """Rest offsets (subjects, 17, 3) of people who differ in stature and proportions; both sides are equal."""
    scale = np.exp(generator.normal(0, PROPORTION, (subjects, 17)))
    scale[:, H36M_17.left] = scale[:, H36M_17.right]
    stature = np.exp(generator.normal(0, STATURE, (subjects, 1)))
    return OFFSETS * (scale * stature)[..., None]


def _draw_camera(generator: np.random.Generator) -> Camera:
    elevation = np.clip(generator.normal(*ELEVATION), -MAX_ELEVATION, MAX_ELEVATION)
    return orbit_camera(generator.uniform(0, 360), elevation, 0.0, generator.uniform(*DISTANCE), LOOK_AT)


def _draw_poses(generator: np.random.Generator, offsets: np.ndarray, count: int) -> np.ndarray:
    """World positions (count, 17, 3), metres, the lowest joint on the ground."""
    # One turned frame a joint, as three columns of (3, count): turning about an axis mixes two columns.
    frames: dict[int, list[np.ndarray]] = {}
    pelvis = [np.repeat(column[:, None], count, 1) for column in np.eye(3)]
    _turn(pelvis, "z", generator.uniform(0, 360, count))
    for axis in "xy":
        _turn(pelvis, axis, generator.normal(0, LEAN, count))
    frames[H36M_17.root] = pelvis
    points = np.zeros((17, 3, count))
    for joint, parent in H36M_17.edges:
        frame = frames[parent]
        points[joint] = points[parent] + sum(
            column * length for column, length in zip(frame, offsets[joint], strict=True)
        )
        frames[joint] = _bent(generator, frame, joint, count)
    points[:, :2] += generator.normal(0, SPREAD, (1, 2, count))
    points[:, 2] -= points[:, 2].min(0)
    return points.transpose(2, 0, 1)


def _bent(generator: np.random.Generator, frame: list[np.ndarray], joint: int, count: int) -> list[np.ndarray]:
    """A joint's frame: its parent's, turned by angles within the limits, small ones more often than large ones."""
    name = H36M_17.joint_names[joint]
    limits = LIMITS.get(name.replace("left", "right"), ())
    result = list(frame)
    for axis, least, greatest in limits:
        angle = generator.triangular(least, 0, greatest, count)
        _turn(result, axis, -angle if "left" in name and axis != "x" else angle)
    return result


def _turn(frame: list[np.ndarray], axis: str, degrees: np.ndarray) -> None:
    """Turn a frame, given as columns, about its own axis, in place."""
    a = "xyz".index(axis)
    b, c = (a + 1) % 3, (a + 2) % 3
    cosine, sine = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    frame[b], frame[c] = cosine * frame[b] + sine * frame[c], cosine * frame[c] - sine * frame[b]
