"""Less jitter in poses over time: the One-Euro filter for streams, Savitzky-Golay filters for whole recordings."""

import math

import numpy as np

from ites_fast.chunks import chunks
from ites_fast.errors import InputError

# Chosen on lifted poses of mocap17's subjects 5, 9, 13 and 35 at 30 and 60 frames a second, clean and with 3 and 6 px
# of noise, see docs/SEQUENCES.md.
MIN_CUTOFF = 1.5  # Hz
BETA = 6.0  # Hz per metre a second
DERIVATIVE_CUTOFF = 1.0  # Hz
MAX_STEP = 3.0  # usual steps
SMALLEST_USUAL = 0.02  # units of length: less than that is never a joint that is elsewhere
ADAPTATION = 0.3  # of the usual step, a frame
LONGEST_STEP = 0.2  # seconds; after a longer pause a joint may be anywhere
# Of the places of the roots, whose distance is less certain than the pose.
ROOT_MIN_CUTOFF = 1.0  # Hz
ROOT_BETA = 1.0  # Hz per metre a second
WINDOW = 0.4  # seconds
ORDER = 3
ROUNDS = 2  # of a robust fit
TYPICAL = 2.0  # times the median residual of a joint: where a frame counts half
CHUNK = 1024  # frames at a time


class OneEuro:
    r"""The One-Euro filter (Casiez, Roussel and Vogel, CHI 2012) of the joints of several people.

    A first-order low-pass filter whose cutoff rises with the speed of a joint, so that there is little jitter at rest
    and little lag in motion: :math:`f = f_{min} + \beta\,|\dot x|`. The speed is the length of a vector, so that a
    rotated pose gives the rotated result. It looks at no later frame, and frames may be any time apart.

    Not in the paper: detectors put single joints elsewhere for a frame. A joint that is more than ``max_step`` times as
    far from its last filtered place as it usually is, a running median of its distances, counts as that far away.

    Args:
        min_cutoff: of a joint at rest, Hz.
        beta: how much the cutoff rises with speed, Hz per unit of length a second. The default is for metres; for
            positions in other units, multiply it by their length in metres.
        derivative_cutoff: of the filter of the speed, Hz.
        max_step: see above; infinity is the paper's filter.

    Raises:
        InputError: a cutoff or a step that is not positive, or a negative ``beta``.
    """

    def __init__(
        self,
        min_cutoff: float = MIN_CUTOFF,
        beta: float = BETA,
        derivative_cutoff: float = DERIVATIVE_CUTOFF,
        max_step: float = MAX_STEP,
    ) -> None:
        for name, value in (("min_cutoff", min_cutoff), ("derivative_cutoff", derivative_cutoff)):
            if not 0 < value < math.inf:
                raise InputError(f"{name}: expected a positive number of Hz, got {value!r}")
        if not max_step > 0:
            raise InputError(f"max_step: expected a positive number, got {max_step!r}")
        if not 0 <= beta < math.inf:
            raise InputError(f"beta: expected a number that is not negative, got {beta!r}")
        self.min_cutoff, self.beta = min_cutoff, beta
        self.derivative_cutoff, self.max_step = derivative_cutoff, max_step
        self._time = np.empty(0)  # (C,) of the last pose of each person, NaN before the first
        self._position = self._velocity = np.empty((0, 0, 3), np.float32)  # (C, J, 3)
        self._usual = np.empty((0, 0), np.float32)  # (C, J) distance of a new place from the last, NaN if unknown
        self._work = np.empty((4, 0, 0, 3), np.float32)

    def __call__(self, positions: np.ndarray, time: float | np.ndarray, people: np.ndarray | None = None) -> np.ndarray:
        """The next frame.

        Args:
            positions: joints (P, J, 3); a pose with NaN is returned as it is and forgotten.
            time: of the frame in seconds, for all (one number) or each of the people (P,). It must increase.
            people: a small number for each of them (P,), the same in every frame; 0 to P - 1 by default.

        Returns:
            Filtered joints (P, J, 3) float32, which the next call overwrites.

        Raises:
            InputError: time does not increase.
        """
        P, J = positions.shape[:2]
        people = np.arange(P) if people is None else people
        self._reserve(int(people.max(initial=-1)) + 1, P, J)
        known = self._time[people]
        elapsed = time - known
        if (elapsed <= 0).any():
            raise InputError(f"time: expected seconds that increase, got {time} after {known.max()}")
        valid = np.isfinite(positions).all((1, 2))
        continues = valid & np.isfinite(known)
        result, velocity, step = self._work[:3, :P]
        self._position.take(people, 0, result, "clip")  # "clip" writes straight into the buffer
        self._velocity.take(people, 0, velocity, "clip")
        result[~continues] = positions[~continues]
        velocity[~continues] = 0
        dt = np.where(continues, elapsed, 1).astype(np.float32)[:, None, None]
        usual = self._usual[people]
        usual[~continues | (elapsed > LONGEST_STEP)] = np.nan
        np.subtract(positions, result, out=step)
        self._limit(step, usual)
        usual[~continues] = np.nan  # the second pose says how far a joint usually moves
        self._filter(step, dt, result, velocity)
        if valid.all():
            self._time[people], self._usual[people] = time, usual
            self._position[people], self._velocity[people] = result, velocity
            return result
        result[~valid] = positions[~valid]
        kept = people[valid]
        self._time[kept], self._usual[kept] = np.broadcast_to(time, P)[valid], usual[valid]
        self._position[kept], self._velocity[kept] = result[valid], velocity[valid]
        return result

    def reset(self, people: np.ndarray | int | None = None) -> None:
        """Forget some of the people (their numbers), or all: their next pose is their first."""
        self._time[slice(None) if people is None else people] = np.nan

    def _limit(self, step: np.ndarray, usual: np.ndarray) -> None:
        """Shorten steps (P, J, 3) that are far longer than ``usual`` (P, J), which adapts; both in place."""
        distance = np.sqrt(np.einsum("pjc,pjc->pj", step, step))
        known = ~np.isnan(usual)
        factor = np.where(known & (distance > 0), self.max_step * usual / np.where(distance > 0, distance, 1), 1)
        step *= np.minimum(factor, 1)[..., None]
        adapted = np.where(known, usual * (1 + np.float32(ADAPTATION) * np.sign(distance - usual)), distance)
        np.maximum(adapted, np.float32(SMALLEST_USUAL), out=usual)

    def _filter(self, step: np.ndarray, dt: np.ndarray, result: np.ndarray, velocity: np.ndarray) -> None:
        """Move ``result`` and ``velocity`` (P, J, 3) on, in place, by the ``step`` to the new positions."""
        speed = self._work[3, : len(step)]
        np.divide(step, dt, out=speed)
        speed -= velocity
        speed *= _weight(self.derivative_cutoff, dt)
        velocity += speed
        speed = np.sqrt(np.einsum("pjc,pjc->pj", velocity, velocity))[..., None]  # (P, J, 1)
        step *= _weight(self.min_cutoff + self.beta * speed, dt)
        result += step

    def _reserve(self, people: int, rows: int, joints: int) -> None:
        """Room for numbers of people below ``people``, and for ``rows`` of them in a frame."""
        self._time = with_room(self._time, people, ())
        self._position, self._velocity = (
            with_room(state, people, (joints, 3)) for state in (self._position, self._velocity)
        )
        self._usual = with_room(self._usual, people, (joints,))
        if rows > self._work.shape[1] or joints != self._work.shape[2]:
            self._work = np.empty((4, rows, joints, 3), np.float32)


