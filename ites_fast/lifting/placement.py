"""Which camera saw the keypoints, how large a person is, and where they stand."""

import math
from collections.abc import Sequence
from numbers import Real
from typing import Any, NamedTuple

import numpy as np

from ites_fast.camera import Camera
from ites_fast.errors import InputError
from ites_fast.lifting.bone_lengths import Tree
from ites_fast.scene import METRES_PER_BODY_UNIT
from ites_fast.skeleton import Skeleton

# Of an average body with the joints of h36m_17, in body units. The mean bone length is that of all poses of the bundled
# motion capture over their mean distance from hip to head. The stature follows from legs: thigh and shin together are
# 0.491 of it (Drillis and Contini 1966), and 6.90 mean bones long, on average over subjects.
MEAN_BONE = 0.3388
STATURE = 2.337

# Focal length over the longer side of the image where nothing is known: 53 degrees, between a phone and a webcam. It is
# no sensitive choice: on real detections by four cameras of 0.87, N-MPJPE is 86.3 mm with it, 86.2 with 0.8, 87.4 with
# 1.6 and 86.8 with the true one (without any camera 91.8); distances from the camera grow in proportion.
ASSUMED_FOCAL = 1.0

TALLEST = 2.8  # metres
LONGEST_FOCAL = 100.0  # longer sides of the image
SMALLEST_SPREAD = 1e-12  # image coordinates squared, summed


class View(NamedTuple):
    """How pixels become rays."""

    camera: Camera | None  # None: nothing is known, every pose is seen from afar and from its front
    known: bool  # whether someone has said so; otherwise the focal length is assumed
    notes: tuple[str, ...]


def choose_view(
    camera: Camera | None = None,
    focal: float | Sequence[float] | None = None,
    fov: float | None = None,
    image_size: Sequence[float] | None = None,
) -> View:
    """The camera that a caller's arguments describe.

    Args:
        camera: intrinsics and lens distortion, in pixels; its place in the world is not used.
        focal: focal length in pixels, one number or those along x and y; the principal point is the image's centre.
        fov: field of view along the longer side of the image, degrees; pixels are square.
        image_size: width and height, pixels.

    Raises:
        InputError: more than one of ``camera``, ``focal`` and ``fov``, a value out of range, or an image size that is
            needed and not given.
    """
    given = [name for name, value in (("camera", camera), ("focal", focal), ("fov", fov)) if value is not None]
    if len(given) > 1:
        raise InputError(f"{' and '.join(given)} are given together, expected at most one of camera, focal and fov")
    size = None if image_size is None else check_image_size(image_size)
    if camera is not None:
        if not isinstance(camera, Camera):
            raise InputError(f"camera: expected an ites_fast.Camera, got {type(camera).__name__}")
        if size is not None and min(camera.image_size) > 0 and tuple(camera.image_size) != size:
            raise InputError(f"image_size is {size}, but the camera's is {tuple(camera.image_size)}")
        return View(camera, True, ())
    if size is None:
        if given:
            raise InputError(
                f"{given[0]}: needs image_size=(width, height) as well, whose centre is the principal point"
            )
        return View(None, False, ("No camera is known: each pose is lifted as if seen from afar and from its front.",))
    longer = max(size)
    if fov is not None:
        if not isinstance(fov, Real) or isinstance(fov, bool) or not 0 < fov < 180:
            raise InputError(f"fov: expected degrees between 0 and 180, along the longer side, got {fov!r}")
        lengths = (longer / 2 / math.tan(math.radians(fov) / 2),) * 2
    elif focal is not None:
        lengths = _focal_lengths(focal, longer)
    else:
        lengths = (ASSUMED_FOCAL * longer,) * 2
    pinhole = Camera(lengths, (size[0] / 2, size[1] / 2), image_size=size)
    if given:
        return View(pinhole, True, ())
    note = (
        f"The focal length is assumed to be {lengths[0]:.0f} pixels, {ASSUMED_FOCAL:g} of the image's longer side: "
        "distances from the camera are as uncertain as that."
    )
    return View(pinhole, False, (note,))


