"""Errors of 3D poses: pure functions of tensors, batched, on any device.

Every function makes poses root-relative itself and returns the unit of its input; thresholds are in that unit too, so
their defaults expect millimetres. A joint that is not finite spoils the figures of its own pose only.

Depth is known up to its sign in a weak view, and body size is not known at all. What was granted to a prediction is
therefore always named:

* ``scale``: what the prediction was multiplied by before it was compared (``fit_scale``);
* ``flip="none"``: the prediction as it is; ``flip="best"``: for each pose the better of the prediction and its
  copy with z negated, chosen by the metric at hand. The second uses the ground truth as an oracle.
"""

from collections.abc import Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from ites_fast import ops
from ites_fast.errors import InputError

Scale = Literal["none", "lstsq", "procrustes", "unsigned", "norm", "xy"]
Flip = Literal["none", "best"]

PCK_THRESHOLD = 150.0
AUC_STEP = 5.0
AUC_THRESHOLDS = 31  # 0, 5, ..., 150
FUSED = {"none": ops.mpjpe, "lstsq": ops.n_mpjpe}  # scales that one operator covers


def root_relative(pose: Tensor, root: int = 0) -> Tensor:
    """Subtract the root joint: (..., J, 3) -> (..., J, 3)."""
    return pose - pose[..., root : root + 1, :]


def flip_depth(pose: Tensor) -> Tensor:
    """Negate z, the depth: (..., J, 3) -> (..., J, 3). Of a root-relative pose this is its mirror image in depth."""
    return pose * pose.new_tensor([1.0, 1.0, -1.0])


def fit_scale(pred: Tensor, target: Tensor, scale: Scale, root: int = 0) -> Tensor:
    r"""The factor that ``pred`` is multiplied by before it is compared with ``target``.

    * ``none``: 1.
    * ``lstsq``: least squares over the root-relative joints, :math:`\sum p \cdot t / \sum p \cdot p`
      (Rhodin et al., ECCV 2018, "N-MPJPE").
    * ``procrustes``: the scale of the similarity that aligns the poses best, proper rotations only.
    * ``unsigned``: the same from the sum of all three singular values, without the sign of the determinant, as the code
      released with ITES has it. It is the larger of the scales of the pose and of its mirror image, so it differs from
      ``procrustes`` where the prediction is closer to a reflection of the target.
    * ``norm``: ratio of the norms of the root-relative poses, as the code released with ElePose has it.
    * ``xy``: least squares over x and y alone, the part that the image determines.

    Args:
        pred: predicted joints (N, J, 3).
        target: true joints (N, J, 3), same frame.
        scale: one of the names above.
        root: index of the root joint.

    Returns:
        One factor per pose (N,). A pose without extent gets 0 from ``lstsq``, ``norm`` and ``xy``.
    """
    _check(pred, target)
    return fit_scale_centred(root_relative(pred, root), root_relative(target, root), scale)


def fit_scale_centred(pred: Tensor, target: Tensor, scale: Scale) -> Tensor:
    """``fit_scale`` of poses that are root-relative already."""
    if scale == "none":
        return torch.ones_like(pred[:, 0, 0])
    if scale == "procrustes":
        return ops.procrustes(pred, target)[1]
    if scale == "unsigned":
        return torch.maximum(ops.procrustes(pred, target)[1], ops.procrustes(flip_depth(pred), target)[1])
    if scale == "xy":
        pred, target = pred[..., :2], target[..., :2]
    pred, target = pred.flatten(1), target.flatten(1)
    if scale == "norm":
        size = pred.norm(dim=1)
        return torch.where(size == 0, 0, target.norm(dim=1) / size)
    if scale in ("lstsq", "xy"):
        size = pred.square().sum(1)
        return torch.where(size == 0, 0, (pred * target).sum(1) / size)
    raise InputError(f"scale: received {scale!r}, expected one of {', '.join(get_args(Scale))}")


def rescale_centred(pred: Tensor, target: Tensor, scale: Scale) -> Tensor:
    """Root-relative predictions (N, J, 3) times their ``fit_scale``."""
    return pred if scale == "none" else pred * fit_scale_centred(pred, target, scale)[:, None, None]


def joint_errors(pred: Tensor, target: Tensor, *, scale: Scale = "none", flip: Flip = "none", root: int = 0) -> Tensor:
    """Distance of each root-relative joint from its true place.

    Args:
        pred: predicted joints (N, J, 3).
        target: true joints (N, J, 3), same frame.
        scale: see ``fit_scale``; a flipped candidate gets a scale of its own.
        flip: "best" takes the candidate with the smaller mean over joints, for each pose.
        root: index of the root joint.

    Returns:
        Distances (N, J) in the unit of ``target``.

    Raises:
        InputError: shapes differ or are not (N, J, 3).
    """
    _check(pred, target)
    errors = _distances(pred, target, scale, root)
    if _check_flip(flip) == "none":
        return errors
    return _better(errors, _distances(flip_depth(pred), target, scale, root))


