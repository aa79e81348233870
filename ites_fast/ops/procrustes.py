"""Operators ``procrustes``, ``procrustes_errors`` and ``procrustes_best_errors``. Formulas: the reference's.

On the CPU they run in C++ (``csrc/procrustes_cpu.h``), on CUDA in ``csrc/procrustes_cuda.cu`` where it was compiled,
and as the reference elsewhere. The compiled kernels compute in double precision for either dtype.
"""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.extension import extension
from ites_fast.ops.aligned_errors import arguments, check_poses, compiled_errors, launch
from ites_fast.ops.compiled import register_compiled
from ites_fast.reference.aligned_errors import FITS
from ites_fast.reference.procrustes import center

DAMPING = 1e-4


def procrustes(source: Tensor, target: Tensor, *, with_scale: bool = True) -> tuple[Tensor, Tensor, Tensor]:
    r"""Find the similarity (rotation, scale, translation) that aligns each source pose with its target pose.

    ``target`` is close to ``scale * source @ rotation.mT + translation``. See ``reference.procrustes``.

    Differentiable in both poses. The rotation's gradient solves with the matrix A = tr(S) I - S, where
    S = rotation.mT @ sum(target source^T); A is singular where the best rotation is not unique (collinear joints,
    some mirrored poses). It is therefore damped: :math:`A^{-1}` is replaced by
    :math:`A (A^2 + \epsilon^2 I)^{-1}` with :math:`\epsilon = 10^{-4}\, \mathrm{tr}(S)`. An eigenvalue
    :math:`\alpha\, \mathrm{tr}(S)` changes the gradient by a factor of :math:`1 / (1 + 10^{-8} / \alpha^2)`, and no
    gradient exceeds 5000 times that of :math:`\alpha = 1`. Poses without extent pass no gradient to the rotation.

    Args:
        source: poses (N, J, 3), float32 or float64.
        target: poses (N, J, 3) in any unit, of the same dtype and device.
        with_scale: whether to fit the scale; 1 otherwise.

    Returns:
        rotation (N, 3, 3) acting on column vectors, scale (N), translation (N, 3) in the unit of ``target``.
        NaN for a pose that holds a NaN or an infinity, whatever the rest of the batch holds.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    check_poses(source, target)
    return _forward(source.contiguous(), target.contiguous(), with_scale)


def procrustes_errors(source: Tensor, target: Tensor, *, with_scale: bool = True) -> Tensor:
    """Distance of each joint to its target after ``procrustes``: the fast way to P-MPJPE, without a gradient.

    Args:
        source: poses (N, J, 3), float32 or float64.
        target: poses (N, J, 3) in any unit, of the same dtype and device.
        with_scale: whether to fit the scale; 1 otherwise.

    Returns:
        Distances (N, J) in the unit of ``target``, detached. NaN for every joint of a pose that holds a NaN or an
        infinity.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    check_poses(source, target)
    return _errors(source.detach().contiguous(), target.detach().contiguous(), with_scale)