def check_image_size(image_size: Sequence[float]) -> tuple[int, int]:
    """Width and height as whole numbers.

    Raises:
        InputError: they are not two positive, finite numbers.
    """
    try:
        width, height = (float(side) for side in image_size)
    except (TypeError, ValueError) as error:
        raise InputError(f"image_size: expected two numbers, (width, height) in pixels, got {image_size!r}") from error
    if not (0 < width < math.inf and 0 < height < math.inf):
        raise InputError(f"image_size: expected two positive numbers, (width, height), got {image_size!r}")
    return round(width), round(height)


def check_height(height: float) -> float:
    """The stature of a person in metres.

    Raises:
        InputError: it is not a positive number of metres that a person can be tall.
    """
    if not isinstance(height, Real) or isinstance(height, bool) or not 0 < height < math.inf:
        raise InputError(f"height: expected metres, such as 1.75, got {height!r}")
    if height > TALLEST:
        hint = f"; {height:g} cm are {height / 100:.2f}" if 50 <= height <= 100 * TALLEST else ""
        raise InputError(f"height: expected metres, at most {TALLEST:g}, got {height:g}{hint}")
    return float(height)


def metres_per_body_unit(height: float | None) -> float:
    """Of a body with this stature in metres, or of the average body."""
    return METRES_PER_BODY_UNIT if height is None else height / STATURE


def mean_bone_lengths(pose_3d: np.ndarray, skeleton: Skeleton) -> np.ndarray:
    """Mean length of the bones of each pose (N,), for poses (N, J, 3)."""
    bones = Tree.of(skeleton).bones(pose_3d)
    return np.sqrt(np.einsum("nbd,nbd->nb", bones, bones)).sum(1) / bones.shape[1]


def root_translation(positions: np.ndarray, image: np.ndarray, weight: np.ndarray) -> np.ndarray:
    r"""Where root-relative poses stand so that their joints lie on the rays on which they were seen.

    Minimises :math:`\sum_j w_j |(X_j + t)_{xy} - u_j (X_j + t)_z|^2`, linear in t. Where that has the person behind the
    camera, as it may for a pose that is quite wrong, the distance is the one at which the pose is as large as it was
    seen.

    Args:
        positions: joints (N, J, 3) in the camera's frame (x right, y down, z forward), any unit.
        image: undistorted image coordinates (N, J, 2); where the weight is 0 they do not matter and may be NaN.
        weight: of each joint (N, J), 0 where it was not seen.

    Returns:
        Translations t (N, 3) in the unit of ``positions``; NaN where the joints that were seen coincide in the image or
        there are fewer than two.
    """
    weight = weight / np.maximum(weight.sum(1, keepdims=True), np.finfo(weight.dtype).tiny)
    seen = weight > 0
    if not seen.all():
        image = np.where(seen[..., None], image, 0)
    depth = positions[..., 2:]
    a = image * depth - positions[..., :2]  # t_xy - u t_z = u Z - X =: a, for every joint
    mean_image, mean_a = weight[:, None] @ image, weight[:, None] @ a  # (N, 1, 2)
    image, a = image - mean_image, a - mean_a
    spread = np.einsum("nj,njk,njk->n", weight, image, image)
    spread[spread <= SMALLEST_SPREAD] = np.nan
    distance = -np.einsum("nj,njk,njk->n", weight, image, a) / spread
    nearest = -np.where(seen, depth[..., 0], np.inf).min(1)  # nobody sees what is behind the camera
    behind = distance <= nearest
    if behind.any():
        x = positions[behind, :, :2] - weight[behind, None] @ positions[behind, :, :2]
        size = np.einsum("nj,njk,njk->n", weight[behind], x, x)
        distance[behind] = np.maximum(np.sqrt(size / spread[behind]), nearest[behind])
    translation = np.empty((len(positions), 3), positions.dtype)
    translation[:, :2] = mean_a[:, 0] + mean_image[:, 0] * distance[:, None]
    translation[:, 2] = distance
    return translation


def _focal_lengths(focal: Any, longer: int) -> tuple[float, float]:
    try:
        lengths = [float(value) for value in (focal if np.ndim(focal) else (focal, focal))]
    except (TypeError, ValueError):
        lengths = []
    if len(lengths) != 2 or not all(0 < length < math.inf for length in lengths):
        raise InputError(f"focal: expected one or two positive numbers of pixels, got {focal!r}")
    if not all(longer / LONGEST_FOCAL <= length <= longer * LONGEST_FOCAL for length in lengths):
        raise InputError(f"focal: expected pixels, got {focal!r} for an image {longer} pixels long")
    return lengths[0], lengths[1]