def aligned_joint_errors(pred: Tensor, target: Tensor, *, flip: Flip = "none") -> Tensor:
    """Distance of each joint after the best similarity (proper rotation, translation, scale) of each pose.

    Args:
        pred: predicted joints (N, J, 3), any origin.
        target: true joints (N, J, 3).
        flip: "best" takes the candidate with the smaller mean over joints, for each pose.

    Returns:
        Distances (N, J) in the unit of ``target``.

    Raises:
        InputError: shapes differ or are not (N, J, 3).
    """
    _check(pred, target)
    if _check_flip(flip) == "none":
        return ops.procrustes_errors(pred, target)
    return ops.procrustes_best_errors(pred, target)[0]


def mpjpe(pred: Tensor, target: Tensor, *, scale: Scale = "none", flip: Flip = "none", root: int = 0) -> Tensor:
    """Mean per-joint position error of each pose (N,), root-relative. Arguments: ``joint_errors``."""
    if flip == "none" and scale in FUSED:
        _check(pred, target)
        return FUSED[scale](pred, target, root=root)
    return joint_errors(pred, target, scale=scale, flip=flip, root=root).mean(1)


def n_mpjpe(pred: Tensor, target: Tensor, *, scale: Scale = "lstsq", flip: Flip = "none", root: int = 0) -> Tensor:
    """``mpjpe`` after one scale per pose (N,): least squares, or ``scale="procrustes"`` from the rigid alignment."""
    return mpjpe(pred, target, scale=scale, flip=flip, root=root)


def p_mpjpe(pred: Tensor, target: Tensor, *, flip: Flip = "none") -> Tensor:
    """Mean per-joint error of each pose after its best similarity (N,). Arguments: ``aligned_joint_errors``."""
    return aligned_joint_errors(pred, target, flip=flip).mean(1)


def hits(errors: Tensor, threshold: float = PCK_THRESHOLD) -> Tensor:
    """1 where an error is below the threshold, else 0, and NaN where it is NaN: same shape as ``errors``."""
    return torch.where(errors.isnan(), errors, (errors < threshold).to(errors.dtype))


def threshold_shares(errors: Tensor) -> Tensor:
    """Share of the 31 thresholds 0, 5, ..., 150 that each error lies below: same shape as ``errors``.

    The k-th threshold lies above an error e where k > e / 5, so the count is 30 - floor(e / 5): one pass instead of 31
    comparisons. No error lies below the threshold 0, so the largest possible share is 30 / 31.
    """
    # A divisor in a tensor: CUDA turns a division by a Python number into a product, which is inexact at thresholds.
    steps = (errors / errors.new_tensor(AUC_STEP)).floor()
    return (AUC_THRESHOLDS - 1 - steps).clamp(min=0) / AUC_THRESHOLDS


def pck(errors: Tensor, threshold: float = PCK_THRESHOLD) -> Tensor:
    """Fraction of joints with an error below ``threshold``: (N, J) -> (N,) (Mehta et al., 3DV 2017)."""
    return hits(errors, threshold).mean(1)


def auc(errors: Tensor) -> Tensor:
    """Mean of ``pck`` over the thresholds 0, 5, ..., 150: (N, J) in millimetres -> (N,) (Mehta et al., 3DV 2017)."""
    return threshold_shares(errors).mean(1)


def stress(pred: Tensor, target: Tensor, *, scale: Scale = "none", root: int = 0) -> Tensor:
    """Mean absolute difference of the distances between all pairs of joints (N,) (C3DPO); a flip does not change it."""
    return joint_stress(pred * fit_scale(pred, target, scale, root)[:, None, None], target).mean(1)


def joint_stress(pred: Tensor, target: Tensor) -> Tensor:
    """The part of each joint in ``stress``: mean over its distances from the other joints, (N, J)."""
    difference = (torch.cdist(pred, pred) - torch.cdist(target, target)).abs()
    return difference.sum(2) / (pred.shape[1] - 1)


def mpjve(pred: Tensor, target: Tensor, *, root: int = 0) -> Tensor:
    """Mean per-joint velocity error (Pavllo et al., CVPR 2019): first differences of root-relative joints.

    For use as a library: ``evaluate`` reports no metric of motion, since its data may be thinned or not in sequence.

    Args:
        pred: predicted joints of one sequence (T, J, 3), already in the scale of ``target``.
        target: true joints (T, J, 3).
        root: index of the root joint.

    Returns:
        One error per pair of neighbouring frames (T - 1,), in the unit of ``target`` per frame.
    """
    return _difference_errors(pred, target, order=1, root=root)


def accel(pred: Tensor, target: Tensor, *, root: int = 0) -> Tensor:
    """Mean per-joint acceleration error (Kanazawa et al., CVPR 2019): second differences, (T, J, 3) -> (T - 2,).

    For use as a library, as ``mpjve``.
    Arguments as for ``mpjve``; the unit is that of ``target`` per frame squared.
    """
    return _difference_errors(pred, target, order=2, root=root)


