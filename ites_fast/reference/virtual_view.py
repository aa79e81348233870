"""What a camera elsewhere sees of a pose, at the scale that input is normalised to."""

from torch import Tensor

from ites_fast.reference.rotate_project import rotate, rotate_project

SMALLEST_RMS = 1e-3


def view_scale(uv: Tensor, rms: float) -> Tensor:
    r"""The factor that gives root-centred image coordinates (..., J, 2) the root mean square ``rms``: (..., 1, 1).

    .. math:: k = \frac{\rho}{\sqrt{\max(\frac{1}{J} \sum_j |u_j|^2, \; \epsilon^2)}}

    with :math:`\rho` = ``rms`` and :math:`\epsilon` = ``SMALLEST_RMS``; a view that is smaller has a constant factor.
    """
    mean_square = uv.square().sum(dim=-1).mean(dim=-1)  # (...,)
    return (rms / mean_square.clamp(min=SMALLEST_RMS**2).sqrt())[..., None, None]


def virtual_view(
    pose: Tensor, rotation: Tensor, camera_depth: float, rms: float, rescale: bool = True
) -> tuple[Tensor, Tensor]:
    r"""Turn root-relative poses, project them, and scale each view and its pose as real input would be.

    .. math:: u_{sbj} = \pi(R_{sb}\, x_{bj}), \quad v_{sbj} = k_{sb}\, u_{sbj}, \quad y_{sbj} = k_{sb} R_{sb}\, x_{bj}

    with :math:`\pi` of ``rotate_project`` and k of ``view_scale``. Gradients go through the scale.

    Args:
        pose: root-relative joints (B, J, 3), in body units, the root at the origin.
        rotation: S draws for each pose, acting on column vectors (S, B, 3, 3).
        camera_depth: distance from the camera to the root joint, in body units.
        rms: root mean square of a view about its root, joints counted alike.
        rescale: False for k = 1.

    Returns:
        The views v (S, B, J, 2) and the turned poses y (S, B, J, 3), in the dtype of ``pose``.
    """
    uv, turned = rotate_project(pose, rotation, camera_depth), rotate(pose, rotation)
    if not rescale:
        return uv, turned
    scale = view_scale(uv, rms)  # (S, B, 1, 1)
    return scale * uv, scale * turned
