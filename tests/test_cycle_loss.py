import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (3, 5, 25), (4, 64, 2)]  # (S, B, J)
CAMERA_DEPTH = 5.0
BEHIND = 0.5  # with unit depths, many joints come nearer than MIN_DEPTH


def joints(S, B, J, D=3, device="cpu"):
    generator = torch.Generator().manual_seed(S + 10 * B + 100 * J)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(device)  # noqa: E731
    return draw(S, B, J, D), draw(B, J, D)


def cycle(S, B, J, device="cpu"):
    generator = torch.Generator().manual_seed(S + 10 * B + 100 * J)
    draw = lambda *shape: torch.randn(shape, generator=generator, dtype=torch.float64).to(device)  # noqa: E731
    rotation = ops.random_rotations((S, B), "all", generator=generator, dtype=torch.float64).to(device)
    return draw(S, B, J), draw(S, B, J, 2), draw(B, J, 3), rotation


def assert_same_in_float32(function, expected_function, tensors):
    """Compare value and every gradient of a float32 operator with those of a float64 reference."""
    truth = [tensor.clone().requires_grad_() for tensor in tensors]
    ours = [tensor.float().requires_grad_() for tensor in tensors]
    expected, loss = expected_function(*truth), function(*ours)
    torch.testing.assert_close(loss, expected.float())
    (3 * expected).backward()
    (3 * loss).backward()
    for tensor, true_tensor in zip(ours, truth, strict=True):
        torch.testing.assert_close(tensor.grad, true_tensor.grad.float(), rtol=1e-4, atol=1e-5)


def test_known_value():
    prediction = torch.tensor([[[3.0, 4.0, 0.0], [0.0, 0.0, 0.0]]])
    target = torch.zeros(1, 2, 3)
    torch.testing.assert_close(ops.cycle_loss(prediction, target), torch.tensor(2.5))


@pytest.mark.parametrize("D", [2, 3])
@pytest.mark.parametrize(("S", "B", "J"), SHAPES)
def test_cycle_loss_matches_reference(S, B, J, D, device):
    assert_same_in_float32(ops.cycle_loss, reference.cycle_loss, joints(S, B, J, D, device))


def test_cycle_loss_without_draws_and_non_contiguous():
    prediction, target = joints(1, 5, 17)
    stretched = torch.cat([target, target], dim=1)[:, ::2]
    torch.testing.assert_close(
        ops.cycle_loss(prediction[0], stretched), reference.cycle_loss(prediction, stretched.contiguous())
    )


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("S", "B", "J"), SHAPES)
def test_depth_cycle_loss_matches_reference(S, B, J, camera_depth, device):
    assert_same_in_float32(
        lambda *args: ops.depth_cycle_loss(*args, camera_depth),
        lambda *args: reference.depth_cycle_loss(*args, camera_depth),
        cycle(S, B, J, device),
    )


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize("module", [reference, ops])
def test_gradients(module, camera_depth):
    pair = [tensor.requires_grad_() for tensor in joints(2, 3, 4)]
    assert torch.autograd.gradcheck(module.cycle_loss, pair)
    tensors = [tensor.requires_grad_() for tensor in cycle(2, 3, 4)]
    assert torch.autograd.gradcheck(lambda *args: module.depth_cycle_loss(*args, camera_depth), tensors)


@pytest.mark.parametrize("module", [reference, ops])
def test_gradient_of_zero_distance_is_zero(module):
    target = torch.randn(2, 5, 3, requires_grad=True)
    prediction = target.detach().clone()[None].repeat(3, 1, 1, 1)
    prediction[1, 0, 2, 0] += 1
    prediction.requires_grad_()
    module.cycle_loss(prediction, target).backward()
    expected = torch.zeros(3, 2, 5, 3)
    expected[1, 0, 2, 0] = 1 / 30
    torch.testing.assert_close(prediction.grad, expected)
    torch.testing.assert_close(target.grad, -expected.sum(dim=0))


def test_a_perfect_depth_has_no_loss_and_no_gradient():
    _, _, pose, rotation = cycle(4, 3, 17)
    pose = (0.3 * pose).requires_grad_()
    uv = ops.rotate_project(pose, rotation, CAMERA_DEPTH)
    depth = (pose @ rotation.mT)[..., 2]
    loss = ops.depth_cycle_loss(depth, uv, pose, rotation, CAMERA_DEPTH)
    torch.testing.assert_close(loss, torch.zeros((), dtype=torch.float64), rtol=0, atol=1e-12)
    assert torch.autograd.grad(loss, pose)[0].isfinite().all()


def test_op_registration(device):
    pair = [tensor.requires_grad_() for tensor in joints(2, 3, 5, device=device)]
    torch.library.opcheck(torch.ops.ites_fast.cycle_loss.default, tuple(pair))
    tensors = [tensor.requires_grad_() for tensor in cycle(2, 3, 5, device=device)]
    torch.library.opcheck(torch.ops.ites_fast.depth_cycle_loss.default, (*tensors, CAMERA_DEPTH))


def test_ops_compile():
    def loss(depth, uv, pose, rotation):
        return ops.depth_cycle_loss(depth, uv, pose, rotation, 5.0) + ops.cycle_loss(uv, pose[..., :2])

    tensors = [tensor.requires_grad_() for tensor in cycle(2, 3, 5)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        torch.autograd.grad(compiled(*tensors), tensors), torch.autograd.grad(loss(*tensors), tensors)
    )


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"target must be \(B, J, D\), got \(3,\)"):
        ops.cycle_loss(torch.zeros(3), torch.zeros(3))
    with pytest.raises(ValueError, match=r"prediction must be \(4, 17, 3\) or S of these, got \(4, 16, 3\)"):
        ops.cycle_loss(torch.zeros(4, 16, 3), torch.zeros(4, 17, 3))
    depth, uv, pose, rotation = cycle(2, 3, 5)
    with pytest.raises(ValueError, match=r"rotation must be \(2, 3, 3, 3\) for depth \(2, 3, 5\), got \(3, 3, 3\)"):
        ops.depth_cycle_loss(depth, uv, pose, rotation[0], 5.0)
    with pytest.raises(ValueError, match=r"depth must be \(S, B, J\), got \(3, 5\)"):
        ops.depth_cycle_loss(depth[0], uv, pose, rotation, 5.0)
