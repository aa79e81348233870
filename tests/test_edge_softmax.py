import importlib

import pytest
import torch

from ites_fast import ops, reference
from ites_fast.models.student import skeleton_adjacency
from ites_fast.skeleton import H36M_17

module = importlib.import_module("ites_fast.ops.edge_softmax")  # in ops, the name is the operator's
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def chain(J):
    """Adjacency of J joints in a row, with self-loops."""
    joint = torch.arange(J)
    return (joint[:, None] - joint).abs() <= 1


def weights(adjacency, *leading, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)
    return 3 * torch.randn(*leading, int(adjacency.sum()), generator=generator, dtype=dtype)


def test_human_skeleton_has_49_edges():
    assert skeleton_adjacency(H36M_17).sum() == 49


@pytest.mark.parametrize("leading", [(), (5,), (3, 4), (0,)])
@pytest.mark.parametrize("J", [1, 2, 16, 17, 25])
def test_op_matches_reference(J, leading, device):
    adjacency = chain(J).to(device)
    truth = weights(adjacency, *leading).to(device).requires_grad_()
    ours = truth.detach().float().requires_grad_()
    expected, mixing = reference.edge_softmax(truth, adjacency), ops.edge_softmax(ours, adjacency)
    torch.testing.assert_close(mixing, expected.float())
    grad_mixing = torch.randn_like(expected)
    expected.backward(grad_mixing)
    mixing.backward(grad_mixing.float())
    torch.testing.assert_close(ours.grad, truth.grad.float(), rtol=1e-4, atol=1e-5)


def test_definition():
    adjacency = skeleton_adjacency(H36M_17)
    edge_weights = weights(adjacency)
    expected = torch.zeros(17, 17, dtype=torch.float64)
    for weight, (i, j) in zip(edge_weights, adjacency.nonzero().tolist(), strict=True):
        expected[i, j] = weight.exp()
    expected /= expected.sum(dim=1, keepdim=True)
    torch.testing.assert_close(ops.edge_softmax(edge_weights, adjacency), expected)


def test_mixing_keeps_a_constant_feature():
    mixing = ops.edge_softmax(weights(chain(17), 6), chain(17))
    torch.testing.assert_close(mixing.sum(dim=-1), torch.ones(6, 17, dtype=torch.float64))
    assert (mixing[:, ~chain(17)] == 0).all()


def test_large_weights_do_not_overflow():
    mixing = ops.edge_softmax(1e4 * weights(chain(5), dtype=torch.float32), chain(5))
    assert mixing.isfinite().all()


@pytest.mark.parametrize("function", [reference.edge_softmax, ops.edge_softmax])
def test_gradient(function):
    adjacency = chain(4)
    assert torch.autograd.gradcheck(lambda e: function(e, adjacency), weights(adjacency, 2).requires_grad_())


def test_non_contiguous_weights():
    adjacency = chain(6)
    edge_weights = weights(adjacency, 3).mT.contiguous().mT
    torch.testing.assert_close(
        ops.edge_softmax(edge_weights, adjacency), reference.edge_softmax(edge_weights.contiguous(), adjacency)
    )


def test_op_registration(device):
    adjacency = chain(5).to(device)
    edge_weights = weights(adjacency, 2).to(device).requires_grad_()
    torch.library.opcheck(torch.ops.ites_fast.edge_softmax.default, (edge_weights, adjacency))


def test_op_compiles():
    adjacency = chain(5)
    edge_weights = weights(adjacency, 2).requires_grad_()
    compiled = torch.compile(lambda e: ops.edge_softmax(e, adjacency).sin().sum(), fullgraph=True, backend="aot_eager")
    (grad,) = torch.autograd.grad(compiled(edge_weights), edge_weights)
    (expected,) = torch.autograd.grad(reference.edge_softmax(edge_weights, adjacency).sin().sum(), edge_weights)
    torch.testing.assert_close(grad, expected)


