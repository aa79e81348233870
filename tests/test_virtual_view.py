import importlib

import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (1, 64, 2), (4, 0, 17)]  # (S, B, J)
KERNEL_SHAPES = [(1, 1, 1), (2, 65, 1), (1, 33, 2), (2, 9, 16), (3, 5, 17), (1, 8, 25), (2, 3, 32), (1, 3, 133)]
CAMERA_DEPTH, RMS = 5.0, 0.12
BEHIND = 0.9  # with unit poses, many joints come nearer than MIN_DEPTH
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def inputs(S, B, J, dtype=torch.float64, device="cpu"):
    """Poses and rotations, and gradients of the views and of the turned poses."""
    generator = torch.Generator().manual_seed(S + 10 * B + 100 * J)
    pose = torch.randn(B, J, 3, generator=generator, dtype=torch.float64)
    rotation = ops.random_rotations((S, B), "all", generator=generator, dtype=torch.float64)
    grads = [torch.randn(S, B, J, D, generator=generator, dtype=torch.float64) for D in (2, 3)]
    return [tensor.to(device, dtype) for tensor in (pose, rotation, *grads)]


def expected_values(pose, rotation, grad_view, grad_turned, camera_depth, rescale):
    """By the reference and autograd, in float64."""
    pose, rotation = (tensor.detach().double().requires_grad_() for tensor in (pose, rotation))
    found = reference.virtual_view(pose, rotation, camera_depth, RMS, rescale)
    gradients = torch.autograd.grad(found, (pose, rotation), (grad_view.double(), grad_turned.double()))
    return *(value.detach() for value in found), *gradients


