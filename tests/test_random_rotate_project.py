import importlib

import pytest
import torch

from ites_fast import ops, reference

SHAPES = [(1, 1, 1), (4, 3, 16), (2, 17, 17), (1, 64, 2), (4, 0, 17)]  # (S, B, J)
KERNEL_SHAPES = [(1, 1, 1), (2, 65, 1), (3, 33, 2), (5, 9, 17), (1, 8, 25), (9, 3, 32), (17, 3, 133)]
SEED, OFFSET, CAMERA_DEPTH = 2**40 + 7, 3, 5.0
BEHIND = 0.9  # with unit poses, many joints come nearer than MIN_DEPTH
AXES = ["all", "vertical"]
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")


def inputs(S, B, J, dtype=torch.float64, device="cpu"):
    """Poses, and gradients of their projections and of the turned poses."""
    generator = torch.Generator().manual_seed(S + 10 * B + 100 * J)
    shapes = (B, J, 3), (S, B, J, 2), (S, B, J, 3)
    return [torch.randn(shape, generator=generator, dtype=torch.float64).to(device, dtype) for shape in shapes]


def expected_values(pose, grad_uv, grad_rotated, axis, camera_depth, offset=OFFSET):
    """By ``rotate_project`` with the rotations given, in float64."""
    pose = pose.detach().double().requires_grad_()
    shape = grad_uv.shape[:2]
    rotation = ops.philox_rotations(SEED, offset, shape, axis, device=pose.device, dtype=torch.float64)
    values = reference.rotate_project(pose, rotation, camera_depth), ops.rotate(pose, rotation)
    (grad_pose,) = torch.autograd.grad(values, pose, (grad_uv.double(), grad_rotated.double()))
    return *(value.detach() for value in values), grad_pose


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
@pytest.mark.parametrize(("S", "B", "J"), SHAPES)
def test_op_matches_given_rotations(S, B, J, axis, camera_depth, device):
    values = inputs(S, B, J, torch.float32, device)
    expected = expected_values(*values, axis, camera_depth)
    pose, grad_uv, grad_rotated = values
    pose.requires_grad_()
    found = ops.random_rotate_project(pose, SEED, OFFSET, S, axis, camera_depth, with_rotated=True)
    (grad_pose,) = torch.autograd.grad(found, pose, (grad_uv, grad_rotated))
    torch.testing.assert_close(found, tuple(want.float() for want in expected[:2]), rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(grad_pose, expected[2].float(), rtol=1e-4, atol=1e-5)
    uv, nothing = ops.random_rotate_project(pose, SEED, OFFSET, S, axis, camera_depth)
    assert nothing is None
    torch.testing.assert_close(uv, found[0], rtol=0, atol=0)
    (grad_pose,) = torch.autograd.grad(uv, pose, grad_uv)
    expected = expected_values(*values[:2], torch.zeros_like(grad_rotated), axis, camera_depth)
    torch.testing.assert_close(grad_pose, expected[2].float(), rtol=1e-4, atol=1e-5)


def test_reference_is_the_projection_by_philox_rotations():
    pose, _, _ = inputs(3, 4, 5)
    rotation = ops.philox_rotations(SEED, OFFSET, (3, 4), "all", dtype=torch.float64)
    expected = reference.rotate_project(pose, rotation, CAMERA_DEPTH), ops.rotate(pose, rotation)
    found = reference.random_rotate_project(pose, SEED, OFFSET, 3, "all", CAMERA_DEPTH)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("with_rotated", [False, True])
@pytest.mark.parametrize("camera_depth", [CAMERA_DEPTH, BEHIND])
def test_gradient(camera_depth, with_rotated):
    pose = inputs(2, 3, 4)[0].requires_grad_()

    def function(pose):
        found = ops.random_rotate_project(pose, SEED, OFFSET, 2, "all", camera_depth, with_rotated)
        return found if with_rotated else found[0]

    assert torch.autograd.gradcheck(function, pose)


def test_a_tensor_counts_as_the_integer_does(device):
    pose, grad_uv, _ = inputs(2, 3, 17, torch.float32, device)
    pose.requires_grad_()
    offset = torch.tensor(OFFSET, device=device)
    uv, _ = ops.random_rotate_project(pose.detach().mT.contiguous().mT, SEED, OFFSET, 2, "all", CAMERA_DEPTH)
    found, _ = ops.random_rotate_project(pose, SEED, offset, 2, "all", CAMERA_DEPTH)
    torch.testing.assert_close(found, uv, rtol=0, atol=0)
    expected = torch.autograd.grad(
        ops.random_rotate_project(pose, SEED, OFFSET, 2, "all", CAMERA_DEPTH)[0], pose, grad_uv
    )
    torch.testing.assert_close(torch.autograd.grad(found, pose, grad_uv), expected, rtol=0, atol=0)


def test_an_offset_that_advances_before_the_backward_is_an_error():
    pose, grad_uv, _ = inputs(2, 3, 17)
    offset = torch.tensor([OFFSET])
    uv, _ = ops.random_rotate_project(pose.requires_grad_(), SEED, offset, 2, "all", CAMERA_DEPTH)
    offset.add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        uv.backward(grad_uv)


@pytest.mark.parametrize("with_rotated", [False, True])
@pytest.mark.parametrize("offset", [OFFSET, torch.tensor([OFFSET])])
def test_op_registration(offset, with_rotated):
    pose = inputs(2, 3, 5)[0].requires_grad_()
    counter = offset if isinstance(offset, torch.Tensor) else None
    arguments = (pose, SEED, 0 if counter is not None else offset, counter, 2, True, CAMERA_DEPTH, with_rotated)
    torch.library.opcheck(torch.ops.ites_fast.random_rotate_project.default, arguments)


def test_op_compiles():
    pose = inputs(2, 3, 5)[0].requires_grad_()

    def total(pose, offset):
        uv, rotated = ops.random_rotate_project(pose, SEED, offset, 2, "all", 5.0, with_rotated=True)
        return uv.sin().sum() + rotated.sin().sum()

    compiled = torch.compile(total, fullgraph=True, backend="aot_eager")
    for offset in (3, 4, 5, torch.tensor([6])):
        found = torch.autograd.grad(compiled(pose, offset), pose)
        torch.testing.assert_close(found, torch.autograd.grad(total(pose, offset), pose))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"pose": torch.zeros(4, 17, 2)}, r"pose must be \(B, J, 3\), got \(4, 17, 2\)"),
        ({"axis": "horizontal"}, 'axis must be "all" or "vertical", got \'horizontal\''),
        ({"draws": -1}, "draws must not be negative, got -1"),
        ({"offset": torch.tensor(1.0)}, r"offset must be an integer or one int64 on cpu, got torch.float32 \(\)"),
        ({"offset": torch.tensor([1, 2])}, r"got torch.int64 \(2,\) on cpu"),
    ],
)
def test_rejects_other_arguments(arguments, message):
    valid = {"pose": torch.zeros(4, 17, 3), "seed": 0, "offset": 0, "draws": 2, "axis": "all", "camera_depth": 5.0}
    with pytest.raises(ValueError, match=message):
        ops.random_rotate_project(**valid | arguments)


