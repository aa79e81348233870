"""The teacher: sizes, the two variants, and poses that are combinations of its dictionary."""

import pytest
import torch

from ites_fast.models import Teacher
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
