"""The test set of MPI-INF-3DHP: ``data_test_3dhp.npz`` as P-STMO prepares it, or the original ``annot_data.mat``.

Neither holds camera parameters. The 2D is an ideal projection of the 3D, so focal length and principal point of each
sequence are a linear least squares problem.
"""

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.mat_file import read_mat
from ites_fast.data.npz_file import npz_keys
from ites_fast.data.restricted_pickle import load_object_array
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

log = logging.getLogger(__name__)

FILE_NPZ = "data_test_3dhp.npz"
FILE_MAT = "annot_data.mat"
SEQUENCES = ("TS1", "TS2", "TS3", "TS4", "TS5", "TS6")
IMAGE_SIZES = dict.fromkeys(SEQUENCES[:4], (2048, 2048)) | dict.fromkeys(SEQUENCES[4:], (1920, 1080))

# The test set's joints: head top, neck, right arm (shoulder, elbow, wrist), left arm, right leg (hip, knee, ankle),
# left leg, pelvis, spine, head. Its neck is H36M's thorax, its head H36M's neck or nose, its head top H36M's head.
JOINTS = (14, 8, 9, 10, 11, 12, 13, 15, 1, 16, 0, 5, 6, 7, 2, 3, 4)

ACTIVITIES = (
    "unlabelled",
    "standing and walking",
    "exercising",
    "sitting",
    "reaching and crouching",
    "on the floor",
    "sports",
    "miscellaneous",
)
MAX_RESIDUAL_PX = 20.0  # detected 2D stays below it, another joint order or unit does not
TRIMMING_ROUNDS = 3


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with the single key "data", a mat file, or a folder that holds one."""
    if path.is_dir():
        return (path / FILE_NPZ).is_file() or any(_mat_files(path))
    return npz_keys(path) == {"data"} or path.suffix.lower() == ".mat"


def read(path: Path, split: str) -> PoseDataset:
    """Every valid frame of every sequence.

    Args:
        path: the npz file, one sequence's mat file, or the folder of either. The 3D is what the file holds: P-STMO's
            npz has the annotation scaled to a universal height; of a mat file the unscaled ``annot3`` is taken.
        split: "test" or "all"; there is no training split in these files.

    Raises:
        InputError: a key is missing or has another shape, or the 2D is no projection of the 3D.
    """
    if split == "train":
        raise InputError(f"{path}: the train split is empty: this is the test set of MPI-INF-3DHP; use split 'test'")
    if path.is_dir():
        path = path / FILE_NPZ if (path / FILE_NPZ).is_file() else path
    from_mats = path.is_dir() or path.suffix.lower() == ".mat"
    clips = _clips_of_mats(path) if from_mats else _clips_of_npz(path)
    if not clips:
        raise InputError(f"{path}: empty, expected sequences {', '.join(SEQUENCES)}")
    return _assemble(clips, str(path))


def _mat_files(path: Path) -> dict[str, Path]:
    """The mat files of a folder, or the one file, by the name of the folder they are in."""
    if path.is_file():
        return {path.resolve().parent.name: path}
    files = [path / FILE_MAT, *sorted(path.glob(f"*/{FILE_MAT}"))]
    return {file.resolve().parent.name: file for file in files if file.is_file()}


def _clips_of_npz(path: Path) -> dict[str, dict[str, np.ndarray]]:
    content = load_object_array(path, "data")
    if not isinstance(content, dict) or not all(isinstance(clip, dict) for clip in content.values()):
        raise InputError(f"{path}: 'data' is not a dictionary of sequences that hold dictionaries of arrays")
    names = {"pose_2d": "data_2d", "pose_3d": "data_3d", "valid": "valid"}
    return {str(name): _clip(clip, names, f"{path}: {name}") for name, clip in content.items()}


def _clips_of_mats(path: Path) -> dict[str, dict[str, np.ndarray]]:
    names = {"pose_2d": "annot2", "pose_3d": "annot3", "valid": "valid_frame", "activity": "activity_annotation"}
    return {
        name: _clip(read_mat(file, list(names.values())), names, str(file)) for name, file in _mat_files(path).items()
    }


def _clip(content: Mapping[str, Any], names: dict[str, str], where: str) -> dict[str, np.ndarray]:
    """Valid frames of one sequence: pose_2d (F, 17, 2) px, pose_3d (F, 17, 3) metres, frame (F,), activity (F,)."""
    missing = [key for key in names.values() if key not in content]
    if missing:
        raise InputError(f"{where}: {', '.join(missing)} missing; it holds {', '.join(map(str, content))}")
    arrays = {name: np.asarray(content[key]) for name, key in names.items()}
    frames = arrays["valid"].size
    for name, width in (("pose_2d", 2), ("pose_3d", 3)):
        pose = arrays[name]
        if pose.size != frames * 17 * width or pose.shape[-2:] != (17, width):
            raise InputError(f"{where}: {names[name]} has shape {pose.shape}, expected ({frames}, 17, {width})")
        arrays[name] = pose.reshape(frames, 17, width)[:, JOINTS]
    activity = arrays.get("activity", np.zeros(frames)).reshape(-1).astype(np.int32)
    if len(activity) != frames or activity.min(initial=0) < 0 or activity.max(initial=0) >= len(ACTIVITIES):
        raise InputError(f"{where}: activities must be {frames} numbers from 0 to {len(ACTIVITIES) - 1}")
    frame = np.flatnonzero(arrays["valid"].reshape(-1) > 0)
    return {
        "pose_2d": arrays["pose_2d"][frame].astype(np.float32),
        "pose_3d": (arrays["pose_3d"][frame] / 1000).astype(np.float32),
        "frame": frame.astype(np.int32),
        "activity": activity[frame],
    }


def solve_intrinsics(pose_3d: np.ndarray, pose_2d: np.ndarray, image_size: tuple[int, int], source: str) -> Camera:
    """Ideal camera with ``u = f x / z + c``, by least squares; the worst tenth of the joints is left out.

    Args:
        pose_3d: joints in the camera's frame (F, J, 3), metres.
        pose_2d: where they are seen (F, J, 2), pixels.
        image_size: width and height, pixels.
        source: what messages call the poses.

    Raises:
        InputError: no frames, or the median distance that remains is above ``MAX_RESIDUAL_PX``.
    """
    if len(pose_3d) == 0:
        raise InputError(f"{source}: no valid frames")
    ray = (pose_3d[..., :2].astype(np.float64) / pose_3d[..., 2:]).reshape(-1, 2)
    pixels = pose_2d.reshape(-1, 2).astype(np.float64)
    keep = np.ones(len(ray), bool)
    for _ in range(TRIMMING_ROUNDS):
        x, u = ray[keep], pixels[keep]
        spread = x - x.mean(0)
        focal = (spread * u).sum(0) / (spread * spread).sum(0)
        principal = u.mean(0) - focal * x.mean(0)
        distance = np.linalg.norm(ray * focal + principal - pixels, axis=1)
        keep = distance <= np.quantile(distance, 0.9)
    residual = float(np.median(distance))
    log.info("%s: focal length %.2f %.2f px, median distance %.4f px", source, *focal, residual)
    if not (residual <= MAX_RESIDUAL_PX and (focal > 0).all()):
        raise InputError(
            f"{source}: the 2D is no projection of the 3D: {residual:.1f} px remain, expected at most "
            f"{MAX_RESIDUAL_PX}; 2D must be pixels, 3D millimetres in the camera's frame"
        )
    return Camera(focal=focal, principal=principal, image_size=image_size)


def _assemble(clips: dict[str, dict[str, np.ndarray]], name: str) -> PoseDataset:
    names = sorted(clips)
    arrays = {
        key: np.concatenate([clips[n][key] for n in names]) for key in ("pose_2d", "pose_3d", "frame", "activity")
    }
    number = np.repeat(np.arange(len(names), dtype=np.int32), [len(clips[n]["frame"]) for n in names])
    cameras = tuple(
        solve_intrinsics(clips[n]["pose_3d"], clips[n]["pose_2d"], IMAGE_SIZES.get(n, (2048, 2048)), f"{name}: {n}")
        for n in names
    )
    return PoseDataset(
        name=name,
        skeleton=H36M_17,
        pose_2d=arrays["pose_2d"],
        pose_3d=arrays["pose_3d"],
        cameras=cameras,
        camera=number,
        subjects=tuple(names),
        subject=number,
        actions=ACTIVITIES,
        action=arrays["activity"],
        sequence=number,
        frame=arrays["frame"],
    )
