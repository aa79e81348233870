import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (3, 16, 5), (17, 17, 32), (2, 25, 8), (5, 2, 3), (0, 17, 4)]  # (B, J, D)


def inputs(B, J, D, device="cpu"):
    generator = torch.Generator().manual_seed(B + 10 * J + 100 * D)
    joint = torch.arange(J)
    adjacency = (joint[:, None] - joint).abs() <= 1
    adjacency[0, -1] = True  # not symmetric
    features = torch.randn(B, J, D, generator=generator, dtype=torch.float64)
    mixing = torch.randn(D, J, J, generator=generator, dtype=torch.float64)
    return features.to(device), mixing.to(device), adjacency.to(device)


@pytest.mark.parametrize(("B", "J", "D"), SHAPES)
def test_op_matches_reference(B, J, D, device):
    features, mixing, adjacency = inputs(B, J, D, device)
    truth = [features.requires_grad_(), mixing.requires_grad_()]
    ours = [tensor.detach().float().requires_grad_() for tensor in truth]
    expected, output = reference.channel_mix(*truth, adjacency), ops.channel_mix(*ours, adjacency)
    torch.testing.assert_close(output, expected.float())
    grad_output = torch.randn_like(expected)
    expected.backward(grad_output)
    output.backward(grad_output.float())
    for tensor, true_tensor in zip(ours, truth, strict=True):
        torch.testing.assert_close(tensor.grad, true_tensor.grad.float(), rtol=1e-4, atol=1e-5)


def test_definition():
    features, mixing, adjacency = inputs(3, 5, 2)
    expected = torch.zeros_like(features)
    for i, j in adjacency.nonzero().tolist():
        for d in range(2):
            expected[:, i, d] += mixing[d, i, j] * features[:, j, d]
    torch.testing.assert_close(ops.channel_mix(features, mixing, adjacency), expected)


@pytest.mark.parametrize("function", [reference.channel_mix, ops.channel_mix])
def test_gradient(function):
    features, mixing, adjacency = inputs(3, 4, 2)
    leaves = (features.requires_grad_(), mixing.requires_grad_())
    assert torch.autograd.gradcheck(lambda *leaves: function(*leaves, adjacency), leaves)


def test_non_contiguous_features(device):
    features, mixing, adjacency = inputs(4, 17, 6, device)
    wide = torch.cat([features, features], dim=2)[:, :, :6]
    torch.testing.assert_close(
        ops.channel_mix(wide, mixing.mT.contiguous().mT, adjacency), reference.channel_mix(features, mixing, adjacency)
    )


def test_op_registration(device):
    features, mixing, adjacency = inputs(3, 5, 4, device)
    torch.library.opcheck(
        torch.ops.ites_fast.channel_mix.default, (features.requires_grad_(), mixing.requires_grad_(), adjacency)
    )


def test_rejects_other_shapes():
    features, mixing, adjacency = inputs(3, 5, 4)
    with pytest.raises(ValueError, match=r"features must be \(B, J, D\), got \(5, 4\)"):
        ops.channel_mix(features[0], mixing, adjacency)
    with pytest.raises(ValueError, match=r"mixing must be \(4, 5, 5\) for features \(3, 5, 4\), got \(5, 5\)"):
        ops.channel_mix(features, mixing[0], adjacency)
    with pytest.raises(ValueError, match=r"adjacency must be boolean \(5, 5\), got torch.float64 \(5, 5\)"):
        ops.channel_mix(features, mixing, mixing[0])
