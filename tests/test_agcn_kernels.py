"""The kernels of the adaptive graph convolution, launched directly, against the reference in float64."""

import pytest
import torch

from ites_fast import ops, reference
from ites_fast.ops import agcn_official, agcn_paper, compiled
from ites_fast.reference.agcn import ChannelGraph, ConcatGraph, LayerStatistics, SharedGraph, SoftmaxGraph
from ites_fast.reference.norm_relu import EPS, Norm, Statistics

C, INNER = 32, 16
SHAPES = [(3, 1), (2, 2), (2, 16), (2, 17), (1, 25), (1, 32)]  # (B, J)
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")


@pytest.fixture(autouse=True)
def few_programs(monkeypatch):
    """One range of poses for the gradient of the mixing: interpreted programs take milliseconds."""
    if not torch.cuda.is_available():
        kernels = pytest.importorskip("ites_fast.kernels.channel_mix", reason="needs triton")
        monkeypatch.setattr(kernels, "MAX_RANGES", 1)


class Official:
    """A random layer of the released code; ``leaves`` are its tensors in float64."""

    def __init__(self, B, J, device, *, channels=C, inner=INNER):
        generator = torch.Generator().manual_seed(B + 100 * J)

        def draw(*shape):
            fan = shape[-1] if len(shape) == 2 else 1
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(device) / fan**0.5

        physical = [(channels, channels), (channels, channels), (channels,)]
        nonphysical = [(inner, channels), (inner,)] * 3 + [(2 * inner,), (channels, inner), (channels,)]
        norms = [(channels,)] * 4
        self.leaves = [draw(*shape) for shape in [(B, J, channels), (J, J), *physical, *nonphysical, *norms]]
        self.grad_output = draw(B, J, channels)

    @staticmethod
    def graphs(leaves):
        return SharedGraph(*leaves[2:5]), ConcatGraph(*leaves[5:14], Norm(*leaves[14:16])), Norm(*leaves[16:18])

    def truth(self):
        """Output, statistics and gradients of ``leaves``, in float32."""
        leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]
        output, (layer, inner) = reference.agcn(*leaves[:2], *self.graphs(leaves))
        grads = torch.autograd.grad(output, leaves, self.grad_output)
        return [[t.detach().float() for t in group] for group in ((output,), (*layer, *inner), grads)]

    def kernels(self, dtype=torch.float32):
        """The same from the kernels, and the tensors that the forward saves."""
        from ites_fast.kernels.agcn_official import agcn_official_fwd
        from ites_fast.kernels.agcn_official_backward import agcn_official_bwd

        leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in self.leaves]
        physical, nonphysical, norm = self.graphs(leaves)
        folded = agcn_official.fold(physical, nonphysical)
        arguments = [*leaves[:2], *folded, nonphysical.norm.scale, *norm]
        detached = [tensor.detach() for tensor in arguments]
        layer = agcn_official.Layer(*agcn_official_fwd(*detached, EPS))
        features, mixing, projection, query, _, key, output_weight, _, inner_scale, scale, shift = detached
        grads = agcn_official_bwd(
            self.grad_output.to(dtype),
            *(features, mixing, projection, query, key, output_weight, inner_scale, scale, shift),
            *(layer.var, layer.inner_var, *layer[5:]),
            EPS,
        )
        differentiable = [i for i, tensor in enumerate(arguments) if tensor.requires_grad]
        leaf_grads = torch.autograd.grad(
            [arguments[i] for i in differentiable], leaves, [grads[i] for i in differentiable], allow_unused=True
        )
        statistics = [
            layer.mean + physical.bias.detach() + nonphysical.norm.shift.detach(),
            layer.var,
            layer.inner_mean + nonphysical.output_bias.detach(),
            layer.inner_var,
        ]
        return [layer.output], statistics, leaf_grads, [*layer, *grads]


