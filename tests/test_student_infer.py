"""The whole student as one operator: each implementation against the reference, and that against the network."""

import pytest
import torch
from torch import nn

from ites_fast import ops, reference
from ites_fast.extension import extension
from ites_fast.models import AdaptiveGCN, PackedStudent
from ites_fast.skeleton import H36M_17, Skeleton

SHAPES = [  # poses, joints, channels, blocks: joints without a pair, tiles and blocks of poses that are not full
    (1, 17, 128, 1),
    (19, 17, 32, 2),
    (3, 1, 16, 1),
    (5, 2, 48, 1),
    (2, 16, 80, 1),
    (4, 25, 16, 3),
    (3, 32, 16, 1),
]


def skeleton_of(joints):
    if joints == 17:
        return H36M_17
    names = tuple(f"joint_{j}" for j in range(joints))
    return Skeleton(f"chain_{joints}", names, tuple(range(-1, joints - 1)), (), (), joints - 1)


def student(joints=17, channels=16, blocks=1, **options):
    """A student in eval mode whose every number matters."""
    network, source = AdaptiveGCN(skeleton_of(joints), "official", channels, blocks, **options), torch.Generator()
    source.manual_seed(1)
    with torch.no_grad():
        for name, parameter in network.named_parameters():
            parameter += (0.3 if "norm" in name else 0.1) * torch.randn(parameter.shape, generator=source)
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.running_mean.normal_(generator=source)
                module.running_var.uniform_(0.5, 4, generator=source)
    return network.eval()


def poses(B=3, J=17):
    return torch.randn(B, J, 2, generator=torch.Generator().manual_seed(0))


def run_extension(pose_2d, packed, instruction_set="", threads=1):
    B, J, _ = pose_2d.shape
    depth = pose_2d.new_empty(B, J)
    extension.student_infer_cpu(
        pose_2d=pose_2d.data_ptr(),
        weights=packed.weights.data_ptr(),
        poses=B,
        joints=J,
        channels=packed.channels,
        layers=packed.layers,
        depth=depth.data_ptr(),
        threads=threads,
        instruction_set=instruction_set,
    )
    return depth


def truth_of(pose_2d, packed):
    weights = packed.weights.double()
    return reference.student_infer(pose_2d.double(), weights, packed.channels, packed.layers)


def assert_close(actual, truth):
    """To the rounding of float32: layers amplify it, joints of small depth have the error of those of great depth."""
    torch.testing.assert_close(actual.double(), truth, rtol=0, atol=1e-5 * max(1, truth.abs().max().item()))


needs_extension = pytest.mark.skipif(extension is None, reason="ites_fast._C was not compiled")
instruction_sets = pytest.mark.parametrize(
    "instruction_set", extension.supported_instruction_sets() if extension is not None else []
)


@pytest.mark.parametrize("channels", [8, 16, 24])  # the first and the last are filled up with zeros
@pytest.mark.parametrize(("joints", "blocks"), [(17, 2), (1, 1), (2, 1), (16, 1), (25, 1)])
def test_reference_is_the_network(joints, channels, blocks):
    network = student(joints, channels, blocks).double()
    pose_2d = poses(4, joints).double()
    depth = network(pose_2d)
    assert depth.std() > 0.02
    torch.testing.assert_close(PackedStudent(network)(pose_2d), depth, rtol=1e-10, atol=1e-10)


@needs_extension
@instruction_sets
@pytest.mark.parametrize(("B", "J", "channels", "blocks"), SHAPES)
def test_kernel_matches_reference(B, J, channels, blocks, instruction_set):
    packed, pose_2d = PackedStudent(student(J, channels, blocks)), poses(B, J)
    truth = truth_of(pose_2d, packed)
    assert_close(run_extension(pose_2d, packed, instruction_set), truth)


