"""OpenPose BODY_25B detections of one person by calibrated cameras, with the 3D triangulated from them, in one npz.

The layout is that of an export of a Pose2Sim project; keys: docs/DATA.md.
"""

import logging
from pathlib import Path

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.npz_file import Arrays, npz_keys
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

log = logging.getLogger(__name__)

SHAPES = {
    "body25b": ("cameras", "frames", 25, 3),
    "joints17_3d": ("frames", 17, 3),
    "K": ("cameras", 3, 3),
    "dist": ("cameras", 4),
    "R": ("cameras", 3, 3),
    "T": ("cameras", 3),
    "size": ("cameras", 2),
}

# H36M_17 order. BODY_25B: nose, eyes, ears 3-4, shoulders 5-6, elbows 7-8, wrists 9-10, hips 11-12, knees 13-14, ankles
# 15-16 (left before right), upper neck 17, head top 18, feet. Several numbers mean the mean of these points, as in the
# 3D: hip and thorax lie between hips and between shoulders, the spine half way from one to the other.
JOINTS = (
    (11, 12),
    (12,),
    (14,),
    (16,),
    (11,),
    (13,),
    (15,),
    (5, 6, 11, 12),
    (5, 6),
    (17,),
    (18,),
    (5,),
    (7,),
    (9,),
    (6,),
    (8,),
    (10,),
)


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with all keys of ``SHAPES``."""
    return npz_keys(path) >= SHAPES.keys()


def read(path: Path, split: str) -> PoseDataset:
    """Every frame of every camera, camera by camera; the actions are the cameras.

    A detection with confidence 0 is missing, and so are the joints that are means of it.

    Args:
        path: the npz file.
        split: "test" or "all"; there is no training split in these files.

    Raises:
        InputError: a key has another shape, or a camera is none.
    """
    if split == "train":
        raise InputError(f"{path}: the train split is empty: real detections to test on; use split 'test'")
    arrays = Arrays(path)
    values = {key: arrays.numbers(key) for key in SHAPES}
    arrays.check_shapes(values, SHAPES)
    cameras = tuple(_camera(values, index, path) for index in range(len(values["K"])))
    frames = len(values["joints17_3d"])
    camera = np.repeat(np.arange(len(cameras), dtype=np.int32), frames)
    pose_2d = to_17(values["body25b"]).reshape(-1, 17, 2)
    dataset = PoseDataset(
        name=str(path),
        skeleton=H36M_17,
        pose_2d=pose_2d,
        pose_3d=_in_cameras(values["joints17_3d"], cameras),
        cameras=cameras,
        camera=camera,
        subjects=("person",),
        subject=np.zeros_like(camera),
        actions=tuple(f"camera {number}" for number in range(1, len(cameras) + 1)),
        action=camera.copy(),
        sequence=np.zeros_like(camera),
        frame=np.tile(np.arange(frames, dtype=np.int32), len(cameras)),
        fps=arrays.number("fps") if "fps" in arrays else None,
        allow_missing=True,
    )
    log.info("%s: %d of %d joints are missing (no detection)", path, dataset.missing_joints, pose_2d[..., 0].size)
    return dataset


def to_17(body25b: np.ndarray) -> np.ndarray:
    """Pixels of the 17 joints (..., 17, 2) float32, NaN where missing, from detections (..., 25, 3) with confidence."""
    points = np.where(body25b[..., 2:] > 0, body25b[..., :2], np.nan).astype(np.float64)
    return np.stack([points[..., list(source), :].mean(-2) for source in JOINTS], -2).astype(np.float32)


def _in_cameras(world: np.ndarray, cameras: tuple[Camera, ...]) -> np.ndarray:
    poses = [camera.to_camera(world.astype(np.float64)) for camera in cameras]
    return np.concatenate(poses).astype(np.float32) if poses else np.empty((0, 17, 3), np.float32)


def _camera(values: dict[str, np.ndarray], index: int, path: Path) -> Camera:
    """OpenCV's matrices: ``y = R p + T``, lens k1 k2 p1 p2."""
    K, dist, R, T, size = (values[key][index].astype(np.float64) for key in ("K", "dist", "R", "T", "size"))
    try:
        return Camera(
            focal=K.diagonal()[:2],
            principal=K[:2, 2],
            image_size=(int(size[0]), int(size[1])),
            radial=np.array([*dist[:2], 0.0]),
            tangential=dist[2:],
            rotation=R,
            position=-R.T @ T,
        )
    except (ValueError, OverflowError) as error:
        raise InputError(f"{path}: camera {index + 1}: {error}") from error