class Paper:
    """A random layer of the paper, with other channels out than in."""

    def __init__(self, B, J, device, *, channels=C, outputs=2 * C, inner=INNER):
        generator = torch.Generator().manual_seed(B + 100 * J)

        def draw(*shape):
            fan = shape[-1] if len(shape) == 2 else 1
            return torch.randn(shape, generator=generator, dtype=torch.float64).to(device) / fan**0.5

        joint = torch.arange(J, device=device)
        self.adjacency = (joint[:, None] - joint).abs() <= 1
        self.adjacency[0, -1] = True  # not symmetric
        perceptron = [(inner, channels), (inner,), (inner, inner), (inner,)]
        shapes = [(B, J, channels), (outputs, J, J), (channels, outputs), *perceptron, *perceptron]
        self.leaves = [draw(*shape) for shape in [*shapes, (channels, outputs), (outputs,), (outputs,)]]
        self.grad_output = draw(B, J, outputs)

    def graphs(self, leaves):
        return ChannelGraph(leaves[2], self.adjacency), SoftmaxGraph(*leaves[3:12]), Norm(*leaves[12:14])

    def truth(self):
        """Output, statistics and gradients of ``leaves``, in float32."""
        leaves = [leaf.detach().requires_grad_() for leaf in self.leaves]
        output, (layer, _) = reference.agcn(*leaves[:2], *self.graphs(leaves))
        grads = torch.autograd.grad(output, leaves, self.grad_output)
        return [[t.detach().float() for t in group] for group in ((output,), layer, grads)]

    def kernels(self, dtype=torch.float32):
        """The same from the kernels, and all tensors that they write."""
        from ites_fast.kernels.agcn_paper import agcn_paper_bwd, agcn_paper_fwd

        leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in self.leaves]
        physical, nonphysical, norm = self.graphs(leaves)
        arguments = [*leaves[:2], *agcn_paper.fold(physical, nonphysical), *norm]
        features, mixing, *rest = (tensor.detach() for tensor in arguments)
        layer = agcn_paper.Layer(*agcn_paper_fwd(features, mixing, self.adjacency, *rest, EPS))
        projection, _, query_weight, _, _, key_weight, _, scale, shift = rest
        parameters = (mixing, self.adjacency, projection, query_weight, key_weight, scale, shift)
        grads = agcn_paper_bwd(self.grad_output.to(dtype), features, *parameters, *layer[2:], EPS)
        leaf_grads = torch.autograd.grad(arguments, leaves, list(grads))
        return [layer.output], [layer.mean, layer.var], leaf_grads, [*layer, *grads]


def assert_gradients(grads, expected):
    for index, (grad, true) in enumerate(zip(grads, expected, strict=True)):
        if grad is None:  # what the batch norms cancel
            assert true.abs().max() < 1e-10
        else:
            # sums over all joints, so relative to the largest element
            tolerance = {"rtol": 1e-4, "atol": 2e-5 * max(1, true.abs().max().item())}
            torch.testing.assert_close(grad, true, **tolerance, msg=lambda text, at=index: f"leaf {at}: {text}")


def assert_matches(layer, dtype=torch.float32):
    output, statistics, grads, _ = layer.kernels(dtype)
    expected_output, expected_statistics, expected_grads = layer.truth()
    for ours, expected in zip([*output, *statistics], [*expected_output, *expected_statistics], strict=True):
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5 * max(1, expected.abs().max().item()))
    assert_gradients(grads, expected_grads)


@pytest.mark.parametrize(("B", "J"), SHAPES)
@pytest.mark.parametrize("kind", [Official, Paper])
def test_kernels_match_reference(kind, B, J, kernel_device):
    assert_matches(kind(B, J, kernel_device))


def inference_kernel(kind):
    if kind is Official:
        from ites_fast.kernels.agcn_official_inference import agcn_official_inference_fwd as kernel
    else:
        from ites_fast.kernels.agcn_paper_inference import agcn_paper_inference_fwd as kernel
    return kernel


class Inference:
    """The layer ``inputs`` with running statistics: the truth, and ``ops.agcn`` in float32."""

    def __init__(self, inputs):
        draws = torch.rand(4, inputs.grad_output.shape[2], generator=torch.Generator().manual_seed(7)).double()
        mean, var, *inner = draws.to(inputs.grad_output.device)
        self.inputs = inputs
        inner = Statistics(*inner) if isinstance(inputs, Official) else None
        self.statistics = LayerStatistics(Statistics(mean, var + 0.5), inner)

    def truth(self):
        leaves = self.inputs.leaves
        return reference.agcn(*leaves[:2], *self.inputs.graphs(leaves), self.statistics)[0].float()

    def operator(self):
        leaves = [leaf.float() for leaf in self.inputs.leaves]
        statistics = [None if s is None else Statistics(s.mean.float(), s.var.float()) for s in self.statistics]
        with torch.no_grad():
            return ops.agcn(*leaves[:2], *self.inputs.graphs(leaves), LayerStatistics(*statistics))[0]