def assert_matches(found, expected):
    torch.testing.assert_close(found[:2], tuple(want.float() for want in expected[:2]))
    torch.testing.assert_close(found[2:], tuple(want.float() for want in expected[2:]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("rescale", [True, False])
def test_reference_is_made_of_its_parts(rescale):
    pose, rotation, _, _ = inputs(2, 3, 17)
    uv, turned = reference.rotate_project(pose, rotation, CAMERA_DEPTH), ops.rotate(pose, rotation)
    scale = ops.view_scale(uv, RMS) if rescale else torch.ones(2, 3, 1, 1, dtype=torch.float64)
    found = reference.virtual_view(pose, rotation, CAMERA_DEPTH, RMS, rescale)
    torch.testing.assert_close(found, (scale * uv, scale * turned))


def test_views_have_the_size_of_the_input():
    pose, rotation, _, _ = inputs(2, 3, 17)
    view, turned = ops.virtual_view(pose, rotation, CAMERA_DEPTH, RMS)
    size = view.square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(size, torch.full_like(size, RMS))
    length = turned.norm(dim=-1) / pose.norm(dim=-1)
    torch.testing.assert_close(length, length[..., :1].expand_as(length))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("S", "B", "J"), SHAPES)
def test_op_matches_reference(S, B, J, camera_depth, rescale, device):
    pose, rotation, *grads = values = inputs(S, B, J, torch.float32, device)
    pose, rotation = pose.mT.contiguous().mT.requires_grad_(), rotation.mT.contiguous().mT.requires_grad_()
    found = ops.virtual_view(pose, rotation, camera_depth, RMS, rescale)
    gradients = torch.autograd.grad(found, (pose, rotation), grads)
    assert_matches((*(value.detach() for value in found), *gradients), expected_values(*values, camera_depth, rescale))


@pytest.mark.parametrize("rescale", [True, False])
@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize("function", [reference.virtual_view, ops.virtual_view])
def test_gradient(function, camera_depth, rescale):
    tensors = [tensor.requires_grad_() for tensor in inputs(2, 2, 3)[:2]]
    assert torch.autograd.gradcheck(lambda *args: function(*args, camera_depth, RMS, rescale), tensors)


@pytest.mark.parametrize("function", [reference.virtual_view, ops.virtual_view])
@pytest.mark.parametrize("size", [0.0, 1e-4])
def test_a_view_of_no_size_has_a_constant_scale(size, function):
    """All joints at the root, or near it: the scale is that of the smallest view, and has no gradient."""
    pose, rotation, *grads = inputs(2, 3, 17)
    pose = (size * pose).requires_grad_()
    view, turned = function(pose, rotation, CAMERA_DEPTH, RMS)
    scale = RMS / 1e-3
    torch.testing.assert_close(view, scale * reference.rotate_project(pose, rotation, CAMERA_DEPTH))
    expected = scale * reference.rotate_project(pose, rotation, CAMERA_DEPTH), scale * ops.rotate(pose, rotation)
    torch.testing.assert_close(
        torch.autograd.grad((view, turned), pose, grads), torch.autograd.grad(expected, pose, grads)
    )


@pytest.mark.parametrize("wanted", [(True, True), (True, False), (False, True)], ids=["both", "pose", "rotation"])
def test_op_registration(wanted, device):
    pairs = zip(inputs(2, 3, 5, device=device)[:2], wanted, strict=True)
    tensors = [tensor.requires_grad_(want) for tensor, want in pairs]
    torch.library.opcheck(torch.ops.ites_fast.virtual_view.default, (*tensors, CAMERA_DEPTH, RMS, True))


def test_op_compiles():
    pose, rotation = (tensor.requires_grad_() for tensor in inputs(2, 3, 5)[:2])

    def total(function, *tensors):
        view, turned = function(*tensors, CAMERA_DEPTH, RMS)
        return view.sin().sum() + turned.sin().sum()

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    grads = torch.autograd.grad(compiled(ops.virtual_view, pose, rotation), (pose, rotation))
    expected = torch.autograd.grad(total(reference.virtual_view, pose, rotation), (pose, rotation))
    torch.testing.assert_close(grads, expected)


def test_vmap_over_replicas_and_over_gradients():
    pose, rotation, *grads = inputs(3, 4, 5)
    tensors = [torch.stack([pose, 2 * pose]).requires_grad_(), rotation.requires_grad_()]
    directions = [torch.stack([grad, -grad]).expand(6, 2, *grad.shape) for grad in grads]
    results = []
    for function in (ops.virtual_view, reference.virtual_view):
        found = torch.vmap(lambda *each, f=function: f(*each, CAMERA_DEPTH, RMS), in_dims=(0, None))(*tensors)
        for wanted in (tensors, tensors[:1]):
            gradients = torch.autograd.grad(found, wanted, directions, retain_graph=True, is_grads_batched=True)
            results.append((*found, *gradients))
    torch.testing.assert_close(results[:2], results[2:])


def test_one_output_alone(device):
    pose, rotation, *grads = inputs(2, 3, 17, device=device)
    pose.requires_grad_()
    for number, grad in enumerate(grads):
        found, expected = (
            torch.autograd.grad(function(pose, rotation, CAMERA_DEPTH, RMS)[number], pose, grad)
            for function in (ops.virtual_view, reference.virtual_view)
        )
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    ("pose", "rotation", "message"),
    [
        ((4, 17, 2), (2, 4, 3, 3), r"pose must be \(B, J, 3\), got \(4, 17, 2\)"),
        ((4, 17, 3), (4, 3, 3), r"rotation must be \(S, 4, 3, 3\) for pose \(4, 17, 3\), got \(4, 3, 3\)"),
        ((4, 17, 3), (2, 5, 3, 3), r"got \(2, 5, 3, 3\)"),
    ],
)
def test_rejects_other_shapes(pose, rotation, message):
    with pytest.raises(ValueError, match=message):
        ops.virtual_view(torch.zeros(pose), torch.zeros(rotation), CAMERA_DEPTH, RMS)


def kernel_values(values, camera_depth, rescale=True, with_rotation=True):
    """What the kernels make of poses, rotations and gradients: views, turned poses and both gradients."""
    kernels = pytest.importorskip("ites_fast.kernels.virtual_view")
    pose, rotation, *grads = values
    options = camera_depth, RMS, rescale, reference.MIN_DEPTH, 1e-3
    found = kernels.virtual_view_fwd(pose, rotation, *options)
    return *found, *kernels.virtual_view_bwd(*grads, pose, rotation, *options, with_rotation)


@pytest.mark.parametrize(("camera_depth", "rescale"), [(CAMERA_DEPTH, True), (BEHIND, True), (BEHIND, False)])
@pytest.mark.parametrize(("S", "B", "J"), KERNEL_SHAPES)
def test_kernels_match_reference(S, B, J, camera_depth, rescale, kernel_device):
    values = inputs(S, B, J, torch.float32, kernel_device)
    found = kernel_values(values, camera_depth, rescale)
    assert_matches(found, expected_values(*values, camera_depth, rescale))


def test_kernels_without_the_gradient_of_the_rotation(kernel_device):
    values = inputs(2, 9, 17, torch.float32, kernel_device)
    *_, grad_pose, grad_rotation = kernel_values(values, CAMERA_DEPTH, with_rotation=False)
    assert grad_rotation.shape == (0,)
    torch.testing.assert_close(grad_pose, kernel_values(values, CAMERA_DEPTH)[2], rtol=0, atol=0)


