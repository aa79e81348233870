import pytest
import torch

from ites_fast import ops, reference
from ites_fast.reference.norm_relu import Norm, Statistics

SHAPES = [(2, 1), (1, 2, 3), (3, 16, 5), (7, 17, 128), (64, 25, 32)]


def inputs(shape, device="cpu"):
    generator = torch.Generator().manual_seed(sum(shape))
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(device)  # noqa: E731
    return 2 * draw(*shape) + 1, draw(shape[-1]), draw(shape[-1])


@pytest.mark.parametrize("shape", SHAPES)
def test_op_matches_reference(shape, device):
    truth = [tensor.requires_grad_() for tensor in inputs(shape, device)]
    ours = [tensor.detach().float().requires_grad_() for tensor in truth]
    expected, expected_statistics = reference.norm_relu(truth[0], Norm(*truth[1:]))
    output, statistics = ops.norm_relu(ours[0], Norm(*ours[1:]))
    torch.testing.assert_close(output, expected.float())
    torch.testing.assert_close(statistics, Statistics(*(s.detach().float() for s in expected_statistics)))
    grad_output = torch.randn_like(expected)
    expected.backward(grad_output)
    output.backward(grad_output.float())
    # with two rows the gradient of the features is a difference of equal numbers
    tolerance = {"rtol": 1e-4, "atol": 1e-5 if len(shape) == 3 else 1e-4}
    for tensor, true_tensor in zip(ours, truth, strict=True):
        torch.testing.assert_close(tensor.grad, true_tensor.grad.float(), **tolerance)


def test_reference_is_pytorchs_batch_norm():
    features, scale, shift = inputs((9, 17, 6))
    expected = torch.nn.functional.batch_norm(features.mT, None, None, scale, shift, training=True).mT
    output, statistics = reference.batch_norm(features, Norm(scale, shift))
    torch.testing.assert_close(output, expected)
    inference, _ = reference.batch_norm(features[:2], Norm(scale, shift), statistics)
    torch.testing.assert_close(inference, expected[:2])


def test_given_statistics():
    features, scale, shift = inputs((4, 17, 6))
    statistics = Statistics(torch.randn(6).double(), torch.rand(6).double())
    output, returned = ops.norm_relu(features, Norm(scale, shift), statistics)
    torch.testing.assert_close(output, reference.norm_relu(features, Norm(scale, shift), statistics)[0])
    assert returned is statistics


def test_gradient():
    tensors = [tensor.requires_grad_() for tensor in inputs((3, 4, 2))]
    for function in (reference.norm_relu, ops.norm_relu):
        assert torch.autograd.gradcheck(lambda x, *norm: function(x, Norm(*norm))[0], tensors)  # noqa: B023


def test_a_large_mean_keeps_its_precision():
    features, scale, shift = inputs((64, 17, 8))
    truth = (features + 30).requires_grad_()
    ours = truth.detach().float().requires_grad_()
    weight = torch.randn_like(features)
    (reference.norm_relu(truth, Norm(scale, shift))[0] * weight).sum().backward()
    (ops.norm_relu(ours, Norm(scale.float(), shift.float()))[0] * weight.float()).sum().backward()
    # rounding of the input itself moves the gradient by about 15 times its unit
    torch.testing.assert_close(ours.grad, truth.grad.float(), rtol=1e-4, atol=1e-4)


def test_non_contiguous_features(device):
    features, scale, shift = inputs((5, 17, 6), device)
    output, _ = ops.norm_relu(features.mT.contiguous().mT, Norm(scale, shift))
    torch.testing.assert_close(output, reference.norm_relu(features, Norm(scale, shift))[0])


def test_op_registration(device):
    tensors = [tensor.requires_grad_() for tensor in inputs((3, 5, 4), device)]
    torch.library.opcheck(torch.ops.ites_fast.norm_relu.default, tuple(tensors))


@pytest.mark.parametrize("shape", [(0, 17, 4), (1, 1, 4)])
def test_too_few_rows(shape):
    with pytest.raises(ValueError, match="two rows"):
        ops.norm_relu(torch.zeros(shape), Norm(torch.ones(4), torch.zeros(4)))