@pytest.mark.parametrize(("B", "J"), [*SHAPES, (0, 17)])
@pytest.mark.parametrize("kind", [Official, Paper])
def test_inference_kernel_matches_reference(kind, B, J, kernel_device, monkeypatch):
    case = Inference(kind(B, J, kernel_device))
    torch.testing.assert_close(case.operator(), case.truth(), rtol=1e-4, atol=1e-4)
    monkeypatch.setattr(agcn_official if kind is Official else agcn_paper, "inference", inference_kernel(kind))
    output = case.operator()
    torch.testing.assert_close(output, case.truth(), rtol=1e-4, atol=1e-4)
    assert torch.equal(output, case.operator())


@pytest.mark.parametrize("kind", [Official, Paper])
def test_inference_kernel_keeps_a_nan_to_its_pose(kind, kernel_device, monkeypatch):
    inputs = kind(3, 17, kernel_device)
    inputs.leaves[0][1, 4, 2] = float("nan")
    monkeypatch.setattr(agcn_official if kind is Official else agcn_paper, "inference", inference_kernel(kind))
    assert Inference(inputs).operator().isnan().flatten(1).any(dim=1).tolist() == [False, True, False]


@pytest.mark.parametrize("kind", [Official, Paper])
def test_blocks_of_channels_that_are_no_power_of_two(kind, kernel_device):
    assert_matches(kind(2, 5, kernel_device, channels=96, inner=40))


@pytest.mark.parametrize("kind", [Official, Paper])
def test_ranges_of_several_poses_are_merged(kind, kernel_device, monkeypatch):
    """Ranges of three poses, the last of two, with other means in each pose; joints in ranges of 32 rows."""
    from ites_fast.kernels import batch_statistics

    monkeypatch.setattr(batch_statistics, "MAX_PROGRAMS", 3)
    layer = kind(8, 5, kernel_device)
    layer.leaves[0] += torch.arange(8, device=kernel_device)[:, None, None] / 4
    assert_matches(layer)


def test_maximum_of_equal_joints_goes_to_the_first(kernel_device):
    """Equal joints happen in practice: their features are zero after a ReLU."""
    layer = Official(2, 6, kernel_device)
    features = layer.leaves[0]
    features[:, 1], features[:, 2:4] = features[:, 0], 0
    assert_matches(layer)


def test_affinity_that_is_zero_everywhere(kernel_device):
    """No pair is looked at, so that what is aggregated has no variance."""
    layer = Official(2, 5, kernel_device)
    layer.leaves[6] = layer.leaves[11].new_full((INNER,), -100.0)  # bias of the queries
    layer.leaves[11] = layer.leaves[11].abs()
    assert_matches(layer)


@pytest.mark.parametrize("kind", [Official, Paper])
def test_the_same_bits_twice(kind, kernel_device):
    first, second = (kind(2, 3, kernel_device).kernels()[3] for _ in range(2))
    torch.testing.assert_close(first, second, rtol=0, atol=0)


def test_nan_reaches_only_its_pose_and_the_statistics(kernel_device):
    from ites_fast.kernels.agcn_official import agcn_official_fwd

    layer = Official(3, 5, kernel_device)
    physical, nonphysical, norm = layer.graphs([leaf.float() for leaf in layer.leaves])
    features, mixing = (leaf.float() for leaf in layer.leaves[:2])
    parameters = (mixing, *agcn_official.fold(physical, nonphysical), nonphysical.norm.scale, *norm, EPS)
    clean = agcn_official.Layer(*agcn_official_fwd(features.clone(), *parameters))
    features[1, 2, 3] = float("nan")
    spoilt = agcn_official.Layer(*agcn_official_fwd(features, *parameters))
    for name in ("hidden", "affinity", "pair_values"):
        ours, expected = getattr(spoilt, name), getattr(clean, name)
        torch.testing.assert_close(ours[::2], expected[::2], rtol=0, atol=0)
        assert ours[1].isnan().any()
    assert spoilt.mean.isnan().all()


@pytest.mark.parametrize(("allowed", "expected"), [(True, "tf32"), (False, "ieee")])
def test_precision_is_that_of_pytorchs_products(allowed, expected):
    kernels = pytest.importorskip("ites_fast.kernels.batch_statistics", reason="needs triton")
    torch.backends.cuda.matmul.allow_tf32 = allowed
    try:
        assert kernels.matmul_precision() == expected
    finally:
        torch.backends.cuda.matmul.allow_tf32 = False


