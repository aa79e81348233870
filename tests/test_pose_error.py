import importlib

import pytest
import torch

from ites_fast import losses, metrics, ops, reference

module = importlib.import_module("ites_fast.ops.pose_error")
NEEDS_CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")

SHAPES = [(1, 1), (5, 2), (3, 16), (17, 17), (4, 25), (6, 32), (2, 133)]  # (N, J)
CAMERA_DEPTH = 5.0
BEHIND = 0.5  # with unit poses, many joints come nearer than MIN_DEPTH


def random(*shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed + sum(shape)), dtype=torch.float64)


def poses(N, J):
    """Predictions and truth on a grid that float32 holds exactly, with a pose without extent and one exact joint."""
    pred, target = ((64 * random(N, J, 3, seed=seed)).round() / 64 for seed in (0, 1))
    pred[N - 1] = pred[N - 1, :1] + 0.0
    target[0, J // 2] = pred[0, J // 2] - pred[0, 0] + target[0, 0]
    return pred, target


def projection(B, J):
    generator = torch.Generator().manual_seed(B + J)
    rotation = ops.random_rotations((B,), "all", generator=generator, dtype=torch.float64)
    canonical, pose_2d = random(B, J, 3), random(B, J, 2)
    return canonical, rotation, pose_2d


def extent_of(pose, root):
    """Where the scale's gradient is defined (N,)."""
    centred = pose if root is None else pose - pose[:, root : root + 1]
    return centred.square().sum(dim=(1, 2)) > 0


def reference_gradients(pred, target, root, with_scale, grad_errors):
    """Of ``reference.joint_errors``; a pose without extent has those that it has with a scale of 0."""
    tensors = [pred.clone().requires_grad_(), target.clone().requires_grad_()]
    errors = reference.joint_errors(*tensors, root, with_scale)
    grads = torch.autograd.grad(errors, tensors, grad_errors)
    has_extent = extent_of(pred, root)
    unscaled = torch.autograd.grad(
        reference.joint_errors(0 * tensors[0], tensors[1], root, False), tensors, grad_errors
    )
    return [
        torch.where(has_extent[:, None, None] | (not with_scale), *pair) for pair in zip(grads, unscaled, strict=True)
    ]


def test_known_errors():
    pred = torch.tensor([[[1.0, 1.0, 1.0], [4.0, 5.0, 1.0]]])
    target = torch.tensor([[[0.0, 0.0, 0.0], [6.0, 8.0, 0.0]]])
    torch.testing.assert_close(ops.joint_errors(pred, target), torch.tensor([[0.0, 5.0]]))
    torch.testing.assert_close(ops.mpjpe(pred, target), torch.tensor([2.5]))
    torch.testing.assert_close(ops.joint_errors(pred, target, root=1), torch.tensor([[5.0, 0.0]]))
    torch.testing.assert_close(ops.n_mpjpe(pred, target), torch.zeros(1))
    expected = torch.tensor([[3.0**0.5, (4.0 + 9 + 1) ** 0.5]])
    torch.testing.assert_close(ops.joint_errors(pred, target, root=None), expected)


@pytest.mark.parametrize(("root", "with_scale"), [(0, False), (1, True), (None, True), (None, False)])
@pytest.mark.parametrize(("N", "J"), [*SHAPES[2:], (0, 17)])
def test_joint_errors_match_reference(N, J, root, with_scale, device):
    pred, target = (tensor.to(device) for tensor in (poses(N, J) if N else (random(0, J, 3), random(0, J, 3))))
    ours = [tensor.float().requires_grad_() for tensor in (pred, target)]
    errors = ops.joint_errors(*ours, root=root, with_scale=with_scale)
    expected = reference.joint_errors(pred, target, root, with_scale)
    torch.testing.assert_close(errors, expected.float(), rtol=1e-5, atol=1e-5)
    mean = (ops.n_mpjpe if with_scale else ops.mpjpe)(*ours, root=root)
    torch.testing.assert_close(mean, expected.mean(dim=1).float(), rtol=1e-5, atol=1e-5)
    grad_errors = random(N, J, seed=2).to(device)
    truth = reference_gradients(pred, target, root, with_scale, grad_errors)
    for grad, true_grad in zip(torch.autograd.grad(errors, ours, grad_errors.float()), truth, strict=True):
        torch.testing.assert_close(grad, true_grad.float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("function", [ops.mpjpe, ops.n_mpjpe, reference.mpjpe, reference.n_mpjpe])
def test_gradients(function):
    tensors = [random(3, 4, 3, seed=seed).requires_grad_() for seed in (0, 1)]
    assert torch.autograd.gradcheck(lambda *args: function(*args, root=1), tensors)
    assert torch.autograd.gradcheck(lambda *args: function(*args, root=None), tensors)


@pytest.mark.parametrize("function", [ops.reprojection_loss, reference.reprojection_loss])
@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
def test_gradients_of_the_reprojection(function, camera_depth):
    tensors = [tensor.requires_grad_() for tensor in projection(3, 4)]
    assert torch.autograd.gradcheck(lambda *args: function(*args, camera_depth), tensors)


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("B", "J"), SHAPES)
def test_reprojection_matches_reference(B, J, camera_depth, device):
    truth = [tensor.to(device).requires_grad_() for tensor in projection(B, J)]
    ours = [tensor.detach().float().requires_grad_() for tensor in truth]
    expected, loss = (
        function(*tensors, camera_depth)
        for function, tensors in ((reference.reprojection_loss, truth), (losses.reprojection_loss, ours))
    )
    torch.testing.assert_close(loss, expected.float())
    grads = torch.autograd.grad(3 * loss, ours)
    for grad, true_grad in zip(grads, torch.autograd.grad(3 * expected, truth), strict=True):
        torch.testing.assert_close(grad, true_grad.float(), rtol=1e-4, atol=1e-5)


def test_a_perfect_projection_has_no_gradient(device):
    canonical, rotation, _ = (tensor.to(device).requires_grad_() for tensor in projection(3, 17))
    pose_2d = reference.rotate_project(canonical, rotation, CAMERA_DEPTH).detach()
    grads = torch.autograd.grad(losses.reprojection_loss(canonical, rotation, pose_2d, CAMERA_DEPTH), canonical)
    torch.testing.assert_close(grads[0], torch.zeros_like(canonical), rtol=0, atol=1e-12)


def test_a_pose_without_extent_gets_no_gradient_from_its_scale(device):
    pred, target = torch.ones(1, 5, 3, device=device), torch.randn(1, 5, 3, device=device)
    pred.requires_grad_()
    error = ops.n_mpjpe(pred, target)
    torch.testing.assert_close(error, (target - target[:, :1]).norm(dim=-1).mean(1))
    torch.testing.assert_close(torch.autograd.grad(error.sum(), pred)[0], torch.zeros(1, 5, 3, device=device))


def test_a_nan_stays_with_its_pose(device):
    pred, target = (tensor.float().to(device).requires_grad_() for tensor in poses(6, 17))
    with torch.no_grad():
        pred[2, 5, 1] = torch.nan
    errors = ops.n_mpjpe(pred, target)
    assert errors.isnan().nonzero().tolist() == [[2]]
    for grad in torch.autograd.grad(errors.sum(), (pred, target)):
        assert grad.isnan().any(dim=2).any(dim=1).nonzero().tolist() == [[2]]


def test_non_contiguous_poses(device):
    pred, target = (tensor.to(device).mT.contiguous().mT for tensor in poses(4, 17))
    expected = reference.joint_errors(pred, target, 0, True)
    torch.testing.assert_close(ops.joint_errors(pred, target, with_scale=True), expected)
    torch.testing.assert_close(metrics.joint_errors(pred, target, scale="lstsq"), expected)


def test_op_registration(device):
    pair = [tensor.to(device).requires_grad_() for tensor in poses(3, 5)]
    torch.library.opcheck(torch.ops.ites_fast.joint_errors.default, (*pair, 0, True, True))
    only_pred = pair[0], pair[1].detach(), None, False, False
    torch.library.opcheck(torch.ops.ites_fast.joint_errors.default, only_pred, test_utils="test_aot_dispatch_static")
    tensors = [tensor.to(device).requires_grad_() for tensor in projection(3, 5)]
    torch.library.opcheck(torch.ops.ites_fast.reprojection_loss.default, (*tensors, CAMERA_DEPTH))


def test_ops_compile():
    def loss(canonical, rotation, pose_2d):
        pose = ops.rotate(canonical, rotation)
        return ops.reprojection_loss(canonical, rotation, pose_2d, 5.0) + ops.mpjpe(pose, canonical).sum()

    tensors = [tensor.requires_grad_() for tensor in projection(3, 5)]
    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    torch.testing.assert_close(
        torch.autograd.grad(compiled(*tensors), tensors), torch.autograd.grad(loss(*tensors), tensors)
    )


def test_rejects_other_shapes():
    with pytest.raises(ValueError, match=r"pred must be \(N, J, 3\), got \(4, 17, 2\)"):
        ops.mpjpe(torch.zeros(4, 17, 2), torch.zeros(4, 17, 2))
    with pytest.raises(ValueError, match=r"target must be \(4, 17, 3\) like pred, got \(4, 16, 3\)"):
        ops.joint_errors(torch.zeros(4, 17, 3), torch.zeros(4, 16, 3))
    with pytest.raises(ValueError, match="root must be one of 17 joints, got 17"):
        ops.n_mpjpe(torch.zeros(4, 17, 3), torch.zeros(4, 17, 3), root=17)
    canonical, rotation, pose_2d = projection(3, 5)
    with pytest.raises(ValueError, match=r"rotation must be \(3, 3, 3\) for canonical \(3, 5, 3\), got \(2, 3, 3\)"):
        ops.reprojection_loss(canonical, rotation[1:], pose_2d, 5.0)
    with pytest.raises(ValueError, match=r"canonical must be \(B, J, 3\), got \(5, 3\)"):
        ops.reprojection_loss(canonical[0], rotation, pose_2d, 5.0)


def kernels():
    return importlib.import_module("ites_fast.kernels.pose_error")


@pytest.mark.parametrize(
    ("root", "with_scale", "per_joint"), [(0, False, True), (1, True, False), (None, True, True), (None, False, False)]
)
@pytest.mark.parametrize(("N", "J"), SHAPES)
def test_error_kernels_match_reference(N, J, root, with_scale, per_joint, kernel_device):
    root = root and min(root, J - 1)
    pred, target = poses(N, J)
    if J == 2:  # whose one joint apart from the root a scale moves to where it should be, but for rounding
        with_scale = False
    expected = reference.joint_errors(pred, target, root, with_scale)
    grad_errors = random(N, J, seed=2) if per_joint else random(N, seed=2)
    spread = grad_errors if per_joint else grad_errors[:, None].expand(N, J) / J
    truth = reference_gradients(pred, target, root, with_scale, spread)
    ours = [tensor.float().to(kernel_device) for tensor in (pred, target)]
    errors = kernels().joint_errors_fwd(*ours, root, with_scale, per_joint).cpu()
    torch.testing.assert_close(errors, (expected if per_joint else expected.mean(dim=1)).float(), rtol=1e-5, atol=1e-5)
    arguments = grad_errors.float().to(kernel_device), *ours, root, with_scale, per_joint
    grads = kernels().joint_errors_bwd(*arguments, with_target=True)
    for grad, true_grad in zip(grads, truth, strict=True):
        torch.testing.assert_close(grad.cpu(), true_grad.float(), rtol=1e-4, atol=1e-5)
    grad_pred, nothing = kernels().joint_errors_bwd(*arguments, with_target=False)
    torch.testing.assert_close(grad_pred, grads[0], rtol=0, atol=0)
    assert nothing.numel() == 0


@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("B", "J"), SHAPES)
def test_reprojection_kernels_match_reference(B, J, camera_depth, kernel_device):
    truth = projection(B, J)
    truth[0][0, 0] = truth[2][0, 0] = 0  # a distance of exactly zero
    ours = [tensor.float().to(kernel_device) for tensor in truth]
    truth = [tensor.requires_grad_() for tensor in truth]
    expected = reference.reprojection_loss(*truth, camera_depth)
    cameras = camera_depth, reference.MIN_DEPTH
    torch.testing.assert_close(kernels().reprojection_loss_fwd(*ours, *cameras).cpu(), expected.float())
    (3 * expected).backward()
    grads = kernels().reprojection_loss_bwd(torch.tensor(3.0, device=kernel_device), *ours, *cameras, True)
    for grad, tensor in zip(grads, truth, strict=True):
        torch.testing.assert_close(grad.cpu(), tensor.grad.float(), rtol=1e-4, atol=1e-5)


