"""Rotations over time as Euler angles and as quaternions, without jumps between frames."""

import numpy as np

from ites_fast.data.kinematics import axis_rotation

LOCKED = 1e-4  # cosine of the middle angle below which the outer angles are not told apart


def continuous_euler(rotation: np.ndarray, axes: str) -> np.ndarray:
    r"""Angles (N, 3), degrees, of rotations (N, 3, 3) over time: ``rotation`` is :math:`R_i(a) R_j(b) R_k(c)`.

    Every rotation has two such triples, :math:`(a, b, c)` and :math:`(a + \pi, \pi - b, c + \pi)`, up to full turns.
    Each frame takes that which is nearer to the frame before, and angles go on beyond 180 degrees. Where b is 90
    degrees only a + c or a - c is determined: a then stays what it was.

    Args:
        rotation: of consecutive frames.
        axes: three different letters, the first leftmost, as in ``data.kinematics.euler_rotation``.
    """
    i, j, k = ("xyz".index(axis) for axis in axes)
    sign = 1 if (j - i) % 3 == 1 else -1  # whether the three axes are right-handed
    cosine = np.hypot(rotation[:, j, k], rotation[:, k, k])
    a = _held(np.arctan2(-sign * rotation[:, j, k], rotation[:, k, k]), cosine > LOCKED)
    rest = np.swapaxes(axis_rotation(axes[0], a), -1, -2) @ rotation  # R_j(b) R_k(c)
    b = np.arctan2(sign * rest[:, i, k], rest[:, k, k])
    c = np.arctan2(sign * rest[:, j, i], rest[:, j, j])
    angles = np.stack([a, b, c], -1)
    other = np.stack([a + np.pi, np.pi - b, c + np.pi], -1)
    stay = _turn(angles[1:] - angles[:-1])
    change = _turn(other[1:] - angles[:-1])
    # going over to the other triple and back is the same distance, so each decision stands for itself
    changed = np.r_[False, np.cumsum(change < stay) % 2 == 1][: len(angles), None]
    return np.degrees(np.unwrap(np.where(changed, other, angles), axis=0))


def _held(values: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Values (N,) of which those that are not known are the last known before, or the first."""
    if not known.any():
        return np.zeros_like(values)
    last = np.maximum.accumulate(np.where(known, np.arange(len(values)), -1))
    return values[np.where(last < 0, np.argmax(known), last)]


def _turn(difference: np.ndarray) -> np.ndarray:
    """Sum of squares (N,) of angles (N, 3), full turns left out."""
    return np.square(np.mod(difference + np.pi, 2 * np.pi) - np.pi).sum(-1)


def quaternions(rotation: np.ndarray) -> np.ndarray:
    """Unit quaternions x, y, z, w (..., 4) of rotations (..., 3, 3).

    All products of two components are sums of the matrix's elements; the column of the largest component is taken, as
    in Shepperd, "Quaternion from rotation matrix", J. Guidance and Control 1 (1978).
    """
    diagonal = np.einsum("...ii->...i", rotation)
    trace = diagonal.sum(-1)
    products = np.empty((*rotation.shape[:-2], 4, 4))  # 4 q q^T
    products[..., 3, 3] = 1 + trace
    for a in range(3):
        b, c = (a + 1) % 3, (a + 2) % 3
        products[..., a, a] = 1 + 2 * diagonal[..., a] - trace
        products[..., a, b] = products[..., b, a] = rotation[..., b, a] + rotation[..., a, b]
        products[..., a, 3] = products[..., 3, a] = rotation[..., c, b] - rotation[..., b, c]
    largest = np.argmax(np.einsum("...ii->...i", products), axis=-1)
    quaternion = np.take_along_axis(products, largest[..., None, None], axis=-2)[..., 0, :]
    return quaternion / np.linalg.norm(quaternion, axis=-1, keepdims=True)


def continuous_quaternions(quaternion: np.ndarray) -> np.ndarray:
    """Of q and -q the one nearer to that of the frame before, for quaternions over time (N, ..., 4)."""
    opposite = (quaternion[1:] * quaternion[:-1]).sum(-1, keepdims=True) < 0
    signs = np.where(np.cumsum(opposite, axis=0) % 2 == 1, -1.0, 1.0)
    return np.concatenate([quaternion[:1], quaternion[1:] * signs])


def rotation_of(quaternion: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) of unit quaternions x, y, z, w (..., 4)."""
    x, y, z, w = np.moveaxis(quaternion, -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, -1) for row in rows], -2)
