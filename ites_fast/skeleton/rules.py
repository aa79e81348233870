"""How joints that a skeleton lacks are made of those that it has.

The vocabulary is what joints of different skeletons have in common: "thorax" lies between the shoulders, at the base of
the neck; "neck_nose" is Human3.6M's joint between thorax and head, half way up the neck; "head_top" is the highest
point of the head; "mid_hip" lies between the hips, "mid_ears" between the ears. Every other word means what it says.
"""

import itertools
from typing import Literal, NamedTuple

from ites_fast.skeleton.skeleton import Skeleton

Kind = Literal["exact", "averaged", "extrapolated", "missing"]

# Both fits are printed by bench/accuracy_skeletons.py. To the ears: 1.82 by least squares on BODY_25B's detections of a
# person who holds the arms out, which lifts the shoulders towards the ears; errors in 3D are flat from 1.65 to 1.9.
# The trunk and the neck: 1.49 and 0.41 by least squares on the training poses of mocap17.
EARS_TO_HEAD_TOP = 1.7  # in ways from thorax to the middle of the ears
TRUNK_TO_HEAD_TOP = 1.5  # in ways from hips to thorax
NECK = 0.4  # in ways from thorax to head top

# Alternatives in the order in which they are tried: weights that sum to 1, of words that may have rules themselves. One
# ear is taken for both: the other is hidden where the head is seen from the side, and there they coincide.
RULES: dict[str, tuple[dict[str, float], ...]] = {
    "mid_hip": ({"left_hip": 0.5, "right_hip": 0.5},),
    "thorax": ({"left_shoulder": 0.5, "right_shoulder": 0.5},),
    "spine": ({"mid_hip": 0.5, "thorax": 0.5},),
    "mid_ears": ({"left_ear": 0.5, "right_ear": 0.5}, {"left_ear": 1.0}, {"right_ear": 1.0}),
    "head_top": (
        {"mid_ears": EARS_TO_HEAD_TOP, "thorax": 1 - EARS_TO_HEAD_TOP},
        {"thorax": TRUNK_TO_HEAD_TOP, "mid_hip": 1 - TRUNK_TO_HEAD_TOP},
    ),
    "neck_nose": ({"thorax": 1 - NECK, "head_top": NECK},),
    "left_foot_index": ({"left_big_toe": 0.5, "left_small_toe": 0.5},),
    "right_foot_index": ({"right_big_toe": 0.5, "right_small_toe": 0.5},),
}


class Alternative(NamedTuple):
    """One way to say where a joint is: a weighted mean of joints of the source."""

    kind: Kind
    weights: tuple[tuple[int, float], ...]  # (joint of the source, weight), in the source's order


def meanings(skeleton: Skeleton) -> dict[str, tuple[int, ...]]:
    """Every word that joints of a skeleton say, and the joints whose mean it is.

    A joint's own name counts, unless the mapping gives the joint another meaning or the word to other joints.
    """
    renamed = {joints[0] for _, joints in skeleton.mapping if len(joints) == 1}
    words = {name: (joint,) for joint, name in enumerate(skeleton.joint_names) if joint not in renamed}
    return words | dict(skeleton.mapping)


def alternatives(word: str, source: Skeleton) -> tuple[Alternative, ...]:
    """All ways to make ``word`` of joints of ``source``, the best first, without those that can never be the first."""
    kept: list[Alternative] = []
    for candidate in _expand(word, meanings(source)):
        needed = {joint for joint, _ in candidate.weights}
        if not any({joint for joint, _ in other.weights} <= needed for other in kept):
            kept.append(candidate)
    return tuple(kept)


def _expand(word: str, known: dict[str, tuple[int, ...]]) -> list[Alternative]:
    found = []
    if joints := known.get(word):
        kind: Kind = "exact" if len(joints) == 1 else "averaged"
        found.append(Alternative(kind, tuple((joint, 1 / len(joints)) for joint in sorted(joints))))
    for rule in RULES.get(word, ()):
        parts = [_expand(part, known) for part in rule]
        found += [_combine(tuple(rule.values()), choice) for choice in itertools.product(*parts)]
    return found


def _combine(weights: tuple[float, ...], parts: tuple[Alternative, ...]) -> Alternative:
    total: dict[int, float] = {}
    for weight, part in zip(weights, parts, strict=True):
        for joint, share in part.weights:
            total[joint] = total.get(joint, 0.0) + weight * share
    outside = min(weights) < 0 or any(part.kind == "extrapolated" for part in parts)
    return Alternative("extrapolated" if outside else "averaged", tuple(sorted(total.items())))
