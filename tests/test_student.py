import pytest
import torch
from torch import nn

from ites_fast.models import AdaptiveGCN
from ites_fast.models.student import joint_order, skeleton_adjacency
from ites_fast.skeleton import H36M_17, Skeleton

# followed by a batch norm
CANCELLED = (".physical.bias", ".output.bias", ".nonphysical.norm.bias")


def chain(J):
    """A skeleton of J joints in a row."""
    return Skeleton(f"chain_{J}", tuple(f"joint_{j}" for j in range(J)), tuple(range(-1, J - 1)), (), (), J - 1)


def disturbed(network):
    """Move every parameter off its initial value: zeros and ones would hide mistakes."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += (0.3 if "norm" in name else 0.1) * torch.randn(parameter.shape, generator=generator)
    return network


def poses(B=8, J=17, dtype=torch.float64):
    return torch.randn(B, J, 2, generator=torch.Generator().manual_seed(0), dtype=dtype)


def batch_norm(values, weight, bias):
    """Over the first two dimensions, by the definition."""
    centred = values - values.mean(dim=(0, 1))
    return weight * centred / (centred.square().mean(dim=(0, 1)) + 1e-5).sqrt() + bias


def physical_by_definition(x, state, name):
    """One edge matrix; a joint and its neighbours have own weights. Joint by joint."""
    edges = skeleton_adjacency(H36M_17).nonzero().tolist()
    weights = dict(zip(map(tuple, edges), state[f"{name}.edge_weights"], strict=True))
    columns = []
    for i in range(17):
        neighbours = [j for a, j in edges if a == i]
        total = sum(weights[i, j].exp() for j in neighbours)
        column = state[f"{name}.bias"]
        for j in neighbours:
            weight = state[f"{name}.self_weight" if i == j else f"{name}.neighbour_weight"]
            column = column + weights[i, j].exp() / total * (x[:, j] @ weight)
        columns.append(column)
    return torch.stack(columns, dim=1)


def nonphysical_by_definition(x, state, name):
    """Affinity of a joint and a pair of joints from their concatenated features. Joint by joint."""

    def project(kind, joint):
        return x[:, joint] @ state[f"{name}.{kind}.weight"].T + state[f"{name}.{kind}.bias"]

    pairs = [group for group in H36M_17.pair_groups if len(group) == 2]
    columns = []
    for i in range(17):
        column = 0
        for a, b in pairs:
            key, value = (torch.maximum(project(kind, a), project(kind, b)) for kind in ("key", "value"))
            affinity = torch.cat([project("query", i), key], dim=1) @ state[f"{name}.affinity_weight"]
            column = column + affinity.relu()[:, None] / len(pairs) * value
        columns.append(column @ state[f"{name}.output.weight"].T + state[f"{name}.output.bias"])
    aggregated = torch.stack(columns, dim=1)
    return batch_norm(aggregated, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]) + x


def student_by_definition(x, state, blocks):
    """The released network in training, from its formulas."""

    def layer(x, name, *graphs):
        mixed = sum(graph(x, state, f"{name}.{kind}") for kind, graph in graphs)
        return batch_norm(mixed, state[f"{name}.norm.weight"], state[f"{name}.norm.bias"]).relu()

    physical, nonphysical = ("physical", physical_by_definition), ("nonphysical", nonphysical_by_definition)
    x = layer(x, "input_layer", physical)
    for block in range(blocks):
        hidden = layer(x, f"blocks.{block}.0", physical, nonphysical)
        x = x + layer(hidden, f"blocks.{block}.1", physical, nonphysical)
    return physical_by_definition(x, state, "output_layer")[..., 0]


def test_official_student_is_its_formulas():
    student = disturbed(AdaptiveGCN(H36M_17, "official", channels=6, blocks=2).double())
    pose_2d = poses(5).requires_grad_()
    leaves = [pose_2d, *student.parameters()]
    expected = student_by_definition(pose_2d, dict(student.named_parameters()), blocks=2)
    depth = student(pose_2d)
    torch.testing.assert_close(depth, expected)
    weight = torch.randn_like(expected)
    # what a batch norm cancels has a gradient of rounding errors in the definition, and of zero in the student
    expected_grads = torch.autograd.grad(expected, leaves, weight, materialize_grads=True)
    torch.testing.assert_close(torch.autograd.grad(depth, leaves, weight), expected_grads, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-11), (torch.float32, 1e-5)])
def test_official_student_is_the_release(official, copy_weights, dtype, tolerance):
    """Outputs and every gradient in training, relative to the largest element of each tensor."""
    # in float32 some draws have an argument of a ReLU that rounds to the other sign in one of the two; these have not
    torch.manual_seed(0)
    theirs = disturbed(official.student(dtype))
    ours = AdaptiveGCN(H36M_17, "official").to(dtype)
    gradients = copy_weights(theirs, ours)
    generator = torch.Generator().manual_seed(2)
    pose_2d = torch.randn(128, 17, 2, generator=generator).to(dtype)
    weight = torch.randn(128, 17, generator=generator).to(dtype)
    their_pose, our_pose = pose_2d.clone().requires_grad_(), pose_2d.clone().requires_grad_()
    expected, depth = theirs.predict(their_pose)[..., 0], ours(our_pose)
    (expected * weight).mean().backward()
    (depth * weight).mean().backward()
    compared = [("depth", expected, depth), ("pose_2d", their_pose.grad, our_pose.grad), *gradients()]
    largest_gradient = max(grad.abs().max() for _, grad, _ in compared[1:])
    for name, their_value, our_value in compared:
        # what a batch norm cancels has a gradient of rounding errors
        scale = largest_gradient if name.endswith(CANCELLED) else their_value.abs().max()
        difference = (their_value - our_value).abs().max() / scale
        assert difference < tolerance, f"{name} differs by {difference:.1e} of its largest element"

    theirs.eval(), ours.eval()
    with torch.no_grad():
        torch.testing.assert_close(
            ours(pose_2d), theirs.predict(pose_2d)[..., 0], rtol=tolerance, atol=tolerance * expected.abs().max().item()
        )


def test_official_initialisation_is_the_releases(official):
    """Standard deviation and mean of each kind of weight, over one network of each."""
    torch.manual_seed(0)
    theirs, ours = official.student(), AdaptiveGCN(H36M_17, "official")
    assert sum(p.numel() for p in ours.parameters()) == sum(p.numel() for p in theirs.parameters())
    their_layer, our_layer = theirs.gconv_layers[0].gconv1, ours.blocks[0][0]
    pairs = [
        (their_layer.gconv.W, torch.stack([our_layer.physical.self_weight, our_layer.physical.neighbour_weight])),
        (their_layer.gconv.bias, our_layer.physical.bias),
        (their_layer.non_local.non_local.W[0].weight, our_layer.nonphysical.output.weight),
        (their_layer.non_local.non_local.g[0].weight, our_layer.nonphysical.value.weight),
        (their_layer.non_local.non_local.concat_project[0].weight, our_layer.nonphysical.affinity_weight),
        (their_layer.non_local.non_local.W[1].weight, our_layer.nonphysical.norm.weight),
        (theirs.gconv_input[0].gconv.W, torch.stack([*ours.input_layer.physical.parameters()][1:3])),
        (theirs.gconv_output.W, torch.stack([*ours.output_layer.parameters()][1:3])),
    ]
    for their_weight, our_weight in pairs:
        torch.testing.assert_close(our_weight.std(), their_weight.std(), rtol=0.2, atol=0)
        torch.testing.assert_close(our_weight.abs().max(), their_weight.abs().max(), rtol=0.3, atol=0)


@pytest.mark.parametrize("J", [1, 2, 16, 17, 25])
@pytest.mark.parametrize("variant", ["paper", "official"])
def test_any_number_of_joints(variant, J):
    student = disturbed(AdaptiveGCN(chain(J), variant, channels=8, blocks=1))
    depth = student(poses(4, J, torch.float32))
    assert depth.shape == (4, J)
    depth.square().sum().backward()
    assert all(parameter.grad.isfinite().all() for parameter in student.parameters())


@pytest.mark.parametrize("graphs", ["both", "physical", "nonphysical"])
@pytest.mark.parametrize("edge_weights", ["per_channel", "shared"])
@pytest.mark.parametrize("affinity", ["softmax", "concat"])
def test_every_combination_trains_and_restores(graphs, edge_weights, affinity):
    options = {"channels": 8, "blocks": 1, "graphs": graphs, "edge_weights": edge_weights, "affinity": affinity}
    student = disturbed(AdaptiveGCN(H36M_17, **options))
    student(poses(4, dtype=torch.float32)).square().sum().backward()
    assert all(parameter.grad is not None for parameter in student.parameters())
    restored = AdaptiveGCN(H36M_17, **options)
    restored.load_state_dict(student.state_dict())
    pose_2d = poses(2, dtype=torch.float32)
    torch.testing.assert_close(restored.eval()(pose_2d), student.eval()(pose_2d), rtol=0, atol=0)


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_running_statistics_are_those_of_batch_norm(variant):
    """Against ``nn.BatchNorm1d`` on what it would see, with a momentum and as a plain average."""
    student = disturbed(AdaptiveGCN(H36M_17, variant, channels=8, blocks=1).double())
    layer = student.input_layer
    for momentum in (0.1, None):
        twin = nn.BatchNorm1d(8, momentum=momentum).double()
        layer.norm.reset_running_stats()
        layer.norm.momentum = momentum
        for seed in range(3):
            pose_2d = poses(4) + seed
            student(pose_2d)
            mixed = _before_norm(student, pose_2d)
            twin(mixed.flatten(0, 1))
        torch.testing.assert_close(layer.norm.running_mean, twin.running_mean)
        torch.testing.assert_close(layer.norm.running_var, twin.running_var)
        assert layer.norm.num_batches_tracked == 3


def _before_norm(student, pose_2d):
    physical = student.input_layer.physical
    mixing = student.mixing_matrices()[physical]
    x = pose_2d[:, student.order]
    if hasattr(physical, "weight"):
        return torch.einsum("dij,bjc,cd->bid", mixing, x, physical.weight).relu()
    own = torch.diag(mixing.diagonal())
    return own @ x @ physical.self_weight + (mixing - own) @ x @ physical.neighbour_weight + physical.bias


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_inference_with_the_statistics_of_the_batch_is_training(variant):
    student = disturbed(AdaptiveGCN(H36M_17, variant, channels=8, blocks=2).double())
    pose_2d = poses(16)
    for norm in (module for module in student.modules() if isinstance(module, nn.BatchNorm1d)):
        norm.momentum = 1.0
    expected = student(pose_2d)
    rows = 16 * 17
    for norm in (module for module in student.modules() if isinstance(module, nn.BatchNorm1d)):
        norm.running_var *= (rows - 1) / rows
    torch.testing.assert_close(student.eval()(pose_2d), expected)


def test_compiles():
    student = disturbed(AdaptiveGCN(H36M_17, "official", channels=8, blocks=1).double())
    pose_2d = poses(3)
    compiled = torch.compile(student, fullgraph=True, backend="aot_eager")
    parameters = list(student.parameters())
    torch.testing.assert_close(
        torch.autograd.grad(compiled(pose_2d).sin().sum(), parameters),
        torch.autograd.grad(student(pose_2d).sin().sum(), parameters),
    )


def test_joint_order_keeps_pairs_together():
    order = joint_order(H36M_17).tolist()
    assert sorted(order) == list(range(17))
    pairs = {tuple(order[i : i + 2]) for i in range(0, 16, 2)}
    assert pairs == {group for group in H36M_17.pair_groups if len(group) == 2}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "code"}, "variant must be one of paper, official, got 'code'"),
        ({"graphs": "none"}, "graphs must be one of both, physical, nonphysical, got 'none'"),
        ({"affinity": "dot"}, "affinity must be one of concat, softmax, got 'dot'"),
        ({"edge_weights": "all"}, "edge_weights must be one of shared, per_channel, got 'all'"),
    ],
)
def test_unknown_options(options, message):
    with pytest.raises(ValueError, match=message):
        AdaptiveGCN(H36M_17, **options)
