"""Rotate poses and project them: how both stages see a pose from another view."""

import torch
from torch import Tensor

MIN_DEPTH = 1.0


def rotate(pose: Tensor, rotation: Tensor) -> Tensor:
    """Rotate poses (B, J, 3) by one rotation each, (B, 3, 3), or by S draws each, (S, B, 3, 3): (S, B, J, 3).

    The contraction keeps the batch of poses as it is, so S draws copy the rotations and not the poses.
    """
    return torch.einsum("...bij,bkj->...bki", rotation, pose)


def rotate_project(pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    r"""Rotate root-relative poses and project them with a unit-focal pinhole camera.

    .. math:: u_{sbj} = \pi(R_{sb} x_{bj}), \qquad \pi(p) = (p_x, p_y) / \max(p_z + c, \epsilon)

    with :math:`\epsilon` = ``MIN_DEPTH``: a joint that comes nearer to the camera than that is projected as if it
    stood at that depth, and its own depth then gets no gradient.

    Args:
        pose: root-relative joints (B, J, 3), in body units.
        rotation: rotations acting on column vectors, one a pose (B, 3, 3) or S draws a pose (S, B, 3, 3).
        camera_depth: distance c from the camera to the root joint, in body units.

    Returns:
        Normalised image coordinates (B, J, 2) or (S, B, J, 2), in the dtype of ``pose``.
    """
    rotated = rotate(pose, rotation)  # (S, B, J, 3)
    depth = (rotated[..., 2:] + camera_depth).clamp(min=MIN_DEPTH)  # (S, B, J, 1)
    return rotated[..., :2] / depth


def unproject(uv: Tensor, depth: Tensor, camera_depth: float) -> Tensor:
    r"""Lift image coordinates to joints with the given depths, so that they reproject exactly.

    .. math:: y = (\max(d + c, \epsilon)\, u, \; d)

    Args:
        uv: normalised image coordinates (..., J, 2).
        depth: depth offsets d from the root (..., J).
        camera_depth: distance c from the camera to the root joint.

    Returns:
        Root-relative joints (..., J, 3).
    """
    depth = depth[..., None]  # (..., J, 1)
    return torch.cat([uv * (depth + camera_depth).clamp(min=MIN_DEPTH), depth], dim=-1)
