"""The model to deploy: a network with the normalisation that it was trained on."""

import torch
from torch import Tensor, nn

from ites_fast.errors import InputError
from ites_fast.normalization import Normalization, turn_back
from ites_fast.reference.rotate_project import unproject
from ites_fast.skeleton import Skeleton


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

    @torch.inference_mode()
    def lift(self, image: Tensor, batch_size: int = 1024) -> Tensor:
        """Lift image coordinates to poses in the camera's frame.

        The network must be in eval mode. Poses are computed in batches, on the device of the network.

        Args:
            image: undistorted image coordinates (u - c) / f (N, J, 2).
            batch_size: poses at a time.

        Returns:
            Root-relative poses (N, J, 3) in the camera's frame (x right, y down, z forward), in body units, on the
            device of ``image``.

        Raises:
            InputError: the number of joints is not the skeleton's, or a pose cannot be normalised.
        """
        joints = self.skeleton.num_joints
        if image.ndim != 3 or image.shape[1:] != (joints, 2):
            raise InputError(f"image: expected (N, {joints}, 2) for {self.skeleton.name}, got {tuple(image.shape)}")
        device = next(self.network.parameters()).device
        poses = [self._lift_batch(part.to(device)).to(image.device) for part in image.split(batch_size)]
        return torch.cat(poses) if poses else image.new_empty(0, joints, 3)

    def _lift_batch(self, image: Tensor) -> Tensor:
        normalized = self.normalization.apply(image)
        return turn_back(self.lift_normalized(normalized.pose_2d), normalized.view_rotation)