@pytest.mark.parametrize("size", [0.0, 1e-4, 5e-3])
def test_kernels_on_views_of_little_size(size, kernel_device):
    pose, *others = inputs(2, 9, 17, torch.float32, kernel_device)
    values = (size * pose).contiguous(), *others
    found, expected = kernel_values(values, CAMERA_DEPTH), expected_values(*values, CAMERA_DEPTH, True)
    for value, want in zip(found, expected, strict=True):
        largest = want.abs().max().item()
        torch.testing.assert_close(value, want.float(), rtol=1e-4, atol=1e-5 * max(largest, 1e-3))


@pytest.mark.parametrize(
    "dtype",
    [
        torch.float16,
        pytest.param(torch.bfloat16, marks=needs_cuda),  # the interpreter gets it wrong silently
    ],
)
def test_kernels_round_only_what_they_store(dtype, kernel_device):
    values = inputs(2, 5, 17, dtype, kernel_device)
    rounding = torch.finfo(dtype).eps
    expected = expected_values(*values, CAMERA_DEPTH, True)
    for value, want in zip(kernel_values(values, CAMERA_DEPTH), expected, strict=True):
        assert value.dtype == dtype
        torch.testing.assert_close(value.double(), want, rtol=rounding, atol=rounding * want.abs().max().item() / 100)


def test_kernels_keep_a_nan_to_its_pose(kernel_device):
    values = inputs(2, 9, 17, torch.float32, kernel_device)
    clean = kernel_values(values, CAMERA_DEPTH)
    values[0][3, 5, 2] = values[1][1, 7, 2, 0] = torch.nan
    view, turned, grad_pose, grad_rotation = found = kernel_values(values, CAMERA_DEPTH)
    for value in (view[:, 3], turned[:, 3], view[1, 7], turned[1, 7], grad_pose[3], grad_pose[7], grad_rotation[1, 7]):
        assert value.isnan().all()
    assert grad_rotation[:, 3].isnan().all()
    others = torch.tensor([b for b in range(9) if b not in (3, 7)], device=kernel_device)
    for value, want, dim in zip(found, clean, (1, 1, 0, 1), strict=True):
        torch.testing.assert_close(value.index_select(dim, others), want.index_select(dim, others), rtol=0, atol=0)


def test_kernels_give_the_same_bits_twice(kernel_device):
    values = inputs(2, 9, 17, torch.float32, kernel_device)
    torch.testing.assert_close(*(kernel_values(values, BEHIND) for _ in range(2)), rtol=0, atol=0)


@pytest.mark.parametrize(("S", "B", "J"), [(0, 3, 17), (2, 0, 17), (2, 3, 0)])
def test_kernels_of_nothing(S, B, J, kernel_device):
    values = inputs(S, B, J, torch.float32, kernel_device)
    view, turned, *gradients = kernel_values(values, CAMERA_DEPTH)
    assert (view.shape, turned.shape) == ((S, B, J, 2), (S, B, J, 3))
    torch.testing.assert_close(gradients, [torch.zeros_like(tensor) for tensor in values[:2]])


@pytest.mark.parametrize("J", [17, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_runs_on_cuda(dtype, J, kernel_device):
    """The function that the dispatcher calls there; it takes what the kernels do not to PyTorch."""
    module = importlib.import_module("ites_fast.ops.virtual_view")
    pose, rotation, *grads = values = inputs(2, 3, J, dtype, kernel_device)
    options = CAMERA_DEPTH, RMS, True
    found = module._forward_cuda(pose, rotation, *options)
    gradients = module._backward_cuda(*grads, pose, rotation, *options, True)
    expected = tuple(want.to(dtype) for want in expected_values(*values, CAMERA_DEPTH, True))
    torch.testing.assert_close((*found, *gradients), expected, rtol=1e-4, atol=1e-5)


@needs_cuda
def test_a_million_poses():
    values = inputs(2, 1_000_003, 17, torch.float32, "cuda")
    found, expected = kernel_values(values, BEHIND), expected_values(*values, BEHIND, True)
    last = torch.arange(1_000_000, 1_000_003, device="cuda")
    found, expected = (
        tuple(value.index_select(0 if value.ndim == 3 else 1, last) for value in each) for each in (found, expected)
    )
    assert_matches(found, expected)


@needs_cuda
def test_a_graph_can_be_captured():
    pose, rotation, *grads = inputs(2, 9, 17, torch.float32, "cuda")
    pose.requires_grad_()

    def step():
        return torch.autograd.grad(ops.virtual_view(pose, rotation, CAMERA_DEPTH, RMS), pose, grads)[0]

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
