r"""Triton kernels for mixing joints along edges. Formula: ``ites_fast.reference.channel_mix``.

A program owns a pose and a block of channels. It walks over all J source joints, but loads weights only where there is
an edge: of the J * J * D weights, 0.15 MB for 17 joints and 128 channels, these are the 49 * D of a skeleton, 25 KB,
which stay in the cache. No list of edges is made, which would have to wait for the device to count them. Features are
read and written once.

The gradient of the weights is summed over at most ``MAX_RANGES`` ranges of poses, one target joint and one block of
channels a program, and then over the ranges.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import block_of

MAX_JOINTS = 32
MAX_RANGES = 32  # 0.15 MB each, for 17 joints and 128 channels
BLOCK_C = 64


@triton.jit
def mix_pose(
    features_ptr, stride, weights_ptr, adjacency_ptr, b, c, mask_c,
    J: tl.constexpr, C: tl.constexpr, BLOCK_J: tl.constexpr, TRANSPOSED: tl.constexpr,
):  # fmt: skip
    """Mixed features (BLOCK_J, len(c)) of pose ``b``, with weights (J, J, C) or their transpose over joints.

    The features of joint s are ``stride`` elements after those of joint s - 1.
    """
    j = tl.arange(0, BLOCK_J)
    mixed = tl.zeros((BLOCK_J, c.shape[0]), tl.float32)
    for s in range(J):
        edge = s * J + j if TRANSPOSED else j * J + s
        is_edge = tl.load(adjacency_ptr + edge, mask=j < J, other=0).to(tl.int1)
        mask = is_edge[:, None] & mask_c[None, :]
        weights = tl.load(weights_ptr + edge[:, None] * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
        features = tl.load(features_ptr + (b * J + s) * stride + c, mask=mask_c, other=0.0).to(tl.float32)
        mixed += weights * features[None, :]
    return mixed


@triton.jit
def _channel_mix_fwd_kernel(
    features_ptr,  # (B, J, C), its joints features_stride apart
    weights_ptr,  # (J, J, C)
    adjacency_ptr,  # (J, J), boolean
    output_ptr,  # (B, J, C), its joints output_stride apart, written
    features_stride,
    output_stride,
    J: tl.constexpr,
    C: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
    TRANSPOSED: tl.constexpr,
):
    b = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    j = tl.arange(0, BLOCK_J)
    mixed = mix_pose(
        features_ptr, features_stride, weights_ptr, adjacency_ptr, b, c, c < C, J, C, BLOCK_J, TRANSPOSED
    )  # fmt: skip
    at = (b * J + j)[:, None] * output_stride + c[None, :]
    tl.store(output_ptr + at, mixed, mask=(j < J)[:, None] & (c < C)[None, :])


@triton.jit
def _channel_mix_bwd_kernel(
    grad_output_ptr,  # (B, J, C)
    features_ptr,  # (B, J, C), its joints features_stride apart
    adjacency_ptr,  # (J, J), boolean
    partial_ptr,  # (P, J, J, C), written: the range's gradient of the weights, zero off the edges
    features_stride,
    B,
    range_poses,
    J: tl.constexpr,
    C: tl.constexpr,
    BLOCK_J: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    i = tl.program_id(0)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    p = tl.program_id(2).to(tl.int64)
    s = tl.arange(0, BLOCK_J)
    mask_c = c < C
    is_edge = tl.load(adjacency_ptr + i * J + s, mask=s < J, other=0).to(tl.int1)
    mask = is_edge[:, None] & mask_c[None, :]
    total = tl.zeros((BLOCK_J, BLOCK_C), tl.float32)
    for b in range(p * range_poses, tl.minimum((p + 1) * range_poses, B)):
        grad = tl.load(grad_output_ptr + (b * J + i) * C + c, mask=mask_c, other=0.0).to(tl.float32)
        at = (b * J + s)[:, None] * features_stride + c[None, :]
        total += tl.load(features_ptr + at, mask=mask, other=0.0).to(tl.float32) * grad[None, :]
    at = ((p * J + i) * J + s)[:, None] * C + c[None, :]
    tl.store(partial_ptr + at, total, mask=(s < J)[:, None] & mask_c[None, :])


def joints_first(mixing: Tensor) -> Tensor:
    """Edge matrices (C, J, J) as the kernels read them, (J, J, C)."""
    return mixing.permute(1, 2, 0).contiguous()


def channel_mix_fwd(
    features: Tensor, weights: Tensor, adjacency: Tensor, *, transposed: bool = False, output: Tensor | None = None
) -> Tensor:
    """Mix features (B, J, C) with weights (J, J, C) from ``joints_first``, or with their transpose over joints.

    ``features`` and ``output``, which is made where not given, may be columns of a wider contiguous tensor.
    """
    B, J, C = features.shape
    if output is None:
        output = features.new_empty(B, J, C)
    assert weights.is_contiguous()
    assert adjacency.is_contiguous()
    assert is_columns(features)
    assert is_columns(output)
    if output.numel() > 0:
        block_c = block_of(C, BLOCK_C)
        with torch.cuda.device_of(features):
            _channel_mix_fwd_kernel[B, triton.cdiv(C, block_c)](
                features, weights, adjacency, output, features.stride(1), output.stride(1),
                J, C, block_of(J, MAX_JOINTS), block_c, transposed,
            )  # fmt: skip
    return output


def channel_mix_bwd(grad_output: Tensor, features: Tensor, adjacency: Tensor) -> Tensor:
    """Gradient of the mixing (C, J, J), from a contiguous ``grad_output`` (B, J, C); features as in the forward."""
    B, J, C = features.shape
    assert grad_output.is_contiguous()
    assert adjacency.is_contiguous()
    assert is_columns(features)
    range_poses = max(1, triton.cdiv(B, MAX_RANGES))
    P, block_c = triton.cdiv(B, range_poses), block_of(C, BLOCK_C)
    partial = features.new_empty(P, J, J, C, dtype=torch.float32)
    if partial.numel() > 0:
        with torch.cuda.device_of(features):
            _channel_mix_bwd_kernel[J, triton.cdiv(C, block_c), P](
                grad_output, features, adjacency, partial, features.stride(1), B, range_poses,
                J, C, block_of(J, MAX_JOINTS), block_c,
            )  # fmt: skip
    return partial.sum(dim=0).permute(2, 0, 1).to(features.dtype).contiguous()


def is_columns(features: Tensor) -> bool:
    """Whether (B, J, C) are neighbouring columns of a contiguous tensor (B, J, H)."""
    _, J, _ = features.shape
    return features.numel() == 0 or (features.stride(2) == 1 and features.stride(0) == J * features.stride(1))


def _builds():
    constants = {"J": 17, "C": 128, "BLOCK_J": 32, "BLOCK_C": BLOCK_C}
    numbers = dict.fromkeys(("features_stride", "output_stride", "B", "range_poses"), "i32")
    for data in ("fp32", "bf16"):
        types = dict.fromkeys(("features_ptr", "weights_ptr", "output_ptr", "grad_output_ptr"), f"*{data}")
        types |= {"partial_ptr": "*fp32", "adjacency_ptr": "*i1"} | numbers
        kernel = _channel_mix_fwd_kernel
        chosen = {name: kind for name, kind in types.items() if name in kernel.arg_names}
        for transposed in (False, True):
            yield Build(kernel, chosen, constants | {"TRANSPOSED": transposed}, max_registers=64)
        kernel = _channel_mix_bwd_kernel
        chosen = {name: kind for name, kind in types.items() if name in kernel.arg_names}
        yield Build(kernel, chosen, constants, max_registers=40)


BUILDS = tuple(_builds())
