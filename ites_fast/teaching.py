"""What several lifters agree on: one pose for each view, which a student learns."""

from collections.abc import Sequence

import torch
from torch import Tensor

from ites_fast.chunks import chunks
from ites_fast.models import ViewLifter
from ites_fast.normalization import Normalization, turn_back
from ites_fast.ops import unproject
from ites_fast.sides import mirrored

BATCH = 4096  # views at a time


@torch.no_grad()
def mean_poses(
    teachers: Sequence[ViewLifter],
    image: Tensor,
    normalization: Normalization,
    *,
    mirror_average: bool = True,
    source: str = "poses",
) -> Tensor:
    r"""The mean of the teachers' poses, for every view.

    Depths are averaged and the image is kept: :math:`P = [x (c + \bar d), \bar d]` with the normalised view x. Each
    teacher may have a normalisation, and so a frame and a unit, of its own: its depths are brought into those of
    ``normalization`` (``depth_in_view``).

    Args:
        teachers: in eval mode, all of one skeleton.
        image: undistorted image coordinates (N, J, 2), without missing joints.
        normalization: of the student.
        mirror_average: whether every teacher lifts the mirrored view too, and the mirrored result counts alike.
        source: what error messages call the views.

    Returns:
        Root-relative poses (N, J, 3) in the camera's frame. Their unit is that in which the pose's scale (the
        normalisation's factor) is one: in a view normalised with factor k, the pose is k times as large.

    Raises:
        InputError: a view cannot be normalised.
    """
    skeleton = teachers[0].skeleton
    poses = image.new_empty(*image.shape[:2], 3)
    for part in chunks(len(image), BATCH):
        view = normalization.apply(image[part], source=source, first=part.start)
        flipped = mirrored(image[part], skeleton)
        depths = []
        for teacher in teachers:
            lifted = [teacher.lift(image[part], BATCH, source=source, first=part.start)]
            if mirror_average:
                lifted.append(mirrored(teacher.lift(flipped, BATCH, source=source, first=part.start), skeleton))
            depths += [
                depth_in_view(_turn(pose, view.view_rotation), view.pose_2d, normalization.camera_depth)
                for pose in lifted
            ]
        pose = unproject(view.pose_2d, torch.stack(depths).mean(0), normalization.camera_depth)
        pose = pose - pose[:, skeleton.root, None]
        poses[part] = turn_back(pose, view.view_rotation) / view.scale[:, None, None]
    return poses


def in_view(pose_3d: Tensor, view_rotation: Tensor | None, scale: Tensor) -> Tensor:
    """Poses of ``mean_poses`` (N, J, 3) in the frame and unit of a normalised view of theirs.

    Args:
        pose_3d: root-relative, in the camera's frame, in the unit of ``mean_poses``.
        view_rotation: camera to view (N, 3, 3), None for the camera's own view.
        scale: the view's factor (N,).
    """
    return scale[:, None, None] * _turn(pose_3d, view_rotation)


def depth_in_view(pose_3d: Tensor, pose_2d: Tensor, camera_depth: float) -> Tensor:
    r"""Depths of a pose in the unit in which it projects to the view.

    With the scale :math:`s` that solves :math:`s\,P_{xy} \approx x (c + s\,P_z)` in least squares, the depths are
    :math:`s\,P_z`. A pose that projects exactly keeps its own.

    Args:
        pose_3d: root-relative poses in the frame of the view, in any unit (N, J, 3).
        pose_2d: the normalised view (N, J, 2).
        camera_depth: distance c from the camera to the root joint.

    Returns:
        Depths relative to the root (N, J).
    """
    across = pose_3d[..., :2] - pose_2d * pose_3d[..., 2:]  # (N, J, 2), equals c x / s
    scale = camera_depth * (pose_2d * across).sum((1, 2)) / across.square().sum((1, 2))
    return scale[:, None] * pose_3d[..., 2]


def _turn(pose_3d: Tensor, view_rotation: Tensor | None) -> Tensor:
    return pose_3d if view_rotation is None else pose_3d @ view_rotation.mT
