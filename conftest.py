"""``--official DIR``: a clone of the released ITES code, for the tests and benchmarks that compare with it."""

import importlib
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ites_fast.models import AdaptiveGCN
from ites_fast.skeleton import H36M_17


def pytest_addoption(parser):
    parser.addoption("--official", type=Path, help="a clone of the released ITES code to compare with")


@pytest.fixture(scope="session")
def official(request):
    """The released code's student, or a skip."""
    clone = request.config.getoption("--official")
    if clone is None:
        pytest.skip("needs --official DIR, a clone of the released ITES code")
    return Official(clone)


class Official:
    """The student network of the released code, imported from a clone, and the losses it is trained with."""

    modules = ("common.model_student", "common.function", "common.loss")

    def __init__(self, clone: Path) -> None:
        # its data readers need OpenCV, its networks do not
        stubs = {} if importlib.util.find_spec("cv2") else {"cv2": types.ModuleType("cv2")}
        sys.path.insert(0, str(clone))
        sys.modules.update(stubs)
        try:
            self.networks, self.geometry, self.losses = map(importlib.import_module, self.modules)
        finally:
            sys.path.remove(str(clone))
            for name in [name for name in sys.modules if name in stubs or name.partition(".")[0] == "common"]:
                del sys.modules[name]

    def student(self, dtype: torch.dtype = torch.float32) -> nn.Module:
        """A student of 4 blocks of 128 channels for the skeleton of Human3.6M, in training mode."""
        adjacency = self.geometry.adj_mx_from_edges(17, list(H36M_17.edges), sparse=False)
        groups = [list(group) for group in H36M_17.pair_groups]
        network = self.networks.Student_net(adjacency, 128, num_layers=4, nodes_group=groups, p_dropout=0.0).to(dtype)
        for module in network.modules():
            if hasattr(module, "adj"):  # not a buffer
                module.adj = module.adj.to(dtype)
        return network.train()

    def training_loss(self, student: nn.Module, pose_2d: Tensor, depth: Tensor) -> Tensor:
        """Distillation and 4 draws of equivariance, weighted 5 to 1, for poses (B, J, 2) and depths (B, J)."""
        predictions = student(pose_2d)
        return 5 * self.losses.mpjpe(predictions["depth"], depth[..., None]) + predictions["l_reconstruct"]


def paired_parameters(theirs: nn.Module, ours: AdaptiveGCN) -> Iterator[tuple[str, nn.Parameter, tuple, nn.Parameter]]:
    """Name, parameter of the release, index into it and our parameter, which has the shape of the indexed one."""

    def physical(name, theirs, ours):
        yield f"{name}.edge_weights", theirs.e, (0,), ours.edge_weights
        yield f"{name}.self_weight", theirs.W, (0,), ours.self_weight
        yield f"{name}.neighbour_weight", theirs.W, (1,), ours.neighbour_weight
        yield f"{name}.bias", theirs.bias, (), ours.bias

    def affine(name, theirs, ours):
        yield f"{name}.weight", theirs.weight, (..., *[0] * (theirs.weight.ndim - ours.weight.ndim)), ours.weight
        yield f"{name}.bias", theirs.bias, (), ours.bias

    first = theirs.gconv_input[0]
    yield from physical("input_layer.physical", first.gconv, ours.input_layer.physical)
    yield from affine("input_layer.norm", first.bn, ours.input_layer.norm)
    for block, (their_block, our_block) in enumerate(zip(theirs.gconv_layers, ours.blocks, strict=True)):
        for index, their_layer in enumerate((their_block.gconv1, their_block.gconv2)):
            name, layer, non_local = f"blocks.{block}.{index}", our_block[index], their_layer.non_local.non_local
            yield from physical(f"{name}.physical", their_layer.gconv, layer.physical)
            yield from affine(f"{name}.norm", their_layer.bn, layer.norm)
            yield from affine(f"{name}.nonphysical.query", non_local.theta, layer.nonphysical.query)
            yield from affine(f"{name}.nonphysical.key", non_local.phi[0], layer.nonphysical.key)
            yield from affine(f"{name}.nonphysical.value", non_local.g[0], layer.nonphysical.value)
            yield from affine(f"{name}.nonphysical.output", non_local.W[0], layer.nonphysical.output)
            yield from affine(f"{name}.nonphysical.norm", non_local.W[1], layer.nonphysical.norm)
            weight = non_local.concat_project[0].weight
            yield (
                f"{name}.nonphysical.affinity_weight",
                weight,
                (0, slice(None), 0, 0),
                layer.nonphysical.affinity_weight,
            )
    yield from physical("output_layer", theirs.gconv_output, ours.output_layer)


@pytest.fixture
def copy_weights():
    """Copies the weights of the release's student to ours; returns pairs of (name, their gradient, our gradient)."""

    def copy(theirs: nn.Module, ours: AdaptiveGCN):
        with torch.no_grad():
            for _, their_parameter, index, our_parameter in paired_parameters(theirs, ours):
                our_parameter.copy_(their_parameter[index])
        return lambda: [
            (name, their_parameter.grad[index], our_parameter.grad)
            for name, their_parameter, index, our_parameter in paired_parameters(theirs, ours)
        ]

    return copy
