"""From the joints of one skeleton to those of another."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import numpy as np

from ites_fast.errors import InputError
from ites_fast.skeleton.rules import Alternative, Kind, alternatives, meanings
from ites_fast.skeleton.skeleton import Skeleton

EXTRAPOLATED_CONFIDENCE = 0.5  # of what the detector said about the sources
SHOWN_ALTERNATIVES = 2  # in a table; there may be a dozen
DTYPES = (np.dtype(np.float32), np.dtype(np.float64))


class ConvertedJoint(NamedTuple):
    """How a joint of the target is found where the whole source is seen."""

    name: str
    kind: Kind
    sources: tuple[str, ...]  # joints of the source


class _Plan(NamedTuple):
    """The linear map for samples that miss the same joints."""

    weights: dict[np.dtype, np.ndarray]  # (J_target, J_source) in both precisions; NaN for joints that cannot be said
    sources: np.ndarray  # (J_target, K) joints of the source whose confidence counts, the last one repeated
    certainty: np.ndarray  # (J_target,) float32, what the least of their confidences is multiplied with


@dataclass(frozen=True, eq=False)
class Conversion:
    """A linear map from the joints of one skeleton to those of another, with other ways where joints are missing.

    Made by ``conversion``.

    Args:
        source: skeleton of what goes in.
        target: skeleton of what comes out.
        alternatives: of each joint of the target, the best first; none where it cannot be said.
    """

    source: Skeleton
    target: Skeleton
    alternatives: tuple[tuple[Alternative, ...], ...]

    @cached_property
    def joints(self) -> tuple[ConvertedJoint, ...]:
        """How each joint of the target is found where the whole source is seen."""
        converted = []
        for name, choices in zip(self.target.joint_names, self.alternatives, strict=True):
            kind, weights = choices[0] if choices else ("missing", ())
            converted.append(ConvertedJoint(name, kind, tuple(self.source.joint_names[joint] for joint, _ in weights)))
        return tuple(converted)

    @property
    def is_identity(self) -> bool:
        return self.source is self.target

    def apply(self, keypoints: np.ndarray) -> np.ndarray:
        """Convert detections.

        Args:
            keypoints: x, y and confidence (..., J_source, 3); a joint is missing where one of them is not finite or the
                confidence is not above 0.

        Returns:
            (..., J_target, 3), float32 for float32, otherwise float64. The confidence of a joint is the least of those
            of its sources, halved where it is extrapolated; a joint that cannot be said is NaN, NaN, 0. An identity
            conversion returns the argument.

        Raises:
            InputError: another shape.
        """
        if self.is_identity:
            return keypoints
        keypoints = self._check(keypoints)
        if keypoints.shape[-1] != 3:
            raise InputError(f"keypoints must be x, y and confidence (..., J, 3), got {keypoints.shape}")
        confidence = keypoints[..., 2]
        if confidence.min(initial=np.inf) > 0 and np.isfinite(keypoints).all():
            return _convert_keypoints(self._whole, keypoints)
        seen = np.isfinite(keypoints).all(-1) & (confidence > 0)  # (..., J_source)
        keypoints = np.where(seen[..., None], keypoints, 0)
        converted = np.empty((*seen.shape[:-1], self.target.num_joints, 3), keypoints.dtype)
        for samples, plan in self._plans(seen):
            converted[samples] = _convert_keypoints(plan, keypoints[samples])
        return converted

    def apply_points(self, points: np.ndarray) -> np.ndarray:
        """Convert positions of any dimension.

        Args:
            points: (..., J_source, D); a joint is missing where a coordinate is not finite.

        Returns:
            (..., J_target, D), float32 for float32, otherwise float64; a joint that cannot be said is NaN. An identity
            conversion returns the argument.

        Raises:
            InputError: another shape.
        """
        if self.is_identity:
            return points
        points = self._check(points)
        seen = np.isfinite(points).all(-1)
        if seen.all():
            return self._whole.weights[points.dtype] @ points
        points = np.where(seen[..., None], points, 0)
        converted = np.empty((*seen.shape[:-1], self.target.num_joints, points.shape[-1]), points.dtype)
        for samples, plan in self._plans(seen):
            converted[samples] = plan.weights[points.dtype] @ points[samples]
        return converted

    def describe(self) -> str:
        """A Markdown table: joint, kind, sources, and what is taken where one of the sources is missing."""
        rows = [("joint", "kind", "sources", "where these are missing"), ("---",) * 4]
        for joint, choices in zip(self.joints, self.alternatives, strict=True):
            first, *others = [self._formula(choice) for choice in choices] or [""]
            shown = others[:SHOWN_ALTERNATIVES]
            if len(others) > len(shown):
                shown.append(f"{len(others) - len(shown)} more")
            rows.append((joint.name, joint.kind, first, "; ".join(shown)))
        return "\n".join(f"| {' | '.join(row)} |" for row in rows)

    def _formula(self, choice: Alternative) -> str:
        names = [self.source.joint_names[joint] for joint, _ in choice.weights]
        shares = [weight for _, weight in choice.weights]
        if len(names) == 1:
            return names[0]
        if max(shares) - min(shares) < 1e-9:
            return f"mean of {', '.join(names)}"
        ranked = sorted(zip(shares, names, strict=True), key=lambda part: -part[0])
        return " ".join(f"{share:+.2f} {name}" for share, name in ranked)

    def _check(self, points: np.ndarray) -> np.ndarray:
        points = np.asarray(points)
        if points.ndim < 2 or points.shape[-2] != self.source.num_joints or points.dtype.kind not in "fiu":
            raise InputError(
                f"expected numbers (..., {self.source.num_joints}, coordinates) for {self.source.name}, "
                f"got {points.dtype} {points.shape}"
            )
        return points if points.dtype in DTYPES else points.astype(np.float64)

    @cached_property
    def _whole(self) -> _Plan:
        return _plan(self, bytes([1]) * self.source.num_joints)

    @cached_property
    def _used(self) -> np.ndarray:
        """Joints of the source (J_source,) that any alternative needs."""
        used = np.zeros(self.source.num_joints, bool)
        used[[joint for choices in self.alternatives for choice in choices for joint, _ in choice.weights]] = True
        return used

    def _plans(self, seen: np.ndarray) -> Iterator[tuple[tuple[np.ndarray, ...], _Plan]]:
        """Indices of the samples that miss the same joints, and how to convert them; seen: (..., J_source)."""
        seen = seen | ~self._used
        if seen.ndim == 1:
            yield (), _plan(self, seen.tobytes())
            return
        samples = seen.reshape(-1, seen.shape[-1])
        packed = np.ascontiguousarray(np.packbits(samples, axis=1))
        keys = packed.view(f"S{packed.shape[1]}")[:, 0]
        _, first, number = np.unique(keys, return_index=True, return_inverse=True)
        groups = np.split(np.argsort(number, kind="stable"), np.cumsum(np.bincount(number))[:-1])
        for index, group in zip(first, groups, strict=True):
            yield np.unravel_index(group, seen.shape[:-1]), _plan(self, samples[index].tobytes())


def _convert_keypoints(plan: _Plan, keypoints: np.ndarray) -> np.ndarray:
    converted = plan.weights[keypoints.dtype] @ keypoints
    converted[..., 2] = np.minimum.reduce(keypoints[..., 2][..., plan.sources], axis=-1) * plan.certainty
    return converted


@lru_cache(maxsize=4096)
def _plan(rules: Conversion, seen: bytes) -> _Plan:
    """For each joint the first alternative all of whose sources were seen: ``seen`` has a byte for each, 1 or 0."""
    chosen = []
    for choices in rules.alternatives:
        possible = (choice for choice in choices if all(seen[joint] for joint, _ in choice.weights))
        chosen.append(next(possible, Alternative("missing", ((0, np.nan),))))
    weights = np.zeros((len(chosen), len(seen)))
    sources = np.zeros((len(chosen), max(len(choice.weights) for choice in chosen)), np.intp)
    certainty = np.ones(len(chosen), np.float32)
    for joint, (kind, parts) in enumerate(chosen):
        numbers = [number for number, _ in parts]
        weights[joint, numbers] = [weight for _, weight in parts]
        sources[joint] = numbers + numbers[-1:] * (sources.shape[1] - len(numbers))
        certainty[joint] = {"extrapolated": EXTRAPOLATED_CONFIDENCE, "missing": 0.0}.get(kind, 1.0)
    return _Plan({dtype: weights.astype(dtype) for dtype in DTYPES}, sources, certainty)


@lru_cache(maxsize=256)
def conversion(source: Skeleton, target: Skeleton) -> Conversion:
    """How the joints of ``target`` are found in ``source``; the same object for the same skeletons.

    A joint of the target is taken from the joint of the source that means the same ("exact"), from a mean of joints
    ("averaged"), from a combination that reaches beyond them ("extrapolated"), or it is "missing".
    """
    if source == target:
        alone = tuple((Alternative("exact", ((joint, 1.0),)),) for joint in range(target.num_joints))
        return Conversion(source, source, alone)
    found: list[tuple[Alternative, ...]] = [()] * target.num_joints
    for word, joints in meanings(target).items():
        if len(joints) == 1:
            found[joints[0]] = found[joints[0]] or alternatives(word, source)
    return Conversion(source, target, tuple(found))
