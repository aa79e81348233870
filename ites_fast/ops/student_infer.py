"""Operator ``student_infer``. Formula and layout of the weights: ``ites_fast.reference.student_infer``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.extension import extension
from ites_fast.ops.compiled import register_compiled, register_triton
from ites_fast.reference.panels import PANEL, joined_size
from ites_fast.reference.student_infer import student_shapes

MAX_JOINTS = 32  # of the compiled kernels
_sizes: dict[tuple[int, ...], int] = {}

# Larger batches on CUDA run in PyTorch. An estimate that no GPU has confirmed: each pose's program reads all weights
# from the L2 cache, which for thousands of poses takes longer than the launches and the memory traffic that it saves.
ONE_LAUNCH_POSES = 1024


def student_infer(pose_2d: Tensor, weights: Tensor, channels: int, layers: int) -> Tensor:
    """Depths of the joints by the released code's student, without a gradient. See ``reference.student_infer``.

    Args:
        pose_2d: (B, J, 2).
        weights: ``StudentParts`` joined to one vector, of the dtype and on the device of ``pose_2d``.
        channels: features of a joint, a multiple of 16.
        layers: after the first one, two for each residual block.

    Returns:
        Depths (B, J). NaN for the joints of a pose that a NaN reaches, whatever the rest of the batch holds.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    if pose_2d.ndim != 3 or pose_2d.shape[1] == 0 or pose_2d.shape[2] != 2 or not pose_2d.is_floating_point():
        raise ValueError(f"pose_2d must be (B, J, 2), floating point, got {pose_2d.dtype} {tuple(pose_2d.shape)}")
    if channels <= 0 or channels % PANEL or layers < 0 or layers % 2:
        raise ValueError(f"channels must be a multiple of {PANEL} and layers even, got {channels} and {layers}")
    size = _weights_size(pose_2d.shape[1], channels, layers)
    if weights.shape != (size,):
        raise ValueError(
            f"weights must be ({size},) for {pose_2d.shape[1]} joints, {channels} channels and {layers} layers, "
            f"got {tuple(weights.shape)}"
        )
    if weights.dtype != pose_2d.dtype or weights.device != pose_2d.device:
        raise ValueError(
            f"weights must be {pose_2d.dtype} on {pose_2d.device} like pose_2d, got {weights.dtype} on {weights.device}"
        )
    return _forward(pose_2d.contiguous(), weights.contiguous(), channels, layers)


def _weights_size(*sizes: int) -> int:
    # a dictionary, because torch.compile looks through functools.cache and says so
    if sizes not in _sizes:
        _sizes[sizes] = joined_size(student_shapes(*sizes))
    return _sizes[sizes]


@torch.library.custom_op("ites_fast::student_infer", mutates_args=())
def _forward(pose_2d: Tensor, weights: Tensor, channels: int, layers: int) -> Tensor:
    return reference.student_infer(pose_2d, weights, channels, layers)


@_forward.register_fake
def _(pose_2d, weights, channels, layers):
    return pose_2d.new_empty(pose_2d.shape[:2])


if extension is not None:

    @register_compiled(_forward, "cpu", "C++")
    def _(pose_2d, weights, channels, layers):
        B, J, _ = pose_2d.shape
        if pose_2d.dtype != torch.float32 or J > MAX_JOINTS:
            return reference.student_infer(pose_2d, weights, channels, layers)
        depth = pose_2d.new_empty(B, J)
        extension.student_infer_cpu(
            pose_2d=pose_2d.data_ptr(),
            weights=weights.data_ptr(),
            poses=B,
            joints=J,
            channels=channels,
            layers=layers,
            depth=depth.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return depth


@register_triton(_forward)
def _on_cuda(pose_2d, weights, channels, layers):
    from ites_fast.kernels.student_infer import fits, student_infer_fwd

    if len(pose_2d) > ONE_LAUNCH_POSES or not fits(pose_2d, channels):
        return reference.student_infer(pose_2d, weights, channels, layers)
    return student_infer_fwd(pose_2d, weights, channels, layers)
