import pytest
import torch

from ites_fast import ops, reference
from ites_fast.reference.agcn import ChannelGraph, ConcatGraph, LayerStatistics, SharedGraph, SoftmaxGraph
from ites_fast.reference.norm_relu import Norm, Statistics

C, INNER = 12, 5
SHAPES = [(3, 1), (5, 2), (4, 16), (3, 17), (17, 17), (2, 25)]  # (B, J)
PAIRS = [
    ("shared", "concat"),
    ("channel", "softmax"),
    ("shared", None),
    ("channel", None),
    (None, "concat"),
    (None, "softmax"),
    ("channel", "concat"),
]


class Inputs:
    """A random layer of each kind; ``leaves`` are its tensors, in the order that ``layer`` takes them."""

    def __init__(self, B, J, physical, nonphysical, *, outputs=C, channels=C, device="cpu"):
        self.generator = torch.Generator().manual_seed(B + 100 * J)
        self.device = device
        self.physical, self.nonphysical = physical, nonphysical
        shapes = {
            None: [],
            "shared": [(J, J), (channels, outputs), (channels, outputs), (outputs,)],
            "channel": [(outputs, J, J), (channels, outputs)],
            "concat": [(INNER, C), (INNER,)] * 3 + [(2 * INNER,), (C, INNER), (C,), (C,), (C,)],
            "softmax": [(INNER, C), (INNER,), (INNER, INNER), (INNER,)] * 2 + [(C, outputs)],
        }
        self.sizes = [len(shapes[physical]), len(shapes[nonphysical])]
        shapes = [(B, J, channels), (outputs,), (outputs,), *shapes[physical], *shapes[nonphysical]]
        self.leaves = [self.draw(shape) for shape in shapes]

    def draw(self, shape):
        fan = shape[-1] if len(shape) == 2 else 1
        return torch.randn(shape, generator=self.generator, dtype=torch.float64).to(self.device) / fan**0.5

    def physical_graph(self, *parameters):
        if self.physical == "channel":
            joint = torch.arange(self.leaves[0].shape[1], device=self.device)
            return ChannelGraph(*parameters, (joint[:, None] - joint).abs() <= 1)
        return SharedGraph(*parameters) if parameters else None

    def layer(self, function, leaves=None, statistics=None):
        features, scale, shift, *rest = leaves or self.leaves
        mixing, *first = rest[: self.sizes[0]] or [None]
        second = rest[self.sizes[0] :]
        physical = self.physical_graph(*first)
        if self.nonphysical == "concat":
            nonphysical = ConcatGraph(*second[:-2], Norm(*second[-2:]))
        else:
            nonphysical = SoftmaxGraph(*second) if second else None
        return function(features, mixing, physical, nonphysical, Norm(scale, shift), statistics)


def flat(statistics):
    return [tensor for group in statistics if group is not None for tensor in group]


@pytest.mark.parametrize(("B", "J"), SHAPES)
@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS)
def test_op_matches_reference(B, J, physical, nonphysical, device):
    inputs = Inputs(B, J, physical, nonphysical, device=device)
    results = []
    for function in (reference.agcn, ops.agcn):
        leaves = [leaf.clone().requires_grad_() for leaf in inputs.leaves]
        output, statistics = inputs.layer(function, leaves)
        grad_output = torch.linspace(-1, 2, output.numel(), dtype=torch.float64, device=device).view_as(output)
        grads = torch.autograd.grad(output, leaves, grad_output)
        results.append((output.detach(), [tensor.detach() for tensor in flat(statistics)], grads))
    torch.testing.assert_close(results[1], results[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("B", "J"), [(3, 17), (64, 17), (16, 25)])
@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS[:2])
def test_float32_op_matches_reference(B, J, physical, nonphysical, device):
    inputs = Inputs(B, J, physical, nonphysical, device=device)
    truth = [leaf.requires_grad_() for leaf in inputs.leaves]
    ours = [leaf.detach().float().requires_grad_() for leaf in truth]
    expected, _ = inputs.layer(reference.agcn, truth)
    output, _ = inputs.layer(ops.agcn, ours)
    torch.testing.assert_close(output, expected.float(), rtol=1e-5, atol=1e-5)
    grad_output = torch.randn(expected.shape, generator=inputs.generator, dtype=torch.float64).to(device)
    expected_grads = torch.autograd.grad(expected, truth, grad_output)
    for grad, true_grad in zip(torch.autograd.grad(output, ours, grad_output.float()), expected_grads, strict=True):
        # sums over up to 1,000 joints, so relative to the largest element
        torch.testing.assert_close(grad, true_grad.float(), rtol=1e-4, atol=1e-5 * max(1, true_grad.abs().max().item()))


