import importlib

import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (3, 5, 25), (1, 64, 2), (4, 0, 17)]  # (S, B, J)
CAMERA_DEPTH = 5.0
BEHIND = 0.9  # with unit poses, many joints come nearer than MIN_DEPTH
KERNEL_SHAPES = [(1, 1, 1), (2, 65, 1), (1, 33, 2), (2, 9, 16), (3, 5, 17), (1, 8, 25), (2, 3, 32), (1, 3, 133)]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


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


@pytest.mark.parametrize("dims", [(0, 0), (1, 2), (0, None), (None, 1)])
def test_vmap_over_replicas_and_over_gradients(dims, capfd):
    tensors = [
        (tensor if dim is None else torch.stack([tensor, tensor.flip(dim)], dim)).requires_grad_()
        for tensor, dim in zip(inputs(3, 4, 5), dims, strict=True)
    ]
    directions = torch.randn(6, 2, 3, 4, 5, 2, dtype=torch.float64)
    results = []
    for function in (ops.rotate_project, reference.rotate_project):
        uv = torch.vmap(lambda *each, f=function: f(*each, CAMERA_DEPTH), in_dims=dims)(*tensors)
        for wanted in (tensors, tensors[:1]):
            results.append((uv, *torch.autograd.grad(uv, wanted, directions, retain_graph=True, is_grads_batched=True)))
    torch.testing.assert_close(results[:2], results[2:])
    assert "performance drop" not in capfd.readouterr().err  # what a loop over the replicas would say


def kernel_gradients(pose, rotation, grad_uv, camera_depth, with_rotation=True):
    kernels = pytest.importorskip("ites_fast.kernels.rotate_project")
    tensors = (grad_uv, pose, rotation)
    return kernels.rotate_project_bwd(*tensors, camera_depth, reference.MIN_DEPTH, with_rotation)


def kernel_projection(pose, rotation, camera_depth):
    kernels = pytest.importorskip("ites_fast.kernels.rotate_project")
    return kernels.rotate_project_fwd(pose, rotation, camera_depth, reference.MIN_DEPTH)


def expected_values(pose, rotation, grad_uv, camera_depth):
    """The projection and its gradients by the reference, in float64."""
    pose, rotation = (tensor.detach().double().requires_grad_() for tensor in (pose, rotation))
    uv = reference.rotate_project(pose, rotation, camera_depth)
    return uv.detach(), *torch.autograd.grad(uv, (pose, rotation), grad_uv.double())


def kernel_inputs(S, B, J, device, dtype=torch.float32):
    generator = torch.Generator().manual_seed(7)
    grad_uv = torch.randn(S, B, J, 2, generator=generator)
    return [tensor.to(device, dtype) for tensor in (*inputs(S, B, J), grad_uv)]


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND, 0.0])
@pytest.mark.parametrize(("S", "B", "J"), KERNEL_SHAPES)
def test_kernels_match_reference(S, B, J, camera_depth, kernel_device):
    pose, rotation, grad_uv = kernel_inputs(S, B, J, kernel_device)
    uv, grad_pose, grad_rotation = expected_values(pose, rotation, grad_uv, camera_depth)
    torch.testing.assert_close(kernel_projection(pose, rotation, camera_depth), uv.float())
    gradients = kernel_gradients(pose, rotation, grad_uv, camera_depth)
    torch.testing.assert_close(gradients, (grad_pose.float(), grad_rotation.float()), rtol=1e-4, atol=1e-5)
    pose_alone, nothing = kernel_gradients(pose, rotation, grad_uv, camera_depth, with_rotation=False)
    assert nothing.shape == (0,)
    torch.testing.assert_close(pose_alone, gradients[0], rtol=0, atol=0)


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        pytest.param(torch.bfloat16, marks=needs_cuda),  # the interpreter gets it wrong silently
    ],
)
def test_kernels_round_only_what_they_store(dtype, kernel_device):
    pose, rotation, grad_uv = kernel_inputs(2, 5, 17, kernel_device, dtype)
    expected = expected_values(pose, rotation, grad_uv, BEHIND)
    found = kernel_projection(pose, rotation, BEHIND), *kernel_gradients(pose, rotation, grad_uv, BEHIND)
    for value, want in zip(found, expected, strict=True):
        assert value.dtype == dtype
        rounding = torch.finfo(dtype).eps
        torch.testing.assert_close(value.double(), want, rtol=rounding, atol=rounding * want.abs().max().item() / 100)


