"""The Triton kernel of a whole fully connected network against the reference in float64."""

import importlib

import pytest
import torch

from ites_fast import ops, reference
from ites_fast.ops.compiled import language_of
from ites_fast.reference.mlp_infer import mlp_shapes
from ites_fast.reference.panels import join_parts

pytest.importorskip("triton")
kernels = importlib.import_module("ites_fast.kernels.mlp_infer")
operator = importlib.import_module("ites_fast.ops.mlp_infer")

SHAPES = [  # poses, inputs, width, layers, outputs: one pose, blocks filled up with zeros, several programs
    (1, 34, 64, 2, 17),
    (5, 3, 16, 0, 1),
    (9, 51, 96, 4, 51),
    (17, 34, 48, 2, 20),
    (2, 34, 144, 2, 16),
]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
NETWORK = (32, 2, 17)  # width, layers, outputs


def inputs(B=9, F=34, W=32, L=2, outputs=17):
    """Features, weights and head in float64; the weights are numbers that float16 has."""
    source = torch.Generator().manual_seed(B + 100 * F + W)
    shapes, head_shapes = mlp_shapes(F, W, L, outputs)
    weights = [torch.randn(shape, generator=source, dtype=torch.float64) / shape[-2] ** 0.5 for shape in shapes]
    head = [0.5 * torch.randn(shape, generator=source, dtype=torch.float64) for shape in head_shapes]
    features = torch.randn(B, F, generator=source, dtype=torch.float64)
    return features, join_parts(weights).half().double(), join_parts(head)


def assert_close(actual, truth, tolerance=1e-5):
    """To the rounding of one layer, which the next ones amplify, in units of the largest output."""
    atol = tolerance * max(1, truth.abs().max().item())
    torch.testing.assert_close(actual.double().cpu(), truth, rtol=0, atol=atol)


@pytest.mark.parametrize("weights_dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("B", "F", "W", "L", "outputs"), SHAPES)
def test_kernel_matches_reference(B, F, W, L, outputs, weights_dtype, kernel_device):
    features, weights, head = (tensor.to(kernel_device) for tensor in inputs(B, F, W, L, outputs))
    truth = reference.mlp_infer(features, weights, head, W, L, outputs).cpu()
    output = kernels.mlp_infer_fwd(features.float(), weights.to(weights_dtype), head.float(), W, L, outputs)
    assert output.dtype == torch.float32
    assert_close(output, truth)


def test_half_precision(kernel_device):
    """float16 only without a GPU: the interpreter computes with the bits of bfloat16 as if they were numbers."""
    for dtype in (torch.float16, torch.bfloat16) if kernel_device.type == "cuda" else (torch.float16,):
        half = [tensor.to(kernel_device, dtype) for tensor in inputs()]
        truth = reference.mlp_infer(*(tensor.double() for tensor in half), *NETWORK)
        output, eager = kernels.mlp_infer_fwd(*half, *NETWORK), reference.mlp_infer(*half, *NETWORK)
        assert output.dtype == dtype
        assert (output - truth).abs().max() <= 2 * (eager - truth).abs().max()


def test_a_nan_stays_in_its_pose(kernel_device):
    features, weights, head = (tensor.float().to(kernel_device) for tensor in inputs())
    clean = kernels.mlp_infer_fwd(features, weights, head, *NETWORK)
    features[1, 4] = torch.nan
    spoilt = kernels.mlp_infer_fwd(features, weights, head, *NETWORK)
    others = torch.arange(9) != 1
    assert spoilt[1].isnan().all()
    assert torch.equal(spoilt[others], clean[others])


def test_the_same_bits_twice_and_wherever_a_pose_stands(kernel_device):
    features, weights, head = (tensor.float().to(kernel_device) for tensor in inputs())
    output = kernels.mlp_infer_fwd(features, weights, head, *NETWORK)
    assert torch.equal(kernels.mlp_infer_fwd(features, weights, head, *NETWORK), output)
    assert torch.equal(kernels.mlp_infer_fwd(features[4:].contiguous(), weights, head, *NETWORK), output[4:])


def test_an_empty_batch_launches_nothing(kernel_device, monkeypatch):
    monkeypatch.setattr(kernels, "_mlp_infer_fwd_kernel", None)
    tensors = [tensor.float().to(kernel_device) for tensor in inputs(0)]
    assert kernels.mlp_infer_fwd(*tensors, *NETWORK).shape == (0, 17)


def test_the_operator_on_cuda_is_the_kernel_where_it_fits(monkeypatch):
    assert language_of("ites_fast::mlp_infer", "cuda") == "Triton"
    monkeypatch.setattr(kernels, "mlp_infer_fwd", lambda *_: "one launch")
    monkeypatch.setattr(operator, "ONE_LAUNCH_POSES", 9)
    cases = {
        "fits": (inputs(), torch.float32, NETWORK),
        "double": (inputs(), torch.float64, NETWORK),
        "poses": (inputs(10), torch.float32, NETWORK),
        "width": (inputs(W=528), torch.float32, (528, 2, 17)),
        "outputs": (inputs(outputs=129), torch.float32, (32, 2, 129)),
    }
    launched = [
        name
        for name, (tensors, dtype, network) in cases.items()
        if isinstance(operator._on_cuda(*(tensor.to(dtype) for tensor in tensors), *network), str)
    ]
    assert launched == ["fits"]


@needs_cuda
@pytest.mark.parametrize("B", [1, 8, 200, operator.ONE_LAUNCH_POSES, 10_000])
@pytest.mark.parametrize("weights_dtype", [torch.float32, torch.float16])
@pytest.mark.parametrize(("F", "W", "outputs"), [(51, 480, 51), (34, 512, 17)])
def test_the_operator_on_cuda(B, weights_dtype, F, W, outputs):
    features, weights, head = inputs(B, F, W, 4, outputs)
    on_cuda = features.float().cuda(), weights.to("cuda", weights_dtype), head.float().cuda()
    assert_close(ops.mlp_infer(*on_cuda, W, 4, outputs), reference.mlp_infer(features, weights, head, W, 4, outputs))
    columns = torch.cat([on_cuda[0], on_cuda[0]], dim=1)[:, F:]
    assert torch.equal(ops.mlp_infer(columns, *on_cuda[1:], W, 4, outputs), ops.mlp_infer(*on_cuda, W, 4, outputs))


@needs_cuda
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-3), (torch.bfloat16, 2e-2)], ids=["tf32", "bf16"])
def test_tensor_cores(dtype, tolerance, monkeypatch):
    monkeypatch.setattr(kernels, "precision_of", lambda _: "tf32" if dtype == torch.float32 else "bf16")
    tensors = [tensor.to(dtype).cuda() for tensor in inputs(20, 51, 480, 4, 51)]
    truth = reference.mlp_infer(*(tensor.double() for tensor in tensors), 480, 4, 51).cpu()
    assert_close(ops.mlp_infer(*tensors, 480, 4, 51), truth, tolerance)


@needs_cuda
def test_a_graph_can_be_captured():
    features, weights, head = (tensor.float().cuda() for tensor in inputs())
    ops.mlp_infer(features, weights, head, *NETWORK)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        output = ops.mlp_infer(features, weights, head, *NETWORK)
    features.neg_()
    graph.replay()
    assert torch.equal(output, ops.mlp_infer(features, weights, head, *NETWORK))