def procrustes_best_errors(source: Tensor, target: Tensor, *, with_scale: bool = True) -> tuple[Tensor, Tensor]:
    """``procrustes_errors`` of each pose or of its mirror image in depth, whichever has the smaller mean over joints.

    Both candidates are aligned in one pass. A distant view fixes depth up to its sign: this grants the better sign.

    Args:
        source: poses (N, J, 3), float32 or float64; z is depth.
        target: poses (N, J, 3) in any unit, of the same dtype and device.
        with_scale: whether to fit the scale; 1 otherwise.

    Returns:
        Distances (N, J) in the unit of ``target``, detached, and whether the mirror image, z negated, was strictly
        better (N), bool. A pose that holds a NaN or an infinity gets NaN and False.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    check_poses(source, target)
    return _best_errors(source.detach().contiguous(), target.detach().contiguous(), with_scale)


@torch.library.custom_op("ites_fast::procrustes", mutates_args=())
def _forward(source: Tensor, target: Tensor, with_scale: bool) -> tuple[Tensor, Tensor, Tensor]:
    return reference.procrustes(source, target, with_scale)


@_forward.register_fake
def _(source, target, with_scale):
    N = source.shape[0]
    return source.new_empty(N, 3, 3), source.new_empty(N), source.new_empty(N, 3)


@torch.library.custom_op("ites_fast::procrustes_errors", mutates_args=())
def _errors(source: Tensor, target: Tensor, with_scale: bool) -> Tensor:
    return reference.procrustes_errors(source, target, with_scale)


@_errors.register_fake
def _(source, target, with_scale):
    return source.new_empty(source.shape[:2])


@torch.library.custom_op("ites_fast::procrustes_best_errors", mutates_args=())
def _best_errors(source: Tensor, target: Tensor, with_scale: bool) -> tuple[Tensor, Tensor]:
    return reference.procrustes_best_errors(source, target, with_scale)


@_best_errors.register_fake
def _(source, target, with_scale):
    return source.new_empty(source.shape[:2]), source.new_empty(len(source), dtype=torch.bool)


def _compiled(source, target, with_scale):
    N = len(source)
    outputs = {
        "rotation": source.new_empty(N, 3, 3),
        "scale": source.new_empty(N),
        "translation": source.new_empty(N, 3),
    }
    batch = arguments(source, target, outputs) | {"with_scale": with_scale}
    launch("procrustes", source, batch)
    return tuple(outputs.values())


def _fit(with_scale: bool) -> list[int]:
    return [FITS.index("similarity" if with_scale else "rigid")]


def _compiled_errors(source, target, with_scale):
    return compiled_errors(source, target, _fit(with_scale), "none", root=0)[0].view(source.shape[:2])


def _compiled_best_errors(source, target, with_scale):
    errors, flipped = compiled_errors(source, target, _fit(with_scale), "best", root=0)
    return errors.view(source.shape[:2]), flipped


_COMPILED = {_forward: _compiled, _errors: _compiled_errors, _best_errors: _compiled_best_errors}
for _operator, _function in _COMPILED.items():
    if extension is not None:
        register_compiled(_operator, "cpu", "C++")(_function)
    if extension is not None and extension.cuda_version is not None:
        register_compiled(_operator, "cuda", "CUDA")(_function)


@torch.library.custom_op("ites_fast::procrustes_backward", mutates_args=())
def _backward(
    grad_rotation: Tensor,
    grad_scale: Tensor,
    grad_translation: Tensor,
    source: Tensor,
    target: Tensor,
    rotation: Tensor,
    scale: Tensor,
    with_scale: bool,
) -> tuple[Tensor, Tensor]:
    J = source.shape[1]
    source, source_mean = center(source)  # (N, J, 3), (N, 3)
    target, _ = center(target)
    cross = target.mT @ source  # (N, 3, 3)

    # translation = mean of target - scale * rotation @ mean of source
    grad_target_mean = grad_translation
    grad_source_mean = -scale[:, None] * torch.einsum("nik,ni->nk", rotation, grad_translation)
    grad_rotation = grad_rotation - scale[:, None, None] * grad_translation[:, :, None] * source_mean[:, None, :]

    # The rotation turns by w for a change of cross: (tr(S) I - S) w = axial(rotation.mT @ change).
    S = rotation.mT @ cross
    torque = _solve_damped(S, _axial(rotation.mT @ grad_rotation))
    grad_cross = rotation @ _cross_matrix(torque)
    grad_source = torch.zeros_like(source)
    if with_scale:
        # scale = <rotation, cross> / variance, and <rotation, cross> is stationary in the rotation.
        grad_scale = grad_scale - torch.einsum("ni,nik,nk->n", grad_translation, rotation, source_mean)
        variance = source.square().sum(dim=(1, 2))
        grad_ratio = grad_scale * _reciprocal(variance)
        grad_cross = grad_cross + grad_ratio[:, None, None] * rotation
        grad_source = -2 * (grad_ratio * scale)[:, None, None] * source
    grad_source = grad_source + target @ grad_cross + grad_source_mean[:, None] / J
    grad_target = source @ grad_cross.mT + grad_target_mean[:, None] / J
    return grad_source.contiguous(), grad_target.contiguous()


@_backward.register_fake
def _(grad_rotation, grad_scale, grad_translation, source, target, rotation, scale, with_scale):
    return torch.empty_like(source), torch.empty_like(target)


def _solve_damped(S: Tensor, right: Tensor) -> Tensor:
    """The damped solution (N, 3) of (tr(S) I - S) x = right (N, 3); see ``procrustes``."""
    identity = torch.eye(3, dtype=S.dtype, device=S.device)
    reciprocal = _reciprocal(S.diagonal(dim1=1, dim2=2).sum(dim=1))[:, None]
    A = identity - S * reciprocal[:, :, None]
    A = (A + A.mT) / 2
    # solve_ex: a pose with NaN must not raise for the whole batch.
    return torch.linalg.solve_ex(A @ A + DAMPING**2 * identity, torch.einsum("nij,nj->ni", A, right * reciprocal))[0]


def _reciprocal(x: Tensor) -> Tensor:
    """1 / x, and 0 where x is 0."""
    return torch.where(x == 0, 0, 1 / x)


def _axial(matrix: Tensor) -> Tensor:
    """The vector v (N, 3) with <matrix, [w]x> = v . w for every w."""
    skew = matrix - matrix.mT
    return torch.stack([skew[:, 2, 1], skew[:, 0, 2], skew[:, 1, 0]], dim=1)


def _cross_matrix(vector: Tensor) -> Tensor:
    """The matrices [v]x (N, 3, 3) with [v]x w = v x w."""
    x, y, z = vector.unbind(dim=1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=1).view(-1, 3, 3)


def _setup_context(ctx, inputs, output) -> None:
    source, target, ctx.with_scale = inputs
    rotation, scale, _ = output
    ctx.save_for_backward(source, target, rotation, scale)


def _autograd(ctx, grad_rotation: Tensor, grad_scale: Tensor, grad_translation: Tensor):
    return *_backward(grad_rotation, grad_scale, grad_translation, *ctx.saved_tensors, ctx.with_scale), None


_forward.register_autograd(_autograd, setup_context=_setup_context)
