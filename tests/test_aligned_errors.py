"""Distances after several fits at once: every implementation against the reference, on ordinary and on bad poses."""

import itertools
import math

import pytest
import torch

from ites_fast import metrics, ops, reference
from ites_fast.extension import extension
from ites_fast.ops.aligned_errors import FLIPS
from ites_fast.reference.aligned_errors import FITS

N, J = 11, 17
DTYPES = [torch.float32, torch.float64]
SUBSETS = [FITS, ("xy", "none"), ("unsigned",), ("norm", "similarity", "lstsq")]

needs_extension = pytest.mark.skipif(extension is None, reason="ites_fast._C was not compiled")
implementations = pytest.mark.parametrize(
    ("implementation", "dtype"),
    [
        *itertools.product([*extension.supported_instruction_sets(), "tiles"] if extension else [], DTYPES),
        ("tiles, staged", torch.float32),
    ],
)


def make(poses=N, joints=J, seed=0):
    """Targets, and predictions of other sizes that are about as often nearer to the mirror image (poses, joints, 3)."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randn(poses, joints, 3, generator=generator, dtype=torch.float64)
    sign = torch.tensor([1.0, 1.0, -1.0]).where(torch.rand(poses, 1, generator=generator) < 0.5, 1.0)
    size = 0.5 + torch.rand(poses, 1, 1, generator=generator, dtype=torch.float64)
    noise = 0.3 * torch.randn(poses, joints, 3, generator=generator, dtype=torch.float64)
    return size * sign[:, None] * target + noise + 5, target - 5


def run(implementation, source, target, fits, flip, root):
    """One of the compiled functions."""
    poses, joints, _ = source.shape
    errors = source.new_full((len(fits), 1 + (flip == "both"), poses, joints), math.nan)
    batch = {
        "float64": source.dtype == torch.float64,
        "source": source.data_ptr(),
        "target": target.data_ptr(),
        "poses": poses,
        "joints": joints,
        "root": root,
        "fits": [FITS.index(fit) for fit in fits],
        "flip": FLIPS.index(flip),
        "errors": errors.data_ptr(),
    }
    if implementation.startswith("tiles"):
        extension.aligned_errors_tiles(**batch, staged="staged" in implementation)
    else:
        extension.aligned_errors_cpu(**batch, threads=2, instruction_set=implementation)
    return errors


def tolerance(dtype):
    # Poses here lie 5 from the origin: that is what float32 inputs were rounded at.
    return {"rtol": 1e-4, "atol": 1e-5} if dtype == torch.float32 else {"rtol": 1e-10, "atol": 1e-11}


@needs_extension
@implementations
@pytest.mark.parametrize("flip", ["none", "both"])
@pytest.mark.parametrize("fits", SUBSETS, ids=",".join)
def test_kernel_matches_reference(fits, flip, implementation, dtype):
    for poses, joints, root in [(1, 4, 0), (N, J, 0), (130, 16, 15), (65, J, 9)]:
        source, target = (pose.to(dtype) for pose in make(poses, joints))
        expected = reference.aligned_errors(source.double(), target.double(), fits, flip, root)
        actual = run(implementation, source, target, fits, flip, root)
        torch.testing.assert_close(actual.double(), expected, **tolerance(dtype))


@needs_extension
@implementations
def test_poses_without_extent(implementation, dtype):
    """The factor is 0 where the reference says so, and a similarity keeps the size of a point."""
    source, target = (pose.to(dtype) for pose in make())
    source[0] = source[0, :1]
    target[1] = target[1, :1]
    source[2], target[2] = 1.0, 2.0
    source[3, :, :2] = 7.0  # x and y alone have no extent
    actual = run(implementation, source, target, FITS, "both", 0)
    expected = reference.aligned_errors(source.double(), target.double(), FITS, "both", 0)
    for number in range(4):
        torch.testing.assert_close(actual[:, :, number].double(), expected[:, :, number], **tolerance(dtype))


@needs_extension
@implementations
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_joint_spoils_its_own_pose_only(implementation, dtype, bad):
    source, target = (pose.to(dtype) for pose in make())
    clean = run(implementation, source, target, FITS, "both", 0)
    source[2, 5, 1] = bad
    target[7, 0, 2] = bad
    errors = run(implementation, source, target, FITS, "both", 0)
    good = [number for number in range(N) if number not in (2, 7)]
    assert torch.equal(errors[:, :, good], clean[:, :, good])
    assert not errors[:, :, [2, 7]].mean(dim=-1).isfinite().any()


@pytest.mark.parametrize("flip", ["none", "both"])
@pytest.mark.parametrize("dtype", DTYPES)
def test_op_matches_reference(dtype, flip, device):
    source, target = make(33)
    source, target = source.to(device, dtype), target.to(device, dtype)
    expected = reference.aligned_errors(source.cpu().double(), target.cpu().double(), FITS, flip, 3)
    actual = ops.aligned_errors(source, target, FITS, flip=flip, root=3)
    assert (actual.dtype, actual.device) == (dtype, source.device)
    torch.testing.assert_close(actual.cpu().double(), expected, **tolerance(dtype))
    column_major = source.transpose(0, 2).contiguous().transpose(0, 2)
    assert torch.equal(ops.aligned_errors(column_major, target, FITS, flip=flip, root=3), actual)


@pytest.mark.parametrize("scale", [fit for fit in FITS if fit not in ("rigid", "similarity")])
def test_scales_are_those_of_the_metrics(scale):
    source, target = make()
    errors = ops.aligned_errors(source, target, [scale], flip="both", root=2)[0]
    torch.testing.assert_close(errors[0], metrics.joint_errors(source, target, scale=scale, root=2))
    mirrored = metrics.flip_depth(metrics.root_relative(source, 2))
    torch.testing.assert_close(errors[1], metrics.joint_errors(mirrored, target, scale=scale, root=2))


@pytest.mark.parametrize("with_scale", [True, False])
def test_alignments_are_those_of_procrustes(with_scale):
    source, target = make()
    errors = ops.aligned_errors(source, target, ["similarity" if with_scale else "rigid"], flip="both")[0]
    torch.testing.assert_close(errors[0], ops.procrustes_errors(source, target, with_scale=with_scale))
    best, flipped = ops.procrustes_best_errors(source, target, with_scale=with_scale)
    assert flipped.any()
    assert not flipped.all()
    torch.testing.assert_close(best, torch.where(flipped[:, None], errors[1], errors[0]))


@pytest.mark.parametrize("flip", ["none", "both"])
def test_empty_batch(flip, device):
    empty = torch.zeros(0, J, 3, device=device)
    assert ops.aligned_errors(empty, empty, FITS, flip=flip).shape == (8, 1 + (flip == "both"), 0, J)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"fits": []}, "fits must be different ones of rigid, .*, got none"),
        ({"fits": ["lstsq", "lstsq"]}, "got lstsq, lstsq"),
        ({"fits": ["affine"]}, "got affine"),
        ({"flip": "best"}, "flip must be none or both, got 'best'"),
        ({"root": 17}, "root must be the index of one of 17 joints, got 17"),
        ({"root": -1}, "got -1"),
        ({"target": torch.zeros(2, 16, 3)}, r"target must be \(2, 17, 3\) like source, got \(2, 16, 3\)"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, message):
    pose = torch.zeros(2, 17, 3)
    with pytest.raises(ValueError, match=message):
        ops.aligned_errors(**{"source": pose, "target": pose, "fits": ["none"]} | arguments)


def test_errors_have_no_gradient():
    source, target = (pose.requires_grad_() for pose in make())
    assert not ops.aligned_errors(source, target, FITS).requires_grad


@pytest.mark.parametrize("both", [True, False])
def test_op_registration(both, device):
    source, target = (pose.to(device) for pose in make())
    torch.library.opcheck(torch.ops.ites_fast.aligned_errors.default, (source, target, [0, 3], both, 0))


def test_compiled_graphs_hold_the_operator():
    compiled = torch.compile(
        lambda a, b: ops.aligned_errors(a, b, FITS, flip="both"), fullgraph=True, backend="aot_eager"
    )
    source, target = make()
    assert torch.equal(compiled(source, target), ops.aligned_errors(source, target, FITS, flip="both"))


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("poses", "joints"), [(1, J), (1_000_003, J), (70_000_000, 1), (200_001, 133)])
def test_large_batches_on_cuda(poses, joints):
    """Ragged tiles, more tiles than blocks of the largest grid, and poses that do not fit in shared memory."""
    generator = torch.Generator("cuda").manual_seed(0)
    source, target = torch.randn(2, poses, joints, 3, generator=generator, device="cuda")
    errors, flipped = ops.procrustes_best_errors(source, target)
    for part in (slice(0, 100), slice(poses // 2, poses // 2 + 100), slice(-100, None)):
        expected, choice = ops.procrustes_best_errors(source[part].cpu(), target[part].cpu())
        torch.testing.assert_close(errors[part].cpu(), expected, rtol=1e-5, atol=1e-6)
        if joints > 3:
            assert torch.equal(flipped[part].cpu(), choice)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs_capture_the_operator():
    source, target = (pose.cuda() for pose in make(100))
    expected = ops.aligned_errors(source, target, FITS, flip="both")
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        errors = ops.aligned_errors(source, target, FITS, flip="both")
    errors.zero_()
    graph.replay()
    torch.testing.assert_close(errors, expected, rtol=0, atol=0)
