r"""Triton kernels for batch norm and ReLU. Formula: ``ites_fast.reference.norm_relu``.

Forward: moments of ranges of rows, their merging, and the normalisation: 3 launches, the features are read twice and
the output is written once. Backward: sums of the gradient by channel, and the gradient of the features: 3 launches, 4
reads and 1 write; where the ReLU was zero is computed again from the features. PyTorch's own operations take 8 launches
forward and 13 backward, each of which reads and writes the features.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from ites_fast.kernels.ahead_of_time import Build
from ites_fast.kernels.batch_statistics import (
    block_of,
    channel_factor,
    merge_means,
    merge_products,
    rows_per_program,
)

BLOCK_R, BLOCK_C, BLOCK_P, MERGED_C = 32, 64, 32, 16


@triton.jit
def _norm_relu_moments_kernel(
    features_ptr,  # (N, C)
    partial_ptr,  # (P, 2, C), written: mean and centred sum of squares of each range
    N,
    range_rows,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    last = tl.minimum((p + 1) * range_rows, N)
    # each row of the block keeps moments of its own, so that the rows are reduced once, at the end
    rows = tl.zeros((BLOCK_R,), tl.float32)
    mean = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    squares = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    for start in range(p * range_rows, last, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        mask = (r < last)[:, None] & (c < C)[None, :]
        features = tl.load(features_ptr + r[:, None] * C + c[None, :], mask=mask, other=0.0).to(tl.float32)
        rows += (r < last).to(tl.float32)
        offset = tl.where(mask, features - mean, 0.0)
        mean += offset / tl.maximum(rows, 1)[:, None]
        squares += offset * tl.where(mask, features - mean, 0.0)
    total = tl.sum(rows, axis=0)
    range_mean = tl.sum(rows[:, None] * mean, axis=0) / total
    offset = mean - range_mean[None, :]
    range_squares = tl.sum(squares + rows[:, None] * offset * offset, axis=0)
    tl.store(partial_ptr + 2 * p * C + c, range_mean, mask=c < C)
    tl.store(partial_ptr + (2 * p + 1) * C + c, range_squares, mask=c < C)


@triton.jit
def _norm_relu_merge_kernel(
    partial_ptr,  # (P, 2, C)
    mean_ptr,  # (C,), written
    var_ptr,  # (C,), written
    N,
    range_rows,
    C: tl.constexpr,
    BLOCK_P: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    c = tl.program_id(0) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask = c < C
    means_ptr = partial_ptr + c
    mean = merge_means(means_ptr, 2 * C, range_rows, N, mask, BLOCK_P, BLOCK_C)
    var = merge_products(
        means_ptr + C, means_ptr, means_ptr, mean, mean, 2 * C, range_rows, N, mask, BLOCK_P, BLOCK_C
    )  # fmt: skip
    tl.store(mean_ptr + c, mean, mask=mask)
    tl.store(var_ptr + c, var, mask=mask)


@triton.jit
def _norm_relu_fwd_kernel(
    features_ptr,  # (N, C); their mean is subtracted in place if CENTRE
    mean_ptr,  # (C,)
    var_ptr,  # (C,)
    scale_ptr,  # (C,)
    shift_ptr,  # (C,)
    output_ptr,  # (N, C), written
    N,
    eps,
    C: tl.constexpr,
    CENTRE: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask_c = c < C
    mask = (r < N)[:, None] & mask_c[None, :]
    at = r[:, None] * C + c[None, :]
    features = tl.load(features_ptr + at, mask=mask, other=0.0).to(tl.float32)
    centred = features - tl.load(mean_ptr + c, mask=mask_c, other=0.0).to(tl.float32)[None, :]
    if CENTRE:
        # the output is that of the rounded features, so that the backward sees the same joints behind the ReLU
        centred = centred.to(features_ptr.dtype.element_ty)
        tl.store(features_ptr + at, centred, mask=mask)
        centred = centred.to(tl.float32)
    normalised = normalise(centred, c, mask_c, var_ptr, scale_ptr, shift_ptr, eps)
    tl.store(output_ptr + at, tl.maximum(normalised, 0.0, tl.PropagateNan.ALL), mask=mask)


@triton.jit
def normalise(centred, c, mask_c, var_ptr, scale_ptr, shift_ptr, eps):
    """Batch norm of centred features (R, BLOCK_C), before the ReLU."""
    var = tl.load(var_ptr + c, mask=mask_c, other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + c, mask=mask_c, other=0.0).to(tl.float32)
    shift = tl.load(shift_ptr + c, mask=mask_c, other=0.0).to(tl.float32)
    return centred * channel_factor(scale, var, eps)[None, :] + shift[None, :]


@triton.jit
def behind_relu(
    grad_ptr, features_ptr, mean_ptr, var_ptr, scale_ptr, shift_ptr, at, mask, c, mask_c, eps
):  # fmt: skip
    """Gradient before the ReLU, and centred features; ``mean_ptr`` is None where the features are centred."""
    grad = tl.load(grad_ptr + at, mask=mask, other=0.0).to(tl.float32)
    centred = tl.load(features_ptr + at, mask=mask, other=0.0).to(tl.float32)
    if mean_ptr is not None:
        centred -= tl.load(mean_ptr + c, mask=mask_c, other=0.0).to(tl.float32)[None, :]
    normalised = normalise(centred, c, mask_c, var_ptr, scale_ptr, shift_ptr, eps)
    return tl.where(normalised <= 0, 0.0, grad), centred


@triton.jit
def _norm_relu_sums_kernel(
    grad_output_ptr,  # (N, C)
    features_ptr,  # (N, C)
    mean_ptr,  # (C,), None where the features are centred
    var_ptr,  # (C,)
    scale_ptr,  # (C,)
    shift_ptr,  # (C,)
    partial_ptr,  # (P, 2, C), written: sums of the gradient before the ReLU, and of it times the centred features
    N,
    range_rows,
    eps,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    p = tl.program_id(0).to(tl.int64)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask_c = c < C
    last = tl.minimum((p + 1) * range_rows, N)
    sums = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    products = tl.zeros((BLOCK_R, BLOCK_C), tl.float32)
    for start in range(p * range_rows, last, BLOCK_R):
        r = start + tl.arange(0, BLOCK_R)
        mask = (r < last)[:, None] & mask_c[None, :]
        at = r[:, None] * C + c[None, :]
        grad, centred = behind_relu(
            grad_output_ptr, features_ptr, mean_ptr, var_ptr, scale_ptr, shift_ptr, at, mask, c, mask_c, eps
        )
        sums += grad
        products += grad * centred
    tl.store(partial_ptr + 2 * p * C + c, tl.sum(sums, axis=0), mask=mask_c)
    tl.store(partial_ptr + (2 * p + 1) * C + c, tl.sum(products, axis=0), mask=mask_c)


@triton.jit
def norm_gradient(grad, centred, c, mask_c, sums_ptr, var_ptr, scale_ptr, N, C, eps):
    """Gradient (R, BLOCK_C) of the features from the one before the ReLU, and the gradient (BLOCK_C,) of the scale."""
    var = tl.load(var_ptr + c, mask=mask_c, other=0.0).to(tl.float32)
    scale = tl.load(scale_ptr + c, mask=mask_c, other=0.0).to(tl.float32)
    grad_shift = tl.load(sums_ptr + c, mask=mask_c, other=0.0)
    rstd = tl.rsqrt(var + eps)
    grad_scale = rstd * tl.load(sums_ptr + C + c, mask=mask_c, other=0.0)
    spread = (grad_shift / N)[None, :] + centred * (rstd * grad_scale / N)[None, :]
    return channel_factor(scale, var, eps)[None, :] * (grad - spread), grad_scale


@triton.jit
def _norm_relu_bwd_kernel(
    grad_output_ptr,  # (N, C)
    features_ptr,  # (N, C)
    mean_ptr,  # (C,), None where the features are centred
    var_ptr,  # (C,)
    scale_ptr,  # (C,)
    shift_ptr,  # (C,)
    sums_ptr,  # (2, C), the sums of ``_norm_relu_sums_kernel`` over all ranges
    grad_features_ptr,  # (N, C), written
    grad_scale_ptr,  # (C,), written
    grad_shift_ptr,  # (C,), written
    N,
    eps,
    C: tl.constexpr,
    BLOCK_R: tl.constexpr,
    BLOCK_C: tl.constexpr,
):
    r = tl.program_id(0).to(tl.int64) * BLOCK_R + tl.arange(0, BLOCK_R)
    c = tl.program_id(1) * BLOCK_C + tl.arange(0, BLOCK_C)
    mask_c = c < C
    mask = (r < N)[:, None] & mask_c[None, :]
    at = r[:, None] * C + c[None, :]
    grad, centred = behind_relu(
        grad_output_ptr, features_ptr, mean_ptr, var_ptr, scale_ptr, shift_ptr, at, mask, c, mask_c, eps
    )
    grad_features, grad_scale = norm_gradient(grad, centred, c, mask_c, sums_ptr, var_ptr, scale_ptr, N, C, eps)
    tl.store(grad_features_ptr + at, grad_features, mask=mask)
    if tl.program_id(0) == 0:
        tl.store(grad_scale_ptr + c, grad_scale, mask=mask_c)
        tl.store(grad_shift_ptr + c, tl.load(sums_ptr + c, mask=mask_c), mask=mask_c)


def norm_relu_moments(features: Tensor, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance of contiguous features (..., C), in the dtype of ``like`` (C,)."""
    assert features.is_contiguous()
    C = features.shape[-1]
    N = features.numel() // C
    range_rows = rows_per_program(N, BLOCK_R)
    P, block_c = triton.cdiv(N, range_rows), block_of(C, BLOCK_C)
    partial = features.new_empty(P, 2, C, dtype=torch.float32)
    with torch.cuda.device_of(features):
        _norm_relu_moments_kernel[P, triton.cdiv(C, block_c)](features, partial, N, range_rows, C, BLOCK_R, block_c)
    return merge_moments(partial, N, range_rows, like)