@pytest.mark.parametrize(
    ("J", "channels", "inner", "dtype", "fits"),
    [
        (32, 96, 128, torch.float32, True),
        (1, 32, 1, torch.bfloat16, True),
        (33, 32, 16, torch.float32, False),
        (17, 48, 16, torch.float32, False),
        (17, 32, 129, torch.float32, False),
        (17, 32, 16, torch.float64, False),
    ],
)
def test_what_has_no_kernel_stays_in_pytorch(J, channels, inner, dtype, fits):
    features, key, mixing = torch.empty(2, J, channels, dtype=dtype), torch.empty(inner), torch.empty(channels, J, J)
    assert agcn_official._fits_kernels(features, key) == fits
    assert agcn_paper._fits_kernels(features, mixing, torch.empty(inner, inner)) == fits


@pytest.mark.parametrize("name", ["agcn_official", "agcn_paper", "channel_mix", "norm_relu"])
def test_operators_are_compiled_on_cuda(name):
    expected = "Triton" if compiled.HAS_TRITON else None
    for suffix in ("", "_backward"):
        assert compiled.language_of(f"ites_fast::{name}{suffix}", "cuda") == expected


def through_operator(layer, function, dtype):
    """Output and gradients of ``reference.agcn`` or ``ops.agcn`` in ``dtype``."""
    leaves = [leaf.detach().to(dtype).requires_grad_() for leaf in layer.leaves]
    output, _ = function(*leaves[:2], *layer.graphs(leaves))
    return [output.detach(), *torch.autograd.grad(output, leaves, layer.grad_output.to(dtype))]


@CUDA
@pytest.mark.parametrize("kind", [Official, Paper])
@pytest.mark.parametrize("J", [16, 17, 25])
def test_operator_on_cuda(kind, J):
    layer = kind(700, J, "cuda", channels=128, inner=64)
    for ours, expected in zip(
        through_operator(layer, ops.agcn, torch.float32), through_operator(layer, reference.agcn, torch.float64),
        strict=True,
    ):  # fmt: skip
        largest = max(1, expected.abs().max().item())
        torch.testing.assert_close(ours, expected.float(), rtol=1e-4, atol=1e-5 * largest)


@CUDA
@pytest.mark.parametrize("kind", [Official, Paper])
@pytest.mark.parametrize("precision", ["bfloat16", "float16", "tf32"])
def test_low_precision_on_cuda(kind, precision, monkeypatch):
    """No worse than twice the error of PyTorch's own operations in the same precision."""
    dtype = torch.float32 if precision == "tf32" else getattr(torch, precision)
    monkeypatch.setattr(torch.backends.cuda.matmul, "allow_tf32", precision == "tf32")
    layer = kind(256, 17, "cuda", channels=128, inner=64)
    layer.leaves = [leaf.to(dtype).double() for leaf in layer.leaves]
    truth = through_operator(layer, reference.agcn, torch.float64)
    eager = through_operator(layer, reference.agcn, dtype)
    for ours, theirs, true in zip(through_operator(layer, ops.agcn, dtype), eager, truth, strict=True):
        largest = max(1, true.abs().max().item())
        assert (ours - true).abs().max() <= 2 * (theirs - true).abs().max() + 1e-3 * largest


@CUDA
@pytest.mark.parametrize("kind", [Official, Paper])
def test_graph_capture_on_cuda(kind):
    layer = kind(64, 17, "cuda")
    leaves = [leaf.float().requires_grad_() for leaf in layer.leaves]
    stream = torch.cuda.Stream()

    def step():
        output, _ = ops.agcn(*leaves[:2], *layer.graphs(leaves))
        return [output, *torch.autograd.grad(output, leaves, layer.grad_output.float())]

    with torch.cuda.stream(stream):
        expected = step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    graph.replay()
    torch.testing.assert_close(captured, expected, rtol=0, atol=0)


@pytest.mark.skipif(
    not torch.cuda.is_available() or torch.cuda.mem_get_info()[0] < 80e9, reason="needs CUDA and 80 GB of memory"
)
def test_a_million_poses_on_cuda():
    """Offsets beyond 32 bits. A batch repeated has the statistics of the batch, and so its output and gradient."""
    layer, copies = Official(1000, 17, "cuda", inner=64), 1000
    layer.leaves = [leaf.float() for leaf in layer.leaves]
    expected = through_operator(layer, ops.agcn, torch.float32)[:2]
    layer.leaves[0] = layer.leaves[0].repeat(copies, 1, 1)
    layer.grad_output = layer.grad_output.float().repeat(copies, 1, 1)
    output, grad = through_operator(layer, ops.agcn, torch.float32)[:2]
    for part in (slice(0, 1000), slice(-1000, None)):
        torch.testing.assert_close(output[part], expected[0], rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(grad[part], expected[1], rtol=1e-3, atol=1e-3)
