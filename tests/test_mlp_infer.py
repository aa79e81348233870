"""Fully connected residual networks as one operator: every implementation against the reference in float64."""

import pytest
import torch
from torch import nn

from ites_fast import ops, reference
from ites_fast.extension import extension
from ites_fast.models import DepthMLP, PackedMLP, RobustMLP
from ites_fast.reference.mlp_infer import mlp_shapes
from ites_fast.reference.panels import PANEL, from_panels, join_parts, split_parts, to_panels
from ites_fast.skeleton import H36M_17

SHAPES = [  # poses, inputs, width, layers, outputs: tiles and blocks of poses that are not full
    (1, 34, 512, 4, 17),
    (1, 51, 96, 2, 51),
    (7, 51, 480, 2, 51),
    (2, 3, 16, 0, 1),
    (101, 5, 48, 2, 20),
    (13, 34, 144, 6, 16),
]


def make(inputs, width, layers, outputs, dtype=torch.float32):
    """Weights and head of a network."""
    source = torch.Generator().manual_seed(1)
    shapes, head_shapes = mlp_shapes(inputs, width, layers, outputs)
    weights = join_parts([torch.randn(shape, generator=source) * shape[-2] ** -0.5 for shape in shapes]).to(dtype)
    return weights, join_parts([0.5 * torch.randn(shape, generator=source) for shape in head_shapes])


def features_of(B, inputs):
    return torch.randn(B, inputs, generator=torch.Generator().manual_seed(0))


def run_extension(features, weights, head, width, layers, outputs, instruction_set="", threads=1):
    result = features.new_empty(len(features), outputs)
    extension.mlp_infer_cpu(
        features=features.data_ptr(),
        weights=weights.data_ptr(),
        head=head.data_ptr(),
        poses=len(features),
        inputs=features.shape[1],
        width=width,
        layers=layers,
        outputs=outputs,
        half_weights=weights.dtype == torch.float16,
        result=result.data_ptr(),
        threads=threads,
        instruction_set=instruction_set,
    )
    return result


def truth_of(features, weights, head, *sizes):
    return reference.mlp_infer(features.double(), weights, head.double(), *sizes)


def assert_close(actual, truth):
    torch.testing.assert_close(actual.double(), truth, rtol=0, atol=3e-6 * max(1, truth.abs().max().item()))


needs_extension = pytest.mark.skipif(extension is None, reason="ites_fast._C was not compiled")
instruction_sets = pytest.mark.parametrize(
    "instruction_set", extension.supported_instruction_sets() if extension is not None else []
)
dtypes = pytest.mark.parametrize("dtype", [torch.float32, torch.float16])


def network(kind=DepthMLP, **options):
    """A network in eval mode whose every number matters."""
    made, source = kind(H36M_17, **{"width": 32, "blocks": 1, **options}), torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=source)
        for module in made.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(generator=source)
                module.running_var.uniform_(0.5, 4, generator=source)
    return made.eval()


def test_panels():
    matrix = torch.arange(2.0 * 3 * 20).view(2, 3, 20)
    panels = to_panels(matrix)
    assert panels.shape == (2, 2, 3, PANEL)
    assert torch.equal(panels[1, 0, 2], matrix[1, 2, :PANEL])
    assert torch.equal(from_panels(panels)[..., :20], matrix)
    assert not from_panels(panels)[..., 20:].any()
    joined = join_parts([matrix, panels, torch.ones(1)])
    assert joined.numel() % PANEL == 0
    parts = split_parts(joined, [matrix.shape, panels.shape, (1,)])
    assert all(torch.equal(part, value) for part, value in zip(parts, [matrix, panels, torch.ones(1)], strict=True))
    assert all(part.storage_offset() % PANEL == 0 for part in parts)


@pytest.mark.parametrize("options", [{"width": 24, "blocks": 2}, {"dropout": 0.5, "roll": True}, {"blocks": 0}])
def test_reference_is_the_depth_network(options):
    made = network(DepthMLP, **options).double()
    pose_2d = features_of(5, 34).double().view(5, 17, 2)
    depth = PackedMLP(made)(pose_2d)
    torch.testing.assert_close(depth, made(pose_2d), rtol=1e-10, atol=1e-10)
    assert (depth[:, H36M_17.root] == 0).all()


@pytest.mark.parametrize("visible", [None, features_of(5, 17) > 0])
def test_reference_is_the_correcting_network(visible):
    made = network(RobustMLP, width=24, blocks=2).double()
    pose_2d = features_of(5, 34).double().view(5, 17, 2)
    expected = made(pose_2d, visible)
    torch.testing.assert_close(tuple(PackedMLP(made)(pose_2d, visible)), tuple(expected), rtol=1e-10, atol=1e-10)


@needs_extension
@instruction_sets
@dtypes
@pytest.mark.parametrize(("B", "inputs", "width", "layers", "outputs"), SHAPES)
def test_kernel_matches_reference(B, inputs, width, layers, outputs, dtype, instruction_set):
    features, sizes = features_of(B, inputs), (width, layers, outputs)
    weights, head = make(inputs, *sizes, dtype)
    actual = run_extension(features, weights, head, *sizes, instruction_set)
    assert_close(actual, truth_of(features, weights, head, *sizes))