@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS)
def test_inference_matches_reference(physical, nonphysical, device):
    inputs = Inputs(5, 17, physical, nonphysical, device=device)
    draw = lambda: Statistics(inputs.draw((C,)), inputs.draw((C,)).square())  # noqa: E731
    statistics = LayerStatistics(draw(), draw() if nonphysical == "concat" else None)
    leaves = [leaf.requires_grad_() for leaf in inputs.leaves]
    expected, _ = inputs.layer(reference.agcn, leaves, statistics)
    output, returned = inputs.layer(ops.agcn, leaves, statistics)
    torch.testing.assert_close(output, expected)
    assert flat(returned) == flat(statistics)
    with torch.no_grad():
        torch.testing.assert_close(inputs.layer(ops.agcn, leaves, statistics)[0], expected)
    torch.testing.assert_close(
        torch.autograd.grad(output.sin().sum(), leaves), torch.autograd.grad(expected.sin().sum(), leaves)
    )


@pytest.mark.parametrize("function", [reference.agcn, ops.agcn])
@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS[:2])
def test_gradient(function, physical, nonphysical):
    inputs = Inputs(3, 5, physical, nonphysical)
    leaves = tuple(leaf.requires_grad_() for leaf in inputs.leaves)
    assert torch.autograd.gradcheck(lambda *leaves: inputs.layer(function, leaves)[0], leaves, fast_mode=True)


@pytest.mark.parametrize(("channels", "outputs"), [(2, 7), (7, 1)])
@pytest.mark.parametrize("kind", ["shared", "channel"])
def test_physical_graph(kind, channels, outputs, device):
    """The narrow layers at both ends of the network."""
    inputs = Inputs(4, 17, kind, None, channels=channels, outputs=outputs, device=device)
    features, _, _, mixing, *parameters = inputs.leaves
    function = {"shared": reference.shared_graph, "channel": reference.channel_graph}[kind]
    graph = inputs.physical_graph(*parameters)
    torch.testing.assert_close(ops.physical_graph(features, mixing, graph), function(features, mixing, graph))


def test_maximum_of_equal_joints_goes_to_the_first():
    """Equal joints happen in practice: their features are zero after a ReLU."""
    inputs = Inputs(3, 6, "shared", "concat")
    features = inputs.leaves[0]
    features[:, 1], features[:, 2:4] = features[:, 0], 0
    grads = []
    for function in (reference.agcn, ops.agcn):
        leaves = [leaf.clone().requires_grad_() for leaf in inputs.leaves]
        grads.append(torch.autograd.grad(inputs.layer(function, leaves)[0].square().sum(), leaves))
    torch.testing.assert_close(grads[1], grads[0], rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS[:2])
def test_non_contiguous_features(physical, nonphysical, device):
    inputs = Inputs(4, 17, physical, nonphysical, device=device)
    expected, _ = inputs.layer(ops.agcn)
    inputs.leaves[0] = inputs.leaves[0].transpose(0, 1).contiguous().transpose(0, 1)
    torch.testing.assert_close(inputs.layer(ops.agcn)[0], expected)


@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS)
def test_statistics_carry_no_gradient(physical, nonphysical):
    inputs = Inputs(3, 17, physical, nonphysical)
    _, statistics = inputs.layer(ops.agcn, [leaf.requires_grad_() for leaf in inputs.leaves])
    assert not any(tensor.requires_grad for tensor in flat(statistics))


