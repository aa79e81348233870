"""Procrustes alignment: every implementation against a float64 SVD written here, on poses made to be difficult.

The CUDA kernels' code runs here on the CPU as well, one thread of a block after the other: "tiles", with their poses
where the caller has them or, in float32, "staged" in what stands for shared memory.
"""

import itertools
import math

import numpy as np
import pytest
import roma
import torch

from ites_fast import ops, reference
from ites_fast.extension import extension
from ites_fast.ops.aligned_errors import FLIPS
from ites_fast.reference.aligned_errors import FITS
from ites_fast.reference.procrustes import mirror

N, J = 11, 17  # odd: the last vector of poses is not full
DTYPES = [torch.float32, torch.float64]


def _noise(rng, *shape, size=1.0):
    return size * rng.normal(size=shape)


def _rotations(rng, angle=None):
    axis = rng.normal(size=(N, 3))
    angle = rng.uniform(0, np.pi, size=N) if angle is None else np.full(N, angle)
    vector = axis / np.linalg.norm(axis, axis=1, keepdims=True) * angle[:, None]
    return roma.rotvec_to_rotmat(torch.from_numpy(vector)).numpy()


def _move(rng, pose, angle=None):
    """Another scale, rotation and translation for each pose."""
    scale, offset = rng.uniform(0.5, 2, size=(N, 1, 1)), rng.normal(size=(N, 1, 3))
    return scale * pose @ _rotations(rng, angle).swapaxes(1, 2) + offset


def _with_cross(rng, singular):
    """Poses whose sum of target source^T is this diagonal matrix, mixed by a rotation."""
    source = np.concatenate([np.eye(3), -np.eye(3)])[None].repeat(N, axis=0) @ _rotations(rng)
    return source, (source * np.array(singular)) @ _rotations(rng)


def _pair(rng, shape, noise=0.0):
    """Poses (N, ., 3) and the same ones moved, both with noise."""
    return shape + _noise(rng, *shape.shape, size=noise), _move(rng, shape) + _noise(rng, *shape.shape, size=noise)


LINE, PLANE, MIRROR = np.array([1.0, 0, 0]), np.array([1.0, 1, 0]), np.array([1.0, 1, -1])
CUBE = np.array(list(itertools.product((-1.0, 1.0), repeat=3)))
FAMILIES = {
    "unrelated": lambda rng: (_noise(rng, N, J, 3), _noise(rng, N, J, 3)),
    "identical": lambda rng: (_noise(rng, N, J, 3),) * 2,
    "similar": lambda rng: _pair(rng, _noise(rng, N, J, 3)),
    "similar_noisy": lambda rng: _pair(rng, _noise(rng, N, J, 3), noise=1e-2),
    "half_turn": lambda rng: (pose := _noise(rng, N, J, 3), _move(rng, pose, angle=np.pi)),
    "nearly_half_turn": lambda rng: (pose := _noise(rng, N, J, 3), _move(rng, pose, angle=np.pi - 1e-9)),
    "reflected": lambda rng: (pose := _noise(rng, N, J, 3), _move(rng, pose * MIRROR)),
    "reflected_noisy": lambda rng: (
        pose := _noise(rng, N, J, 3),
        _move(rng, pose * MIRROR) + _noise(rng, N, J, 3) / 10,
    ),
    "inverted": lambda rng: (pose := _noise(rng, N, J, 3), _move(rng, -pose)),
    "planar": lambda rng: _pair(rng, _noise(rng, N, J, 3) * PLANE),
    "nearly_planar": lambda rng: _pair(rng, _noise(rng, N, J, 3) * PLANE, noise=1e-6),
    "planar_reflected": lambda rng: (pose := _noise(rng, N, J, 3) * PLANE, _move(rng, pose * np.array([1, -1, 1]))),
    "planar_to_unrelated": lambda rng: (_noise(rng, N, J, 3) * PLANE, _noise(rng, N, J, 3)),
    "collinear": lambda rng: _pair(rng, _noise(rng, N, J, 3) * LINE),
    "nearly_collinear": lambda rng: _pair(rng, _noise(rng, N, J, 3) * LINE, noise=1e-8),
    "collinear_to_unrelated": lambda rng: (_noise(rng, N, J, 3) * LINE, _noise(rng, N, J, 3)),
    "duplicated_joints": lambda rng: _pair(rng, _noise(rng, N, 3, 3)[:, [0, 1, 2] * 5 + [0, 0]]),
    "no_extent_source": lambda rng: (_noise(rng, N, 1, 3).repeat(J, axis=1), _noise(rng, N, J, 3)),
    "no_extent_target": lambda rng: (_noise(rng, N, J, 3), _noise(rng, N, 1, 3).repeat(J, axis=1)),
    "no_extent_both": lambda rng: (np.zeros((N, J, 3)), _noise(rng, N, 1, 3).repeat(J, axis=1)),
    "one_joint": lambda rng: (_noise(rng, N, 1, 3), _noise(rng, N, 1, 3)),
    "two_joints": lambda rng: (_noise(rng, N, 2, 3), _noise(rng, N, 2, 3)),
    "three_joints": lambda rng: (_noise(rng, N, 3, 3), _noise(rng, N, 3, 3)),
    "huge": lambda rng: (_noise(rng, N, J, 3, size=1e12), _noise(rng, N, J, 3)),
    "tiny": lambda rng: (_noise(rng, N, J, 3, size=1e-12), _noise(rng, N, J, 3, size=1e-12)),
    "far_from_origin": lambda rng: (_noise(rng, N, J, 3) + 1e6, _noise(rng, N, J, 3) - 1e6),
    "cube": lambda rng: _pair(rng, CUBE[None].repeat(N, axis=0), noise=1e-9),
    "equal_singular_values": lambda rng: _with_cross(rng, (1, 1, 1)),
    "equal_and_reflected": lambda rng: _with_cross(rng, (1, 1, -1)),
    "nearly_ambiguous": lambda rng: _with_cross(rng, [[[1, 0.5, -0.5 * (1 - 10.0**-k)]] for k in range(N)]),
    "ambiguous_reflected": lambda rng: _with_cross(rng, (1, 0.5, -0.5)),
    "rank_one": lambda rng: _with_cross(rng, (1, 0, 0)),
}


