import math

import pytest
import roma
import torch

from ites_fast import ops, reference

ANGLES = [0.0, 1e-30, 1e-12, 1e-6, 1e-3, 0.0999, 0.1, 0.1001, 1.0, math.pi - 1e-7, math.pi, 4.0, 6.3]


def rotation_vectors(dtype=torch.float64, device="cpu"):
    """Vectors (A, 3) of all awkward angles about a generic axis, and about each coordinate axis."""
    axes = torch.cat([torch.eye(3, dtype=dtype), torch.tensor([[0.36, -0.48, 0.8]], dtype=dtype)])
    return (torch.tensor(ANGLES, dtype=dtype)[:, None, None] * axes).flatten(0, 1).to(device)


@pytest.mark.parametrize("function", [reference.rotation_from_vector, ops.rotation_from_vector])
def test_matches_roma(function, device):
    vector = rotation_vectors(device=device)
    torch.testing.assert_close(function(vector), roma.rotvec_to_rotmat(vector))


def test_orthonormal_in_float32(device):
    vector = rotation_vectors(torch.float32, device)
    rotation = ops.rotation_from_vector(vector)
    identity = torch.eye(3, device=device).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity, rtol=0, atol=1e-6)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(len(rotation), device=device))


def test_rotation_by_the_opposite_vector_is_the_inverse():
    vector = rotation_vectors()
    product = ops.rotation_from_vector(vector) @ ops.rotation_from_vector(-vector)
    torch.testing.assert_close(product, torch.eye(3, dtype=torch.float64).expand_as(product))


@pytest.mark.parametrize("function", [reference.rotation_from_vector, ops.rotation_from_vector])
def test_gradient(function):
    assert torch.autograd.gradcheck(function, rotation_vectors().requires_grad_())


def test_gradient_at_zero_is_that_of_the_generators():
    vector = torch.zeros(3, dtype=torch.float64)
    jacobian = torch.autograd.functional.jacobian(ops.rotation_from_vector, vector)  # (3, 3, 3)
    torch.testing.assert_close(jacobian, reference.rotation.cross_matrix(torch.eye(3).double()).permute(1, 2, 0))


@pytest.mark.parametrize("shape", [(0, 3), (3,), (2, 5, 3)])
def test_op_matches_reference(shape, device):
    vector = torch.randn(shape, device=device)
    weight = torch.randn(*shape, 3, device=device)
    ours, truth = vector.clone().requires_grad_(), vector.double().requires_grad_()
    rotation, expected = ops.rotation_from_vector(ours), reference.rotation_from_vector(truth)
    torch.testing.assert_close(rotation, expected.float())
    (rotation * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(ours.grad, truth.grad.float(), rtol=1e-4, atol=1e-5)


def test_op_registration(device):
    vector = rotation_vectors(device=device).requires_grad_()
    torch.library.opcheck(torch.ops.ites_fast.rotation_from_vector.default, (vector,))


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"vector must be \(..., 3\), got \(4, 2\)"):
        ops.rotation_from_vector(torch.zeros(4, 2))


def test_draws_about_all_axes():
    rotation = ops.random_rotations((20_000,), "all", generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    vector = roma.rotmat_to_rotvec(rotation)
    angle = vector.norm(dim=-1)
    deciles = torch.quantile(angle, torch.linspace(0, 1, 11, dtype=torch.float64))
    torch.testing.assert_close(deciles, torch.linspace(0, math.pi, 11, dtype=torch.float64), rtol=0, atol=0.05)
    axis = vector / angle[:, None]
    torch.testing.assert_close(axis.mean(dim=0), torch.zeros(3, dtype=torch.float64), rtol=0, atol=0.02)
    torch.testing.assert_close(axis.T @ axis / len(axis), torch.eye(3, dtype=torch.float64) / 3, rtol=0, atol=0.02)


def test_draws_about_the_vertical_axis():
    rotation = ops.random_rotations((4, 5_000), "vertical", generator=torch.Generator().manual_seed(0))
    assert rotation.shape == (4, 5_000, 3, 3)
    up = torch.tensor([0.0, 1.0, 0.0]).expand(4, 5_000, 3)
    torch.testing.assert_close(rotation[..., 1], up, rtol=0, atol=0)
    angle = torch.atan2(rotation[..., 0, 2], rotation[..., 2, 2]) % (2 * math.pi)
    deciles = torch.quantile(angle.flatten(), torch.linspace(0, 1, 11))
    torch.testing.assert_close(deciles, torch.linspace(0, 2 * math.pi, 11), rtol=0, atol=0.1)
    rotvec = torch.stack([torch.zeros_like(angle), angle, torch.zeros_like(angle)], dim=-1)
    torch.testing.assert_close(rotation, roma.rotvec_to_rotmat(rotvec), rtol=0, atol=1e-5)


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_draws_come_from_the_generator(axis):
    first, second = (
        ops.random_rotations((7,), axis, max_angle=0.3, generator=torch.Generator().manual_seed(5)) for _ in range(2)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    assert roma.rotmat_to_rotvec(first).norm(dim=-1).max() <= 0.3 + 1e-6


def test_unknown_axis():
    with pytest.raises(ValueError, match="'horizontal'"):
        ops.random_rotations((2,), "horizontal", generator=torch.Generator())
