import importlib

import pytest
import torch

from ites_fast import ops, reference

module = importlib.import_module("ites_fast.ops.cycle_loss")  # in ops, the name is the operator's

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (3, 5, 25), (4, 64, 2)]  # (S, B, J)
KERNEL_SHAPES = [*SHAPES, (2, 9, 32), (1, 3, 133)]
CAMERA_DEPTH = 5.0
BEHIND = 0.5  # with unit depths, many joints come nearer than MIN_DEPTH
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


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
@pytest.mark.parametrize("implementation", [reference, ops])
def test_gradients(implementation, camera_depth):
    pair = [tensor.requires_grad_() for tensor in joints(2, 3, 4)]
    assert torch.autograd.gradcheck(implementation.cycle_loss, pair)
    tensors = [tensor.requires_grad_() for tensor in cycle(2, 3, 4)]
    assert torch.autograd.gradcheck(lambda *args: implementation.depth_cycle_loss(*args, camera_depth), tensors)


def test_gradients_of_the_learned_side_alone(device):
    """The target, and the rotations, have none; the others are as they are beside it."""
    prediction, target = joints(2, 3, 5, device=device)
    prediction.requires_grad_()
    depth, uv, pose, rotation = cycle(2, 3, 5, device=device)
    learned = [tensor.requires_grad_() for tensor in (depth, uv, pose)]

    def grads(of):
        loss = of.cycle_loss(prediction, target) + of.depth_cycle_loss(*learned, rotation, CAMERA_DEPTH)
        return torch.autograd.grad(loss, [prediction, *learned])

    torch.testing.assert_close(grads(ops), grads(reference))


@pytest.mark.parametrize("implementation", [reference, ops])
def test_gradient_of_zero_distance_is_zero(implementation):
    target = torch.randn(2, 5, 3, requires_grad=True)
    prediction = target.detach().clone()[None].repeat(3, 1, 1, 1)
    prediction[1, 0, 2, 0] += 1
    prediction.requires_grad_()
    implementation.cycle_loss(prediction, target).backward()
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
    tensors[3].requires_grad_(False)
    torch.library.opcheck(
        torch.ops.ites_fast.depth_cycle_loss.default, (*tensors, CAMERA_DEPTH), test_utils="test_aot_dispatch_static"
    )


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


def kernels():
    return importlib.import_module("ites_fast.kernels.cycle_loss")


def assert_kernels_match(forward, backward, expected_function, tensors, device):
    """Launchers in float32 against a float64 reference: value, and every gradient of 3 times it."""
    truth = [tensor.requires_grad_() for tensor in tensors]
    expected = expected_function(*truth)
    grads = torch.autograd.grad(3 * expected, truth)
    ours = [tensor.detach().float().to(device) for tensor in tensors]
    torch.testing.assert_close(forward(*ours).cpu(), expected.float())
    for grad, true_grad in zip(backward(torch.tensor(3.0, device=device), *ours), grads, strict=True):
        torch.testing.assert_close(grad.cpu(), true_grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("D", [2, 3])
@pytest.mark.parametrize(("S", "B", "J"), KERNEL_SHAPES)
def test_cycle_kernels_match_reference(S, B, J, D, kernel_device):
    forward, backward = kernels().cycle_loss_fwd, kernels().cycle_loss_bwd
    tensors = joints(S, B, J, D)
    tensors[0][-1, 0] = tensors[1][0]  # joints that coincide
    assert_kernels_match(
        forward, lambda *args: backward(*args, with_target=True), reference.cycle_loss, tensors, kernel_device
    )


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("S", "B", "J"), KERNEL_SHAPES)
def test_depth_cycle_kernels_match_reference(S, B, J, camera_depth, kernel_device):
    cameras = camera_depth, reference.MIN_DEPTH
    tensors = cycle(S, B, J)
    tensors[0][0, 0, 0] = 0
    assert_kernels_match(
        lambda *args: kernels().depth_cycle_loss_fwd(*args, *cameras),
        lambda *args: kernels().depth_cycle_loss_bwd(*args, *cameras, with_rotation=True),
        lambda *args: reference.depth_cycle_loss(*args, camera_depth),
        tensors,
        kernel_device,
    )


def test_programs_that_stride_over_many_tiles(kernel_device, monkeypatch):
    """The sums of two programs cover what six would."""
    monkeypatch.setattr(importlib.import_module("ites_fast.kernels.reduce"), "MAX_PROGRAMS", 2)
    prediction, target = (tensor.float().to(kernel_device) for tensor in joints(2, 45, 17))
    torch.testing.assert_close(
        kernels().cycle_loss_fwd(prediction, target), reference.cycle_loss(prediction, target), rtol=1e-6, atol=0
    )
    tensors = [tensor.float().to(kernel_device) for tensor in cycle(2, 45, 17)]
    loss = kernels().depth_cycle_loss_fwd(*tensors, CAMERA_DEPTH, reference.MIN_DEPTH)
    torch.testing.assert_close(loss, reference.depth_cycle_loss(*tensors, CAMERA_DEPTH), rtol=1e-6, atol=0)


