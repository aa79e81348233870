"""A camera from OpenCV's matrices."""

import numpy as np

from ites_fast.camera import Camera
from ites_fast.errors import InputError


def camera_of(
    K: np.ndarray,
    dist: np.ndarray,
    image_size: tuple[int, int] | None,
    where: str,
    *,
    rotation: np.ndarray | None = None,
    translation: np.ndarray | None = None,
) -> Camera:
    """The camera of OpenCV's ``K`` and ``dist``, with its pose ``y = rotation p + translation`` where it is known.

    Args:
        K: intrinsics (3, 3), pixels.
        dist: k1, k2, p1, p2, and k3 where there is one (4,) or (5,); () for none.
        image_size: width and height, pixels.
        where: file and camera, for messages.
        rotation: of the world into the camera's frame (3, 3).
        translation: of the world's origin in the camera's frame (3,), metres.

    Raises:
        InputError: another shape, skew, or numbers that are no camera.
    """
    K, dist = np.asarray(K, np.float64), np.asarray(dist, np.float64)
    if K.shape != (3, 3) or dist.shape not in ((0,), (4,), (5,)):
        raise InputError(f"{where}: K is {K.shape} and dist {dist.shape}, expected (3, 3) and (4,) or (5,)")
    rest = K[[0, 1, 2, 2, 2], [1, 0, 0, 1, 2]]  # 0 without skew, and the last row
    if not np.allclose(rest, [0, 0, 0, 0, 1]):
        raise InputError(f"{where}: K is {K.tolist()}, expected fx 0 cx / 0 fy cy / 0 0 1")
    lens = np.zeros(5)
    lens[: len(dist)] = dist
    pose = {}
    if rotation is not None and translation is not None:
        pose = {"rotation": rotation, "position": -np.asarray(rotation).T @ translation}
    try:
        return Camera(
            K.diagonal()[:2], K[:2, 2], image_size or (0, 0), radial=lens[[0, 1, 4]], tangential=lens[2:4], **pose
        )
    except (ValueError, OverflowError) as error:
        raise InputError(f"{where}: {' '.join(str(error).split())}") from error


def image_size_of(size: np.ndarray, where: str) -> tuple[int, int]:
    """Width and height in pixels, from an array (2,).

    Raises:
        InputError: another shape, or no sizes of an image.
    """
    if size.shape != (2,) or not ((size >= 1) & (size <= 100_000)).all():
        raise InputError(f"{where} is {size.tolist()}, expected width and height in pixels")
    return int(size[0]), int(size[1])
