"""Options for what is not in the repository: the released ITES code (``--official``), real data (``--pose2sim``)."""

import argparse
import importlib
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from ites_fast.models import AdaptiveGCN
from ites_fast.sampling import EpochSampler
from ites_fast.skeleton import H36M_17


def pytest_addoption(parser):
    parser.addoption("--official", type=Path, help="a clone of the released ITES code to compare with")
    parser.addoption("--pose2sim", type=Path, help="a file of real detections with 3D, in the layout of docs/DATA.md")


@pytest.fixture(scope="session")
def official(request):
    """The released code's networks, or a skip."""
    clone = request.config.getoption("--official")
    if clone is None:
        pytest.skip("needs --official DIR, a clone of the released ITES code")
    return Official(clone)


@pytest.fixture(scope="session")
def pose2sim(request) -> Path:
    """A file of real detections with 3D, or a skip."""
    path = request.config.getoption("--pose2sim")
    if path is None:
        pytest.skip("needs --pose2sim FILE, real detections with 3D (docs/DATA.md)")
    return path


class Official:
    """The networks of the released code, imported from a clone, and the losses they are trained with."""

    modules = ("common.model_student", "common.model_teacher", "common.function", "common.loss", "common.arguments")
    weighted = ("reprojection", "distillation")  # losses that its --reploss-weight is for
    aligned_epochs = 15  # of the teacher

    def __init__(self, clone: Path) -> None:
        # its data readers need OpenCV, its networks do not
        stubs = {} if importlib.util.find_spec("cv2") else {"cv2": types.ModuleType("cv2")}
        sys.path.insert(0, str(clone))
        sys.modules.update(stubs)
        try:
            self.networks, self.teachers, self.geometry, self.losses, self._arguments = map(
                importlib.import_module, self.modules
            )
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

    def teacher(self) -> nn.Module:
        """A teacher for 17 joints, of the sizes that its class has by default, in training mode."""
        return self.teachers.Teacher_net(17, 17, 2).train()

    def default_arguments(self) -> argparse.Namespace:
        """What its training scripts use where the command line says nothing."""
        arguments, sys.argv = sys.argv, sys.argv[:1]
        try:
            return self._arguments.parse_args()
        finally:
            sys.argv = arguments

    def teacher_losses(self, teacher: nn.Module, pose_2d: Tensor, align_to_root: bool) -> dict[str, Tensor]:
        """Reprojection and 4 draws of invariance for poses (B, J, 2), not weighted, by our names."""
        predictions = teacher(pose_2d, align_to_root=align_to_root)
        return {"reprojection": predictions["l_reprojection"], "invariance": predictions["l_cycle_consistent"]}

    def student_losses(self, student: nn.Module, pose_2d: Tensor, depth: Tensor) -> dict[str, Tensor]:
        """Distillation and 4 draws of equivariance for poses (B, J, 2) and depths (B, J), not weighted."""
        predictions = student(pose_2d)
        distillation = self.losses.mpjpe(predictions["depth"], depth[..., None])
        return {"distillation": distillation, "equivariance": predictions["l_reconstruct"]}

    def train(
        self,
        network: nn.Module,
        losses_of: Callable[[Tensor, int], dict[str, Tensor]],
        batches: EpochSampler,
        steps: int,
    ) -> list[dict[str, float]]:
        """The loop of its two training scripts, which are the same, with its default arguments.

        Args:
            network: what is trained, in place.
            losses_of: losses, not weighted, of the views with these indices in this epoch.
            batches: its loader's place; shuffled as the loader shuffles, with an order that can be repeated.
            steps: of the optimizer.

        Returns:
            The losses of each step.
        """
        arguments = self.default_arguments()
        assert arguments.batch_size == batches.batch_size, "the release's batches have another size"
        optimizer = torch.optim.SGD(
            network.parameters(),
            lr=arguments.learning_rate,
            momentum=arguments.momentum,
            weight_decay=arguments.weight_decay,
        )
        network.train()
        history = []
        for step in range(steps):
            epoch = step // batches.batches_per_epoch
            for group in optimizer.param_groups:
                group["lr"] = arguments.learning_rate * arguments.lr_decay ** (epoch // arguments.epoch_lr_decay)
            optimizer.zero_grad()
            losses = losses_of(batches.next_batch(), epoch)
            loss = sum(
                value * (arguments.reploss_weight if name in self.weighted else 1) for name, value in losses.items()
            )
            loss.backward()
            optimizer.step()
            history.append({name: value.item() for name, value in losses.items()})
        return history

    def training_loss(self, student: nn.Module, pose_2d: Tensor, depth: Tensor) -> Tensor:
        """Both losses of the student, weighted 5 to 1."""
        losses = self.student_losses(student, pose_2d, depth)
        return 5 * losses["distillation"] + losses["equivariance"]


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


@pytest.fixture(name="paired_parameters")
def paired_parameters_fixture():
    """The function above, for tests, which cannot import this file."""
    return paired_parameters


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
