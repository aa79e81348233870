"""The teacher: sizes, the two variants, and poses that are combinations of its dictionary."""

import pytest
import torch

from ites_fast.models import C3DPO, AdaptiveGCN, Teacher
from ites_fast.skeleton import H36M_17


@pytest.fixture
def pose_2d():
    return 0.1 * torch.randn(8, 17, 2, generator=torch.Generator().manual_seed(0))


def small(variant="paper"):
    torch.manual_seed(0)
    return Teacher(H36M_17, variant, atoms=5, blocks=2, width=32, bottleneck=8)


def test_the_paper_size_is_the_published_one():
    """The release has 3,621,543 parameters; its translation head, and biases before batch norms, have no effect."""
    teacher = Teacher(H36M_17, "official")
    translation_head = 1024 + 1
    biases_before_batch_norm = 1024 + 6 * (256 + 256 + 1024)
    assert sum(p.numel() for p in teacher.parameters()) == 3_621_543 - translation_head - biases_before_batch_norm


def test_the_pose_is_the_canonical_one_in_the_camera_view(pose_2d):
    output = small().eval()(pose_2d)
    assert output.canonical.shape == output.pose_3d.shape == (8, 17, 3)
    turned = torch.stack([canonical @ R.T for canonical, R in zip(output.canonical, output.rotation, strict=True)])
    torch.testing.assert_close(output.pose_3d, turned)
    teacher = small().eval()
    coefficients = teacher.coefficients(teacher.trunk(pose_2d.reshape(8, 34)))  # x and y of a joint side by side
    torch.testing.assert_close(output.canonical.flatten(1), coefficients @ teacher.dictionary.weight.T)
    torch.testing.assert_close(torch.linalg.det(output.rotation), torch.ones(8))


def test_canonical_poses_span_the_dictionary():
    """Without a mean pose, 40 canonical poses have the rank of the dictionary; with one, differences have."""
    pose_2d = torch.randn(40, 17, 2, generator=torch.Generator().manual_seed(1))
    paper = small("paper").double().eval()(pose_2d.double()).canonical.flatten(1)
    assert torch.linalg.matrix_rank(paper, rtol=1e-10) == 5
    teacher = small("official").double().eval()
    torch.nn.init.normal_(teacher.dictionary.bias)
    official = teacher(pose_2d.double()).canonical.flatten(1)
    assert torch.linalg.matrix_rank(official, rtol=1e-10) == 6
    assert torch.linalg.matrix_rank(official[1:] - official[:1], rtol=1e-10) == 5


def test_gradients_reach_every_parameter(pose_2d):
    teacher = small("official").train()
    (teacher(pose_2d).pose_3d - 1).square().sum().backward()
    for name, parameter in teacher.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_an_unknown_variant_is_refused():
    with pytest.raises(ValueError, match="variant must be one of paper, official, got 'new'"):
        Teacher(H36M_17, "new")


@pytest.mark.parametrize("variant", ["paper", "official"])
def test_features_of_graph_convolutions(pose_2d, variant):
    """The trunk is the student without its output layer: the same features, joints side by side."""
    torch.manual_seed(0)
    teacher = Teacher(H36M_17, atoms=5, blocks=2, features="agcn", channels=8, graph_variant=variant).eval()
    student = AdaptiveGCN(H36M_17, variant, channels=8, blocks=2).eval()
    missing, unexpected = student.load_state_dict(teacher.trunk.state_dict(), strict=False)
    assert unexpected == []
    assert all(name.startswith("output_layer.") for name in missing)
    features = student.features(pose_2d, student.mixing_matrices())
    assert features.shape == (8, 17, 8)
    torch.testing.assert_close(teacher.trunk(pose_2d), features.flatten(1))
    output = teacher(pose_2d)
    assert output.canonical.shape == output.pose_3d.shape == (8, 17, 3)
    expected = features.flatten(1) @ teacher.coefficients.weight.T + teacher.coefficients.bias
    torch.testing.assert_close(output.canonical.flatten(1), expected @ teacher.dictionary.weight.T)


def test_canonicalisation_reads_all_of_a_pose_and_answers_in_the_dictionary(pose_2d):
    torch.manual_seed(0)
    network = C3DPO(H36M_17, "paper", atoms=5, blocks=1, width=32, bottleneck=8).double().eval()
    poses = torch.randn(40, 17, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    canonical = network.canonicalize(poses)
    assert canonical.shape == (40, 17, 3)
    assert torch.linalg.matrix_rank(canonical.flatten(1), rtol=1e-10) == 5
    gradient = torch.autograd.functional.jacobian(lambda p: network.canonicalize(p).sum(), poses[:1])
    assert (gradient != 0).all()
    assert (network.canonicalize(-poses) - canonical).abs().max() > 1e-3 * canonical.abs().max()
    # lifting does not use it
    before = network(pose_2d.double())
    torch.nn.init.zeros_(network.canonicalizer[-1].weight)
    torch.testing.assert_close(network(pose_2d.double()).pose_3d, before.pose_3d)


@pytest.mark.parametrize("features", ["resfc", "agcn"])
def test_gradients_reach_every_parameter_of_the_variants(pose_2d, features):
    torch.manual_seed(0)
    network = C3DPO(H36M_17, "official", atoms=4, blocks=1, width=16, bottleneck=8, features=features, channels=8)
    output = network.train()(pose_2d)
    ((output.pose_3d - 1).square().sum() + network.canonicalize(output.canonical).square().sum()).backward()
    for name, parameter in network.named_parameters():
        # a bias before a batch norm has no effect; the inner norm that starts at zero hides what stands before it
        hidden = features == "agcn" and (".physical.bias" in name or ".nonphysical." in name)
        assert parameter.grad is not None, name
        assert hidden or parameter.grad.abs().sum() > 0, name


def test_unknown_features_are_refused():
    with pytest.raises(ValueError, match="features must be one of resfc, agcn, got 'mlp'"):
        Teacher(H36M_17, features="mlp")
