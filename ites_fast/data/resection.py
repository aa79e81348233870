"""Cameras from points whose position is known in space and in the image.

A direct linear transform gives the start, Levenberg-Marquardt the rest: focal lengths, principal point, k1 k2 k3,
p1 p2, rotation and position, 15 numbers.
"""

from collections.abc import Callable

import numpy as np

from ites_fast.camera import Camera
from ites_fast.errors import InputError

MIN_POINTS = 100
GRID = 24  # the image is cut into GRID x GRID cells
POINTS_PER_CELL = 12
STEPS = 100
STEP_SIZE = 1e-6  # of the numerical derivatives, in units of the parameters' scale


def spread_points(pixels: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Indices of at most a few thousand points (M, 2) px that cover the image evenly."""
    low, high = pixels.min(0), pixels.max(0)
    cell = np.minimum((pixels - low) / np.maximum(high - low, 1e-9) * GRID, GRID - 1).astype(np.int64)
    number = cell[:, 0] * GRID + cell[:, 1]
    order = generator.permutation(len(pixels))
    order = order[np.argsort(number[order], kind="stable")]
    starts = np.searchsorted(number[order], number[order])  # where each point's cell begins
    return np.sort(order[np.arange(len(order)) - starts < POINTS_PER_CELL])


def solve_camera(
    world: np.ndarray, pixels: np.ndarray, image_size: tuple[int, int], *, tangential_factor: float, source: str
) -> tuple[Camera, float]:
    """The camera that sees ``world`` at ``pixels``.

    Args:
        world: points (M, 3), metres.
        pixels: where they are seen (M, 2).
        image_size: width and height, pixels; stored, not used.
        tangential_factor: see ``Camera``.
        source: what error messages call the points.

    Returns:
        The camera and the root mean square of the remaining distances, pixels.

    Raises:
        InputError: too few points, or points that do not determine a camera (for example all in one plane).
    """
    if len(world) < MIN_POINTS:
        raise InputError(f"{source}: {len(world)} points, expected at least {MIN_POINTS} to solve a camera")
    world, pixels = world.astype(np.float64), pixels.astype(np.float64)
    start = _linear_camera(world, pixels, source)
    scale = np.array([1e3] * 4 + [0.1] * 3 + [1e-3] * 2 + [1.0] * 6)

    def camera_of(change: np.ndarray) -> Camera:
        f, c, k, p, turn, position = np.split(change * scale, [2, 4, 7, 9, 12])
        return Camera(
            focal=start.focal + f,
            principal=start.principal + c,
            image_size=image_size,
            radial=k,
            tangential=p,
            rotation=rotation_from_vector(turn) @ start.rotation,
            position=start.position + position,
            tangential_factor=tangential_factor,
        )

    def residuals(change: np.ndarray) -> np.ndarray:
        try:
            camera = camera_of(change)
        except ValueError:  # a step too far: no camera has such parameters
            return np.full(pixels.size, np.inf)
        return (camera.project(camera.to_camera(world)) - pixels).ravel()

    change, cost = _levenberg_marquardt(residuals, np.zeros(15))
    return camera_of(change), float(np.sqrt(cost / len(world)))


def rotation_from_vector(vector: np.ndarray) -> np.ndarray:
    """Rodrigues' formula: rotation by the length of ``vector`` (3,), radians, about its direction."""
    angle = np.linalg.norm(vector)
    x, y, z = vector
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    sine = np.sinc(angle / np.pi)  # sin(angle) / angle
    half = np.sinc(angle / (2 * np.pi))
    return np.eye(3) + sine * cross + 0.5 * half**2 * (cross @ cross)


def _linear_camera(world: np.ndarray, pixels: np.ndarray, source: str) -> Camera:
    """Ideal camera by the normalised direct linear transform (Hartley and Zisserman, 2nd ed., algorithm 7.1)."""
    space, image = _normalizer(world), _normalizer(pixels)
    x, u = _homogeneous(world) @ space.T, _homogeneous(pixels) @ image.T
    zero = np.zeros_like(x)
    equations = np.concatenate([np.hstack([x, zero, -u[:, :1] * x]), np.hstack([zero, x, -u[:, 1:2] * x])])
    values, vectors = np.linalg.eigh(equations.T @ equations)
    if values[1] < 1e-9 * values[-1]:
        raise InputError(f"{source}: the points lie in a plane or on a line, they do not determine a camera")
    projection = np.linalg.inv(image) @ vectors[:, 0].reshape(3, 4) @ space
    if (_homogeneous(world) @ projection[2]).mean() * np.linalg.det(projection[:, :3]) < 0:
        raise InputError(f"{source}: the pixels show the mirror image of the points")
    projection *= np.sign(np.linalg.det(projection[:, :3]))
    # RQ decomposition through QR of the reversed matrix.
    q, r = np.linalg.qr(projection[::-1, :3].T)
    intrinsic, rotation = r.T[::-1, ::-1], q.T[::-1]
    signs = np.sign(np.diag(intrinsic))
    intrinsic, rotation = intrinsic * signs, signs[:, None] * rotation
    intrinsic = intrinsic / intrinsic[2, 2]
    position = -np.linalg.solve(projection[:, :3], projection[:, 3])
    return Camera(
        focal=np.diag(intrinsic)[:2],
        principal=intrinsic[:2, 2],
        image_size=(0, 0),
        rotation=rotation,
        position=position,
    )


def _normalizer(points: np.ndarray) -> np.ndarray:
    """Similarity that centres points and makes their mean distance from the centre sqrt(dimensions)."""
    dimensions = points.shape[1]
    centre = points.mean(0)
    size = np.linalg.norm(points - centre, axis=1).mean() / np.sqrt(dimensions)
    matrix = np.eye(dimensions + 1) / size
    matrix[:-1, -1] = -centre / size
    matrix[-1, -1] = 1
    return matrix


def _homogeneous(points: np.ndarray) -> np.ndarray:
    return np.hstack([points, np.ones((len(points), 1))])


def _levenberg_marquardt(
    residuals: Callable[[np.ndarray], np.ndarray], parameters: np.ndarray
) -> tuple[np.ndarray, float]:
    """Minimise the sum of squares; derivatives are central differences. Returns parameters and that sum."""
    damping, current = 1e-3, residuals(parameters)
    cost = current @ current
    for _ in range(STEPS):
        steps = STEP_SIZE * np.eye(len(parameters))
        columns = [(residuals(parameters + s) - residuals(parameters - s)) / (2 * STEP_SIZE) for s in steps]
        jacobian = np.stack(columns, 1)
        normal, gradient = jacobian.T @ jacobian, jacobian.T @ current
        before = cost
        while damping < 1e12:
            step = np.linalg.solve(normal + damping * np.diag(np.diag(normal)), -gradient)
            trial = residuals(parameters + step)
            if np.isfinite(trial).all() and trial @ trial < cost:
                parameters, current, cost = parameters + step, trial, trial @ trial
                damping = max(damping / 10, 1e-12)
                break
            damping *= 10
        if before - cost <= 1e-12 * before:
            break
    return parameters, cost
