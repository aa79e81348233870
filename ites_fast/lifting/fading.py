"""Joints that are lost and found again, without jumps."""

import numpy as np

from ites_fast.lifting.smoothing import with_room

LOST = 0.3  # seconds in which a joint moves from where it was last seen to where the network puts it: time constants
FOUND = 0.05  # and back to where it is seen


class JointFade:
    """Moves a joint gradually where the lifter begins or ceases to see it, for several people.

    A joint that was seen a moment ago is hardly elsewhere now, but the network that fills it in does not know that.
    When a joint is lost or found, the distance that it would jump is kept as an offset, which decays.
    """

    def __init__(self) -> None:
        self._time = np.empty(0)  # (C,) NaN before a person's first pose
        self._seen = np.empty((0, 0), np.float32)  # (C, J) 1 where the joint was seen
        self._pose = self._offset = np.empty((0, 0, 3), np.float32)  # (C, J, 3) the last result, and what it was moved

    def __call__(
        self, positions: np.ndarray, confidence: np.ndarray, time: float, people: np.ndarray | None = None
    ) -> np.ndarray:
        """The next frame.

        Args:
            positions: joints (P, J, 3), changed in place; poses with NaN are passed over.
            confidence: of the joints (P, J), 0 where they were not seen.
            time: of the frame, seconds, increasing.
            people: a small number for each of them (P,), the same in every frame; 0 to P - 1 by default.

        Returns:
            ``positions``.
        """
        P, J = confidence.shape
        people = np.arange(P) if people is None else people
        self._reserve(int(people.max(initial=-1)) + 1, J)
        valid = np.isfinite(positions).all((1, 2))
        if not valid.all():
            if valid.any():
                positions[valid] = self(positions[valid], confidence[valid], time, people[valid])
            return positions
        seen = (confidence > 0).astype(np.float32)
        elapsed = time - self._time[people]
        first = np.isnan(elapsed)
        offset = self._offset[people]
        changed = seen != self._seen[people]
        if changed.any():
            np.copyto(offset, self._pose[people] - positions, where=changed[..., None])
        decay = np.exp(-elapsed[:, None] / np.where(seen > 0, FOUND, LOST))
        offset *= decay.astype(np.float32)[..., None]
        offset[first] = 0
        positions += offset
        self._time[people], self._seen[people] = time, seen
        self._pose[people], self._offset[people] = positions, offset
        return positions

    def reset(self, people: np.ndarray | int | None = None) -> None:
        """Forget some of the people (their numbers), or all."""
        self._time[slice(None) if people is None else people] = np.nan

    def _reserve(self, people: int, joints: int) -> None:
        self._time = with_room(self._time, people, ())
        self._seen = with_room(self._seen, people, (joints,))
        self._pose, self._offset = (with_room(state, people, (joints, 3)) for state in (self._pose, self._offset))
