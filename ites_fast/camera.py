"""The perspective camera with lens distortion, in numpy.

Camera frame: x right, y down, z forward, metres. Image coordinates are ``(x / z, y / z)``; pixels are
``focal * distorted + principal``.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

UNDISTORT_STEPS = 20  # at most; Newton needs three or four at the distortion of real lenses
UNDISTORT_TOLERANCE = 1e-12  # image coordinates


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera. Any sequence of numbers is taken; arrays are kept as float64.

    Pixels become the image coordinates that models take by ``undistort``::

        camera = Camera(focal=(1145, 1143), principal=(512, 515), radial=(-0.2, 0.24, 0), tangential=(-0.001, -0.001))
        pose_3d = load_lifter("runs/mine").lift(camera.undistort(pixels))

    Args:
        focal: focal lengths along x and y, pixels (2,), positive.
        principal: principal point, pixels (2,).
        image_size: width and height, pixels; (0, 0) where they are unknown. Nothing is computed from them.
        radial: k1, k2, k3 (3,), zero for an ideal lens.
        tangential: p1, p2 (2,), zero for an ideal lens; see ``distort``.
        rotation: world to camera (3, 3); its rows are the camera's right, down and forward axes in the world.
        position: centre of the camera in the world, metres (3,).
        tangential_factor: 2 is the Brown-Conrady model (OpenCV); Human3.6M's own model has 1.

    Raises:
        ValueError: a parameter of another shape, one that is not finite, or a focal length that is not positive.
    """

    focal: np.ndarray
    principal: np.ndarray
    image_size: tuple[int, int] = (0, 0)
    radial: np.ndarray = field(default_factory=lambda: np.zeros(3))
    tangential: np.ndarray = field(default_factory=lambda: np.zeros(2))
    rotation: np.ndarray = field(default_factory=lambda: np.eye(3))
    position: np.ndarray = field(default_factory=lambda: np.zeros(3))
    tangential_factor: float = 2.0

    def __post_init__(self) -> None:
        shapes = {
            "focal": (2,),
            "principal": (2,),
            "radial": (3,),
            "tangential": (2,),
            "rotation": (3, 3),
            "position": (3,),
        }
        for name, shape in shapes.items():
            value = np.asarray(getattr(self, name), dtype=np.float64)
            if value.shape != shape or not np.isfinite(value).all():
                raise ValueError(f"camera {name} must be {shape} finite numbers, got {getattr(self, name)!r}")
            object.__setattr__(self, name, value)
        if not (self.focal > 0).all():
            raise ValueError(f"camera focal must be positive, got {self.focal.tolist()}")

    @property
    def has_distortion(self) -> bool:
        return bool(self.radial.any() or self.tangential.any())

    def to_camera(self, points_world: np.ndarray) -> np.ndarray:
        """World points (..., 3) in the camera's frame (..., 3), metres."""
        return (points_world - self.position) @ self.rotation.T

    def project(self, points_camera: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) of points (..., 3) in the camera's frame; points behind the camera are not clipped."""
        image = points_camera[..., :2] / points_camera[..., 2:]
        return distort(image, self.radial, self.tangential, self.tangential_factor) * self.focal + self.principal

    def undistort(self, pixels: ArrayLike) -> np.ndarray:
        """Image coordinates (..., 2) of pixels (..., 2): (u - c) / f with the lens distortion removed, float64.

        Raises:
            ValueError: the last axis does not hold u and v.
        """
        pixels = np.asarray(pixels)
        if pixels.shape[-1:] != (2,):
            raise ValueError(f"pixels must be (..., 2), got {pixels.shape}")
        image = (pixels - self.principal) / self.focal
        return undistort(image, self.radial, self.tangential, self.tangential_factor) if self.has_distortion else image


def distort(
    image: np.ndarray, radial: np.ndarray, tangential: np.ndarray, factor: float | np.ndarray = 2.0
) -> np.ndarray:
    r"""What the lens does to ideal image coordinates.

    .. math:: u_d = u (1 + k_1 r^2 + k_2 r^4 + k_3 r^6 + f\, q \cdot u) + q r^2, \qquad q = (p_2, p_1)

    With f = 2 this is the model of Brown (1971) as OpenCV writes it; Human3.6M's calibration has f = 1.

    Args:
        image: ideal image coordinates (..., 2).
        radial: k1, k2, k3 (..., 3).
        tangential: p1, p2 (..., 2).
        factor: f, one number or (...).

    Returns:
        Distorted image coordinates (..., 2).
    """
    x, y = np.moveaxis(image, -1, 0)
    k1, k2, k3 = np.moveaxis(radial, -1, 0)
    p1, p2 = np.moveaxis(tangential, -1, 0)
    r2 = x * x + y * y
    gain = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + factor * (p2 * x + p1 * y)
    return np.stack([x * gain + p2 * r2, y * gain + p1 * r2], -1)


def undistort(
    image: np.ndarray, radial: np.ndarray, tangential: np.ndarray, factor: float | np.ndarray = 2.0
) -> np.ndarray:
    """Inverse of ``distort`` by Newton's method, started at the distorted point.

    Arguments as in ``distort``. Inside the field of view of a real lens it is exact to rounding.
    """
    k1, k2, k3 = np.moveaxis(radial, -1, 0)
    p1, p2 = np.moveaxis(tangential, -1, 0)
    ideal = np.array(image, dtype=np.float64)
    x, y = ideal[..., 0], ideal[..., 1]  # views: the steps below change ideal
    for _ in range(UNDISTORT_STEPS):
        residual = distort(ideal, radial, tangential, factor) - image
        if np.abs(residual).max(initial=0.0) < UNDISTORT_TOLERANCE:
            break
        r2 = x * x + y * y
        gain = 1 + r2 * (k1 + r2 * (k2 + r2 * k3)) + factor * (p2 * x + p1 * y)
        slope = 2 * (k1 + r2 * (2 * k2 + 3 * r2 * k3))  # d gain / d (r^2 / 2), without the tangential part
        gain_x, gain_y = slope * x + factor * p2, slope * y + factor * p1
        # Jacobian [[a, b], [c, d]], inverted by hand: numpy's solve is slow on millions of 2 x 2 systems.
        a, b = gain + x * gain_x + 2 * p2 * x, x * gain_y + 2 * p2 * y
        c, d = y * gain_x + 2 * p1 * x, gain + y * gain_y + 2 * p1 * y
        determinant = a * d - b * c
        x -= (d * residual[..., 0] - b * residual[..., 1]) / determinant
        y -= (a * residual[..., 1] - c * residual[..., 0]) / determinant
    return ideal
