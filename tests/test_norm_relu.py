import pytest
import torch

from ites_fast import ops, reference
from ites_fast.reference.norm_relu import EPS, Norm, Statistics

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


KERNEL_SHAPES = [(2, 1, 32), (3, 17, 32), (7, 25, 64), (5, 16, 96), (70, 1), (1, 5, 130)]


@pytest.mark.parametrize("shape", KERNEL_SHAPES)
def test_kernels_match_reference(shape, kernel_device):
    from ites_fast.kernels.norm_relu import norm_relu_bwd, norm_relu_fwd

    truth = [tensor.requires_grad_() for tensor in inputs(shape, kernel_device)]
    ours = [tensor.detach().float() for tensor in truth]
    expected, expected_statistics = reference.norm_relu(truth[0], Norm(*truth[1:]))
    output, mean, var = norm_relu_fwd(*ours, EPS)
    torch.testing.assert_close(output, expected.float())
    torch.testing.assert_close((mean, var), tuple(s.detach().float() for s in expected_statistics))
    grad_output = torch.randn_like(expected)
    expected_grads = [grad.float() for grad in torch.autograd.grad(expected, truth, grad_output)]
    grads = norm_relu_bwd(grad_output.float(), ours[0], mean, var, *ours[1:], EPS)
    # with two rows the gradient of the features is a difference of equal numbers
    tolerance = {"rtol": 1e-4, "atol": 1e-5 if truth[0].numel() > 2 * shape[-1] else 1e-4}
    torch.testing.assert_close(list(grads), expected_grads, **tolerance)
    centred = ours[0] - mean
    grads_of_centred = norm_relu_bwd(grad_output.float(), centred, None, var, *ours[1:], EPS)
    torch.testing.assert_close(list(grads_of_centred), expected_grads, **tolerance)


def test_kernels_merge_ranges_with_a_large_mean(kernel_device, monkeypatch):
    """Ranges of several blocks of rows, the last of them ragged, and several ranges merged at once."""
    from ites_fast.kernels import batch_statistics
    from ites_fast.kernels.norm_relu import norm_relu_bwd, norm_relu_fwd

    monkeypatch.setattr(batch_statistics, "MAX_PROGRAMS", 3)
    features, scale, shift = inputs((211, 32), kernel_device)
    truth = (features + 30).requires_grad_()
    expected, statistics = reference.norm_relu(truth, Norm(scale, shift))
    norm = scale.float(), shift.float()
    output, mean, var = norm_relu_fwd(truth.detach().float(), *norm, EPS)
    torch.testing.assert_close(mean, statistics.mean.detach().float())
    torch.testing.assert_close(var, statistics.var.detach().float(), rtol=2e-6, atol=0)
    torch.testing.assert_close(output, expected.detach().float(), rtol=1e-4, atol=1e-5)
    grad_output = torch.randn_like(expected)
    (expected_grad,) = torch.autograd.grad(expected, truth, grad_output)
    grad, _, _ = norm_relu_bwd(grad_output.float(), truth.detach().float(), mean, var, *norm, EPS)
    torch.testing.assert_close(grad, expected_grad.float(), rtol=1e-4, atol=1e-4)


def test_kernel_centres_in_place(kernel_device):
    from ites_fast.kernels.norm_relu import normalise_relu

    features, scale, shift = (tensor.float() for tensor in inputs((5, 3, 40), kernel_device))
    statistics = Statistics(features[0, 0].clone(), scale.square())
    expected, _ = reference.norm_relu(features, Norm(scale, shift), statistics)
    centred = features - statistics.mean
    output = normalise_relu(features, *statistics, scale, shift, EPS, centre=True)
    torch.testing.assert_close(output, expected)
    torch.testing.assert_close(features, centred, rtol=0, atol=0)


def test_kernels_repeat_their_bits_and_pass_nan_on(kernel_device):
    from ites_fast.kernels.norm_relu import norm_relu_bwd, norm_relu_fwd

    features, scale, shift = (tensor.float() for tensor in inputs((50, 40), kernel_device))
    features[3, 1] = float("nan")
    runs = []
    for _ in range(2):
        output, mean, var = norm_relu_fwd(features, scale, shift, EPS)
        grads = norm_relu_bwd(torch.ones_like(output), features, mean, var, scale, shift, EPS)
        runs.append([output, mean, var, *grads])
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0, equal_nan=True)
    spoilt = torch.arange(40, device=features.device) == 1
    for tensor in runs[0][:-1]:  # the gradient of the shift does not see the features
        assert torch.equal(tensor.isnan(), spoilt.expand(tensor.shape))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA: the interpreter gets bfloat16 wrong")
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_on_cuda(dtype):
    truth = [tensor.to(dtype).double().requires_grad_() for tensor in inputs((64, 17, 128), "cuda")]
    expected, _ = reference.norm_relu(truth[0], Norm(*truth[1:]))
    grad_output = torch.randn_like(expected).to(dtype)
    expected_grads = torch.autograd.grad(expected, truth, grad_output.double())
    errors = []
    for function in (reference.norm_relu, ops.norm_relu):
        leaves = [tensor.detach().to(dtype).requires_grad_() for tensor in truth]
        output, _ = function(leaves[0], Norm(*leaves[1:]))
        grads = torch.autograd.grad(output, leaves, grad_output)
        pairs = zip((output, *grads), (expected, *expected_grads), strict=True)
        errors.append([(ours - true).abs().max() for ours, true in pairs])
    for eager, ours in zip(*errors, strict=True):
        assert ours <= 2 * eager + 1e-3
