"""How far a camera looks down, from how the people before it stand."""

from numbers import Real

import numpy as np

from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

FEWEST = 15  # poses that say anything
STEEPEST = 35.0  # degrees; people who sit or lie seem to be seen from there

HIP = H36M_17.root
ANKLES = [H36M_17.joint_names.index(f"{side}_ankle") for side in ("left", "right")]


def estimate_elevation(positions: np.ndarray) -> float | None:
    """Elevation of a camera above the horizon, degrees, positive where it looks down.

    People mostly have their feet below them: the median direction from the ankles to the hip, seen from the side, is
    taken to be vertical. On the bundled test clips (``bench/accuracy_elevation.py``) that is off by 6.1 degrees in the
    mean and 13.4 for the worst tenth; a camera that is taken to be level is off by 11.5 and 22.3.

    Args:
        positions: poses (..., 17, 3) in the camera's frame (x right, y down, z forward), any unit, NaN where nobody is.

    Returns:
        None where there are too few poses, or they say that the camera is steeper than ``STEEPEST``: people may sit or
        lie.
    """
    positions = positions.reshape(-1, *positions.shape[-2:])
    if len(positions) < FEWEST:  # as for a single pose, which should cost nothing
        return None
    legs = positions[:, HIP] - positions[:, ANKLES].mean(1)
    legs = legs[np.isfinite(legs).all(1) & (np.linalg.norm(legs, axis=1) > 0)]
    if len(legs) < FEWEST:
        return None
    _, y, z = np.median(legs / np.linalg.norm(legs, axis=1, keepdims=True), axis=0)
    elevation = float(np.degrees(np.arctan2(-z, -y)))
    return elevation if abs(elevation) <= STEEPEST else None


def choose_elevation(given: float | None, positions: np.ndarray) -> tuple[float, tuple[str, ...]]:
    """The elevation that a caller gives, or else the estimate, or else 0; and what has to be said about it.

    Args:
        given: degrees, or None.
        positions: see ``estimate_elevation``.

    Raises:
        InputError: what was given is no number from -90 to 90.
    """
    if given is not None:
        if not isinstance(given, Real) or not -90 <= given <= 90:
            raise InputError(f"elevation: expected degrees from -90 to 90, positive where it looks down, got {given!r}")
        return float(given), ()
    estimate = estimate_elevation(positions)
    if estimate is None:
        return 0.0, ()
    how = "down" if estimate >= 0 else "up"
    return estimate, (f"The camera seems to look {how} by {abs(estimate):.0f} degrees, if people stand upright.",)