@pytest.mark.parametrize("dim", [0, 1])
def test_vmap_over_models_and_over_gradients(dim):
    adjacency = chain(6)
    edge_weights = weights(adjacency, 3).movedim(0, dim).requires_grad_()
    mixing = torch.vmap(ops.edge_softmax, in_dims=(dim, None))(edge_weights, adjacency)
    expected = reference.edge_softmax(edge_weights.movedim(dim, 0), adjacency)
    torch.testing.assert_close(mixing, expected)
    directions = torch.rand(4, 3, 6, 6, dtype=torch.float64)
    grads = torch.autograd.grad(mixing, edge_weights, directions, is_grads_batched=True)
    expected_grads = torch.autograd.grad(expected, edge_weights, directions, is_grads_batched=True)
    torch.testing.assert_close(grads, expected_grads)
    with pytest.raises(ValueError, match="not over adjacencies"):
        torch.vmap(ops.edge_softmax)(edge_weights.movedim(dim, 0), adjacency.expand(3, 6, 6))


def test_edges_are_counted_once(monkeypatch):
    """Reading a number from a GPU waits for it. A change in place makes the count old."""
    adjacency, counts = chain(5), []
    edge_weights = weights(adjacency)
    count = torch.Tensor.sum
    monkeypatch.setattr(torch.Tensor, "sum", lambda self, *args: counts.append(self is adjacency) or count(self, *args))
    for _ in range(3):
        ops.edge_softmax(edge_weights, adjacency)
    assert counts == [True]
    adjacency[0, 4] = True
    with pytest.raises(ValueError, match=r"edge_weights must be \(..., 14\), one for each edge, got \(13,\)"):
        ops.edge_softmax(edge_weights, adjacency)
    with torch.inference_mode():
        changing = chain(5)
        ops.edge_softmax(edge_weights, changing)
        changing[0, 4] = True
        with pytest.raises(ValueError, match="14"):
            ops.edge_softmax(edge_weights, changing)


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"adjacency must be boolean \(J, J\), got torch.float32 \(5, 5\)"):
        ops.edge_softmax(torch.zeros(13), chain(5).float())
    with pytest.raises(ValueError, match="got a scalar"):
        ops.edge_softmax(torch.zeros(()), chain(5))
    with pytest.raises(ValueError, match=r"edge_weights must be \(..., 13\), one for each edge, got \(2, 12\)"):
        ops.edge_softmax(torch.zeros(2, 12), chain(5))


def kernels():
    return importlib.import_module("ites_fast.kernels.edge_softmax")


def random_skeleton(J):
    """Self-loops and any other edges."""
    generator = torch.Generator().manual_seed(J)
    return (torch.rand(J, J, generator=generator) < 0.3) | torch.eye(J, dtype=torch.bool)