def test_kernels_keep_a_nan_to_its_pose(kernel_device):
    pose, rotation, grad_uv = kernel_inputs(2, 9, 17, kernel_device)
    clean = kernel_projection(pose, rotation, BEHIND), *kernel_gradients(pose, rotation, grad_uv, BEHIND)
    pose[3, 5, 2] = rotation[1, 7, 2, 0] = torch.nan
    uv, grad_pose, grad_rotation = (
        kernel_projection(pose, rotation, BEHIND),
        *kernel_gradients(pose, rotation, grad_uv, BEHIND),
    )
    assert uv[:, 3, 5].isnan().all()
    assert uv[1, 7].isnan().all()
    assert grad_pose[7].isnan().all()
    assert grad_rotation[:, 3].isnan().any(dim=-1).all()
    others = torch.tensor([b for b in range(9) if b not in (3, 7)], device=kernel_device)
    torch.testing.assert_close(uv[:, others], clean[0][:, others], rtol=0, atol=0)
    torch.testing.assert_close(uv[:, 3, :5], clean[0][:, 3, :5], rtol=0, atol=0)
    torch.testing.assert_close(grad_pose[others], clean[1][others], rtol=0, atol=0)
    torch.testing.assert_close(grad_rotation[:, others], clean[2][:, others], rtol=0, atol=0)


def test_kernels_give_the_same_bits_twice(kernel_device):
    values = kernel_inputs(2, 9, 17, kernel_device)
    torch.testing.assert_close(*(kernel_gradients(*values, BEHIND) for _ in range(2)), rtol=0, atol=0)


@pytest.mark.parametrize(("S", "B", "J"), [(0, 3, 17), (2, 0, 17), (2, 3, 0)])
def test_kernels_of_nothing(S, B, J, kernel_device):
    pose, rotation, grad_uv = kernel_inputs(S, B, J, kernel_device)
    assert kernel_projection(pose, rotation, CAMERA_DEPTH).shape == (S, B, J, 2)
    gradients = kernel_gradients(pose, rotation, grad_uv, CAMERA_DEPTH)
    torch.testing.assert_close(gradients, (torch.zeros_like(pose), torch.zeros_like(rotation)))


def test_kernels_refuse_what_is_not_contiguous(kernel_device):
    pose, rotation, _ = kernel_inputs(2, 3, 17, kernel_device)
    with pytest.raises(AssertionError):
        kernel_projection(pose, rotation.mT, CAMERA_DEPTH)


@pytest.mark.parametrize("J", [17, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_runs_on_cuda(dtype, J, kernel_device):
    """The function that the dispatcher calls there; it takes what the kernels do not to PyTorch."""
    module = importlib.import_module("ites_fast.ops.rotate_project")
    pose, rotation, grad_uv = kernel_inputs(2, 3, J, kernel_device, dtype)
    expected = expected_values(pose, rotation, grad_uv, BEHIND)
    uv = module._forward_cuda(pose, rotation, BEHIND)
    gradients = module._backward_cuda(grad_uv, uv, pose, rotation, BEHIND, True)
    torch.testing.assert_close((uv, *gradients), tuple(want.to(dtype) for want in expected), rtol=1e-4, atol=1e-5)


@needs_cuda
def test_a_million_poses():
    pose, rotation, grad_uv = kernel_inputs(2, 1_000_003, 17, "cuda")
    last = [tensor[..., -5:, :, :].contiguous() for tensor in (pose, rotation, grad_uv)]
    uv, (grad_pose, grad_rotation) = (
        kernel_projection(pose, rotation, BEHIND),
        kernel_gradients(pose, rotation, grad_uv, BEHIND),
    )
    expected = expected_values(*last, BEHIND)
    torch.testing.assert_close(uv[:, -5:], expected[0].float())
    torch.testing.assert_close(grad_pose[-5:], expected[1].float(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(grad_rotation[:, -5:], expected[2].float(), rtol=1e-4, atol=1e-5)


@needs_cuda
def test_a_graph_can_be_captured():
    pose, rotation, grad_uv = kernel_inputs(2, 9, 17, "cuda")
    pose.requires_grad_()

    def step():
        return torch.autograd.grad(ops.rotate_project(pose, rotation, CAMERA_DEPTH), pose, grad_uv)[0]

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    with torch.no_grad():
        pose.mul_(2)
    graph.replay()
    torch.testing.assert_close(captured, step())
