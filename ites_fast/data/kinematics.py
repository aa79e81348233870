"""Rotations along a skeleton's tree, for all frames at once."""

from collections.abc import Sequence

import numpy as np


def euler_rotation(axes: str, degrees: np.ndarray) -> np.ndarray:
    """Product of rotations about coordinate axes, the first letter leftmost: "zyx" is ``Rz Ry Rx``.

    Args:
        axes: letters x, y, z.
        degrees: one angle a letter (..., len(axes)).

    Returns:
        Rotations (..., 3, 3), acting on column vectors.
    """
    rotation = np.broadcast_to(np.eye(3), (*degrees.shape[:-1], 3, 3))
    for index, axis in enumerate(axes):
        rotation = rotation @ axis_rotation(axis, np.radians(degrees[..., index]))
    return rotation


def axis_rotation(axis: str, radians: np.ndarray) -> np.ndarray:
    """Rotations (..., 3, 3) about the x, y or z axis by angles (...)."""
    a = "xyz".index(axis)
    b, c = (a + 1) % 3, (a + 2) % 3
    rotation = np.zeros((*np.shape(radians), 3, 3))
    rotation[..., a, a] = 1
    rotation[..., b, b] = rotation[..., c, c] = np.cos(radians)
    rotation[..., c, b] = np.sin(radians)
    rotation[..., b, c] = -rotation[..., c, b]
    return rotation


def global_rotations(parents: Sequence[int], local: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Rotation of each node in the world: its parent's times its own. Parents come first; -1 is the world.

    Args:
        parents: one index a node.
        local: rotation of each node relative to its parent, (F, 3, 3) each.
    """
    result: list[np.ndarray] = []
    for parent, rotation in zip(parents, local, strict=True):
        result.append(rotation if parent < 0 else result[parent] @ rotation)
    return result


def turn(rotation: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """Rotations (F, 3, 3) applied to one vector (3,): (F, 3)."""
    return rotation @ vector
