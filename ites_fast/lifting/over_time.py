"""The frames of a recording together: one sign of depth, one body, less jitter."""

from typing import Literal, get_args

import numpy as np

from ites_fast.errors import InputError
from ites_fast.lifting.bone_lengths import constant_bone_lengths
from ites_fast.lifting.flips import consistent_depth
from ites_fast.lifting.frames import FrameLifter, LiftedFrames
from ites_fast.lifting.placement import MEAN_BONE, mean_bone_lengths
from ites_fast.lifting.smoothing import (
    BETA,
    MIN_CUTOFF,
    ROOT_BETA,
    ROOT_MIN_CUTOFF,
    default_window,
    one_euro,
    savitzky_golay,
)
from ites_fast.scene import METRES_PER_BODY_UNIT

Smooth = Literal["one_euro", "savitzky_golay"]

FPS = 30.0  # where nobody says


def check_smooth(smooth: str | None) -> None:
    """Raise ``InputError`` for a filter that does not exist."""
    if smooth is not None and smooth not in get_args(Smooth):
        raise InputError(f"smooth: expected None or one of {', '.join(get_args(Smooth))}, got {smooth!r}")


def over_time(
    lifted: LiftedFrames,
    lifter: FrameLifter,
    *,
    fps: float,
    frame: np.ndarray | None = None,
    smooth: Smooth | None = None,
    constant_bones: bool = False,
    one_sign: bool = False,
) -> tuple[LiftedFrames, int]:
    """What neighbouring frames of one person say about each other.

    Signs are chosen first, and the places anew where they changed; then positions and places are filtered, and bones,
    which a filter shortens, get their lengths last.

    Args:
        lifted: frames of one person, in their order; nobody in some of them (NaN).
        lifter: that they are from.
        fps: frames a second.
        frame: their numbers (T,), increasing; 0 to T - 1 by default.
        smooth: "one_euro" looks at no later frame, "savitzky_golay" at both sides; see ``smoothing``.
        constant_bones: every bone keeps one length, the same on the left and the right; see ``bone_lengths``.
        one_sign: choose the signs of depth that make the person move the least; see ``flips``. Needs ambiguities.

    Returns:
        The frames, and how many poses were negated in depth.
    """
    frame = np.arange(len(lifted.positions)) if frame is None else frame
    positions, translation, negated = lifted.positions, lifted.translation, np.zeros(0, bool)
    if one_sign:
        positions, negated = consistent_depth(positions, lifted.ambiguity, fps, frame)
        if negated.any():
            translation = lifter.place(positions, lifted.keypoints, lifted.confidence)
    if smooth is not None:
        metres = 1.0 if lifter.units == "metres" else METRES_PER_BODY_UNIT
        positions = _smoothed(smooth, positions, frame, fps, MIN_CUTOFF, BETA * metres)
        if translation is not None:
            translation = _smoothed(smooth, translation[:, None], frame, fps, ROOT_MIN_CUTOFF, ROOT_BETA * metres)[:, 0]
    if constant_bones:
        positions = constant_bone_lengths(positions, lifter.target, lifted.confidence)
        bone = mean_bone_lengths(positions, lifter.target)
        if np.isfinite(bone).any():
            positions *= np.float32(lifter.scale * MEAN_BONE / np.nanmean(bone))
    return lifted._replace(positions=positions, translation=translation), int(negated.sum())


def _smoothed(
    smooth: Smooth, points: np.ndarray, frame: np.ndarray, fps: float, min_cutoff: float, beta: float
) -> np.ndarray:
    if smooth == "savitzky_golay":
        return savitzky_golay(points, frame, default_window(fps))
    return one_euro(points, frame, fps, min_cutoff=min_cutoff, beta=beta)
