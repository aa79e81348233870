"""People followed from frame to frame where the detector gives them no names."""

from collections.abc import Sequence

import numpy as np
from tqdm import tqdm

from ites_fast.detections.tracks import Track

MAX_GAP = 30  # frames in which a person may stay unseen and still keep the name
# All lengths below are shares of the size of a body, the diagonal of the box around its joints.
REACH = 0.35  # how far, on average, the joints may be from where they are expected
REACH_PER_FRAME = 0.05  # more of it for each frame in which the person was not seen
MAX_REACH = 0.8
SAME_BODY = 0.06  # two skeletons that are nearer to each other are one person seen twice
PART_REACH = 0.15  # where the legs of a body are expected whose upper half is another skeleton
MAX_TERMS = 1 << 22  # of distances computed at once
MIN_COMMON = 3  # joints; with fewer in common, the middles of the bodies are compared
VELOCITY_WEIGHT = 0.2  # of the newest step in the running mean of velocities
VELOCITY_FADES = 0.95  # a frame: people who are not seen do not walk on for ever
SIZE_FADES = 0.98  # a frame: a body seen in part keeps the size that it had


def follow(
    frames: Sequence[np.ndarray],
    *,
    numbers: Sequence[int] | np.ndarray | None = None,
    max_gap: int = MAX_GAP,
    min_length: int = 1,
) -> tuple[Track, ...]:
    """Associate people across frames.

    Args:
        frames: people of each frame (P_t, J, 3): x, y, confidence; a joint that was not detected is NaN, NaN, 0.
        numbers: frame numbers, increasing from 0 on; without them 0, 1, 2, ...
        max_gap: a person who is not seen for more frames than this is a new one afterwards.
        min_length: tracks of fewer frames are dropped.

    Returns:
        Tracks named "1", "2", ... in the order of their first frames.

    Raises:
        ValueError: frames of other shapes, or numbers that do not increase.
    """
    tracker = Tracker(max_gap)
    numbers = range(len(frames)) if numbers is None else np.asarray(numbers).tolist()
    seen: dict[int, tuple[list[int], list[np.ndarray]]] = {}
    pairs = zip(numbers, frames, strict=True)
    for number, people in tqdm(pairs, total=len(frames), desc="following people", delay=1, disable=None):
        for name, keypoints in zip(tracker.update(number, people), people, strict=True):
            track_frames, track_keypoints = seen.setdefault(name, ([], []))
            if track_frames and track_frames[-1] == number:
                track_keypoints[-1] = _filled(track_keypoints[-1], keypoints)
            else:
                track_frames.append(number)
                track_keypoints.append(keypoints)
    return tuple(
        Track(str(name), np.array(track_frames, np.int64), np.stack(track_keypoints).astype(np.float32, copy=False))
        for name, (track_frames, track_keypoints) in seen.items()
        if len(track_frames) >= min_length
    )


def merge_duplicates(people: np.ndarray) -> np.ndarray:
    """Make one person of skeletons that lie on one body.

    Args:
        people: those of one frame (P, J, 3), as in ``follow``.

    Returns:
        (P', J, 3), P' <= P: of each body the skeleton with the most confidence, its missing joints filled from the
        others.
    """
    if len(people) < 2:
        return people
    best_first = np.argsort(-people[..., 2].sum(-1), kind="stable")
    distance = _distances(people, people, np.maximum.outer(_sizes(people), _sizes(people)), by_middles=False)
    kept: dict[int, np.ndarray] = {}
    for index in best_first.tolist():
        same = next((other for other in kept if distance[index, other] < SAME_BODY), None)
        if same is None:
            kept[index] = people[index]
        else:
            kept[same] = _filled(kept[same], people[index])
    return np.stack([kept[index] for index in sorted(kept)])


class Tracker:
    """Gives people names frame by frame, without looking ahead.

    A person is expected where the joints were last, moved on by the body's velocity. Pairs of expected and detected
    people are taken from the nearest on, each person once. Detectors break bodies into parts: a skeleton that is left
    and lies where the other joints of a person are expected is that person too. Whoever is left then is new.

    Args:
        max_gap: as in ``follow``.
    """

    def __init__(self, max_gap: int = MAX_GAP) -> None:
        if max_gap < 0:
            raise ValueError(f"max_gap must be at least 0, got {max_gap}")
        self.max_gap = max_gap
        self._known: list[_Person] = []
        self._named = 0
        self._frame = -1

    def update(self, frame: int, people: np.ndarray) -> list[int]:
        """Name the people of the next frame.

        Args:
            frame: its number, larger than that of the frame before.
            people: (P, J, 3) as in ``follow``.

        Returns:
            A number for each person, from 1 on; a person who was seen before has the same as then. Parts of one body
            have the same number.

        Raises:
            ValueError: another shape, or a frame number that does not increase.
        """
        if people.ndim != 3 or people.shape[-1] != 3:
            raise ValueError(f"frame {frame}: people must be (P, J, 3), got {people.shape}")
        if frame <= self._frame:
            raise ValueError(f"frame {frame} after frame {self._frame}: frame numbers must increase")
        self._frame = frame
        self._known = [person for person in self._known if frame - person.frame <= self.max_gap + 1]
        names = [0] * len(people)
        sizes = _sizes(people)
        for row, columns in self._matches(frame, people, sizes).items():
            for column in columns:
                names[column] = self._known[row].name
            body, size = people[columns[0]], sizes[columns[0]]
            for column in columns[1:]:
                body = _filled(body, people[column])
                size = _sizes(body[None])[0]
            self._known[row].move(frame, body, size)
        for column, name in enumerate(names):
            if name == 0:
                self._named += 1
                names[column] = self._named
                self._known.append(_Person(self._named, frame, people[column], sizes[column]))
        return names

    def _matches(self, frame: int, people: np.ndarray, sizes: np.ndarray) -> dict[int, list[int]]:
        """Rows of known people, and for each the columns of the detected skeletons that are theirs."""
        if not self._known or not len(people):
            return {}
        expected = np.stack([person.expected(frame) for person in self._known])
        unseen = np.array([frame - person.frame - 1 for person in self._known])
        known_sizes = np.array([person.size_at(frame) for person in self._known])
        distance = _distances(expected, people, np.maximum.outer(known_sizes, sizes), by_middles=True)
        reach = np.minimum(REACH + REACH_PER_FRAME * unseen, MAX_REACH)[:, None]
        rows, columns = np.nonzero(distance <= reach)
        nearest_first = np.argsort(distance[rows, columns], kind="stable").tolist()
        matches: dict[int, list[int]] = {}
        taken = set()
        for index in nearest_first:
            row, column = int(rows[index]), int(columns[index])
            if row not in matches and column not in taken:
                matches[row] = [column]
                taken.add(column)
        present = people[..., 2] > 0
        for index in nearest_first:
            row, column = int(rows[index]), int(columns[index])
            if column in taken or row not in matches or distance[row, column] > PART_REACH:
                continue
            if (present[matches[row]].any(0) & present[column]).sum() < MIN_COMMON:
                matches[row].append(column)
                taken.add(column)
        return matches