def make(family, dtype):
    rng = np.random.default_rng(0)
    source, target = FAMILIES[family](rng)
    return torch.from_numpy(source).to(dtype), torch.from_numpy(target).to(dtype)


def smallest_objective(source, target, with_scale):
    """The least sum of squared distances (N) and the spread of the target (N), by SVD in float64."""
    # Centred in extended precision, so that this truth has no part in the rounding it measures.
    source, target = (pose.numpy().astype(np.longdouble) for pose in (source, target))
    source, target = ((pose - pose.mean(axis=1, keepdims=True)).astype(np.float64) for pose in (source, target))
    u, singular, vh = np.linalg.svd(target.swapaxes(1, 2) @ source)
    sign = np.ones_like(singular)
    sign[:, 2] = np.sign(np.linalg.det(u @ vh))
    rotation = (u * sign[:, None, :]) @ vh
    variance = (source**2).sum(axis=(1, 2))
    scale = np.ones(len(source))
    if with_scale:
        scale = np.divide((singular * sign).sum(axis=1), variance, out=scale, where=variance > 0)
    residual = scale[:, None, None] * source @ rotation.swapaxes(1, 2) - target
    spread = (target**2).sum(axis=(1, 2)) + (0 if with_scale else variance)
    return torch.from_numpy((residual**2).sum(axis=(1, 2))), torch.from_numpy(spread)


def assert_optimal(errors, source, target, with_scale):
    """Distances (N, J) whose squares sum to the least objective, up to the rounding of their dtype."""
    least, spread = smallest_objective(source, target, with_scale)
    excess = errors.double().square().sum(dim=1) - least
    rounding = 4 * torch.finfo(errors.dtype).eps * least
    # The centroid of a pose without extent is itself rounded, by the size of its coordinates.
    coordinates = torch.finfo(torch.float64).eps * target.double().abs().amax(dim=(1, 2))
    assert (excess.abs() <= 1e-14 * spread + rounding + J * coordinates**2).all(), (excess / spread).abs().max()


def run_extension(source, target, with_scale, implementation, threads=1):
    """The compiled functions: errors, (rotation, scale, translation), (errors, flipped) of the better candidate."""
    N, J, _ = source.shape
    tiles = implementation.startswith("tiles")
    batch = {
        "float64": source.dtype == torch.float64,
        "source": source.data_ptr(),
        "target": target.data_ptr(),
        "poses": N,
        "joints": J,
    }
    if tiles:
        batch["staged"] = "staged" in implementation
    else:
        batch |= {"threads": threads, "instruction_set": implementation}

    def run(name, arguments, **outputs):
        pointers = {key: tensor.data_ptr() for key, tensor in outputs.items()}
        getattr(extension, f"{name}_{'tiles' if tiles else 'cpu'}")(**batch, **arguments, **pointers)
        return tuple(outputs.values())

    new = source.new_empty
    fit = {"fits": [FITS.index("similarity" if with_scale else "rigid")], "root": 0}
    (errors,) = run("aligned_errors", fit | {"flip": FLIPS.index("none")}, errors=new(N, J))
    best = run(
        "aligned_errors", fit | {"flip": FLIPS.index("best")}, errors=new(N, J), flipped=new(N, dtype=torch.bool)
    )
    outputs = {"rotation": new(N, 3, 3), "scale": new(N), "translation": new(N, 3)}
    return errors, run("procrustes", {"with_scale": with_scale}, **outputs), best


