"""The model to deploy: a network with the normalisation that it was trained on."""

from typing import overload

import numpy as np
import torch
from torch import Tensor, nn

from ites_fast.chunks import chunks
from ites_fast.errors import InputError
from ites_fast.normalization import Normalization, turn_back
from ites_fast.ops import unproject
from ites_fast.skeleton import Skeleton

EXPECTED = "expected floating point image coordinates (u - c) / f; Camera.undistort makes them from pixels"


class Lifter(nn.Module):
    """Lifts image coordinates to 3D poses, whatever network does it.

    Args:
        network: a network whose ``predicts`` is "pose" (its output has ``pose_3d``) or "depth" (it returns depths).
        skeleton: its joints.
        normalization: how its input was scaled.
    """

    def __init__(self, network: nn.Module, skeleton: Skeleton, normalization: Normalization) -> None:
        super().__init__()
        self.network = network
        self.skeleton = skeleton
        self.normalization = normalization

    def lift_normalized(self, pose_2d: Tensor) -> Tensor:
        """Lift normalised 2D poses (B, J, 2) to root-relative poses (B, J, 3) in the virtual view, in body units."""
        output = self.network(pose_2d)
        if self.network.predicts == "depth":
            pose_3d = unproject(pose_2d, output, self.normalization.camera_depth)
        else:
            pose_3d = output.pose_3d
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
                ``Camera.undistort`` makes them from pixels.
            batch_size: poses at a time.
            source: what error messages call the poses, for example the file's name.
            first: what error messages call the first sample.

        Returns:
            Root-relative poses (N, J, 3) in the camera's frame (x right, y down, z forward), in body units, in the
            network's dtype: a tensor on the device of ``image`` for a tensor, an array for an array.

        Raises:
            InputError: the number of joints is not the skeleton's, the dtype is not floating, or a pose cannot
                be normalised.
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
            normalized = self.normalization.apply(batch, source=source, first=first + part.start)
            poses[part] = turn_back(self.lift_normalized(normalized.pose_2d), normalized.view_rotation)
        return poses
