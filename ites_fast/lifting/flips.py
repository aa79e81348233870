"""The sign of depth: how uncertain a view leaves it, and one sign for a whole sequence or stream.

A person and their copy with z negated look nearly the same, so a lifter now and then returns the copy. In a sequence
such a flip shows: the pose jumps. Signs are chosen with a hidden Markov model of two states (as it is, negated), whose
most likely path ``consistent_depth`` finds with Viterbi's algorithm and ``DepthSigns`` follows frame by frame.
"""

import numpy as np

from ites_fast.lifting.smoothing import with_room

# ambiguity = sigmoid(OFFSET + GAIN * disagreement), fitted by maximum likelihood to the poses that the bundled weights
# flip: mocap17's subjects 5, 9, 13 and 35, clean, with 6 px noise, without 4 joints, and with noise without 3 joints.
# New weights need new numbers: python bench/accuracy_sequences.py --choose ambiguity
OFFSET, GAIN = -5.91, 20.20

# Of the hidden Markov model, chosen on the same subjects at 30 frames a second, with flips put in.
NOISE = 0.03  # what poses that are lifted one by one differ, in sizes of a pose
SPEED = 0.5  # what a person moves, in sizes of a pose a second
EVIDENCE = 1.0  # poses a second that count as independent
CAUSAL_EVIDENCE = 5.0  # the same where later frames cannot correct a wrong choice
LEAST_DOUBT = 1e-3  # no pose is surer than that
LONGEST_STEP = 0.1  # seconds; a pose counts no more than this after a pause


def ambiguity(depth: np.ndarray, mirrored_depth: np.ndarray) -> np.ndarray:
    r"""How much of a guess the sign of depth is: twice the probability that it is wrong.

    A view and its mirror image are lifted; where the network knows what it sees, both have the same depths z and z'.
    The score is a logistic function of :math:`|z' - z| / (|z'| + |z|)`, which is 0 for equal depths, 1 for opposite
    ones, and does not depend on the unit.

    Args:
        depth: root-relative depths of the lifted views (N, J).
        mirrored_depth: depths of the lifted mirror images (N, J), in the order of the joints of ``depth``: left and
            right swapped back.

    Returns:
        Scores (N,) float32, near 0 where the sign is certain, at most 1, a guess.
    """
    z, mirrored = np.asarray(depth, np.float32), np.asarray(mirrored_depth, np.float32)
    size = np.linalg.norm(z, axis=-1) + np.linalg.norm(mirrored, axis=-1)
    difference = np.linalg.norm(mirrored - z, axis=-1)
    disagreement = np.where(size > 0, difference / np.where(size > 0, size, 1), 1)  # a flat pose says nothing
    return (1 / (1 + np.exp(-(OFFSET + GAIN * disagreement)))).astype(np.float32)