needs_extension = pytest.mark.skipif(extension is None, reason="ites_fast._C was not compiled")
INSTRUCTION_SETS = extension.supported_instruction_sets() if extension is not None else []
instruction_sets = pytest.mark.parametrize("instruction_set", INSTRUCTION_SETS)
implementations = pytest.mark.parametrize(
    ("implementation", "dtype"),
    [
        *itertools.product([*INSTRUCTION_SETS, "tiles"] if extension is not None else [], DTYPES),
        ("tiles, staged", torch.float32),
    ],
)


@needs_extension
@implementations
@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_kernel_is_optimal(family, dtype, with_scale, implementation):
    source, target = make(family, dtype)
    errors, (rotation, scale, translation), best = run_extension(source, target, with_scale, implementation)
    assert_optimal(errors, source, target, with_scale)
    assert_proper(rotation)
    assert_consistent(errors, rotation, scale, translation, source, target)
    if not with_scale:
        assert (scale == 1).all()
    mirrored = run_extension(mirror(source), target, with_scale, implementation)[0]
    assert_better(*best, errors, mirrored)


@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("family", FAMILIES)
def test_reference_is_optimal(family, with_scale):
    source, target = make(family, torch.float64)
    assert_optimal(reference.procrustes_errors(source, target, with_scale), source, target, with_scale)
    assert_proper(reference.procrustes(source, target, with_scale)[0])


def assert_better(best, flipped, errors, mirrored):
    """Each pose has the errors of the candidate that it names, whose mean is not the larger one but for rounding."""
    torch.testing.assert_close(best, torch.where(flipped[:, None], mirrored, errors))
    least = torch.minimum(errors.mean(dim=1), mirrored.mean(dim=1))
    torch.testing.assert_close(best.mean(dim=1), least)


def assert_proper(rotation):
    identity = torch.eye(3, dtype=rotation.dtype).expand_as(rotation)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotation), rotation.new_ones(len(rotation)))


def assert_consistent(errors, rotation, scale, translation, source, target):
    """The errors are those of the similarity, up to the rounding of coordinates as large as these."""
    aligned = scale[:, None, None] * source @ rotation.mT + translation[:, None]
    rounding = 100 * torch.finfo(errors.dtype).eps * (translation.abs().amax() + target.abs().amax()).item()
    torch.testing.assert_close((aligned - target).norm(dim=-1), errors, atol=rounding, rtol=1e-5)


@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("poses", "joints"), [(1, 3), (3, 16), (17, 17), (64, 17), (5, 100)])
def test_op_matches_reference(poses, joints, dtype, with_scale, device):
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, poses, joints, 3, generator=generator, dtype=torch.float64)
    expected = reference.procrustes(source, target, with_scale)
    source, target = source.to(device, dtype), target.to(device, dtype)
    for actual, truth in zip(ops.procrustes(source, target, with_scale=with_scale), expected, strict=True):
        assert actual.device == source.device
        torch.testing.assert_close(actual.cpu().double(), truth, **tolerance(dtype))
    errors = ops.procrustes_errors(source, target, with_scale=with_scale)
    truth = reference.procrustes_errors(source.cpu().double(), target.cpu().double(), with_scale)
    torch.testing.assert_close(errors.cpu().double(), truth, **tolerance(dtype))
    best, flipped = ops.procrustes_best_errors(source, target, with_scale=with_scale)
    truth, expected = reference.procrustes_best_errors(source.cpu().double(), target.cpu().double(), with_scale)
    if joints > 3:  # the mirror image of three joints is a rotation of them
        assert torch.equal(flipped.cpu(), expected)
    torch.testing.assert_close(best.cpu().double(), truth, **tolerance(dtype))


