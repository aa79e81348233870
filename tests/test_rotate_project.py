import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (3, 5, 25), (1, 64, 2), (4, 0, 17)]  # (S, B, J)
CAMERA_DEPTH = 5.0
BEHIND = 0.9  # with unit poses, many joints come nearer than MIN_DEPTH


def inputs(S, B, J, dtype=torch.float64, device="cpu"):
    generator = torch.Generator().manual_seed(S + 10 * B + 100 * J)
    pose = torch.randn(B, J, 3, generator=generator, dtype=dtype)
    rotation = ops.random_rotations((S, B), "all", generator=generator, dtype=dtype)
    return pose.to(device), rotation.to(device)


def test_known_projection():
    pose = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 2.0, -1.0], [3.0, 6.0, -9.0]]])
    quarter = torch.tensor([[[0.0, 0.0, 1.0], [0.0, 1.0, 0.0], [-1.0, 0.0, 0.0]]])  # z to x, x to -z
    identity = torch.eye(3)[None]
    expected = torch.tensor([[[0.0, 0.0], [0.25, 0.5], [3.0, 6.0]]])  # the last is clamped to a depth of 1
    torch.testing.assert_close(ops.rotate_project(pose, identity, CAMERA_DEPTH), expected)
    turned = torch.tensor([[[0.0, 0.0], [-0.25, 0.5], [-4.5, 3.0]]])
    torch.testing.assert_close(ops.rotate_project(pose, quarter, CAMERA_DEPTH), turned)


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("S", "B", "J"), SHAPES)
def test_op_matches_reference(S, B, J, camera_depth, device):
    pose, rotation = (tensor.requires_grad_() for tensor in inputs(S, B, J, device=device))
    pose32, rotation32 = (tensor.detach().float().requires_grad_() for tensor in (pose, rotation))
    expected = reference.rotate_project(pose, rotation, camera_depth)
    uv = ops.rotate_project(pose32, rotation32, camera_depth)
    torch.testing.assert_close(uv, expected.float())
    grad_uv = torch.randn(S, B, J, 2, dtype=torch.float64, device=device)
    expected.backward(grad_uv)
    uv.backward(grad_uv.float())
    torch.testing.assert_close(pose32.grad, pose.grad.float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(rotation32.grad, rotation.grad.float(), rtol=1e-4, atol=1e-5)


def test_one_rotation_a_pose_and_non_contiguous_input(device):
    pose, rotation = inputs(1, 5, 17, device=device)
    transposed = rotation[0].mT.contiguous().mT
    sliced = torch.cat([pose, pose], dim=1)[:, ::2][:, :17].flip(1)
    uv = ops.rotate_project(sliced, transposed, CAMERA_DEPTH)
    torch.testing.assert_close(uv, reference.rotate_project(sliced, rotation[0], CAMERA_DEPTH))
    torch.testing.assert_close(uv, reference.rotate_project(sliced, rotation, CAMERA_DEPTH)[0])


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize("function", [reference.rotate_project, ops.rotate_project])
def test_gradient(function, camera_depth):
    tensors = [tensor.requires_grad_() for tensor in inputs(2, 3, 4)]
    assert torch.autograd.gradcheck(lambda *args: function(*args, camera_depth), tensors)


def test_clamped_joint_gets_no_depth_gradient():
    pose = torch.tensor([[[0.5, 0.5, -4.5]]], requires_grad=True)
    ops.rotate_project(pose, torch.eye(3)[None], CAMERA_DEPTH).sum().backward()
    torch.testing.assert_close(pose.grad, torch.tensor([[[1.0, 1.0, 0.0]]]))


def test_draws_do_not_copy_the_pose():
    """The contraction sees B matrices, not S * B."""
    pose, rotation = inputs(4, 8, 17)
    with torch.profiler.profile(record_shapes=True) as profile:
        reference.rotate_project(pose, rotation, CAMERA_DEPTH)
    products = [event for event in profile.events() if event.name == "aten::bmm"]
    assert [sorted(shape[0] for shape in event.input_shapes[:2]) for event in products] == [[8, 8]]


def test_projection_undoes_unprojection():
    generator = torch.Generator().manual_seed(0)
    uv, depth = torch.randn(3, 17, 2, generator=generator), torch.randn(3, 17, generator=generator)
    identity = torch.eye(3).expand(3, 3, 3)
    torch.testing.assert_close(ops.rotate_project(ops.unproject(uv, depth, 5.0), identity, 5.0), uv)


def test_turning_by_a_rotation_and_its_inverse_is_a_projection():
    pose, rotation = inputs(1, 6, 17)
    turned = pose @ rotation[0].mT
    torch.testing.assert_close(
        ops.rotate_project(turned, rotation[0].mT, CAMERA_DEPTH),
        ops.rotate_project(pose, torch.eye(3, dtype=torch.float64).expand(6, 3, 3), CAMERA_DEPTH),
    )


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)], ids=["both", "pose", "rotation"])
def test_op_registration(wanted, device):
    tensors = [tensor.requires_grad_(want) for tensor, want in zip(inputs(2, 3, 5, device=device), wanted, strict=True)]
    torch.library.opcheck(torch.ops.ites_fast.rotate_project.default, (*tensors, CAMERA_DEPTH))


def test_gradient_of_the_pose_alone(device):
    pose, rotation = inputs(2, 3, 5, device=device)
    pose.requires_grad_()
    grads = [
        torch.autograd.grad(function(pose, rotation, CAMERA_DEPTH).sin().sum(), pose)
        for function in (ops.rotate_project, reference.rotate_project)
    ]
    torch.testing.assert_close(*grads)


def test_op_compiles():
    pose, rotation = (tensor.requires_grad_() for tensor in inputs(2, 3, 5))
    compiled = torch.compile(
        lambda *args: ops.rotate_project(*args, 5.0).sin().sum(), fullgraph=True, backend="aot_eager"
    )
    grads = torch.autograd.grad(compiled(pose, rotation), (pose, rotation))
    expected = torch.autograd.grad(reference.rotate_project(pose, rotation, 5.0).sin().sum(), (pose, rotation))
    torch.testing.assert_close(grads, expected)


@pytest.mark.parametrize(
    ("pose", "rotation", "message"),
    [
        ((4, 17, 2), (4, 3, 3), r"pose must be \(B, J, 3\), got \(4, 17, 2\)"),
        ((4, 17, 3), (5, 3, 3), r"rotation must be \(4, 3, 3\) or \(S, 4, 3, 3\).*got \(5, 3, 3\)"),
        ((4, 17, 3), (3, 3), r"got \(3, 3\)"),
    ],
)
def test_rejects_other_shapes(pose, rotation, message):
    with pytest.raises(ValueError, match=message):
        ops.rotate_project(torch.zeros(pose), torch.zeros(rotation), 5.0)
