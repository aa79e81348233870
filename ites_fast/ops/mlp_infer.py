"""Operator ``mlp_infer``. Formula and layout of the weights: ``ites_fast.reference.mlp_infer``."""

import torch
from torch import Tensor

from ites_fast import reference
from ites_fast.extension import extension
from ites_fast.ops.compiled import register_compiled, register_triton
from ites_fast.reference.mlp_infer import mlp_shapes
from ites_fast.reference.panels import PANEL, joined_size

_sizes: dict[tuple[int, ...], tuple[int, ...]] = {}

# Larger batches on CUDA run in PyTorch. An estimate that no GPU has confirmed: each program reads all weights for the
# few poses that it lifts, and one program of 16 poses for each multiprocessor of an H200 is about this many.
ONE_LAUNCH_POSES = 2048


def mlp_infer(features: Tensor, weights: Tensor, head: Tensor, width: int, layers: int, outputs: int) -> Tensor:
    """Residual network of fully connected layers, without a gradient. See ``reference.mlp_infer``.

    Args:
        features: (B, F).
        weights: ``MLPWeights`` joined to one vector, of the dtype of ``features`` or float16.
        head: ``MLPHead`` joined to one vector, of the dtype of ``features``.
        width: features of every hidden layer, a multiple of 16.
        layers: after the first one, two for each residual block.
        outputs: what is returned of a pose.

    Returns:
        (B, ``outputs``). NaN for a pose that holds one, whatever the rest of the batch holds.

    Raises:
        ValueError: shapes, dtypes or devices that do not fit.
    """
    if features.ndim != 2 or features.shape[1] == 0 or not features.is_floating_point():
        raise ValueError(f"features must be (B, F), floating point, got {features.dtype} {tuple(features.shape)}")
    if width <= 0 or width % PANEL or layers < 0 or layers % 2:
        raise ValueError(f"width must be a multiple of {PANEL} and layers even, got {width} and {layers}")
    if outputs <= 0:
        raise ValueError(f"outputs must be positive, got {outputs}")
    sizes = _vector_sizes(features.shape[1], width, layers, outputs)
    dtypes = {"weights": (features.dtype, torch.float16), "head": (features.dtype,)}
    for (name, allowed), vector, size in zip(dtypes.items(), (weights, head), sizes, strict=True):
        if vector.shape != (size,):
            raise ValueError(
                f"{name} must be ({size},) for {features.shape[1]} inputs, width {width}, {layers} layers and "
                f"{outputs} outputs, got {tuple(vector.shape)}"
            )
        if vector.dtype not in allowed or vector.device != features.device:
            raise ValueError(
                f"{name} must be {' or '.join(map(str, allowed))} on {features.device} for these features, "
                f"got {vector.dtype} on {vector.device}"
            )
    return _forward(features.contiguous(), weights.contiguous(), head.contiguous(), width, layers, outputs)


def _vector_sizes(*sizes: int) -> tuple[int, ...]:
    # a dictionary, because torch.compile looks through functools.cache and says so
    if sizes not in _sizes:
        _sizes[sizes] = tuple(map(joined_size, mlp_shapes(*sizes)))
    return _sizes[sizes]


@torch.library.custom_op("ites_fast::mlp_infer", mutates_args=())
def _forward(features: Tensor, weights: Tensor, head: Tensor, width: int, layers: int, outputs: int) -> Tensor:
    return reference.mlp_infer(features, weights, head, width, layers, outputs).contiguous()


@_forward.register_fake
def _(features, weights, head, width, layers, outputs):
    return features.new_empty(features.shape[0], outputs)


if extension is not None:

    @register_compiled(_forward, "cpu", "C++")
    def _(features, weights, head, width, layers, outputs):
        if features.dtype != torch.float32:
            return reference.mlp_infer(features, weights, head, width, layers, outputs).contiguous()
        result = features.new_empty(features.shape[0], outputs)
        extension.mlp_infer_cpu(
            features=features.data_ptr(),
            weights=weights.data_ptr(),
            head=head.data_ptr(),
            poses=features.shape[0],
            inputs=features.shape[1],
            width=width,
            layers=layers,
            outputs=outputs,
            half_weights=weights.dtype == torch.float16,
            result=result.data_ptr(),
            threads=torch.get_num_threads(),
        )
        return result


@register_triton(_forward)
def _on_cuda(features, weights, head, width, layers, outputs):
    from ites_fast.kernels.mlp_infer import fits, mlp_infer_fwd

    if len(features) > ONE_LAUNCH_POSES or not fits(features, width, outputs):
        return reference.mlp_infer(features, weights, head, width, layers, outputs).contiguous()
    return mlp_infer_fwd(features, weights, head, width, layers, outputs)