@needs_extension
@instruction_sets
def test_threads_and_neighbours_do_not_change_bits(instruction_set):
    packed, pose_2d = PackedStudent(student()), poses(67)
    one, two, many = (run_extension(pose_2d, packed, instruction_set, threads) for threads in (1, 2, 7))
    assert torch.equal(one, two)
    assert torch.equal(one, many)
    alone = [run_extension(pose, packed, instruction_set) for pose in pose_2d.split(1)]
    assert torch.equal(torch.cat(alone), one)


@needs_extension
@instruction_sets
@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_nan_spoils_its_own_pose_only(bad, instruction_set):
    packed, pose_2d = PackedStudent(student()), poses(21)  # too few layers to carry it everywhere along the skeleton
    good = run_extension(pose_2d, packed, instruction_set)
    for joint in range(17):
        pose_2d[joint, joint, joint % 2] = bad
    depth = run_extension(pose_2d, packed, instruction_set)
    assert depth[:17].isnan().all()
    assert torch.equal(depth[17:], good[17:])


@needs_extension
def test_unknown_instruction_set():
    with pytest.raises(ValueError, match="instruction set 'mmx' was not compiled"):
        run_extension(poses(), PackedStudent(student()), "mmx")


@pytest.mark.parametrize(("B", "J", "channels", "blocks"), [*SHAPES, (2, 33, 16, 1), (0, 17, 16, 1)])
def test_op_matches_reference(B, J, channels, blocks, device):
    packed, pose_2d = PackedStudent(student(J, channels, blocks)), poses(B, J)
    truth = truth_of(pose_2d, packed)
    depth = packed.to(device)(pose_2d.to(device).mT.contiguous().mT)
    assert depth.device.type == device.type
    assert_close(depth.cpu(), truth) if B else None
    assert depth.shape == (B, J)


def test_float64_stays_float64(device):
    packed, pose_2d = PackedStudent(student()), poses()
    truth = truth_of(pose_2d, packed)
    actual = packed.double().to(device)(pose_2d.double().to(device))
    torch.testing.assert_close(actual.cpu(), truth, rtol=1e-10, atol=1e-10)


def test_op_registration(device):
    packed = PackedStudent(student()).to(device)
    arguments = (poses().to(device), packed.weights.detach(), packed.channels, packed.layers)
    torch.library.opcheck(torch.ops.ites_fast.student_infer.default, arguments)


def test_compiles():
    packed, pose_2d = PackedStudent(student()), poses()
    compiled = torch.compile(packed, fullgraph=True, backend="aot_eager")
    assert torch.equal(compiled(pose_2d), packed(pose_2d))


def test_there_is_no_gradient():
    depth = PackedStudent(student())(poses().requires_grad_())
    with pytest.raises(RuntimeError, match="no autograd formula"):
        depth.sum().backward()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"pose_2d": torch.zeros(3, 17, 3)}, r"pose_2d must be \(B, J, 2\), floating point, got .* \(3, 17, 3\)"),
        ({"pose_2d": torch.zeros(17, 2)}, r"pose_2d must be .* \(17, 2\)"),
        ({"pose_2d": torch.zeros(3, 17, 2, dtype=torch.int64)}, "pose_2d must be .* got torch.int64"),
        ({"pose_2d": torch.zeros(3, 16, 2)}, r"weights must be .* for 16 joints, 16 channels and 2 layers, got"),
        ({"pose_2d": torch.zeros(3, 17, 2).double()}, "weights must be torch.float64 on cpu .* got torch.float32"),
        ({"channels": 24}, "channels must be a multiple of 16 and layers even, got 24 and 2"),
        ({"layers": 3}, "channels must be a multiple of 16 and layers even, got 16 and 3"),
        ({"layers": 4}, "weights must be .* and 4 layers, got"),
    ],
)
def test_wrong_arguments(change, message):
    packed = PackedStudent(student())
    arguments = {"pose_2d": poses(), "weights": packed.weights, "channels": packed.channels, "layers": packed.layers}
    with pytest.raises(ValueError, match=message):
        ops.student_infer(**{**arguments, **change})
