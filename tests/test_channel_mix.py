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


@pytest.mark.parametrize(
    ("B", "J", "D"), [(1, 1, 1), (2, 16, 5), (2, 17, 32), (1, 25, 8), (3, 2, 3), (0, 17, 4), (1, 32, 8), (2, 3, 130)]
)
def test_kernels_match_reference(B, J, D, kernel_device):
    from ites_fast.kernels.channel_mix import channel_mix_bwd, channel_mix_fwd, joints_first

    features, mixing, adjacency = inputs(B, J, D, kernel_device)
    truth = [features.requires_grad_(), mixing.requires_grad_()]
    features, weights = features.detach().float(), joints_first(mixing.detach().float())
    expected = reference.channel_mix(*truth, adjacency)
    torch.testing.assert_close(channel_mix_fwd(features, weights, adjacency), expected.float())
    grad_output = torch.randn(expected.shape, dtype=torch.float64, device=kernel_device)
    expected_grads = [grad.float() for grad in torch.autograd.grad(expected, truth, grad_output)]
    grads = [
        channel_mix_fwd(grad_output.float(), weights, adjacency, transposed=True),
        channel_mix_bwd(grad_output.float(), features, adjacency),
    ]
    torch.testing.assert_close(grads, expected_grads, rtol=1e-4, atol=1e-5)


def test_kernels_take_columns_and_several_ranges(kernel_device, monkeypatch):
    from ites_fast.kernels import channel_mix as kernels

    monkeypatch.setattr(kernels, "MAX_RANGES", 2)
    features, mixing, adjacency = (t.float() if t.is_floating_point() else t for t in inputs(5, 3, 4, kernel_device))
    wide = torch.randn(5, 3, 11, device=kernel_device)
    wide[..., 2:6], others = features, wide.clone()
    expected = reference.channel_mix(features, mixing, adjacency)
    kernels.channel_mix_fwd(wide[..., 2:6], kernels.joints_first(mixing), adjacency, output=others[..., 7:])
    torch.testing.assert_close(others[..., 7:], expected)
    torch.testing.assert_close(others[..., :2], wide[..., :2], rtol=0, atol=0)
    expected = torch.einsum("bid,bjd->dij", features, features) * adjacency
    torch.testing.assert_close(kernels.channel_mix_bwd(features, wide[..., 2:6], adjacency), expected)


def test_kernels_confine_nan_to_its_pose_and_repeat_their_bits(kernel_device):
    from ites_fast.kernels.channel_mix import channel_mix_bwd, channel_mix_fwd, joints_first

    features, mixing, adjacency = (t.float() if t.is_floating_point() else t for t in inputs(3, 17, 8, kernel_device))
    weights = joints_first(mixing)
    gradient = channel_mix_bwd(features, features, adjacency)
    assert torch.equal(gradient, channel_mix_bwd(features, features, adjacency))
    clean = channel_mix_fwd(features, weights, adjacency)
    features[1, 4] = float("nan")
    output = channel_mix_fwd(features, weights, adjacency)
    assert torch.equal(output[::2], clean[::2])
    assert output[1].isnan().any()