def with_room(values: np.ndarray, people: int, shape: tuple[int, ...]) -> np.ndarray:
    """``values`` of people (C, *shape), with at least ``people`` rows; new rows are NaN.

    The number of rows doubles, so that people who come one by one are cheap. Values of another shape are forgotten.
    """
    if len(values) >= people and values.shape[1:] == shape:
        return values
    room = np.full((max(people, 2 * len(values)), *shape), np.nan, values.dtype)
    if values.shape[1:] == shape:
        room[: len(values)] = values
    return room


def _weight(cutoff: float | np.ndarray, dt: np.ndarray) -> np.ndarray:
    """Of the new value in a first-order low-pass filter with this cutoff (Hz), ``dt`` seconds after the last value."""
    r = np.float32(2 * np.pi) * cutoff * dt
    return r / (r + 1)


def one_euro(positions: np.ndarray, frame: np.ndarray, fps: float, **options: float) -> np.ndarray:
    """``OneEuro`` of a recording.

    Args:
        positions: joints (T, J, 3); frames with NaN stay as they are.
        frame: numbers of the frames (T,), increasing.
        fps: frames a second.
        options: of ``OneEuro``.

    Returns:
        Filtered joints (T, J, 3) float32.
    """
    smooth = OneEuro(**options)
    result = np.empty(positions.shape, np.float32)
    for index, (pose, time) in enumerate(zip(positions[:, None], np.asarray(frame) / fps, strict=True)):
        result[index] = smooth(pose, float(time))[0]
    return result