def official_arguments(B, J, device):
    inputs = Inputs(B, J, "shared", "concat", device=device)
    draw = inputs.draw
    folded = [(2 * C + 2 * INNER, C), (C,), (), (INNER,), (C, INNER), (C,)]
    shapes = [(B, J, C), (J, J), *folded, (C,), (C,), (C,)]
    return tuple((draw(shape) if shape else draw((1,))[0]).detach().requires_grad_() for shape in shapes)


def paper_arguments(B, J, device, D=C + 2):
    draw = Inputs(B, J, "channel", "softmax", device=device).draw
    joint = torch.arange(J, device=device)
    perceptron = [(INNER,), (INNER, INNER), (INNER,)]
    shapes = [(B, J, C), (D, J, J), (2 * D + 2 * INNER, C), *perceptron, *perceptron, (D,), (D,)]
    features, mixing, *others = (draw(shape).detach().requires_grad_() for shape in shapes)
    return features, mixing, (joint[:, None] - joint).abs() <= 1, *others


ARGUMENTS = {"agcn_official": official_arguments, "agcn_paper": paper_arguments}


@pytest.mark.parametrize("J", [1, 4, 17])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_op_registration(name, J, device):
    torch.library.opcheck(getattr(torch.ops.ites_fast, name).default, ARGUMENTS[name](3, J, device))


@pytest.mark.parametrize("J", [1, 4, 17])
@pytest.mark.parametrize("name", ARGUMENTS)
def test_registration_of_inference(name, J, device):
    """Its arguments are those of the training step, with factors of the same shapes in the place of the norms."""
    arguments = tuple(argument.detach() for argument in ARGUMENTS[name](3, J, device))
    torch.library.opcheck(getattr(torch.ops.ites_fast, f"{name}_inference").default, arguments)


def test_an_exported_layer_has_no_operators_of_ours():
    class Layer(torch.nn.Module):
        def forward(self, features):
            channels = inputs.leaves[-1].shape[0]
            statistics = Statistics(torch.zeros(channels).double(), torch.ones(channels).double())
            leaves = [features, *inputs.leaves[1:]]
            return inputs.layer(ops.agcn, leaves, LayerStatistics(statistics, statistics))[0]

    inputs = Inputs(2, 17, "shared", "concat")
    with torch.no_grad():
        exported = torch.export.export(Layer(), (inputs.leaves[0],))
    assert "ites_fast" not in str(exported.graph)


@pytest.mark.parametrize("name", ARGUMENTS)
def test_operator_gradient(name):
    operator = getattr(torch.ops.ites_fast, name)
    assert torch.autograd.gradcheck(lambda *inputs: operator(*inputs)[0], ARGUMENTS[name](3, 5, "cpu"), fast_mode=True)


@pytest.mark.parametrize(("physical", "nonphysical"), PAIRS[:2])
def test_op_compiles(physical, nonphysical):
    inputs = Inputs(3, 17, physical, nonphysical)
    leaves = tuple(leaf.requires_grad_() for leaf in inputs.leaves)

    def loss(*leaves):
        return inputs.layer(ops.agcn, leaves)[0].sin().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        torch.autograd.grad(compiled(*leaves), leaves), torch.autograd.grad(loss(*leaves), leaves)
    )


def test_rejects_other_shapes():
    inputs = Inputs(3, 5, "shared", "concat")
    inputs.leaves[0] = inputs.leaves[0][0]
    with pytest.raises(ValueError, match=r"features must be \(B, J, C\), got \(5, 12\)"):
        inputs.layer(ops.agcn)
    inputs.leaves[0] = torch.zeros(0, 5, C).double()
    with pytest.raises(ValueError, match="two rows"):
        inputs.layer(ops.agcn)


def test_empty_batch_at_inference():
    inputs = Inputs(0, 5, "shared", "concat")
    statistics = Statistics(torch.zeros(C).double(), torch.ones(C).double())
    output, _ = inputs.layer(ops.agcn, statistics=LayerStatistics(statistics, statistics))
    assert output.shape == (0, 5, C)