def merge_moments(partial: Tensor, N: int, range_rows: int, like: Tensor) -> tuple[Tensor, Tensor]:
    """Mean and biased variance in the dtype of ``like`` (C,), from the moments (P, 2, C) of ranges of N rows."""
    C = like.shape[0]
    mean, var = torch.empty_like(like), torch.empty_like(like)
    with torch.cuda.device_of(partial):
        _norm_relu_merge_kernel[(triton.cdiv(C, MERGED_C),)](partial, mean, var, N, range_rows, C, BLOCK_P, MERGED_C)
    return mean, var


def normalise_relu(
    features: Tensor, mean: Tensor, var: Tensor, scale: Tensor, shift: Tensor, eps: float, *, centre: bool
) -> Tensor:
    """Normalise contiguous features (..., C) by their statistics; ``centre`` subtracts their mean in place as well."""
    assert features.is_contiguous()
    C = features.shape[-1]
    N, block_c = features.numel() // C, block_of(C, BLOCK_C)
    output = torch.empty_like(features)
    grid = triton.cdiv(N, BLOCK_R), triton.cdiv(C, block_c)
    with torch.cuda.device_of(features):
        _norm_relu_fwd_kernel[grid](
            features, mean, var, scale.contiguous(), shift.contiguous(), output, N, eps, C, centre, BLOCK_R, block_c
        )
    return output


