"""The losses of ITES and of C3DPO, as pure functions on the operators. Each returns a scalar in body units."""

from collections.abc import Callable

from torch import Tensor

from ites_fast import ops
from ites_fast.ops import (
    cycle_loss,
    depth_cycle_loss,
    rotate,
    rotate_project,
    unproject,
    view_scale,
    virtual_view,
)


def reprojection_loss(canonical: Tensor, rotation: Tensor, pose_2d: Tensor, camera_depth: float) -> Tensor:
    r"""How far the teacher's pose projects from its input (ITES, eq. 2).

    .. math:: L_{rep} = \frac{1}{B J} \sum_{bj} | \pi(R_b\, y_{can,bj}) - x_{bj} |

    Args:
        canonical: poses in the dictionary's frame (B, J, 3).
        rotation: from that frame to the camera's (B, 3, 3).
        pose_2d: the normalised input (B, J, 2).
        camera_depth: distance c from the camera to the root joint.
    """
    return ops.reprojection_loss(canonical, rotation, pose_2d, camera_depth)


def rotation_invariance_loss(
    canonical_of: Callable[[Tensor], Tensor],
    canonical: Tensor,
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    rms: float | None = None,
) -> Tensor:
    r"""The canonical pose must not depend on the view (ITES, eq. 3).

    .. math:: L_{inv} = \frac{1}{S B J} \sum_{sbj} | T(\pi(R_{sb}\, y_b))_{can,j} - y_{can,bj} |

    Gradients run through both sides.

    Args:
        canonical_of: the teacher, from 2D poses (S * B, J, 2) to canonical poses (S * B, J, 3).
        canonical: canonical poses of the batch (B, J, 3).
        pose: what is turned (B, J, 3): the canonical pose itself, or the pose in the camera's view, whose vertical
            is known.
        rotation: draws (S, B, 3, 3).
        camera_depth: distance c from the camera to the root joint.
        rms: with it, each virtual view is scaled to this root mean square about its root as real input is, and the
            canonical pose is compared at the same scale; ``pose`` then has its root at the origin.
    """
    uv = rotate_project(pose, rotation, camera_depth)  # (S, B, J, 2)
    if rms is None:
        return cycle_loss(canonical_of(uv.flatten(0, 1)).unflatten(0, uv.shape[:2]), canonical)
    scale = view_scale(uv, rms)  # (S, B, 1, 1)
    prediction = canonical_of((scale * uv).flatten(0, 1)).unflatten(0, uv.shape[:2])
    return cycle_loss(prediction.flatten(0, 1), (scale * canonical).flatten(0, 1))


def canonicalization_loss(canonical_of: Callable[[Tensor], Tensor], canonical: Tensor, rotation: Tensor) -> Tensor:
    r"""A second network must undo any rotation of the canonical pose (Novotny et al., "C3DPO", ICCV 2019).

    .. math:: L_{can} = \frac{1}{S B J} \sum_{sbj} | \Psi(R_{sb}\, y_{can,b})_j - y_{can,bj} |

    Two poses that are rotations of each other cannot both be canonical then. C3DPO takes a smoothed norm; this is the
    norm of the other losses. Gradients run through both sides.

    Args:
        canonical_of: the canonicalisation network, from poses (S * B, J, 3) to canonical poses (S * B, J, 3).
        canonical: canonical poses of the batch (B, J, 3).
        rotation: draws (S, B, 3, 3), about any axis.
    """
    turned = rotate(canonical, rotation)  # (S, B, J, 3)
    return cycle_loss(canonical_of(turned.flatten(0, 1)).unflatten(0, turned.shape[:2]), canonical)


def distillation_loss(depth: Tensor, teacher_depth: Tensor) -> Tensor:
    r"""How far the student's depths are from the teacher's (ITES, eq. 7).

    .. math:: L_{kd} = \frac{1}{B J} \sum_{bj} | d_{bj} - z_{bj} |

    Args:
        depth: depth offsets of the student (B, J).
        teacher_depth: depths of the frozen teacher's pose in the camera's view (B, J).
    """
    return (depth - teacher_depth).abs().mean()


def rotation_equivariance_loss(
    depth_of: Callable[[Tensor], Tensor],
    pose: Tensor,
    rotation: Tensor,
    camera_depth: float,
    rms: float | None = None,
) -> Tensor:
    r"""Lifting a turned pose must give the turned pose (ITES, eq. 6).

    .. math:: L_{eq} = \frac{1}{S B J} \sum_{sbj} | S(\pi(R_{sb}\, y_b))_j - R_{sb}\, y_{bj} |

    Gradients run through both sides.

    Args:
        depth_of: the student, from 2D poses (S * B, J, 2) to depth offsets (S * B, J).
        pose: the student's poses of the batch (B, J, 3).
        rotation: draws (S, B, 3, 3).
        camera_depth: distance c from the camera to the root joint.
        rms: with it, each virtual view is scaled to this root mean square about its root as real input is, and both
            sides are compared at that scale; ``pose`` then has its root, joint 0, at the origin.
    """
    if rms is None:
        uv = rotate_project(pose, rotation, camera_depth)  # (S, B, J, 2)
        depth = depth_of(uv.flatten(0, 1)).unflatten(0, uv.shape[:2])
        return depth_cycle_loss(depth, uv, pose, rotation, camera_depth)
    uv, turned = (view.flatten(0, 1) for view in virtual_view(pose, rotation, camera_depth, rms))
    return cycle_loss(unproject(uv, depth_of(uv), camera_depth), turned)  # of (S * B, J, 3)
