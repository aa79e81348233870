"""Losses that compare joints: mean distance, and the student's cycle after a random rotation."""

import torch
from torch import Tensor

from ites_fast.reference.rotate_project import rotate, unproject


def cycle_loss(prediction: Tensor, target: Tensor) -> Tensor:
    r"""Mean distance between predicted and target joints.

    .. math:: L = \frac{1}{S B J} \sum_{sbj} | \hat y_{sbj} - y_{bj} |

    The gradient of a distance that is exactly zero is zero.

    Args:
        prediction: joints (B, J, D), or S predictions for each target (S, B, J, D).
        target: joints (B, J, D), D = 2 in the image and 3 in space.

    Returns:
        A scalar, in the units and dtype of the joints.
    """
    return torch.linalg.vector_norm(prediction - target, dim=-1).mean()


def depth_cycle_loss(depth: Tensor, uv: Tensor, pose: Tensor, rotation: Tensor, camera_depth: float) -> Tensor:
    r"""Rotation equivariance of a network that predicts depths: the student's cycle loss.

    .. math:: L = \frac{1}{S B J} \sum_{sbj} \left| \left(\max(d_{sbj} + c, \epsilon)\, u_{sbj}, \; d_{sbj}\right)
              - R_{sb} y_{bj} \right|

    where :math:`u = \pi(R y)` is what the network saw (``rotate_project``) and d what it answered. Gradients run
    through both sides, so ``pose`` learns as well.

    Args:
        depth: predicted depth offsets (S, B, J).
        uv: the projected poses that were given to the network (S, B, J, 2).
        pose: the poses before their rotation (B, J, 3).
        rotation: the rotations, acting on column vectors (S, B, 3, 3).
        camera_depth: distance c from the camera to the root joint.

    Returns:
        A scalar, in the units and dtype of ``pose``.
    """
    return torch.linalg.vector_norm(unproject(uv, depth, camera_depth) - rotate(pose, rotation), dim=-1).mean()