def test_a_nan_stays_with_its_joint_and_bits_repeat(kernel_device):
    """In the gradients; the loss is a mean over the batch."""
    grad_loss = torch.ones((), device=kernel_device)
    prediction, target = (tensor.float().to(kernel_device) for tensor in joints(2, 9, 17))
    prediction[1, 4, 3, 1] = torch.nan
    grads = kernels().cycle_loss_bwd(grad_loss, prediction, target, True)
    assert grads[0].isnan().nonzero()[:, :3].unique(dim=0).tolist() == [[1, 4, 3]]
    assert grads[1].isnan().nonzero()[:, :2].unique(dim=0).tolist() == [[4, 3]]
    assert kernels().cycle_loss_fwd(prediction, target).isnan()
    tensors = [tensor.float().to(kernel_device) for tensor in cycle(2, 9, 17)]
    arguments = *tensors, CAMERA_DEPTH, reference.MIN_DEPTH
    first, second = (
        (kernels().depth_cycle_loss_fwd(*arguments), *kernels().depth_cycle_loss_bwd(grad_loss, *arguments, True))
        for _ in range(2)
    )
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    tensors[0][1, 4, 3] = torch.nan
    *grads, grad_pose, grad_rotation = kernels().depth_cycle_loss_bwd(grad_loss, *arguments, True)
    assert all(grad.isnan().nonzero()[:, :3].unique(dim=0).tolist() == [[1, 4, 3]] for grad in grads)
    assert grad_pose.isnan().nonzero()[:, :2].unique(dim=0).tolist() == [[4, 3]]
    assert grad_rotation.isnan().nonzero()[:, :2].unique(dim=0).tolist() == [[1, 4]]


@pytest.mark.parametrize("case", ["float64", "four components", "empty"])
def test_what_the_kernels_do_not_take_runs_in_pytorch(case, kernel_device):
    D, B = (4, 5) if case == "four components" else (3, 0 if case == "empty" else 5)
    dtype = torch.float64 if case == "float64" else torch.float32
    pair = [tensor.to(kernel_device, dtype) for tensor in joints(2, B, 17, D)]
    expected = reference.cycle_loss(*pair)
    torch.testing.assert_close(module._forward_cuda(*pair), expected, equal_nan=True)
    grads = module._backward_cuda(torch.ones_like(expected), *pair, True)
    assert [grad.shape for grad in grads] == [tensor.shape for tensor in pair]
    if case != "four components":
        tensors = [tensor.to(kernel_device, dtype) for tensor in cycle(2, B, 17)]
        expected = reference.depth_cycle_loss(*tensors, CAMERA_DEPTH)
        torch.testing.assert_close(module._depth_forward_cuda(*tensors, CAMERA_DEPTH), expected, equal_nan=True)
        grads = module._depth_backward_cuda(torch.ones_like(expected), *tensors, CAMERA_DEPTH, True)
        assert [grad.shape for grad in grads] == [tensor.shape for tensor in tensors]


def test_the_functions_for_cuda_launch_the_kernels(kernel_device):
    pair = [tensor.float().to(kernel_device) for tensor in joints(2, 3, 17)]
    grad_loss = torch.ones((), device=kernel_device)
    exactly = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(module._forward_cuda(*pair), kernels().cycle_loss_fwd(*pair), **exactly)
    grad_prediction, grad_target = module._backward_cuda(grad_loss, *pair, False)
    torch.testing.assert_close(grad_prediction, kernels().cycle_loss_bwd(grad_loss, *pair, True)[0], **exactly)
    assert grad_target.numel() == 0
    tensors = [tensor.float().to(kernel_device) for tensor in cycle(2, 3, 17)]
    cameras = CAMERA_DEPTH, reference.MIN_DEPTH
    loss = module._depth_forward_cuda(*tensors, CAMERA_DEPTH)
    torch.testing.assert_close(loss, kernels().depth_cycle_loss_fwd(*tensors, *cameras), **exactly)
    *grads, grad_rotation = module._depth_backward_cuda(grad_loss, *tensors, CAMERA_DEPTH, False)
    expected = kernels().depth_cycle_loss_bwd(grad_loss, *tensors, *cameras, True)[:3]
    torch.testing.assert_close(tuple(grads), expected, **exactly)
    assert grad_rotation.numel() == 0


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """At most twice the error of PyTorch in the same dtype."""
    tensors = [tensor.to("cuda", dtype) for tensor in cycle(4, 300, 17)]
    exact = reference.depth_cycle_loss(*(tensor.double() for tensor in tensors), CAMERA_DEPTH)
    error = (ops.depth_cycle_loss(*tensors, CAMERA_DEPTH) - exact).abs()
    assert (
        error <= 2 * (reference.depth_cycle_loss(*tensors, CAMERA_DEPTH) - exact).abs() + exact * torch.finfo(dtype).eps
    )


@NEEDS_CUDA
def test_a_million_poses():
    """Offsets beyond 32 bits are not needed here, tiles beyond the number of programs are."""
    prediction = torch.randn(4, 1_000_003, 17, 3, device="cuda")
    target = prediction[0] + torch.randn(1_000_003, 17, 3, device="cuda")
    expected = sum(reference.cycle_loss(draw.double(), target.double()) for draw in prediction) / 4
    torch.testing.assert_close(ops.cycle_loss(prediction, target), expected.float())


@NEEDS_CUDA
def test_a_cuda_graph_replays_loss_and_gradients():
    tensors = [tensor.float().cuda().requires_grad_() for tensor in cycle(4, 64, 17)]

    def step():
        return torch.autograd.grad(ops.depth_cycle_loss(*tensors, CAMERA_DEPTH), tensors)

    stream = torch.cuda.Stream()
    with torch.cuda.stream(stream):
        step()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        grads = step()
    with torch.no_grad():
        tensors[0].mul_(1.5)
    graph.replay()
    torch.testing.assert_close(grads, step(), rtol=0, atol=0)
