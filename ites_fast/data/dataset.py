"""Poses as a struct of arrays: what every reader returns and everything above the readers takes."""

from dataclasses import dataclass, replace

import numpy as np

from ites_fast.camera import Camera, undistort
from ites_fast.chunks import chunks
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

MIN_SIZE_PX = 1e-3  # hip and head closer than this are the same point


@dataclass(frozen=True, eq=False)
class PoseDataset:
    """N views of poses. A view is one person in one frame of one camera.

    Views of one sequence by one camera are contiguous and in the order of their frames.
    """

    name: str  # "mocap17" or the file's path
    skeleton: Skeleton
    pose_2d: np.ndarray  # (N, J, 2) float32, pixels as given: distorted, possibly detected; see allow_missing
    pose_3d: np.ndarray | None  # (N, J, 3) float32, metres, camera frame, root not subtracted
    cameras: tuple[Camera, ...]
    camera: np.ndarray  # (N,) int32, index into cameras
    subjects: tuple[str, ...]
    subject: np.ndarray  # (N,) int32, index into subjects
    actions: tuple[str, ...]
    action: np.ndarray  # (N,) int32, index into actions
    sequence: np.ndarray  # (N,) int32
    frame: np.ndarray  # (N,) int32, number in the original recording
    fps: float | None = None  # frames a second of the recording after thinning
    allow_missing: bool = False  # joints that a detector did not find are NaN in pose_2d

    def __len__(self) -> int:
        return len(self.pose_2d)

    def image(self, which: slice = slice(None)) -> np.ndarray:
        """Image coordinates (n, J, 2) float32: (u - c) / f with the lens distortion removed.

        Args:
            which: the views to take, all by default.
        """
        if len(self.cameras) == 0:
            raise InputError(f"{self.name}: no cameras, so pixels cannot be turned into image coordinates")
        focal, principal, radial, tangential = (
            np.stack([getattr(camera, name) for camera in self.cameras])[:, None]
            for name in ("focal", "principal", "radial", "tangential")
        )
        factor = np.array([camera.tangential_factor for camera in self.cameras])[:, None]
        distorted = any(camera.has_distortion for camera in self.cameras)
        pose_2d, camera = self.pose_2d[which], self.camera[which]
        image = np.empty(pose_2d.shape, np.float32)
        for part in chunks(len(image)):
            c = camera[part]
            coordinates = (pose_2d[part] - principal[c]) / focal[c]
            if distorted:
                coordinates = undistort(coordinates, radial[c], tangential[c], factor[c])
            image[part] = coordinates
        return image

    @property
    def missing_joints(self) -> int:
        """How many joints of ``pose_2d`` were not found, over all views."""
        return int(np.isnan(self.pose_2d).any(-1).sum()) if self.allow_missing else 0

    def require_complete(self, what: str) -> None:
        """Refuse missing joints.

        Args:
            what: who needs all of them, for example "training".

        Raises:
            InputError: naming how many are missing.
        """
        if self.missing_joints:
            raise InputError(
                f"{self.name}: {self.missing_joints:,} of {len(self) * self.skeleton.num_joints:,} joints are missing "
                f"(NaN); {what} needs all joints of every view"
            )

    def subset(self, which: np.ndarray) -> "PoseDataset":
        """The views that a mask (N,) or indices choose. Cameras, subjects and actions keep their numbers."""
        arrays = ("pose_2d", "camera", "subject", "action", "sequence", "frame")
        chosen = {name: getattr(self, name)[which] for name in arrays}
        pose_3d = None if self.pose_3d is None else self.pose_3d[which]
        return replace(self, pose_3d=pose_3d, **chosen)

    def check(self) -> None:
        """Look at every view once.

        Raises:
            InputError: no views, another number of joints than the skeleton has, arrays of different lengths,
                joints that are NaN (where they may not be missing) or infinite, or a pose of zero size. The message
                names file, sample and joint.
        """
        if len(self) == 0:
            raise InputError(f"{self.name}: empty, expected at least one pose")
        joints = self.skeleton.num_joints
        for name, width in (("pose_2d", 2), ("pose_3d", 3)):
            pose = getattr(self, name)
            if pose is not None and pose.shape != (len(self), joints, width):
                raise InputError(
                    f"{self.name}: {name} has shape {pose.shape}, expected ({len(self)}, {joints}, {width}): "
                    f"{joints} joints of skeleton {self.skeleton.name}"
                )
        for name in ("camera", "subject", "action", "sequence", "frame"):
            if getattr(self, name).shape != (len(self),):
                raise InputError(f"{self.name}: {name} has shape {getattr(self, name).shape}, expected ({len(self)},)")
        for part in chunks(len(self)):
            self._check_joints(part)

    def _check_joints(self, part: slice) -> None:
        for name in ("pose_2d", "pose_3d"):
            pose = getattr(self, name)
            if pose is None:
                continue
            bad = ~np.isfinite(pose[part])
            if name == "pose_2d" and self.allow_missing:
                bad = np.isinf(pose[part])
            if not bad.any():
                continue
            sample, joint, axis = np.argwhere(bad)[0]
            value = pose[part][sample, joint, axis]
            joint_name = self.skeleton.joint_names[joint]
            raise InputError(
                f"{self.name}: {name} of sample {part.start + sample}, joint {joint} ({joint_name}), is {value}"
            )
        hip_to_head = self.pose_2d[part, self.skeleton.head] - self.pose_2d[part, self.skeleton.root]
        too_small = np.abs(hip_to_head).max(-1) < MIN_SIZE_PX
        if too_small.any():
            sample = part.start + int(too_small.argmax())
            raise InputError(f"{self.name}: pose_2d of sample {sample} has zero size: hip and head coincide")
