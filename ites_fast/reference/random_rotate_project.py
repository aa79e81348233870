"""Rotate poses at random and project them, with rotations that need not be kept."""

from typing import Literal

from torch import Tensor

from ites_fast.reference.philox import philox_rotations
from ites_fast.reference.rotate_project import rotate, rotate_project


def random_rotate_project(
    pose: Tensor,
    seed: int,
    offset: int | Tensor,
    draws: int,
    axis: Literal["all", "vertical"],
    camera_depth: float,
) -> tuple[Tensor, Tensor]:
    r"""Turn each root-relative pose by ``draws`` random rotations and project the results.

    .. math:: y_{sbj} = R_{sb}\, x_{bj}, \qquad u_{sbj} = \pi(y_{sbj})

    with :math:`\pi` of ``rotate_project`` and R = ``philox_rotations(seed, offset, (S, B), axis)``. Gradients go to the
    pose alone.

    Args:
        pose: root-relative joints (B, J, 3), in body units.
        seed: 64-bit key of the generator.
        offset: counter of calls, an integer or an int64 tensor with one element.
        draws: number S of views of each pose.
        axis: "all" for any axis and an angle in [0, pi], "vertical" for the camera's y and any angle.
        camera_depth: distance from the camera to the root joint, in body units.

    Returns:
        Normalised image coordinates u (S, B, J, 2) and turned poses y (S, B, J, 3), in the dtype of ``pose``.

    Raises:
        ValueError: ``axis`` is neither "all" nor "vertical".
    """
    rotation = philox_rotations(seed, offset, (draws, len(pose)), axis, device=pose.device, dtype=pose.dtype)
    return rotate_project(pose, rotation, camera_depth), rotate(pose, rotation)
