"""How good a lifter is on a data set with known 3D poses."""

import typing
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ites_fast import metrics
from ites_fast.chunks import CHUNK, chunks
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.measures import evaluate_poses
from ites_fast.models import of_clips
from ites_fast.protocols import STRICT, Protocol
from ites_fast.scene import METRES_PER_BODY_UNIT
from ites_fast.skeleton import Skeleton

MILLIMETRES = 1000.0

# A lifter that never saw a metre speaks in body units: hip to head is about one. In the bundled motion capture that
# distance is 0.72 m on average.
ASSUMED_UNIT = "assumed: hip to head, mean of the bundled motion capture"
STORED_UNIT = "stated by the model"

# The views that a figure of poses shows: nothing is chosen by eye.
EXAMPLE_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)
EXAMPLE_KEY = "n_mpjpe/flip=none/scale=lstsq"

Table = dict[str, dict[str, float]]  # by name, then by key


class Predictor(typing.Protocol):
    """What can be evaluated: ``ViewLifter`` or a baseline. It may state ``metres_per_unit`` and ``accepts_missing``."""

    skeleton: Skeleton

    def lift(self, image: Tensor, batch_size: int, *, source: str, first: int) -> Tensor:
        """Image coordinates (N, J, 2) to root-relative poses (N, J, 3) in the camera's frame, in any unit.

        ``source`` and ``first`` are what error messages call the data and the first of the views.
        """


class Examples(NamedTuple):
    """The views at ``EXAMPLE_QUANTILES`` of ``EXAMPLE_KEY``; poses are root-relative, millimetres, on the CPU."""

    views: list[int]
    pred: Tensor  # (n, J, 3)
    target: Tensor  # (n, J, 3)


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The figures of one model on one data set. Lengths are millimetres, all others fractions."""

    model: str
    data: str
    protocol: Protocol
    samples: int
    metres_per_unit: float
    metres_per_unit_source: str
    metrics: dict[str, float]
    by_subject: Table
    by_action: Table
    by_joint: Table
    bone_length_spread: dict[str, float]  # predicted, by bone
    examples: Examples
    per_pose: dict[str, np.ndarray]  # (N,) by key

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: all but the arrays."""
        protocol = self.protocol
        return {
            "model": self.model,
            "data": self.data,
            "samples": self.samples,
            "protocol": protocol.name,
            "convention": protocol.convention,
            "headline": {key: self.metrics[key] for key in protocol.headline},
            "metrics": self.metrics,
            "units": "millimetres; pck@150, auc, flip_rate and bone_length_spread are fractions",
            "alignment": "root joint, or a similarity for p_mpjpe; pck@150 and auc as stated",
            "scales": protocol.scales,
            "pck_and_auc": f"scale={scale_name(protocol)}; auc over 0, 5, ..., 150 mm",
            "mean_over": protocol.mean_over,
            "metres_per_unit": self.metres_per_unit,
            "metres_per_unit_source": self.metres_per_unit_source,
            "by_subject": self.by_subject,
            "by_action": self.by_action,
            "by_joint": self.by_joint,
            "bone_length_spread_by_bone": self.bone_length_spread,
        }


def evaluate(
    lifter: Predictor,
    dataset: PoseDataset,
    *,
    protocol: Protocol = STRICT,
    model: str = "model",
    device: torch.device | str = "cpu",
    batch_size: int = 1024,
) -> Evaluation:
    """Lift every view of a data set and measure the poses, in parts: memory grows by the figures of each view only.

    Metrics are means over views. ``scale=none`` compares in millimetres: the prediction is multiplied by the lifter's
    ``metres_per_unit`` if it states one, else by ``METRES_PER_BODY_UNIT``; nothing is fitted to the ground truth.

    Args:
        lifter: a ``ViewLifter`` in eval mode or a baseline.
        dataset: views with 3D poses.
        protocol: whose convention, see ``ites_fast.protocols``.
        model: what tables call the lifter.
        device: where metrics are computed; the lifter stays where it is.
        batch_size: views at a time in the network.

    Raises:
        InputError: no views, no 3D poses, another skeleton, missing joints and a lifter that does not accept them, or a
            prediction that is not finite.
    """
    _check(lifter, dataset)
    lifter = of_clips(lifter, dataset, device)
    unit, unit_source = getattr(lifter, "metres_per_unit", None), STORED_UNIT
    if unit is None:
        unit, unit_source = METRES_PER_BODY_UNIT, ASSUMED_UNIT
    predict = _Predict(lifter, dataset, unit, device, batch_size)
    figures = _measure(predict, dataset, protocol)
    by_action = _by_group(figures.per_pose, dataset.action, dataset.actions)
    keys = [measure.key for measure in protocol.measures]
    if protocol.mean_over == "actions":
        means = {key: float(np.mean([row[key] for row in by_action.values()])) for key in keys}
    else:
        means = {key: float(figures.per_pose[key].mean(dtype=np.float64)) for key in keys}
    for name, values in (("", figures.spread), ("/truth", figures.true_spread)):
        if np.isfinite(values).all():
            means[f"bone_length_spread{name}"] = float(values.mean())
    joints, bones = dataset.skeleton.joint_names, dataset.skeleton.edges
    return Evaluation(
        model=model,
        data=dataset.name,
        protocol=protocol,
        samples=len(dataset),
        metres_per_unit=unit,
        metres_per_unit_source=unit_source,
        metrics=means,
        by_subject=_by_group(figures.per_pose, dataset.subject, dataset.subjects),
        by_action=by_action,
        by_joint=_by_joint(figures.per_joint, joints),
        bone_length_spread={
            f"{joints[parent]}-{joints[child]}": float(value)
            for (child, parent), value in zip(bones, figures.spread, strict=True)
            if np.isfinite(value)
        },
        examples=_examples(predict, figures.per_pose[EXAMPLE_KEY]),
        per_pose=figures.per_pose,
    )


