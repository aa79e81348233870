"""Human3.6M in the npz files of VideoPose3D: ``data_3d_h36m.npz`` beside ``data_2d_h36m_*.npz``.

The files hold no camera parameters. They come from ``cameras_h36m.json`` beside the files when there is one;
otherwise each camera is solved from the exact 2D of ``data_2d_h36m_gt.npz`` and the 3D of the same joints.
"""

import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data import cameras_json
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.npz_file import npz_keys
from ites_fast.data.resection import solve_camera, spread_points
from ites_fast.data.restricted_pickle import load_object_array
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

log = logging.getLogger(__name__)

SPLITS = {"train": ("S1", "S5", "S6", "S7", "S8"), "test": ("S9", "S11")}
SPLITS["all"] = SPLITS["train"] + SPLITS["test"]
FILE_3D = "data_3d_h36m.npz"
FILE_GT = "data_2d_h36m_gt.npz"
FILE_CAMERAS = "cameras_h36m.json"
PATTERN_2D = "data_2d_h36m_*.npz"

# 17 of the recording's 32 joints, in the order of H36M_17; the others are duplicates and ends of hands and feet.
JOINTS_OF_32 = (0, 1, 2, 3, 6, 7, 8, 12, 13, 14, 15, 17, 18, 19, 25, 26, 27)
NUM_CAMERAS = 4
IMAGE_SIZES = ((1000, 1002), (1000, 1000), (1000, 1000), (1000, 1002))
FPS = 50.0
TANGENTIAL_FACTOR = 1.0
MAX_RESIDUAL_PX = 0.5


class _Clip(NamedTuple):
    """One subject doing one action, seen by one camera."""

    subject: str
    action: str
    camera: int
    sequence: int
    pose_2d: np.ndarray  # (F, 17, 2) px
    world: np.ndarray  # (F, 17, 3) metres


def recognise(path: Path) -> bool:
    """Whether ``path`` is an npz file with positions by subject, or a folder that holds one."""
    if path.is_dir():
        return (path / FILE_3D).is_file()
    return not npz_keys(path).isdisjoint({"positions_2d", "positions_3d"})


def read(path: Path, split: str) -> PoseDataset:
    """Every frame of every camera, at 50 fps: subject by subject, action by action, camera by camera.

    Args:
        path: the 2D file to take ("_gt", "_cpn_ft_h36m_dbb" or another detector's); or the 3D file or the folder,
            which take "_gt" when it is there and the only other 2D file when it is not.
        split: "train" is S1, S5, S6, S7 and S8; "test" is S9 and S11; "all" is both.

    Raises:
        InputError: a file or subject is missing, arrays do not fit each other, a pickle holds more than arrays, the
            cameras cannot be solved, or they leave more than half a pixel.
    """
    path_2d = _choose_2d(path)
    path_3d = path_2d.with_name(FILE_3D)
    positions = _dictionary(path_3d, "positions_3d", path_3d)
    detections = _dictionary(path_2d, "positions_2d", path_3d)
    subjects = [s for s in SPLITS[split] if s in positions and s in detections]
    if not subjects:
        raise InputError(
            f"{path_2d}: the {split} split is empty: it needs subjects {', '.join(SPLITS[split])}, "
            f"there are {', '.join(map(str, detections)) or 'none'}"
        )
    clips = list(_clips(positions, detections, subjects, path_2d, path_3d))
    if not clips:
        raise InputError(f"{path_2d}: no action of subjects {', '.join(subjects)} is also in {path_3d}")
    cameras = _cameras(positions, subjects, path_2d, path_3d)
    return _assemble(clips, cameras, subjects, str(path_2d))


def _choose_2d(path: Path) -> Path:
    if path.is_file() and "positions_2d" in npz_keys(path):
        return path
    folder = path if path.is_dir() else path.parent
    found = sorted(folder.glob(PATTERN_2D))
    exact = [file for file in found if file.name == FILE_GT]
    if len(exact or found) != 1:
        names = ", ".join(file.name for file in found) or "none"
        raise InputError(
            f"{folder}: expected {FILE_GT} or one other {PATTERN_2D}, found {names}; name the 2D file to take"
        )
    return (exact or found)[0]


def _dictionary(path: Path, key: str, path_3d: Path) -> dict[str, dict[str, Any]]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; {path_3d.name} and a {PATTERN_2D} must lie in one folder")
    subjects = load_object_array(path, key)
    if not isinstance(subjects, dict) or not all(isinstance(actions, dict) for actions in subjects.values()):
        raise InputError(f"{path}: {key} is not a dictionary of subjects that hold dictionaries of actions")
    return subjects