def test_the_better_flip_is_found():
    source, target = make("similar_noisy", torch.float64)
    wrong = torch.arange(N) % 3 == 0
    source = torch.where(wrong[:, None, None], mirror(source), source)
    errors, flipped = ops.procrustes_best_errors(source, target)
    assert torch.equal(flipped, wrong)
    torch.testing.assert_close(errors, ops.procrustes_errors(make("similar_noisy", torch.float64)[0], target))


def tolerance(dtype):
    # float32 inputs were rounded; unrelated poses can turn several times more than they were changed.
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-9, "atol": 1e-10}


def test_matches_roma():
    source, target = make("similar_noisy", torch.float64)
    rotation, scale, translation = ops.procrustes(source, target)
    expected = roma.rigid_points_registration(source, target, compute_scaling=True)
    torch.testing.assert_close((rotation, translation, scale), tuple(expected))


def test_recovers_the_similarity():
    generator = torch.Generator().manual_seed(0)
    source = torch.randn(N, J, 3, generator=generator, dtype=torch.float64)
    rotation = roma.random_rotmat(N, dtype=torch.float64)
    scale, translation = torch.rand(N, generator=generator, dtype=torch.float64) + 0.5, torch.randn(N, 3).double()
    target = scale[:, None, None] * source @ rotation.mT + translation[:, None]
    torch.testing.assert_close(ops.procrustes(source, target), (rotation, scale, translation))
    assert ops.procrustes_errors(source, target).max() < 1e-14


@needs_extension
@instruction_sets
@pytest.mark.parametrize("dtype", DTYPES)
def test_threads_and_neighbours_do_not_change_bits(dtype, instruction_set):
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, 3333, J, 3, generator=generator, dtype=dtype)
    target[::7] = mirror(source[::7])  # needs more steps than its neighbours
    one, two, many = (flatten(run_extension(source, target, True, instruction_set, threads)) for threads in (1, 2, 7))
    assert all(torch.equal(a, b) for other in (two, many) for a, b in zip(one, other, strict=True))
    alone = [run_extension(source[i : i + 1], target[i : i + 1], True, instruction_set)[0] for i in range(20)]
    assert torch.equal(torch.cat(alone), one[0][:20])


def flatten(outputs):
    errors, alignment, best = outputs
    return errors, *alignment, *best


@needs_extension
@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("joints", [1, 2, 16, 17, 25, 27, 32, 133])
def test_tiles_do_not_depend_on_where_poses_lie(joints, with_scale):
    """Full and ragged tiles, rows of odd and even length, and poses that 16-byte accesses cannot start at."""
    generator = torch.Generator().manual_seed(joints)
    poses = torch.randn(2, 131 * joints * 3 + 1, generator=generator)
    for count, offset in itertools.product((1, 63, 64, 131), (0, 1)):
        source, target = (pose[offset : offset + count * joints * 3].view(count, joints, 3) for pose in poses)
        direct = flatten(run_extension(source, target, with_scale, "tiles"))
        truth = reference.procrustes_errors(source.double(), target.double(), with_scale)
        torch.testing.assert_close(direct[0].double(), truth, **tolerance(torch.float32))
        if joints > 27:
            with pytest.raises(ValueError, match="does not fit in shared memory"):
                run_extension(source, target, with_scale, "tiles, staged")
            continue
        staged = flatten(run_extension(source, target, with_scale, "tiles, staged"))
        assert all(torch.equal(a, b) for a, b in zip(direct, staged, strict=True))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("with_scale", [True, False])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("implementation", [ops, reference])
def test_nan_spoils_its_own_pose_only(implementation, dtype, with_scale, bad):
    source, target = make("similar_noisy", dtype)
    clean = implementation.procrustes_errors(source, target, with_scale=with_scale)
    source[2, 5, 1] = bad
    target[7, 0, 2] = bad
    spoiled = torch.zeros(N, dtype=torch.bool)
    spoiled[[2, 7]] = True
    outputs = implementation.procrustes(source, target, with_scale=with_scale)
    errors = implementation.procrustes_errors(source, target, with_scale=with_scale)
    best, flipped = implementation.procrustes_best_errors(source, target, with_scale=with_scale)
    assert not flipped[spoiled].any()
    for output in (*outputs, errors, best):
        assert torch.equal(output.isnan().view(N, -1).all(dim=1), spoiled)
        assert torch.equal(output.isnan().view(N, -1).any(dim=1), spoiled)
    torch.testing.assert_close(errors[~spoiled], clean[~spoiled])


@needs_extension  # the reference does not overflow as early
def test_overflow_is_nan_not_a_wrong_answer():
    source, target = make("unrelated", torch.float64)
    assert ops.procrustes_errors(source * 1e100, target * 1e100).isnan().all()