@dataclass(frozen=True, eq=False)
class _Predict:
    """Predictions and truth of some views, root-relative, millimetres."""

    lifter: Predictor
    dataset: PoseDataset
    metres_per_unit: float
    device: torch.device | str
    batch_size: int

    def __call__(self, part: slice) -> tuple[Tensor, Tensor]:
        """Prediction and truth (n, J, 3) of neighbouring views."""
        name, root = self.dataset.name, self.dataset.skeleton.root
        image = torch.from_numpy(self.dataset.image(part)).to(self.device)
        pred = self.lifter.lift(image, self.batch_size, source=name, first=part.start)
        bad = ~pred.isfinite().flatten(1).all(1)
        if bad.any():
            raise InputError(f"{name}: the prediction for sample {part.start + int(bad.nonzero()[0])} is not finite")
        target = torch.from_numpy(self.dataset.pose_3d[part]).to(self.device)
        pred, target = metrics.root_relative(pred, root), metrics.root_relative(target, root)
        return pred * (self.metres_per_unit * MILLIMETRES), target * MILLIMETRES


class _Figures(NamedTuple):
    """What a pass over the data set gives."""

    per_pose: dict[str, np.ndarray]  # (N,) by key
    per_joint: dict[str, Tensor]  # (J,) means by key
    spread: np.ndarray  # (E,) of predicted bone lengths
    true_spread: np.ndarray  # (E,)


def _measure(predict: _Predict, dataset: PoseDataset, protocol: Protocol) -> _Figures:
    """Lift and measure in parts: of the predictions nothing but one figure a pose and measure is kept."""
    clip = dataset.sequence.astype(np.int64) * len(dataset.cameras) + dataset.camera
    clip = np.unique(clip, return_inverse=True)[1].astype(np.int32)
    spreads = [metrics.BoneLengthSpread(dataset.skeleton.edges, int(clip.max()) + 1, predict.device) for _ in range(2)]
    per_pose = {measure.key: np.empty(len(dataset), np.float32) for measure in protocol.measures}
    per_joint: dict[str, Tensor] = {}
    for part in chunks(len(dataset), CHUNK):
        poses = predict(part)
        result = evaluate_poses(*poses, protocol.measures, root=dataset.skeleton.root)
        for key, values in result.per_pose.items():
            per_pose[key][part] = values.cpu().numpy()
        for key, means in result.per_joint.items():
            share = means * ((part.stop - part.start) / len(dataset))
            per_joint[key] = per_joint[key] + share if key in per_joint else share
        number = torch.from_numpy(clip[part]).to(predict.device, torch.int64)
        for spread, pose in zip(spreads, poses, strict=True):
            spread.add(pose, number)
    return _Figures(per_pose, per_joint, *(spread.result().cpu().numpy() for spread in spreads))


def _examples(predict: _Predict, errors: np.ndarray) -> Examples:
    """Views at fixed quantiles of the error, lifted once more."""
    ranked = np.argsort(errors, kind="stable")
    views = [int(ranked[round(quantile * (len(ranked) - 1))]) for quantile in EXAMPLE_QUANTILES]
    pred, target = zip(*(predict(slice(view, view + 1)) for view in views), strict=True)
    return Examples(views, torch.cat(pred).cpu(), torch.cat(target).cpu())


def _check(lifter: Predictor, dataset: PoseDataset) -> None:
    if len(dataset) == 0:
        raise InputError(f"{dataset.name}: no views to evaluate on")
    if dataset.pose_3d is None:
        raise InputError(f"{dataset.name}: has no 3D poses, so there is nothing to compare a prediction with")
    if lifter.skeleton != dataset.skeleton:
        raise InputError(
            f"{dataset.name}: skeleton {dataset.skeleton.name} of {dataset.skeleton.num_joints} joints, "
            f"but the model lifts {lifter.skeleton.name} of {lifter.skeleton.num_joints}"
        )
    if not getattr(lifter, "accepts_missing", False):
        dataset.require_complete(f"this model ({type(getattr(lifter, 'network', lifter)).__name__})")


def scale_name(protocol: Protocol) -> str:
    """What keys call the scale behind pck and auc."""
    return "procrustes" if protocol.pck_scale == "unsigned" else protocol.pck_scale


def _by_group(per_pose: dict[str, np.ndarray], group: np.ndarray, names: tuple[str, ...]) -> Table:
    """Means over the poses of each group that has any, and their number under "samples"."""
    count = np.bincount(group, minlength=len(names))
    sums = {key: np.bincount(group, values, len(names)) for key, values in per_pose.items()}
    return {
        str(names[i]): {"samples": int(count[i])} | {key: float(values[i] / count[i]) for key, values in sums.items()}
        for i in np.flatnonzero(count)
    }


def _by_joint(per_joint: dict[str, Tensor], names: Iterable[str]) -> Table:
    """Means by joint, without joints that do not count and without figures that a joint does not have."""
    values = {key: mean.tolist() for key, mean in per_joint.items() if key != "flip_rate"}
    return {
        name: {key: row[joint] for key, row in values.items() if np.isfinite(row[joint])}
        for joint, name in enumerate(names)
    }