def _clips(positions, detections, subjects, path_2d: Path, path_3d: Path) -> Iterator[_Clip]:
    """Clips that have both 2D and 3D. An action or camera without 2D is left out, as S11 Directions is in CPN."""
    sequence = 0
    for subject in subjects:
        for action, raw in positions[subject].items():
            world = _joints_17(raw, path_3d, f"{subject}, {action}")
            views = detections[subject].get(action, [])
            for camera, view in enumerate(views[:NUM_CAMERAS]):
                if view is None or len(view) == 0:
                    continue
                where = f"{path_2d}: {subject}, {action}, camera {camera}"
                pose_2d = np.asarray(view)
                if pose_2d.ndim != 3 or pose_2d.shape[1] != 17 or pose_2d.shape[2] < 2:
                    raise InputError(f"{where}: shape {pose_2d.shape}, expected (frames, 17, 2)")
                if len(pose_2d) < len(world):
                    raise InputError(
                        f"{where}: {len(pose_2d)} frames in 2D, expected at least the {len(world)} of the 3D"
                    )
                yield _Clip(subject, action, camera, sequence, pose_2d[: len(world), :, :2], world)
            sequence += 1


def _joints_17(raw: Any, path: Path, where: str) -> np.ndarray:
    world = np.asarray(raw)
    if world.ndim != 3 or world.shape[1] not in (17, 32) or world.shape[2] != 3:
        raise InputError(f"{path}: {where}: shape {world.shape}, expected (frames, 32, 3) or (frames, 17, 3)")
    return world[:, JOINTS_OF_32] if world.shape[1] == 32 else world


def _cameras(positions, subjects: list[str], path_2d: Path, path_3d: Path) -> dict[tuple[str, int], Camera]:
    path_json, path_gt = path_2d.with_name(FILE_CAMERAS), path_2d.with_name(FILE_GT)
    if path_json.is_file():
        return cameras_json.read(path_json, subjects, NUM_CAMERAS, TANGENTIAL_FACTOR)
    if not path_gt.is_file():
        raise InputError(
            f"{path_2d}: the cameras are unknown; place {FILE_GT} (they are solved from it) "
            f"or {FILE_CAMERAS} (docs/DATA.md in the source) beside it in {path_2d.parent}"
        )
    exact = _dictionary(path_gt, "positions_2d", path_3d)
    known = [subject for subject in subjects if subject in exact]
    clips = list(_clips(positions, exact, known, path_gt, path_3d))
    return {
        (subject, camera): _solve(
            [clip for clip in clips if (clip.subject, clip.camera) == (subject, camera)],
            f"{path_gt}: {subject}, camera {camera}",
            IMAGE_SIZES[camera],
        )
        for subject in subjects
        for camera in range(NUM_CAMERAS)
    }


def _solve(clips: list[_Clip], source: str, image_size: tuple[int, int]) -> Camera:
    if not clips:
        raise InputError(f"{source}: no frames to solve the camera from")
    world = np.concatenate([clip.world.reshape(-1, 3) for clip in clips])
    pixels = np.concatenate([clip.pose_2d.reshape(-1, 2) for clip in clips])
    finite = np.isfinite(world).all(1) & np.isfinite(pixels).all(1)
    world, pixels = world[finite], pixels[finite]
    chosen = spread_points(pixels, np.random.default_rng(0))
    camera, residual = solve_camera(
        world[chosen], pixels[chosen], image_size, tangential_factor=TANGENTIAL_FACTOR, source=source
    )
    log.info("%s: solved from %d points, %.4f px remain", source, len(chosen), residual)
    if residual > MAX_RESIDUAL_PX:
        raise InputError(
            f"{source}: the solved camera leaves {residual:.2f} px, expected at most {MAX_RESIDUAL_PX}; "
            "2D and 3D do not belong together, or the 2D is detected"
        )
    return camera


def _assemble(
    clips: list[_Clip], cameras: dict[tuple[str, int], Camera], subjects: list[str], name: str
) -> PoseDataset:
    number = {key: index for index, key in enumerate(cameras)}
    actions = sorted({_action_name(clip.action) for clip in clips})
    lengths = [len(clip.world) for clip in clips]
    pose_2d = np.empty((sum(lengths), 17, 2), np.float32)
    pose_3d = np.empty((sum(lengths), 17, 3), np.float32)
    start = 0
    for clip, length in zip(clips, lengths, strict=True):
        part = slice(start, start + length)
        pose_2d[part] = clip.pose_2d
        pose_3d[part] = cameras[clip.subject, clip.camera].to_camera(clip.world)
        start += length

    def column(values: list[int]) -> np.ndarray:
        return np.repeat(np.array(values, np.int32), lengths)

    return PoseDataset(
        name=name,
        skeleton=H36M_17,
        pose_2d=pose_2d,
        pose_3d=pose_3d,
        cameras=tuple(cameras.values()),
        camera=column([number[clip.subject, clip.camera] for clip in clips]),
        subjects=tuple(subjects),
        subject=column([subjects.index(clip.subject) for clip in clips]),
        actions=tuple(actions),
        action=column([actions.index(_action_name(clip.action)) for clip in clips]),
        sequence=column([clip.sequence for clip in clips]),
        frame=np.concatenate([np.arange(length, dtype=np.int32) for length in lengths]),
        fps=FPS,
    )


def _action_name(action: str) -> str:
    """ "Walking 1" and "Walking" are two takes of one action."""
    return re.sub(r"[ _]\d+$", "", action)