def flip_rate(pred: Tensor, target: Tensor, *, root: int = 0) -> Tensor:
    """1 for a pose whose depth has the wrong sign, else 0: (N,). Its mean is the flip rate.

    Wrong means that ``n_mpjpe`` (scale "lstsq") is strictly smaller for the pose with z negated. Not finite: NaN.
    """
    as_is = n_mpjpe(pred, target, root=root)
    flipped = n_mpjpe(flip_depth(pred), target, root=root)
    return torch.where(as_is.isnan(), as_is, (flipped < as_is).to(as_is.dtype))


def bone_length_spread(pose: Tensor, edges: Sequence[tuple[int, int]], sequence: Tensor | None = None) -> Tensor:
    r"""How much the length of each bone varies within a sequence; 0 for a rigid body. Needs no ground truth.

    Each length is divided by the mean length of its pose's bones, which removes a scale per pose:
    :math:`\lambda_{nb} = l_{nb} / \operatorname{mean}_b l_{nb}`. A sequence s of T poses then gives
    :math:`\sigma_{sb} = \operatorname{std}_n \lambda_{nb} / \operatorname{mean}_n \lambda_{nb}` (std with 1 / T).
    The result is the mean of :math:`\sigma_{sb}` over sequences, each weighted by its number of poses; sequences of one
    pose are left out.

    Args:
        pose: joints (N, J, 3), any unit.
        edges: bones as pairs of joints.
        sequence: which sequence a pose belongs to (N,), integers; None: all are of one.

    Returns:
        One spread per bone (len(edges),), float64. NaN where no sequence has two poses.
    """
    if sequence is None:
        sequence = torch.zeros(len(pose), dtype=torch.long, device=pose.device)
    numbers, clip = torch.unique(sequence, return_inverse=True)
    spread = BoneLengthSpread(edges, len(numbers), pose.device)
    spread.add(pose, clip)
    return spread.result()


class BoneLengthSpread:
    """``bone_length_spread`` of poses that come in parts.

    Args:
        edges: bones as pairs of joints.
        sequences: how many there are.
        device: of the poses.
    """

    def __init__(self, edges: Sequence[tuple[int, int]], sequences: int, device: torch.device | str = "cpu") -> None:
        self.child, self.parent = (torch.tensor(joints, device=device) for joints in zip(*edges, strict=True))
        self.count = torch.zeros(sequences, 1, dtype=torch.float64, device=device)
        self.mean = self.count.new_zeros(sequences, len(edges))
        self.squares = torch.zeros_like(self.mean)  # sums of squared distances from the mean

    def add(self, pose: Tensor, sequence: Tensor) -> None:
        """Take in poses (n, J, 3) of the sequences (n,), numbered from 0. Parts merge as Chan et al. (1979) have it."""
        length = torch.linalg.vector_norm(pose[:, self.child] - pose[:, self.parent], dim=-1).double()  # (n, E)
        length = length / length.mean(1, keepdim=True)
        present, group, count = torch.unique(sequence, return_inverse=True, return_counts=True)
        count = count[:, None].double()  # (S, 1)
        zero = length.new_zeros(len(count), length.shape[1])
        mean = zero.index_add(0, group, length) / count
        squares = zero.index_add(0, group, (length - mean[group]).square())
        before, shift = self.count[present], mean - self.mean[present]
        total = before + count
        self.count[present] = total
        self.mean[present] += shift * count / total
        self.squares[present] += squares + shift.square() * before * count / total

    def result(self) -> Tensor:
        """One spread per bone (E,), float64. NaN where no sequence has two poses."""
        weight = self.count * (self.count > 1)
        deviation = (self.squares / self.count.clamp(min=1)).sqrt()
        return torch.where(weight > 0, deviation / self.mean * weight, 0).sum(0) / weight.sum()


def _distances(pred: Tensor, target: Tensor, scale: Scale, root: int) -> Tensor:
    """``joint_errors`` without a choice of candidates."""
    if scale in FUSED:
        return ops.joint_errors(pred, target, root=root, with_scale=scale == "lstsq")
    pred, target = root_relative(pred, root), root_relative(target, root)
    return torch.linalg.vector_norm(rescale_centred(pred, target, scale) - target, dim=-1)


def _better(errors: Tensor, flipped: Tensor) -> Tensor:
    """For each pose the candidate with the smaller mean over joints (N, J)."""
    return torch.where((flipped.mean(1) < errors.mean(1))[:, None], flipped, errors)


def _difference_errors(pred: Tensor, target: Tensor, *, order: int, root: int) -> Tensor:
    _check(pred, target)
    if len(pred) <= order:
        raise InputError(f"sequence of {len(pred)} poses: differences of order {order} need at least {order + 1}")
    difference = torch.diff(root_relative(pred, root) - root_relative(target, root), n=order, dim=0)
    return torch.linalg.vector_norm(difference, dim=-1).mean(1)


def _check(pred: Tensor, target: Tensor) -> None:
    if pred.shape != target.shape or pred.ndim != 3 or pred.shape[-1] != 3:
        raise InputError(
            f"poses: received {tuple(pred.shape)} and {tuple(target.shape)}, expected two of one shape (N, J, 3)"
        )


def _check_flip(flip: Flip) -> Flip:
    if flip not in get_args(Flip):
        raise InputError(f"flip: received {flip!r}, expected one of {', '.join(get_args(Flip))}")
    return flip
