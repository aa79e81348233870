"""How far poses are from the truth: joint by joint in space, and where the teacher's pose projects to."""

import torch
from torch import Tensor

from ites_fast.reference.cycle_loss import cycle_loss
from ites_fast.reference.rotate_project import rotate_project


def joint_errors(pred: Tensor, target: Tensor, root: int | None, with_scale: bool) -> Tensor:
    r"""Distance of each joint from its true place.

    .. math:: e_{nj} = | s_n p_{nj} - t_{nj} |, \qquad
              s_n = \frac{\sum_j p_{nj} \cdot t_{nj}}{\sum_j p_{nj} \cdot p_{nj}} \text{ or } 1

    with p and t relative to their root joints. The scale is that of least squares (Rhodin et al., ECCV 2018), and 0 for
    a prediction without extent.

    Args:
        pred: predicted joints (N, J, 3).
        target: true joints (N, J, 3), same frame.
        root: index of the root joint; None: the poses are compared where they are.
        with_scale: whether to fit one scale to each pose; 1 otherwise.

    Returns:
        Distances (N, J) in the unit of ``target``.
    """
    if root is not None:
        pred, target = pred - pred[:, root : root + 1], target - target[:, root : root + 1]
    if with_scale:
        size = pred.square().sum(dim=(1, 2))
        pred = pred * torch.where(size == 0, 0, (pred * target).sum(dim=(1, 2)) / size)[:, None, None]
    return torch.linalg.vector_norm(pred - target, dim=-1)


def mpjpe(pred: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """Mean per-joint position error of each pose (N,): ``joint_errors`` without a scale."""
    return joint_errors(pred, target, root, with_scale=False).mean(dim=1)


def n_mpjpe(pred: Tensor, target: Tensor, root: int | None = 0) -> Tensor:
    """``mpjpe`` after one least-squares scale for each pose (N,)."""
    return joint_errors(pred, target, root, with_scale=True).mean(dim=1)


def reprojection_loss(canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float) -> Tensor:
    r"""Mean distance in the image between projected joints and their input.

    .. math:: L = \frac{1}{B J} \sum_{bj} | \pi(R_b\, y_{bj}) - x_{bj} |

    with the projection of ``rotate_project``. The gradient of a distance that is exactly zero is zero.

    Args:
        canonical: poses in the dictionary's frame (B, J, 3).
        rotation: from that frame to the camera's (B, 3, 3).
        pose_2d: the normalised input (B, J, 2).
        camera_depth: distance c from the camera to the root joint.

    Returns:
        A scalar, in normalised image coordinates and the dtype of ``canonical``.
    """
    return cycle_loss(rotate_project(canonical, rotation, camera_depth), pose_2d)