class _Person:
    """What is known of one person: where the joints were, how fast the body moves, how large it is."""

    def __init__(self, name: int, frame: int, keypoints: np.ndarray, size: float) -> None:
        self.name = name
        self.frame = frame
        self.keypoints = keypoints
        self.size = size
        self.velocity = np.zeros(2)
        self.steps = 0

    def expected(self, frame: int) -> np.ndarray:
        keypoints = self.keypoints.copy()
        keypoints[:, :2] += self._shift(frame - self.frame)
        return keypoints

    def size_at(self, frame: int) -> float:
        return self.size * SIZE_FADES ** (frame - self.frame)

    def move(self, frame: int, keypoints: np.ndarray, size: float) -> None:
        gap = frame - self.frame
        present, before = keypoints[:, 2] > 0, self.keypoints[:, 2] > 0
        common = present & before
        if common.any():
            step = np.median(keypoints[common, :2] - self.keypoints[common, :2], axis=0) / gap
            weight = VELOCITY_WEIGHT if self.steps else 1.0
            self.velocity = (1 - weight) * self.velocity + weight * step
            self.steps += 1
        # A joint that is hidden now moves along with the body.
        self.keypoints = np.where(present[:, None], keypoints, self.expected(frame))
        self.size = max(size, self.size_at(frame))
        self.frame = frame

    def _shift(self, frames: int) -> np.ndarray:
        return self.velocity * (1 - VELOCITY_FADES**frames) / (1 - VELOCITY_FADES)


def _filled(body: np.ndarray, other: np.ndarray) -> np.ndarray:
    """A skeleton (J, 3) with its missing joints taken from another of the same body."""
    return np.where((body[:, 2] == 0)[:, None], other, body)


def _sizes(people: np.ndarray) -> np.ndarray:
    """Diagonals (P,) of the boxes around the joints, at least a pixel."""
    present = people[..., 2:] > 0
    low = np.where(present, people[..., :2], np.inf).min(1, initial=np.inf)
    high = np.where(present, people[..., :2], -np.inf).max(1, initial=-np.inf)
    return np.maximum(np.linalg.norm(np.where(high >= low, high - low, 0), axis=-1), 1.0)


def _distances(a: np.ndarray, b: np.ndarray, sizes: np.ndarray, by_middles: bool) -> np.ndarray:
    """Mean distances (A, B) of the joints that both have, weighted by confidence, as shares of ``sizes`` (A, B).

    Where less than MIN_COMMON joints are common, it is infinite, or ``by_middles`` the distance of the middles of the
    bodies.
    """
    mean = np.empty((len(a), len(b)))
    few = np.empty((len(a), len(b)), bool)
    rows = max(1, MAX_TERMS // max(1, b.shape[0] * b.shape[1]))  # at a time, to bound the memory
    there = np.nan_to_num(b[..., :2])
    for start in range(0, len(a), rows):
        part = a[start : start + rows, None]
        weight = np.sqrt(part[..., 2] * b[None, ..., 2])  # (rows, B, J)
        step = np.nan_to_num(part[..., :2]) - there
        lengths = np.hypot(step[..., 0], step[..., 1])
        mean[start : start + rows] = (weight * lengths).sum(-1) / np.maximum(weight.sum(-1), 1e-9)
        few[start : start + rows] = (weight > 0).sum(-1) < MIN_COMMON
    if not by_middles:
        mean[few] = np.inf
    elif few.any():
        middles = np.linalg.norm(_middles(a)[:, None] - _middles(b)[None], axis=-1)
        mean[few] = middles[few]
    return mean / sizes


def _middles(people: np.ndarray) -> np.ndarray:
    present = people[..., 2:] > 0
    return np.where(present, people[..., :2], 0).sum(1) / np.maximum(present.sum(1), 1)