def consistent_depth(
    positions: np.ndarray, ambiguity: np.ndarray | None, fps: float, frame: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    r"""Choose for each frame the pose or its copy with z negated, so that the person moves as little as possible.

    The path minimises the sum over neighbouring frames of :math:`d / (a + v\,\Delta t)`, where d is the mean distance
    between the joints over the mean size of the two poses (``NOISE`` a and ``SPEED`` v), plus, for every pose that is
    negated, the logarithm of the odds that its sign was right, at the weight of ``EVIDENCE`` independent poses a
    second. x and y stay as they are, so that a negated pose is seen where the keypoints are but for perspective.

    Args:
        positions: root-relative joints of one person in the camera's frame (T, J, 3), any unit; poses with NaN are
            passed over.
        ambiguity: of each pose (T,), see ``ambiguity``; None: all are equally certain.
        fps: frames a second.
        frame: numbers of the frames (T,), increasing; 0 to T - 1 by default.

    Returns:
        The poses (T, J, 3), and which of them were negated (T,).
    """
    frame = np.arange(len(positions)) if frame is None else np.asarray(frame)
    negated = np.zeros(len(positions), bool)
    valid = np.flatnonzero(np.isfinite(positions).all((1, 2)))
    if len(valid):
        pose, elapsed = positions[valid], np.diff(frame[valid]) / fps
        same, other = _transitions(pose[:-1], pose[1:], elapsed)
        score = np.zeros(len(pose)) if ambiguity is None else ambiguity[valid]
        evidence = _evidence(score, EVIDENCE * np.minimum(np.append(1 / fps, elapsed), LONGEST_STEP))
        negated[valid] = _viterbi(same, other, evidence)
    result = positions.copy()
    result[negated, :, 2] *= -1
    return result, negated


class DepthSigns:
    """``consistent_depth`` as frames come: the most likely sign of each person's depth now, given all frames so far.

    It has no latency, so it cannot take back what the next frames contradict, and it trusts the lifter more.
    """

    def __init__(self) -> None:
        self._pose = np.empty((0, 0, 3), np.float32)  # (C, J, 3) as lifted
        self._time = np.empty(0)  # (C,) NaN before a person's first pose
        self._cost = np.empty((0, 2))  # (C, 2) of the best path that ends as it is, negated

    def __call__(
        self, positions: np.ndarray, ambiguity: np.ndarray | None, time: float, people: np.ndarray | None = None
    ) -> np.ndarray:
        """The next frame.

        Args:
            positions: root-relative joints as lifted (P, J, 3), changed in place where they are negated; poses with
                NaN are passed over.
            ambiguity: of each pose (P,); None: all are equally certain.
            time: of the frame, seconds, increasing.
            people: a small number for each of them (P,), the same in every frame; 0 to P - 1 by default.

        Returns:
            Which poses were negated (P,).
        """
        people = np.arange(len(positions)) if people is None else people
        room = int(people.max(initial=-1)) + 1
        self._time, self._cost = with_room(self._time, room, ()), with_room(self._cost, room, (2,))
        self._pose = with_room(self._pose, room, positions.shape[1:])
        valid = np.isfinite(positions).all((1, 2))
        elapsed = time - self._time[people]
        first = np.isnan(elapsed)
        elapsed = np.where(first, 0, elapsed)
        same, other = _transitions(self._pose[people], positions, elapsed)
        same[first] = other[first] = 0
        score = np.zeros(len(positions)) if ambiguity is None else ambiguity
        before = self._cost[people]
        before[first] = 0
        as_is = np.minimum(before[:, 0] + same, before[:, 1] + other)
        weight = np.where(first, 1, CAUSAL_EVIDENCE * np.minimum(elapsed, LONGEST_STEP))
        turned = np.minimum(before[:, 1] + same, before[:, 0] + other) + _evidence(score, weight)
        cost = np.stack([as_is, turned], 1)
        cost -= cost.min(1, keepdims=True)  # bounded for ever
        kept = people[valid]
        self._pose[kept], self._time[kept], self._cost[kept] = positions[valid], time, cost[valid]
        negated = valid & (turned < as_is)
        positions[negated, :, 2] *= -1
        return negated

    def reset(self, people: np.ndarray | int | None = None) -> None:
        """Forget some of the people (their numbers), or all."""
        self._time[slice(None) if people is None else people] = np.nan


def _transitions(before: np.ndarray, after: np.ndarray, elapsed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Costs (N,) of steps between poses (N, J, 3), ``elapsed`` seconds apart (N,), with the same and the other sign."""
    planar = np.square(after[..., :2] - before[..., :2]).sum(-1)  # (N, J)
    z, z_before = after[..., 2], before[..., 2]
    size = (_mean_norm(before) + _mean_norm(after)) / 2
    scale = np.maximum(size, np.finfo(np.float32).tiny) * (NOISE + SPEED * elapsed)
    same = np.sqrt(planar + np.square(z - z_before)).mean(-1) / scale
    other = np.sqrt(planar + np.square(z + z_before)).mean(-1) / scale
    return same, other


def _mean_norm(pose: np.ndarray) -> np.ndarray:
    return np.sqrt(np.square(pose).sum(-1)).mean(-1)


def _evidence(ambiguity: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Cost (N,) of negating poses that count as ``weight`` independent ones: neighbouring frames are wrong together."""
    wrong = np.clip(ambiguity / 2, LEAST_DOUBT, 0.5)
    return np.log((1 - wrong) / wrong) * weight


def _viterbi(same: np.ndarray, other: np.ndarray, evidence: np.ndarray) -> np.ndarray:
    """The states (T,) of the cheapest path, for costs of steps (T - 1,) and of the second state (T,)."""
    T = len(evidence)
    switched = np.zeros((T, 2), bool)  # whether the best path to a state comes from the other one
    first, second = 0.0, float(evidence[0])
    steps = zip(same.tolist(), other.tolist(), evidence[1:].tolist(), strict=True)
    for t, (stay, change, doubt) in enumerate(steps, 1):
        switched[t] = second + change < first + stay, first + change < second + stay
        first, second = min(first + stay, second + change), min(second + stay, first + change) + doubt
    states = np.empty(T, bool)
    state = second < first
    for t in range(T - 1, -1, -1):
        states[t] = state
        state ^= bool(switched[t, int(state)])
    return states