@pytest.mark.parametrize("skeleton", [chain, random_skeleton])
@pytest.mark.parametrize("leading", [(), (5,), (2, 3)])
@pytest.mark.parametrize("J", [1, 2, 16, 17, 25, 32])
def test_kernels_match_reference(J, leading, skeleton, kernel_device):
    adjacency = skeleton(J)
    truth = weights(adjacency, *leading).requires_grad_()
    expected = reference.edge_softmax(truth, adjacency)
    grad_mixing = torch.randn(expected.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    (expected_grad,) = torch.autograd.grad(expected, truth, grad_mixing)
    adjacency = adjacency.to(kernel_device)
    mixing = kernels().edge_softmax_fwd(truth.detach().float().to(kernel_device), adjacency)
    torch.testing.assert_close(mixing.cpu(), expected.detach().float())
    assert (mixing[..., ~adjacency] == 0).all()
    arguments = grad_mixing.float().to(kernel_device), mixing, adjacency, truth.shape[-1]
    grad = kernels().edge_softmax_bwd(*arguments)
    torch.testing.assert_close(grad.cpu(), expected_grad.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(kernels().edge_softmax_bwd(*arguments), grad, rtol=0, atol=0)


def test_programs_with_many_matrices(kernel_device, monkeypatch):
    monkeypatch.setattr(kernels(), "MAX_PROGRAMS", 2)
    adjacency = chain(17).to(kernel_device)
    edge_weights = weights(adjacency, 5, dtype=torch.float32).to(kernel_device)
    mixing = kernels().edge_softmax_fwd(edge_weights, adjacency)
    torch.testing.assert_close(mixing, reference.edge_softmax(edge_weights, adjacency))
    grad = kernels().edge_softmax_bwd(mixing, mixing, adjacency, edge_weights.shape[-1])
    torch.testing.assert_close(grad, module._gradient(mixing, mixing, adjacency))


def test_kernels_with_extreme_weights(kernel_device):
    """A NaN stays in its row, large weights do not overflow, and an edge can be switched off."""
    adjacency = chain(5).to(kernel_device)
    edge_weights = 1e4 * weights(adjacency, 2, dtype=torch.float32).to(kernel_device)
    edge_weights[0, 2] = torch.nan  # from joint 0 to joint 1
    edge_weights[1, 0] = -torch.inf
    mixing = kernels().edge_softmax_fwd(edge_weights, adjacency)
    torch.testing.assert_close(mixing, reference.edge_softmax(edge_weights, adjacency), equal_nan=True)
    assert mixing.isnan().any(dim=-1).nonzero().tolist() == [[0, 1]]


def test_a_wrong_number_of_edges_reads_and_writes_nothing_else(kernel_device):
    """What a call does that could not be checked: the edges without a weight count as none."""
    adjacency = chain(5).to(kernel_device)
    beyond = torch.full((20,), 1e9, device=kernel_device)
    edge_weights = beyond[:10]
    edge_weights.zero_()
    mixing = kernels().edge_softmax_fwd(edge_weights, adjacency)
    first_ten = adjacency & (adjacency.flatten().cumsum(0).view(5, 5) <= 10)
    torch.testing.assert_close(mixing[:4], reference.edge_softmax(edge_weights, first_ten)[:4])
    grad = kernels().edge_softmax_bwd(mixing, mixing.nan_to_num(), adjacency, 10)
    assert grad.shape == (10,)
    assert (beyond[10:] == 1e9).all()


@pytest.mark.parametrize("case", ["float64", "33 joints", "empty"])
def test_what_the_kernels_do_not_take_runs_in_pytorch(case, kernel_device):
    adjacency = chain(33 if case == "33 joints" else 17).to(kernel_device)
    dtype = torch.float64 if case == "float64" else torch.float32
    edge_weights = weights(adjacency, 0 if case == "empty" else 2, dtype=dtype).to(kernel_device)
    assert not kernels().takes(adjacency, edge_weights)
    mixing = module._forward_cuda(edge_weights, adjacency)
    torch.testing.assert_close(mixing, reference.edge_softmax(edge_weights, adjacency))
    assert module._backward_cuda(mixing, mixing, adjacency, edge_weights.shape[-1]).shape == edge_weights.shape


def test_the_functions_for_cuda_launch_the_kernels(kernel_device):
    adjacency = chain(17).to(kernel_device)
    edge_weights = weights(adjacency, 2, dtype=torch.float32).to(kernel_device)
    mixing = module._forward_cuda(edge_weights, adjacency)
    torch.testing.assert_close(mixing, kernels().edge_softmax_fwd(edge_weights, adjacency), rtol=0, atol=0)
    arguments = mixing.square(), mixing, adjacency, edge_weights.shape[-1]
    torch.testing.assert_close(
        module._backward_cuda(*arguments), kernels().edge_softmax_bwd(*arguments), rtol=0, atol=0
    )
    with pytest.raises(ValueError, match=r"edge_weights must be \(..., 49\)"):
        module._forward_cuda(edge_weights[:, 1:].contiguous(), adjacency)


@NEEDS_CUDA
@pytest.mark.parametrize("counted", [True, False])
def test_a_cuda_graph_holds_the_step_and_nothing_waits(counted):
    adjacency = chain(17).cuda()
    edge_weights = weights(adjacency, 9, 128, dtype=torch.float32).cuda().requires_grad_()

    def step(mask):
        return torch.autograd.grad(ops.edge_softmax(edge_weights, mask).square().sum(), edge_weights)

    step(adjacency if counted else adjacency.clone())
    torch.cuda.synchronize()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        grads = step(adjacency)
    graph.replay()
    torch.testing.assert_close(grads, step(adjacency), rtol=0, atol=0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        step(adjacency)
    finally:
        torch.cuda.set_sync_debug_mode("default")


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    adjacency = chain(17).cuda()
    edge_weights = weights(adjacency, 9, 128).to("cuda", dtype)
    exact = reference.edge_softmax(edge_weights.double(), adjacency)
    error = (ops.edge_softmax(edge_weights, adjacency) - exact).abs().max()
    assert error <= 2 * (reference.edge_softmax(edge_weights, adjacency) - exact).abs().max()
