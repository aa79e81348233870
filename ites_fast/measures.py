"""Many metrics of many poses in one pass: every alignment is computed once, by one operator, for all metrics.

A ``Measure`` names one figure completely: the metric, the scale, what is done about the flip, over which joints.
Formulas: ``ites_fast.metrics``.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from ites_fast import metrics, ops
from ites_fast.chunks import CHUNK, chunks
from ites_fast.errors import InputError
from ites_fast.ops import Fit

Metric = Literal["mpjpe", "n_mpjpe", "p_mpjpe", "pck@150", "auc", "stress", "flip_rate"]
FlipRule = Literal["none", "best", "best_joint", "reflection"]

CUDA_CHUNK = 16 * CHUNK  # a GPU wants more at a time


@dataclass(frozen=True)
class Measure:
    """One row of a table of metrics.

    Args:
        metric: what is measured. "flip_rate" is the share of poses with the wrong sign of depth.
        scale: what the prediction is multiplied by, see ``metrics.fit_scale``. "p_mpjpe" ignores it.
        flip: "none"; "best" takes the better candidate for each pose by this very metric; "best_joint" takes it for
            each joint; "reflection" takes, for each pose, the candidate with the smaller sum of squared errors, which
            for "p_mpjpe" is alignment by a similarity that may reflect.
        joints: the joints that count; None: all.
    """

    metric: Metric
    scale: metrics.Scale = "none"
    flip: FlipRule = "none"
    joints: tuple[int, ...] | None = None

    @property
    def key(self) -> str:
        """The name in tables and JSON, for example ``n_mpjpe/flip=none/scale=lstsq``."""
        if self.metric == "flip_rate":
            return self.metric
        parts = [self.metric, "flip=none/reflection=allowed" if self.flip == "reflection" else f"flip={self.flip}"]
        if self.metric in ("mpjpe", "n_mpjpe", "stress"):
            parts.append(f"scale={'procrustes' if self.scale == 'unsigned' else self.scale}")
        if self.joints is not None:
            parts.append(f"joints={len(self.joints)}")
        return "/".join(parts)

    @property
    def fit(self) -> Fit:
        """What is done to the prediction before it is compared, as ``ops.aligned_errors`` names it."""
        return "similarity" if self.metric == "p_mpjpe" else self.scale

    @property
    def takes_flip(self) -> bool:
        """Whether the mirror image of the prediction is looked at."""
        return self.flip != "none" or self.metric == "flip_rate"

    @property
    def is_length(self) -> bool:
        """Whether the figure is a length (smaller is better) and not a fraction."""
        return self.metric not in ("pck@150", "auc", "flip_rate")


COMMON_MEASURES = (
    Measure("mpjpe"),
    Measure("n_mpjpe", "lstsq"),
    Measure("p_mpjpe"),
    Measure("pck@150", "lstsq"),
    Measure("auc", "lstsq"),
)


class PoseMetrics(NamedTuple):
    """Figures by ``Measure.key``."""

    per_pose: dict[str, Tensor]  # (N,)
    per_joint: dict[str, Tensor]  # (J,) means over poses, float64; NaN for joints that do not count


def evaluate_poses(
    pred: Tensor, target: Tensor, measures: Sequence[Measure] = COMMON_MEASURES, *, root: int = 0
) -> PoseMetrics:
    """Compute several metrics of the same poses, without gradients.

    Args:
        pred: predicted joints (N, J, 3) in millimetres, float32 or float64; the unit matters to pck, auc and
            ``scale="none"`` only.
        target: true joints (N, J, 3) in millimetres, same frame, dtype and device.
        measures: what to compute.
        root: index of the root joint.

    Returns:
        One figure per pose, and means per joint, for each measure. A joint that is not finite makes the figures of its
        pose NaN, and the means per joint with them.

    Raises:
        InputError: no poses, or shapes that differ or are not (N, J, 3).
        ValueError: another dtype, or dtypes or devices that differ.
    """
    if len(pred) == 0:
        raise InputError("poses: received none, expected at least one")
    if pred.shape != target.shape or pred.ndim != 3 or pred.shape[-1] != 3:
        raise InputError(
            f"poses: received {tuple(pred.shape)} and {tuple(target.shape)}, expected two of one shape (N, J, 3)"
        )
    N, J, _ = pred.shape
    per_pose = {measure.key: pred.new_empty(N) for measure in measures}
    per_joint = {measure.key: pred.new_zeros(J, dtype=torch.float64) for measure in measures}
    for part in chunks(N, CHUNK if pred.device.type == "cpu" else CUDA_CHUNK):
        candidates = _Candidates(pred[part], target[part], measures, root)
        for measure in measures:
            values = candidates.values(measure)  # (n, J)
            joints = slice(None) if measure.joints is None else list(measure.joints)
            per_pose[measure.key][part] = values[:, joints].mean(1)
            per_joint[measure.key] += values.sum(0)
    for measure in measures:
        per_joint[measure.key] /= N
        if measure.joints is not None:
            ignored = [joint for joint in range(J) if joint not in measure.joints]
            per_joint[measure.key][ignored] = torch.nan
    return PoseMetrics(per_pose, per_joint)


class _Candidates:
    """A chunk of predictions and their mirror images in depth, with their errors after each fit."""

    def __init__(self, pred: Tensor, target: Tensor, measures: Sequence[Measure], root: int) -> None:
        self.pred, self.target, self.root = pred, target, root
        fits = sorted({measure.fit for measure in measures if measure.metric != "stress"})
        flip = "both" if any(measure.takes_flip for measure in measures) else "none"
        errors = ops.aligned_errors(pred, target, fits, flip=flip, root=root) if fits else ()
        self._errors = dict(zip(fits, errors, strict=True))  # (2, n, J) or (1, n, J): as given, mirrored

    def values(self, measure: Measure) -> Tensor:
        """What each joint adds to the measure's mean over joints, after the choice between the candidates (n, J)."""
        as_is = self._values(measure, flipped=False)
        if measure.metric == "flip_rate":
            wrong = _mean(self._values(measure, flipped=True), measure) < _mean(as_is, measure)
            return torch.where(as_is.isnan(), as_is, wrong[:, None].to(as_is.dtype))
        if measure.flip == "none":
            return as_is
        flipped = self._values(measure, flipped=True)
        if measure.flip == "best_joint":
            return torch.minimum(as_is, flipped) if measure.is_length else torch.maximum(as_is, flipped)
        if measure.flip == "reflection":
            choose = _mean(flipped.square(), measure) < _mean(as_is.square(), measure)
        elif measure.is_length:
            choose = _mean(flipped, measure) < _mean(as_is, measure)
        else:
            choose = _mean(flipped, measure) > _mean(as_is, measure)
        return torch.where(choose[:, None], flipped, as_is)

    def _values(self, measure: Measure, *, flipped: bool) -> Tensor:
        if measure.metric == "stress":
            return self._stress(measure.scale, flipped)
        errors = self._errors[measure.fit][int(flipped)]
        if measure.metric == "pck@150":
            return metrics.hits(errors)
        if measure.metric == "auc":
            return metrics.threshold_shares(errors)
        return errors

    def _stress(self, scale: metrics.Scale, flipped: bool) -> Tensor:
        pred, target = metrics.root_relative(self.pred, self.root), metrics.root_relative(self.target, self.root)
        if flipped:
            pred = metrics.flip_depth(pred)
        return metrics.joint_stress(metrics.rescale_centred(pred, target, scale), target)


def _mean(values: Tensor, measure: Measure) -> Tensor:
    """Mean over the joints that count (n,)."""
    return values.mean(1) if measure.joints is None else values[:, list(measure.joints)].mean(1)