def test_a_nan_stays_with_its_pose_in_the_kernels_and_bits_repeat(kernel_device):
    pred, target = (tensor.float().to(kernel_device) for tensor in poses(9, 17))
    pred[2, 5, 1] = torch.nan
    ones = torch.ones(9, device=kernel_device)
    for with_scale in (False, True):
        errors = kernels().joint_errors_fwd(pred, target, 0, with_scale, False)
        assert errors.isnan().nonzero().tolist() == [[2]]
        first, second = (kernels().joint_errors_bwd(ones, pred, target, 0, with_scale, False, True) for _ in range(2))
        torch.testing.assert_close(first, second, rtol=0, atol=0, equal_nan=True)
        assert all(grad.isnan().any(dim=2).any(dim=1).nonzero().tolist() == [[2]] for grad in first)
    arguments = *(tensor.float().to(kernel_device) for tensor in projection(9, 17)), CAMERA_DEPTH, reference.MIN_DEPTH
    arguments[0][4, 3] = torch.nan
    grads = kernels().reprojection_loss_bwd(ones[0], *arguments, True)
    assert all(grad.isnan().any(dim=2).any(dim=1).nonzero().tolist() == [[4]] for grad in grads)
    assert grads[0][4].isnan().any(dim=1).nonzero().tolist() == [[3]]


