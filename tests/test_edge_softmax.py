import pytest
import torch

from ites_fast import ops, reference
from ites_fast.models.student import skeleton_adjacency
from ites_fast.skeleton import H36M_17


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


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"adjacency must be boolean \(J, J\), got torch.float32 \(5, 5\)"):
        ops.edge_softmax(torch.zeros(13), chain(5).float())
    with pytest.raises(ValueError, match="got a scalar"):
        ops.edge_softmax(torch.zeros(()), chain(5))
    with pytest.raises(ValueError, match=r"edge_weights must be \(..., 13\), one for each edge, got \(2, 12\)"):
        ops.edge_softmax(torch.zeros(2, 12), chain(5))