def norm_relu_fwd(features: Tensor, scale: Tensor, shift: Tensor, eps: float) -> tuple[Tensor, Tensor, Tensor]:
    """Batch norm of contiguous features (..., C), two rows or more, and ReLU; returns output, mean and variance."""
    mean, var = norm_relu_moments(features, scale)
    return normalise_relu(features, mean, var, scale, shift, eps, centre=False), mean, var


def norm_relu_sums(
    grad_output: Tensor, features: Tensor, mean: Tensor | None, var: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> Tensor:
    """Sums (2, C) of the gradient before the ReLU, and of it times the centred features; see ``norm_relu_bwd``."""
    assert grad_output.is_contiguous()
    assert features.is_contiguous()
    C = features.shape[-1]
    N = features.numel() // C
    range_rows = rows_per_program(N, BLOCK_R)
    P, block_c = triton.cdiv(N, range_rows), block_of(C, BLOCK_C)
    partial = features.new_empty(P, 2, C, dtype=torch.float32)
    with torch.cuda.device_of(features):
        _norm_relu_sums_kernel[P, triton.cdiv(C, block_c)](
            grad_output, features, mean, var, scale, shift, partial, N, range_rows, eps, C, BLOCK_R, block_c
        )
    return partial.sum(dim=0)


def norm_relu_bwd(
    grad_output: Tensor, features: Tensor, mean: Tensor | None, var: Tensor, scale: Tensor, shift: Tensor, eps: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Gradients of contiguous features (..., C), scale and shift (C,); without ``mean`` the features are centred."""
    scale, shift = scale.contiguous(), shift.contiguous()
    sums = norm_relu_sums(grad_output, features, mean, var, scale, shift, eps)
    C = features.shape[-1]
    N, block_c = features.numel() // C, block_of(C, BLOCK_C)
    grad_features, grad_scale, grad_shift = map(torch.empty_like, (features, scale, shift))
    with torch.cuda.device_of(features):
        _norm_relu_bwd_kernel[triton.cdiv(N, BLOCK_R), triton.cdiv(C, block_c)](
            grad_output, features, mean, var, scale, shift, sums,
            grad_features, grad_scale, grad_shift, N, eps, C, BLOCK_R, block_c,
        )  # fmt: skip
    return grad_features, grad_scale, grad_shift


def _types(kernel, data: str) -> dict[str, str]:
    """Types of a kernel's arguments: tensors of features in ``data``, all else in float32."""
    of_data = ("features_ptr", "output_ptr", "grad_output_ptr", "grad_features_ptr")
    types = {name: "*" + (data if name in of_data else "fp32") for name in kernel.arg_names if name.endswith("_ptr")}
    return types | {name: "i32" for name in ("N", "range_rows") if name in kernel.arg_names}


def _builds():
    blocks = {"C": 128, "BLOCK_R": BLOCK_R, "BLOCK_C": BLOCK_C}
    eps = {"eps": "fp32"}
    merge = _norm_relu_merge_kernel
    yield Build(merge, _types(merge, "fp32"), {"C": 128, "BLOCK_P": BLOCK_P, "BLOCK_C": MERGED_C}, max_registers=64)
    for data in ("fp32", "bf16"):
        yield Build(_norm_relu_moments_kernel, _types(_norm_relu_moments_kernel, data), blocks, max_registers=96)
        forward = _norm_relu_fwd_kernel
        for centre in (False, True):
            yield Build(forward, _types(forward, data) | eps, blocks | {"CENTRE": centre}, max_registers=64)
        for kernel in (_norm_relu_sums_kernel, _norm_relu_bwd_kernel):
            types = _types(kernel, data) | eps
            yield Build(kernel, types, blocks, max_registers=96)
            del types["mean_ptr"]
            yield Build(kernel, types, blocks | {"mean_ptr": None}, max_registers=96)


BUILDS = tuple(_builds())
