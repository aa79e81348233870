"""The Triton kernel of the whole student against the reference in float64."""

import importlib

import pytest
import torch

from ites_fast import ops, reference
from ites_fast.ops.compiled import language_of
from ites_fast.reference.panels import join_parts
from ites_fast.reference.student_infer import StudentParts, student_shapes

pytest.importorskip("triton")
kernels = importlib.import_module("ites_fast.kernels.student_infer")
operator = importlib.import_module("ites_fast.ops.student_infer")
SHAPES = [  # poses, joints, channels, layers: without pairs, with and without an odd joint, blocks filled up with zeros
    (2, 1, 32, 2),
    (1, 2, 32, 4),
    (2, 16, 32, 2),
    (3, 17, 32, 4),
    (1, 17, 128, 2),
    (1, 25, 48, 2),
    (1, 32, 32, 2),
    (2, 5, 16, 0),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def parts_of(J=17, C=32, L=2):
    """A student in float64 whose features keep their size from layer to layer."""
    source = torch.Generator().manual_seed(J + 100 * C)
    shapes = student_shapes(J, C, L)
    draw = StudentParts(*(torch.randn(shape, generator=source, dtype=torch.float64) for shape in shapes))
    return draw._replace(
        input_mixing=draw.input_mixing / J**0.5,
        mixing=draw.mixing.softmax(dim=2),
        physical=draw.physical / (2 * C) ** 0.5,
        values_keys=draw.values_keys / C**0.5,
        query=draw.query / C**0.5,
        key=draw.key / (C // 2) ** 0.5,
        pair_weight=draw.pair_weight / (C // 2) ** 0.5 / max(J // 2, 1),
        pair_shift=draw.pair_shift / max(J // 2, 1),
        output_weight=draw.output_weight / C**0.5,
        output_mixing=draw.output_mixing / J**0.5,
    )


def poses(B=3, J=17):
    return torch.randn(B, J, 2, generator=torch.Generator().manual_seed(B), dtype=torch.float64)


def inputs(B=3, J=17, C=32, L=2):
    """Poses and weights in float64."""
    return poses(B, J), join_parts(parts_of(J, C, L))


def assert_close(actual, truth, tolerance=1e-5):
    """To the rounding of one layer, which the next ones amplify, in units of the largest depth."""
    atol = tolerance * max(1, truth.abs().max().item())
    torch.testing.assert_close(actual.double().cpu(), truth, rtol=0, atol=atol)


@pytest.mark.parametrize(("B", "J", "C", "L"), SHAPES)
def test_kernel_matches_reference(B, J, C, L, kernel_device):
    pose_2d, weights = inputs(B, J, C, L)
    truth = reference.student_infer(pose_2d, weights, C, L)
    depth = kernels.student_infer_fwd(pose_2d.float().to(kernel_device), weights.float().to(kernel_device), C, L)
    assert depth.dtype == torch.float32
    assert_close(depth, truth)


def test_half_precision(kernel_device):
    """float16 only without a GPU: the interpreter computes with the bits of bfloat16 as if they were numbers."""
    pose_2d, weights = inputs()
    for dtype in (torch.float16, torch.bfloat16) if kernel_device.type == "cuda" else (torch.float16,):
        half = pose_2d.to(kernel_device, dtype), weights.to(kernel_device, dtype)
        truth = reference.student_infer(*(tensor.double() for tensor in half), 32, 2)
        depth, eager = kernels.student_infer_fwd(*half, 32, 2), reference.student_infer(*half, 32, 2)
        assert depth.dtype == dtype
        assert (depth - truth).abs().max() <= 2 * (eager - truth).abs().max()


def test_a_nan_stays_in_its_pose(kernel_device):
    pose_2d, weights = (tensor.float().to(kernel_device) for tensor in inputs())
    clean = kernels.student_infer_fwd(pose_2d, weights, 32, 2)
    pose_2d[1, 4, 0] = torch.nan
    spoilt = kernels.student_infer_fwd(pose_2d, weights, 32, 2)
    assert spoilt[1].isnan().all()
    assert torch.equal(spoilt[[0, 2]], clean[[0, 2]])


def test_joints_that_fill_up_the_block_do_not_overflow(kernel_device):
    """Where only the mixing of real joints keeps a channel at zero."""
    parts = parts_of(C=32, L=4)
    parts.input_shift[0] = -1000
    parts.physical[:, 0, :, 0] = -1000
    parts.pair_weight[:, 0, :, 0] = parts.pair_shift[:, 0] = 0
    parts.shift[:, 0], parts.factor[:, 0] = 1, 1e30
    pose_2d, weights = poses(1), join_parts(parts)
    truth = reference.student_infer(pose_2d, weights, 32, 4)
    depth = kernels.student_infer_fwd(pose_2d.float().to(kernel_device), weights.float().to(kernel_device), 32, 4)
    assert_close(depth, truth)


def test_the_same_bits_twice_and_in_any_batch(kernel_device):
    pose_2d, weights = (tensor.float().to(kernel_device) for tensor in inputs())
    depth = kernels.student_infer_fwd(pose_2d, weights, 32, 2)
    assert torch.equal(kernels.student_infer_fwd(pose_2d, weights, 32, 2), depth)
    assert torch.equal(kernels.student_infer_fwd(pose_2d[2:].contiguous(), weights, 32, 2), depth[2:])


def test_an_empty_batch_launches_nothing(kernel_device, monkeypatch):
    monkeypatch.setattr(kernels, "_student_infer_fwd_kernel", None)
    pose_2d, weights = (tensor.float().to(kernel_device) for tensor in inputs(0))
    assert kernels.student_infer_fwd(pose_2d, weights, 32, 2).shape == (0, 17)


def test_the_operator_on_cuda_is_the_kernel_where_it_fits(monkeypatch):
    assert language_of("ites_fast::student_infer", "cuda") == "Triton"
    monkeypatch.setattr(kernels, "student_infer_fwd", lambda *_: "one launch")
    monkeypatch.setattr(operator, "ONE_LAUNCH_POSES", 3)
    cases = {
        "fits": (inputs(), torch.float32, 32),
        "double": (inputs(), torch.float64, 32),
        "poses": (inputs(B=4), torch.float32, 32),
        "joints": (inputs(J=33), torch.float32, 32),
        "channels": (inputs(C=144), torch.float32, 144),
    }
    launched = [
        name
        for name, (tensors, dtype, channels) in cases.items()
        if isinstance(operator._on_cuda(*(tensor.to(dtype) for tensor in tensors), channels, 2), str)
    ]
    assert launched == ["fits"]


@needs_cuda
@pytest.mark.parametrize("B", [1, 128, operator.ONE_LAUNCH_POSES, 4096])
def test_the_operator_on_cuda(B):
    pose_2d, weights = inputs(B, 17, 128, 8)
    truth = reference.student_infer(pose_2d, weights, 128, 8)
    sliced = torch.cat([pose_2d, pose_2d], dim=2).float().cuda()[..., ::2]
    swapped = torch.stack([pose_2d[..., 0], pose_2d[..., 0]], dim=2)
    assert_close(ops.student_infer(pose_2d.float().cuda(), weights.float().cuda(), 128, 8), truth)
    assert_close(
        ops.student_infer(sliced, weights.float().cuda(), 128, 8), reference.student_infer(swapped, weights, 128, 8)
    )


@needs_cuda
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-3), (torch.bfloat16, 5e-2)], ids=["tf32", "bf16"])
def test_tensor_cores(dtype, tolerance, monkeypatch):
    monkeypatch.setattr(kernels, "precision_of", lambda _: "tf32" if dtype == torch.float32 else "bf16")
    pose_2d, weights = (tensor.to(dtype).cuda() for tensor in inputs(5, 17, 128, 8))
    truth = reference.student_infer(pose_2d.double(), weights.double(), 128, 8).cpu()
    assert_close(ops.student_infer(pose_2d, weights, 128, 8), truth, tolerance)


@needs_cuda
def test_a_graph_can_be_captured():
    pose_2d, weights = (tensor.float().cuda() for tensor in inputs(5))
    ops.student_infer(pose_2d, weights, 32, 2)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        depth = ops.student_infer(pose_2d, weights, 32, 2)
    pose_2d.neg_()
    graph.replay()
    assert torch.equal(depth, ops.student_infer(pose_2d, weights, 32, 2))