@pytest.mark.parametrize("case", ["float64", "300 joints", "empty"])
def test_what_the_kernels_do_not_take_runs_in_pytorch(case, kernel_device):
    N, J = 0 if case == "empty" else 3, 300 if case == "300 joints" else 17
    dtype = torch.float64 if case == "float64" else torch.float32
    pair = [random(N, J, 3, seed=seed).to(kernel_device, dtype) for seed in (0, 1)]
    errors = module._forward_cuda(*pair, 0, True, True)
    torch.testing.assert_close(errors, reference.joint_errors(*pair, 0, True))
    grads = module._backward_cuda(errors, *pair, 0, True, True, True)
    assert [grad.shape for grad in grads] == [(N, J, 3)] * 2
    generator = torch.Generator().manual_seed(0)
    rotation = ops.random_rotations((N,), "all", generator=generator, dtype=dtype).to(kernel_device)
    inputs = pair[0], rotation, pair[1][..., :2].contiguous(), CAMERA_DEPTH
    loss = module._loss_cuda(*inputs)
    torch.testing.assert_close(loss, reference.reprojection_loss(*inputs), equal_nan=True)
    assert module._loss_backward_cuda(loss, *inputs, True)[1].shape == (N, 3, 3)


def test_the_functions_for_cuda_launch_the_kernels(kernel_device):
    pair = [tensor.float().to(kernel_device) for tensor in poses(3, 17)]
    exactly = {"rtol": 0, "atol": 0}
    errors = module._forward_cuda(*pair, 0, True, False)
    torch.testing.assert_close(errors, kernels().joint_errors_fwd(*pair, 0, True, False), **exactly)
    grads = module._backward_cuda(errors, *pair, 0, True, False, True)
    torch.testing.assert_close(grads, kernels().joint_errors_bwd(errors, *pair, 0, True, False, True), **exactly)
    inputs = *(tensor.float().to(kernel_device) for tensor in projection(3, 17)), CAMERA_DEPTH
    loss = module._loss_cuda(*inputs)
    torch.testing.assert_close(loss, kernels().reprojection_loss_fwd(*inputs, reference.MIN_DEPTH), **exactly)
    grads = module._loss_backward_cuda(loss, *inputs, False)
    expected = kernels().reprojection_loss_bwd(loss, *inputs, reference.MIN_DEPTH, False)
    torch.testing.assert_close(grads, expected, **exactly)


@NEEDS_CUDA
def test_a_million_poses():
    pred, target = (torch.randn(1_000_003, 17, 3, device="cuda") for _ in range(2))
    expected = reference.n_mpjpe(pred.double(), target.double())
    torch.testing.assert_close(ops.n_mpjpe(pred, target), expected.float(), rtol=1e-5, atol=1e-5)


@NEEDS_CUDA
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    """At most twice the error of PyTorch in the same dtype."""
    pair = [tensor.to("cuda", dtype) for tensor in poses(300, 17)]
    exact = reference.joint_errors(*(tensor.double() for tensor in pair), 0, True)
    error = (ops.joint_errors(*pair, with_scale=True) - exact).abs().max()
    assert error <= 2 * (reference.joint_errors(*pair, 0, True) - exact).abs().max()


@NEEDS_CUDA
def test_a_cuda_graph_replays_loss_and_gradients():
    tensors = [tensor.float().cuda().requires_grad_() for tensor in projection(64, 17)]

    def step():
        loss = ops.reprojection_loss(*tensors, CAMERA_DEPTH) + ops.n_mpjpe(tensors[0], tensors[0].roll(1, 0)).mean()
        return torch.autograd.grad(loss, tensors)

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