def default_window(fps: float) -> int:
    """Frames of a Savitzky-Golay filter over ``WINDOW`` seconds: odd, at least 5."""
    return max(5, 2 * round(WINDOW * fps / 2) + 1)


def savitzky_golay(
    positions: np.ndarray,
    frame: np.ndarray,
    window: int,
    order: int = ORDER,
    *,
    robust: bool = True,
    max_gap: int | None = None,
) -> np.ndarray:
    """Fit a polynomial to the frames around each frame (Savitzky and Golay, 1964) and take its value there.

    Frames need not be evenly spaced: the fit knows when they were. A long gap ends a segment; frames near the end of a
    segment take the polynomial of the last whole window, and a segment shorter than the window is fitted as a whole.
    On even frames and without ``robust`` this is ``scipy.signal.savgol_filter`` with ``mode="interp"``.

    Args:
        positions: joints (T, J, 3). Frames with NaN stay as they are, and others are fitted without them.
        frame: numbers of the frames (T,), strictly increasing.
        window: frames that a fit uses, odd.
        order: of the polynomial, less than ``window``. A segment of at most ``order`` frames is left as it is.
        robust: fit ``ROUNDS`` times more, each frame's joint with the weight :math:`1 / (1 + (r / c)^2)` of its
            distance r from the last fit (Cauchy weights; robust local regression is Cleveland's, 1979), c being
            ``TYPICAL`` medians of that joint's distances in the segment: a joint that a detector puts elsewhere in
            single frames counts little.
        max_gap: the largest step between two frames within a segment; half a window by default.

    Returns:
        Filtered joints (T, J, 3), in the dtype of ``positions``.

    Raises:
        InputError: an even window, one that is not larger than the order, or frames that do not increase.
    """
    frame = np.asarray(frame)
    if window % 2 != 1 or not 0 <= order < window:
        raise InputError(f"window {window} and order {order}: expected an odd window larger than the order")
    if (np.diff(frame) <= 0).any():
        raise InputError("frame: expected numbers that increase")
    result = positions.copy()
    valid = np.flatnonzero(np.isfinite(positions).all((1, 2)))
    steps = np.diff(frame[valid])
    for segment in np.split(valid, np.flatnonzero(steps > (max_gap or max(1, window // 2))) + 1):
        size = min(window, len(segment))
        if size > order:
            result[segment] = _fit(positions[segment], frame[segment], size, order, ROUNDS if robust else 0)
    return result


def _fit(positions: np.ndarray, frame: np.ndarray, window: int, order: int, rounds: int) -> np.ndarray:
    """Filter one segment (T, J, 3) of at least ``window`` frames."""
    T = len(positions)
    start = np.clip(np.arange(T) - window // 2, 0, T - window)
    within = start[:, None] + np.arange(window)
    offset = frame[within] - frame[:, None]  # (T, window)
    # almost all windows look alike, so that there are few fits to solve
    patterns, pattern = np.unique(offset, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    powers = (patterns / max(1, np.abs(patterns).max()))[..., None] ** np.arange(order + 1)  # (patterns, window, K)
    values = np.linalg.pinv(powers)[:, 0]  # (patterns, window): of the frames, in the polynomial's value at offset 0
    result = np.zeros(positions.shape)
    for k in range(window):
        result += values[pattern, k, None, None] * positions[start + k]
    products = (powers[..., :, None] * powers[..., None, :]).reshape(*patterns.shape, -1)  # (patterns, window, K * K)
    for _ in range(rounds):
        residual = np.linalg.norm(positions - result, axis=-1)  # (T, J)
        scale = TYPICAL * np.median(residual, 0) + np.finfo(np.float32).tiny
        weight = 1 / (1 + np.square(residual / scale))
        for part in chunks(T, CHUNK):
            in_window, of = weight[within[part]], pattern[part]  # (n, window, J)
            matrix = np.matmul(in_window.transpose(0, 2, 1), products[of]).reshape(*in_window.shape[::2], order + 1, -1)
            weighted = (in_window[..., None] * positions[within[part]]).reshape(*in_window.shape[:2], -1)
            moments = np.matmul(powers[of].transpose(0, 2, 1), weighted).reshape(len(of), order + 1, -1, 3)
            result[part] = np.linalg.solve(matrix, moments.transpose(0, 2, 1, 3))[:, :, 0]
    return result.astype(positions.dtype)
