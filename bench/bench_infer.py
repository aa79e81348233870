"""Inference with trained networks, from normalised 2D poses: the packed network, the network, onnxruntime, the release.

"eager" is the network in eval mode, "eager, folded" the definition of the operator, which has folded batch norms and
packed weights as the operator has; torch.compile and onnxruntime get that as well. One pose is timed call by call.
"""

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from bench.arms import Arm, Missing, Work, optional
from bench.roofline import nbytes
from bench.steps import linear_flops, student_flops, views
from ites_fast import reference
from ites_fast.models import AdaptiveGCN, PackedMLP, PackedStudent, RobustMLP
from ites_fast.skeleton import H36M_17

SIZES = pytest.mark.poses(cpu=(1, 16, 128, 1024), cuda=(1, 16, 128, 1024, 65536))
THREADS = 1  # of every arm on the CPU


class Folded(nn.Module):
    """The definition of an operator with its weights, for torch.compile and for the exporter."""

    def __init__(self, function: Callable, tensors: list[Tensor], sizes: list[int]) -> None:
        super().__init__()
        self.function = function
        self.tensors = nn.ParameterList(nn.Parameter(tensor, requires_grad=False) for tensor in tensors)
        self.sizes = sizes

    def forward(self, inputs: Tensor) -> Tensor:
        return self.function(inputs, *self.tensors, *self.sizes)


@torch.no_grad()
def trained(network: nn.Module, device: torch.device, forward: str = "forward") -> nn.Module:
    """A network that has seen a batch, so that its running statistics are not those it starts with, in eval mode."""
    getattr(network.to(device).train(), forward)(views(256, device))
    return network.eval()


def onnx_arm(folded: Folded, inputs: Tensor) -> Arm | Missing:
    """A session of onnxruntime with the folded network, on the CPU; the exporter needs onnxscript."""
    if inputs.device.type != "cpu":
        return Missing("onnxruntime's CPU package is compared on the CPU")

    def build(onnxruntime):
        import onnxscript  # noqa: F401

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "network.onnx")
            torch.onnx.export(folded.eval(), (inputs,), path, dynamo=True, verbose=False)
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = THREADS
            session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        name, array = session.get_inputs()[0].name, inputs.numpy()
        return Arm(lambda: torch.from_numpy(session.run(None, {name: array})[0]), in_torch=False)

    return optional("onnxruntime", build)


def compare(measure, work: Work, packed: Callable, network: nn.Module, folded: Folded, inputs: Tensor, rivals: dict):
    """Measure all arms of a case; ``inputs`` are what the folded network takes."""
    arms = {
        "ites_fast": packed,
        "eager": network,
        "eager, folded": lambda: folded(inputs),
        **measure.compiled(folded, lambda function: function(inputs)),
        "onnxruntime, folded": onnx_arm(folded, inputs),
        **rivals,
    }
    with torch.no_grad():
        measure(work, arms)


@SIZES
def bench_student(request, measure, copy_weights, device, poses):
    torch.manual_seed(0)
    network, pose_2d = AdaptiveGCN(H36M_17, "official"), views(poses, device)
    released = Missing("needs --official DIR, a clone of the released ITES code")
    if request.config.getoption("--official") is not None:
        theirs = request.getfixturevalue("official").student()
        copy_weights(theirs, network)
        trained(theirs, device, "predict")
        released = Arm(lambda: theirs.predict(pose_2d)[..., 0])
    packed = PackedStudent(trained(network, device)).to(device)
    folded = Folded(reference.student_infer, [packed.weights], [packed.channels, packed.layers])
    work = Work(
        "student_infer",
        "forward",
        poses,
        moved_bytes=nbytes(packed.weights, pose_2d) + nbytes(pose_2d) // 2,
        flops=poses * student_flops(network),
        settings={"joints": H36M_17.num_joints, "channels": packed.channels, "layers": packed.layers},
        one_call=poses == 1,
    )
    compare(
        measure,
        work,
        lambda: packed(pose_2d),
        lambda: network(pose_2d),
        folded,
        pose_2d,
        {"released": released},
    )


@SIZES
@pytest.mark.parametrize("stored", ["float32", "float16"])
def bench_mlp(measure, device, poses, stored):
    torch.manual_seed(0)
    network, pose_2d = RobustMLP(H36M_17), views(poses, device)
    if stored == "float16":  # as in a file of half the size, whose weights are loaded to compute in float32
        network = network.half().float()
    packed = PackedMLP(trained(network, device)).to(device)
    assert str(packed.weights.dtype) == f"torch.{stored}"
    folded = Folded(
        reference.mlp_infer, [packed.weights.float(), packed.head], [packed.width, packed.layers, packed.outputs]
    )
    features = torch.cat([pose_2d.flatten(1), torch.ones_like(pose_2d[..., 0])], dim=1)
    work = Work(
        "mlp_infer",
        "forward",
        poses,
        moved_bytes=nbytes(packed.weights, packed.head, features) + 4 * poses * packed.outputs,
        flops=poses * linear_flops(network),
        settings={"joints": H36M_17.num_joints, "width": packed.width, "weights": stored},
        one_call=poses == 1,
    )
    compare(
        measure, work, lambda: packed.infer(features), lambda: network_output(network, features), folded, features, {}
    )


def network_output(network: RobustMLP, features: Tensor) -> Tensor:
    """The output of the network with the depths relative to the root, without what puts joints in their places."""
    hidden = network.input_layer(features)
    for block in network.blocks:
        hidden = hidden + block(hidden)
    output = network.output_layer(hidden)
    depth = output[:, -H36M_17.num_joints :]
    depth -= depth[:, network.root : network.root + 1].clone()
    return output
