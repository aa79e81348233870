"""Poses of several people, frame by frame as a camera delivers them."""

import math
from collections.abc import Hashable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from ites_fast.detections.tracking import Tracker
from ites_fast.errors import InputError
from ites_fast.lifting.bone_lengths import BoneLengths
from ites_fast.lifting.fading import JointFade
from ites_fast.lifting.flips import DepthSigns
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.placement import METRES_PER_BODY_UNIT
from ites_fast.lifting.smoothing import BETA, MIN_CUTOFF, ROOT_BETA, ROOT_MIN_CUTOFF, OneEuro, with_room
from ites_fast.scene.scene import Units


class StreamFrame(NamedTuple):
    """The people of one frame, in the order in which they were given."""

    ids: tuple[Hashable, ...]
    positions: np.ndarray  # (P, 17, 3) float32, root-relative, camera's frame (x right, y down, z forward)
    translation: np.ndarray | None  # (P, 3) of the roots; None where nothing is known of the camera
    confidence: np.ndarray  # (P, 17), 0 for joints that were filled in
    ambiguity: np.ndarray | None  # (P,) 0 where the sign of depth is certain, 1 a guess; None where it is not asked for
    units: Units


class Stream:
    """Lifts frames as they come, several people at a time. The pose of a frame depends on no later frame.

    For each person it remembers a few poses' worth of numbers, as long as they are seen, and ``forget_after`` seconds
    more. In this order: the lifter, the sign of depth (``DepthSigns``), joints lost and found (``JointFade``), the
    One-Euro filter, bone lengths. A person of whom too little is seen to lift keeps their last pose, with confidence 0
    (NaN where there is none yet).

    Args:
        lifter: of single frames; it knows the skeleton of the keypoints, the camera and the unit.
        fps: frames a second, for frames without a time.
        smooth: "one_euro", or None for no filter.
        min_cutoff: of the filter, Hz: less for a calmer pose at rest.
        beta: of the filter, Hz per metre a second: more for less lag in motion.
        consistent_depth: choose the sign of depth that goes with the frames before.
        constant_bones: give each person's bones lengths that settle within seconds.
        forget_after: seconds after which a person who is not seen is forgotten; one who returns sooner continues.

    Raises:
        InputError: a value out of range.
    """

    def __init__(
        self,
        lifter: FrameLifter,
        fps: float = 30.0,
        *,
        smooth: Literal["one_euro"] | None = "one_euro",
        min_cutoff: float = MIN_CUTOFF,
        beta: float = BETA,
        consistent_depth: bool = True,
        constant_bones: bool = False,
        forget_after: float = 1.0,
    ) -> None:
        for name, value in (("fps", fps), ("forget_after", forget_after)):
            if not 0 < value < math.inf:
                raise InputError(f"{name}: expected a positive number, got {value!r}")
        if smooth not in ("one_euro", None):
            raise InputError(f"smooth: expected 'one_euro' or None for a stream, got {smooth!r}")
        self.lifter, self.fps, self.forget_after = lifter, fps, forget_after
        metres = 1.0 if lifter.units == "metres" else METRES_PER_BODY_UNIT
        self._signs = DepthSigns() if consistent_depth else None
        self._fade = JointFade()
        self._smooth = OneEuro(min_cutoff, beta * metres) if smooth else None
        self._smooth_root = OneEuro(ROOT_MIN_CUTOFF, ROOT_BETA * metres) if smooth else None
        self._bones = BoneLengths(lifter.target) if constant_bones else None
        self._parts = [self._signs, self._fade, self._smooth, self._smooth_root, self._bones]
        self.reset()

    def reset(self) -> None:
        """Forget everybody; time starts again."""
        self._time = -math.inf
        self._numbers: dict[Hashable, int] = {}  # of the people who are remembered
        self._last_seen: dict[Hashable, float] = {}
        self._free: list[int] = []
        self._tracker: Tracker | None = None
        self._frames = 0
        self._pose = np.empty((0, self.lifter.target.num_joints, 3), np.float32)  # (C, 17, 3) last results
        self._root = np.empty((0, 3), np.float32)  # (C, 3)
        for part in self._parts:
            if part is not None:
                part.reset()

    def __call__(
        self,
        keypoints: ArrayLike | Tensor,
        ids: Sequence[Hashable] | None = None,
        time: float | None = None,
        *,
        copy: bool = False,
    ) -> StreamFrame:
        """Lift the next frame.

        Args:
            keypoints: x, y in pixels and a confidence where there is one (P, J, 2 | 3), or of a single person
                (J, 2 | 3); a joint that was not seen is NaN or has confidence 0. Nobody: an empty list.
            ids: who they are, one each, as a tracker names them. Without them several people are followed from frame
                to frame by where they are, and numbered.
            time: of the frame, seconds; one frame after the last by default.
            copy: return arrays of their own. Otherwise the next call overwrites them.

        Raises:
            InputError: another number of joints, ids that repeat or are not one for each person, or time that does not
                increase.
        """
        people = self._people(keypoints)
        now = self._next_time(time)
        if ids is None:
            ids, people = self._follow(people, single=np.ndim(keypoints) == 2 or len(people) == 0)
        ids = tuple(ids)
        if len(ids) != len(people) or len(set(ids)) != len(ids):
            problem = "repeat" if len(ids) == len(people) else f"are {len(ids)}"
            raise InputError(f"ids {problem}, expected one for each of {len(people)} people, all different: {ids!r}")
        self._time = now
        numbers = self._numbered(ids, now)
        frame = self._lift(people, ids, numbers, now)
        if not copy:
            return frame
        return frame._replace(
            **{name: value.copy() for name, value in frame._asdict().items() if isinstance(value, np.ndarray)}
        )

    def _lift(self, people: np.ndarray, ids: tuple[Hashable, ...], numbers: np.ndarray, now: float) -> StreamFrame:
        lifted = self.lifter(people)
        positions, translation, confidence = lifted.positions, lifted.translation, lifted.confidence
        if len(ids):
            if self._signs is not None and self._signs(positions, lifted.ambiguity, now, numbers).any():
                translation = self.lifter.place(positions, lifted.keypoints, confidence)
            self._fade(positions, confidence, now, numbers)
            if self._smooth is not None:
                positions = self._smooth(positions, now, numbers)
            if self._bones is not None:
                self._bones(positions, confidence, numbers)
            if translation is not None and self._smooth_root is not None:
                translation = self._smooth_root(translation[:, None], now, numbers)[:, 0]
            positions = _remembered(self._pose, positions, numbers)
            translation = None if translation is None else _remembered(self._root, translation, numbers)
        return StreamFrame(ids, positions, translation, confidence, lifted.ambiguity, self.lifter.units)

    def _people(self, keypoints: ArrayLike | Tensor) -> np.ndarray:
        """Keypoints (P, J, 2 | 3)."""
        joints = self.lifter.skeleton.num_joints
        if isinstance(keypoints, Tensor):
            keypoints = keypoints.detach().cpu()
        try:
            people = np.asarray(keypoints, np.float32)
        except (TypeError, ValueError) as error:
            raise InputError(f"keypoints: expected numbers (P, {joints}, 2 or 3): {error}") from error
        if people.size == 0:
            return np.empty((0, joints, 3), np.float32)
        if people.ndim == 2:
            people = people[None]
        if people.ndim != 3 or people.shape[1] != joints or people.shape[2] not in (2, 3):
            raise InputError(
                f"keypoints: expected (P, {joints}, 2 or 3) or ({joints}, 2 or 3) for {self.lifter.skeleton.name}, "
                f"got {np.shape(keypoints)}"
            )
        return people

    def _next_time(self, time: float | None) -> float:
        if time is None:
            return 0.0 if self._time == -math.inf else self._time + 1 / self.fps
        if not math.isfinite(time) or time <= self._time:
            raise InputError(f"time: expected seconds after {self._time:g}, got {time!r}")
        return float(time)

    def _follow(self, people: np.ndarray, single: bool) -> tuple[Sequence[int], np.ndarray]:
        """Numbers of people whom nobody has named, and each of them once."""
        if single and self._tracker is None:
            return (0,) * len(people), people
        if self._tracker is None:
            self._tracker = Tracker(max_gap=max(1, round(self.forget_after * self.fps)))
        self._frames += 1
        seen = np.ones((*people.shape[:2], 3), np.float32)
        seen[..., : people.shape[2]] = people
        seen[np.isnan(seen).any(-1) | (seen[..., 2] <= 0)] = np.nan, np.nan, 0
        names = self._tracker.update(self._frames, seen)
        first = {name: row for row, name in reversed(list(enumerate(names)))}
        rows = sorted(first.values())
        return [names[row] for row in rows], people[rows]

    def _numbered(self, ids: tuple[Hashable, ...], now: float) -> np.ndarray:
        """A small number (P,) for each person: known ones keep theirs, those long unseen give theirs back."""
        oldest = now - self.forget_after
        for name in [name for name, seen in self._last_seen.items() if seen < oldest]:
            self._free.append(self._numbers.pop(name))
            del self._last_seen[name]
        numbers = np.empty(len(ids), np.intp)
        for row, name in enumerate(ids):
            if name not in self._numbers:
                self._numbers[name] = self._new_number()
            self._last_seen[name] = now
            numbers[row] = self._numbers[name]
        return numbers

    def _new_number(self) -> int:
        if not self._free:
            number = len(self._numbers)
            self._pose = with_room(self._pose, number + 1, self._pose.shape[1:])
            self._root = with_room(self._root, number + 1, (3,))
            return number
        number = self._free.pop()
        self._pose[number] = self._root[number] = np.nan
        for part in self._parts:
            if part is not None:
                part.reset(number)
        return number


def _remembered(last: np.ndarray, values: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """Values of people (P, ...), the last ones where there are none (NaN); they become the last ones."""
    missing = np.isnan(values.reshape(len(values), -1)[:, 0])
    if missing.any():
        values[missing] = last[numbers[missing]]
    last[numbers] = values
    return values
