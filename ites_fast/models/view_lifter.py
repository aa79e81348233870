"""The model to deploy: a network with the normalisation that it was trained on."""

from typing import NamedTuple, overload

import numpy as np
import torch
from torch import Tensor, nn

from ites_fast.chunks import chunks
from ites_fast.completion import Completion
from ites_fast.errors import InputError
from ites_fast.normalization import Normalization, NormalizedPoses, turn_back
from ites_fast.ops import unproject
from ites_fast.sides import mirrored
from ites_fast.skeleton import Skeleton

EXPECTED = "expected floating point image coordinates (u - c) / f; Camera.undistort makes them from pixels"


class Corrected(NamedTuple):
    """What a network whose ``predicts`` is "corrected" returns: where it believes every joint to be."""

    pose_2d: Tensor  # (B, J, 2) normalised image coordinates, noise removed and missing joints filled in
    depth: Tensor  # (B, J) depth offsets


class ViewLifter(nn.Module):
    """Lifts image coordinates to 3D poses, whatever network does it.

    Args:
        network: a network that says by ``predicts`` what it gives for normalised poses (B, J, 2): "pose" (its output
            has ``pose_3d``), "depth" (it returns depths (B, J), the image is kept) or "corrected" (it takes a mask
            (B, J) of the joints that were seen beside the poses, None for all, and returns ``Corrected``).
        skeleton: its joints.
        normalization: how its input was scaled.
        mirror_average: lift the mirror image as well and take the mean of both, at twice the cost (VideoPose3D's
            test-time augmentation).
        completion: what fills in missing joints before the network sees a pose; None leaves that to the network.
    """

    def __init__(
        self,
        network: nn.Module,
        skeleton: Skeleton,
        normalization: Normalization,
        *,
        mirror_average: bool = False,
        completion: Completion | None = None,
    ) -> None:
        super().__init__()
        self.completion = completion
        self.network = network
        self.skeleton = skeleton
        self.normalization = normalization
        self.mirror_average = mirror_average

    @property
    def accepts_missing(self) -> bool:
        """Whether joints may be missing (NaN); only networks that correct the image know what to put there."""
        return self.network.predicts == "corrected"

    def lift_normalized(self, pose_2d: Tensor, visible: Tensor | None = None) -> Tensor:
        """Lift normalised 2D poses (B, J, 2) to root-relative poses (B, J, 3) in the virtual view, in body units.

        Args:
            pose_2d: network input; joints that were not seen are in the origin.
            visible: the joints that were seen (B, J), None for all; only for networks that accept missing joints.
        """
        pose_3d = self._lift(pose_2d, visible)
        if not self.mirror_average:
            return pose_3d
        seen = None if visible is None else visible[:, list(self.skeleton.flip_order)]
        return (pose_3d + mirrored(self._lift(mirrored(pose_2d, self.skeleton), seen), self.skeleton)) / 2

    def _lift(self, pose_2d: Tensor, visible: Tensor | None) -> Tensor:
        camera_depth = self.normalization.camera_depth
        if self.network.predicts == "corrected":
            corrected = self.network(pose_2d, visible)
            pose_3d = unproject(corrected.pose_2d, corrected.depth, camera_depth)
        elif self.network.predicts == "depth":
            pose_3d = unproject(pose_2d, self.network(pose_2d), camera_depth)
        else:
            pose_3d = self.network(pose_2d).pose_3d
        root = self.skeleton.root
        return pose_3d - pose_3d[:, root : root + 1]

    @overload
    def lift(self, image: Tensor, batch_size: int = ..., *, source: str = ..., first: int = ...) -> Tensor: ...

    @overload
    def lift(self, image: np.ndarray, batch_size: int = ..., *, source: str = ..., first: int = ...) -> np.ndarray: ...

    @torch.no_grad()
    def lift(self, image, batch_size=1024, *, source="image", first=0):
        """Lift image coordinates to poses in the camera's frame, without gradients.

        The network must be in eval mode. Poses are computed in batches, on the device and in the dtype of the network.

        Args:
            image: undistorted image coordinates (u - c) / f (N, J, 2), a tensor or an array of any floating dtype.
                ``Camera.undistort`` makes them from pixels. Joints that were not seen are NaN; every joint of the
                result is there all the same.
            batch_size: poses at a time.
            source: what error messages call the poses, for example the file's name.
            first: what error messages call the first sample.

        Returns:
            Root-relative poses (N, J, 3) in the camera's frame (x right, y down, z forward), in body units, in the
            network's dtype: a tensor on the device of ``image`` for a tensor, an array for an array.

        Raises:
            InputError: the number of joints is not the skeleton's, the dtype is not floating, a pose cannot
                be normalised, or joints are missing and the network does not accept that.
        """
        if not isinstance(image, Tensor):
            array = np.asarray(image)
            if array.dtype.kind != "f":
                raise InputError(f"{source}: received {array.dtype}, {EXPECTED}")
            dtype = np.float32 if array.dtype.itemsize <= 4 else np.float64
            tensor = torch.from_numpy(np.require(array, dtype, ["C", "W"]))
            return self.lift(tensor, batch_size, source=source, first=first).numpy()
        joints = self.skeleton.num_joints
        if image.ndim != 3 or image.shape[1:] != (joints, 2):
            raise InputError(f"{source}: expected (N, {joints}, 2) for {self.skeleton.name}, got {tuple(image.shape)}")
        if not image.is_floating_point():
            raise InputError(f"{source}: received {image.dtype}, {EXPECTED}")
        parameter = next(self.network.parameters())
        poses = image.new_empty(len(image), joints, 3, dtype=parameter.dtype)
        for part in chunks(len(image), batch_size):
            batch = image[part].to(parameter)
            normalized = self._normalize(batch, source, first + part.start)
            pose_3d = self.lift_normalized(normalized.pose_2d, normalized.visible)
            poses[part] = turn_back(pose_3d, normalized.view_rotation)
        return poses

    def _normalize(self, image: Tensor, source: str, first: int) -> NormalizedPoses:
        if self.completion is not None:
            image = self.completion(image)
        if self.accepts_missing:
            return self.normalization.apply(image, source=source, first=first, missing="allow")
        try:
            return self.normalization.apply(image, source=source, first=first)
        except InputError as error:
            missing = image.isnan().any(-1)
            if not missing.any():
                raise
            sample, joint = missing.nonzero()[0].tolist()
            raise InputError(
                f"{source}: sample {first + sample} lacks {int(missing[sample].sum())} joints (NaN), such as "
                f"{self.skeleton.joint_names[joint]}; the network {type(self.network).__name__} needs all of them, "
                "expected finite joints or a model that fills them in"
            ) from error