def kernel_values(values, axis, camera_depth, offset=OFFSET, counter=None, with_rotated=True):
    """What the kernels make of poses and gradients: projections, turned poses, the gradient of the poses."""
    kernels = pytest.importorskip("ites_fast.kernels.random_rotate_project")
    pose, grad_uv, grad_rotated = values
    drawn = SEED, offset, counter
    depths = camera_depth, reference.MIN_DEPTH
    outputs = kernels.random_rotate_project_fwd(pose, *drawn, len(grad_uv), axis == "vertical", *depths, with_rotated)
    grads = grad_uv, grad_rotated if with_rotated else None
    return *outputs, kernels.random_rotate_project_bwd(*grads, pose, *drawn, axis == "vertical", *depths)


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize(("S", "B", "J"), KERNEL_SHAPES)
def test_kernels_draw_what_the_reference_draws(S, B, J, axis, kernel_device):
    values = inputs(S, B, J, torch.float32, kernel_device)
    expected = expected_values(*values, axis, BEHIND)
    uv, rotated, grad_pose = kernel_values(values, axis, BEHIND)
    torch.testing.assert_close(rotated, expected[1].float(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(uv, expected[0].float(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(grad_pose, expected[2].float(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("axis", AXES)
def test_kernel_rotations_are_right_to_a_few_roundings(axis, kernel_device):
    """The columns of R are where it turns the unit vectors to."""
    units = torch.eye(3, device=kernel_device).expand(96, 3, 3).contiguous()
    values = units, units.new_zeros(1, 96, 3, 2), units.new_zeros(1, 96, 3, 3)
    _, rotated, _ = kernel_values(values, axis, CAMERA_DEPTH)
    expected = ops.philox_rotations(SEED, OFFSET, (1, 96), axis, device=kernel_device, dtype=torch.float64)
    torch.testing.assert_close(rotated.double().mT, expected, rtol=0, atol=5e-7)


def test_kernels_without_the_turned_poses(kernel_device):
    values = inputs(2, 9, 17, torch.float32, kernel_device)
    uv, rotated, grad_pose = kernel_values(values, "all", CAMERA_DEPTH, with_rotated=False)
    assert rotated.shape == (0,)
    expected = expected_values(*values[:2], torch.zeros_like(values[2]), "all", CAMERA_DEPTH)
    torch.testing.assert_close(uv, expected[0].float(), rtol=1e-5, atol=2e-6)
    torch.testing.assert_close(grad_pose, expected[2].float(), rtol=1e-4, atol=1e-5)


def test_kernels_add_the_counter_to_the_offset(kernel_device):
    values = inputs(2, 3, 17, torch.float32, kernel_device)
    counter = torch.tensor([2**32 + 5], device=kernel_device)
    found = kernel_values(values, "all", CAMERA_DEPTH, offset=2, counter=counter)
    expected = kernel_values(values, "all", CAMERA_DEPTH, offset=2**32 + 7)
    torch.testing.assert_close(found, expected, rtol=0, atol=0)
    expected = expected_values(*values, "all", CAMERA_DEPTH, offset=2**32 + 7)
    torch.testing.assert_close(found[0], expected[0].float(), rtol=1e-5, atol=2e-6)


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
    expected = expected_values(*values, "all", BEHIND)
    for value, want in zip(kernel_values(values, "all", BEHIND), expected, strict=True):
        assert value.dtype == dtype
        torch.testing.assert_close(value.double(), want, rtol=rounding, atol=rounding * want.abs().max().item() / 100)


def test_kernels_keep_a_nan_to_its_pose(kernel_device):
    values = inputs(2, 9, 17, torch.float32, kernel_device)
    clean = kernel_values(values, "all", CAMERA_DEPTH)
    values[0][3, 5, 2] = torch.nan
    uv, rotated, grad_pose = kernel_values(values, "all", CAMERA_DEPTH)
    assert uv[:, 3, 5].isnan().all()
    assert rotated[:, 3, 5].isnan().all()
    assert grad_pose[3, 5].isnan().all()
    for value, want in ((uv[0], clean[0][0]), (rotated[1], clean[1][1]), (grad_pose, clean[2])):
        kept = torch.ones(9, 17, dtype=torch.bool, device=kernel_device)
        kept[3, 5] = False
        torch.testing.assert_close(value[kept], want[kept], rtol=0, atol=0)


@pytest.mark.parametrize(("S", "B", "J"), [(0, 3, 17), (2, 0, 17), (2, 3, 0)])
def test_kernels_of_nothing(S, B, J, kernel_device):
    uv, rotated, grad_pose = kernel_values(inputs(S, B, J, torch.float32, kernel_device), "all", CAMERA_DEPTH)
    assert (uv.shape, rotated.shape) == ((S, B, J, 2), (S, B, J, 3))
    torch.testing.assert_close(grad_pose, torch.zeros(B, J, 3, device=kernel_device))


@pytest.mark.parametrize("J", [17, 300])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_what_runs_on_cuda(dtype, J, kernel_device):
    """The function that the dispatcher calls there; it takes what the kernels do not to PyTorch."""
    module = importlib.import_module("ites_fast.ops.random_rotate_project")
    pose, grad_uv, grad_rotated = values = inputs(2, 3, J, dtype, kernel_device)
    expected = expected_values(*values, "vertical", BEHIND)
    counter = torch.tensor(OFFSET, device=kernel_device)
    uv, rotated = module._forward_cuda(pose, SEED, 0, counter, 2, True, BEHIND, True)
    grad_pose = module._backward_cuda(grad_uv, grad_rotated, uv, pose, SEED, 0, counter, True, BEHIND)
    found = (uv, rotated, grad_pose)
    torch.testing.assert_close(found, tuple(want.to(dtype) for want in expected), rtol=1e-4, atol=1e-5)


@needs_cuda
def test_a_million_poses():
    values = inputs(2, 1_000_003, 17, torch.float32, "cuda")
    found, expected = kernel_values(values, "all", BEHIND), expected_values(*values, "all", BEHIND)
    for value, want, dim in zip(found, expected, (1, 1, 0), strict=True):
        last = torch.arange(1_000_000, 1_000_003, device="cuda")
        want = want.index_select(dim, last).float()
        torch.testing.assert_close(value.index_select(dim, last), want, rtol=1e-4, atol=1e-5)


@needs_cuda
def test_replays_of_a_graph_turn_the_poses_anew():
    pose, grad_uv, _ = inputs(2, 9, 17, torch.float32, "cuda")
    pose.requires_grad_()
    offset = torch.zeros(1, dtype=torch.int64, device="cuda")

    def step():
        uv, _ = ops.random_rotate_project(pose, SEED, offset, 2, "all", CAMERA_DEPTH)
        (grad_pose,) = torch.autograd.grad(uv, pose, grad_uv)
        offset.add_(1)
        return uv.detach(), grad_pose

    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        step()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        captured = step()
    offset.fill_(10)
    for number in (10, 11):
        graph.replay()
        uv, _ = ops.random_rotate_project(pose, SEED, number, 2, "all", CAMERA_DEPTH)
        torch.testing.assert_close(captured, (uv.detach(), torch.autograd.grad(uv, pose, grad_uv)[0]))