def test_non_contiguous():
    source, target = make("similar_noisy", torch.float64)
    column_major = source.transpose(0, 2).contiguous().transpose(0, 2)
    assert not column_major.is_contiguous()
    assert torch.equal(ops.procrustes_errors(column_major, target), ops.procrustes_errors(source, target))
    assert torch.equal(ops.procrustes(source, column_major)[0], ops.procrustes(source, source)[0])


@pytest.mark.parametrize("dtype", DTYPES)
def test_empty_batch(dtype, device):
    empty = torch.zeros(0, J, 3, dtype=dtype, device=device)
    rotation, scale, translation = ops.procrustes(empty, empty)
    assert (rotation.shape, scale.shape, translation.shape) == ((0, 3, 3), (0,), (0, 3))
    assert ops.procrustes_errors(empty, empty).shape == (0, J)
    assert [output.shape for output in ops.procrustes_best_errors(empty, empty)] == [(0, J), (0,)]


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (torch.zeros(2, 17), torch.zeros(2, 17), r"source must be \(N, J, 3\).*got \(2, 17\)"),
        (torch.zeros(2, 17, 2), torch.zeros(2, 17, 2), r"got \(2, 17, 2\)"),
        (torch.zeros(2, 0, 3), torch.zeros(2, 0, 3), r"at least one joint, got \(2, 0, 3\)"),
        (torch.zeros(2, 17, 3), torch.zeros(1, 17, 3), r"target must be \(2, 17, 3\) like source, got \(1, 17, 3\)"),
        (torch.zeros(2, 17, 3), torch.zeros(2, 17, 3).double(), "got torch.float32 and torch.float64"),
        (torch.zeros(2, 17, 3).half(), torch.zeros(2, 17, 3).half(), "float32 or float64, got torch.float16"),
        (torch.zeros(2, 17, 3), torch.zeros(2, 17, 3, device="meta"), "on one device, got cpu and meta"),
    ],
)
@pytest.mark.parametrize("function", [ops.procrustes, ops.procrustes_errors, ops.procrustes_best_errors])
def test_what_does_not_fit_is_refused(function, source, target, message):
    with pytest.raises(ValueError, match=message):
        function(source, target)


@pytest.mark.parametrize("with_scale", [True, False])
def test_gradient(with_scale, device):
    generator = torch.Generator().manual_seed(0)
    source, target = torch.randn(2, 4, 5, 3, generator=generator, dtype=torch.float64).to(device)
    source.requires_grad_()
    target.requires_grad_()
    assert torch.autograd.gradcheck(lambda a, b: ops.procrustes(a, b, with_scale=with_scale), (source, target))


@pytest.mark.parametrize("family", FAMILIES)
def test_gradient_is_finite_where_the_rotation_is_not_unique(family):
    source, target = (pose.requires_grad_() for pose in make(family, torch.float64))
    outputs = ops.procrustes(source, target)
    gradients = torch.autograd.grad(sum(output.sum() for output in outputs), (source, target))
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_nan_pose_does_not_spoil_gradients():
    source, target = make("similar_noisy", torch.float64)
    source[3, 0, 0] = math.nan
    source.requires_grad_()
    (gradient,) = torch.autograd.grad(ops.procrustes(source, target)[0].square().sum(), source)
    assert torch.equal(gradient.isfinite().all(dim=2).all(dim=1), torch.arange(N) != 3)


def test_errors_have_no_gradient():
    source, target = (pose.requires_grad_() for pose in make("unrelated", torch.float32))
    assert not ops.procrustes_errors(source, target).requires_grad
    assert not ops.procrustes_best_errors(source, target)[0].requires_grad


@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two GPUs")
def test_current_device_is_left_alone():
    pose = torch.randn(5, 17, 3, device="cuda:1")
    ops.procrustes_errors(pose, pose)
    assert torch.cuda.current_device() == 0


@pytest.mark.parametrize("with_scale", [True, False])
def test_op_registration(with_scale, device):
    source, target = (pose.to(device) for pose in make("unrelated", torch.float64))
    torch.library.opcheck(torch.ops.ites_fast.procrustes_errors.default, (source, target, with_scale))
    torch.library.opcheck(torch.ops.ites_fast.procrustes_best_errors.default, (source, target, with_scale))
    source.requires_grad_()
    torch.library.opcheck(torch.ops.ites_fast.procrustes.default, (source, target, with_scale))
    assert len(FAMILIES) >= 24