@needs_extension
@instruction_sets
@dtypes
def test_threads_and_neighbours_do_not_change_bits(dtype, instruction_set):
    features, sizes = features_of(333, 51), (144, 2, 20)
    weights, head = make(51, *sizes, dtype)
    one, two, many = (run_extension(features, weights, head, *sizes, instruction_set, n) for n in (1, 2, 7))
    assert torch.equal(one, two)
    assert torch.equal(one, many)
    alone = [run_extension(each, weights, head, *sizes, instruction_set) for each in features[:99].split(1)]
    assert torch.equal(torch.cat(alone), one[:99])


@needs_extension
@instruction_sets
@pytest.mark.parametrize("B", [1, 20])
def test_half_weights_are_the_same_numbers(B, instruction_set):
    """Also the smallest and the greatest of them, and those that are not finite."""
    features, sizes = features_of(B, 51), (48, 2, 20)
    weights, head = make(51, *sizes, torch.float16)
    weights[::5] *= 2.0**-12
    weights[3::50] = 2.0**-24
    weights[4::50] = -65504
    bits = run_extension(features, weights, head, *sizes, instruction_set)
    assert torch.equal(bits, run_extension(features, weights.float(), head, *sizes, instruction_set))
    for bad in (torch.inf, torch.nan):
        weights[:16] = bad
        spoilt = [run_extension(features, each, head, *sizes, instruction_set) for each in (weights, weights.float())]
        assert not spoilt[0].isfinite().all()
        torch.testing.assert_close(*spoilt, rtol=0, atol=0, equal_nan=True)


@needs_extension
@instruction_sets
@dtypes
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_spoils_its_own_pose_only(bad, dtype, instruction_set):
    features, sizes = features_of(21, 51), (48, 2, 20)
    weights, head = make(51, *sizes, dtype)
    good = run_extension(features, weights, head, *sizes, instruction_set)
    features[[2, 11, 20], [0, 7, 50]] = bad
    result = run_extension(features, weights, head, *sizes, instruction_set)
    spoilt = [2, 11, 20]
    assert not result[spoilt].isfinite().any()
    kept = [i for i in range(21) if i not in spoilt]
    assert torch.equal(result[kept], good[kept])


@dtypes
@pytest.mark.parametrize(("B", "inputs", "width", "layers", "outputs"), [*SHAPES, (0, 34, 16, 2, 17)])
def test_op_matches_reference(B, inputs, width, layers, outputs, dtype, device):
    features, sizes = features_of(B, inputs), (width, layers, outputs)
    weights, head = make(inputs, *sizes, dtype)
    result = ops.mlp_infer(features.to(device).mT.contiguous().mT, weights.to(device), head.to(device), *sizes)
    assert result.shape == (B, outputs)
    assert_close(result.cpu(), truth_of(features, weights, head, *sizes)) if B else None


def test_op_registration(device):
    weights, head = (each.to(device) for each in make(34, 32, 2, 17))
    arguments = (features_of(3, 34).to(device), weights, head, 32, 2, 17)
    torch.library.opcheck(torch.ops.ites_fast.mlp_infer.default, arguments)


def test_compiles():
    packed, pose_2d = PackedMLP(network(RobustMLP)), features_of(5, 34).view(5, 17, 2)
    compiled = torch.compile(packed, fullgraph=True, backend="aot_eager")
    assert all(torch.equal(*each) for each in zip(compiled(pose_2d), packed(pose_2d), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(3, 17, 2)}, r"features must be \(B, F\), floating point, got .* \(3, 17, 2\)"),
        ({"features": torch.zeros(3, 34, dtype=torch.int64)}, "features must be .* got torch.int64"),
        ({"features": torch.zeros(3, 16)}, "weights must be .* for 16 inputs, width 32, 2 layers and 17 outputs, got"),
        ({"features": torch.zeros(3, 34).double()}, "weights must be torch.float64 or torch.float16 on cpu"),
        ({"weights": torch.zeros(1)}, r"weights must be .* got \(1,\)"),
        ({"head": torch.zeros(1)}, r"head must be .* got \(1,\)"),
        ({"width": 24}, "width must be a multiple of 16 and layers even, got 24 and 2"),
        ({"layers": 1}, "width must be a multiple of 16 and layers even, got 32 and 1"),
        ({"outputs": 0}, "outputs must be positive, got 0"),
        ({"outputs": 33}, "head must be .* and 33 outputs, got"),
    ],
)
def test_wrong_arguments(change, message):
    weights, head = make(34, 32, 2, 17)
    arguments = {"features": features_of(3, 34), "weights": weights, "head": head}
    with pytest.raises(ValueError, match=message):
        ops.mlp_infer(**{**arguments, "width": 32, "layers": 2, "outputs": 17, **change})
