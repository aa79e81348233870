"""Training steps of the package, as its loop takes them, for the benchmarks and the profile."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from ites_fast import ops, reference
from ites_fast.config import PRESETS
from ites_fast.models import AdaptiveGCN, PoseDensity, Teacher, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.prior_stages import LifterStage
from ites_fast.skeleton import H36M_17
from ites_fast.stages import StudentStage, TeacherStage, TrainingStage
from ites_fast.training import build_optimizer

OFFICIAL = PRESETS["ites", "official"]
NORMALIZATION = Normalization("camera", "dataset", 1.0, H36M_17.root, H36M_17.head)
JOINTS = H36M_17.num_joints


def views(poses: int, device: torch.device) -> Tensor:
    """Normalised 2D poses (B, J, 2) with the root in the origin."""
    generator = torch.Generator().manual_seed(0)
    pose_2d = 0.1 * torch.randn(poses, JOINTS, 2, generator=generator)
    return (pose_2d - pose_2d[:, H36M_17.root : H36M_17.root + 1]).to(device)


def teacher_stage(pose_2d: Tensor) -> TeacherStage:
    """The teacher of the preset ``official``; the same initial weights every time."""
    torch.manual_seed(0)
    return TeacherStage(pose_2d, H36M_17, NORMALIZATION, OFFICIAL.teacher)


def student_stage(pose_2d: Tensor) -> StudentStage:
    """The student of the preset ``official``; the same initial weights every time."""
    torch.manual_seed(0)
    teacher = ViewLifter(Teacher(H36M_17, "official").to(pose_2d.device).eval(), H36M_17, NORMALIZATION)
    return StudentStage(pose_2d, teacher, OFFICIAL.student)


def lifter_stage(pose_2d: Tensor) -> LifterStage:
    """The lifter of the default recipe, with a density that was not trained; the same initial weights every time."""
    torch.manual_seed(0)
    options = PRESETS["prior", "quick"]
    density = PoseDensity(H36M_17).to(pose_2d.device)
    density.fit_components(pose_2d)
    normalization = Normalization("root", "pose", 0.14, H36M_17.root, H36M_17.head)
    return LifterStage(pose_2d, None, H36M_17, normalization, density.eval(), options.lifter)


def training_step(stage: TrainingStage, losses: Callable | None = None) -> Callable[[], Tensor]:
    """A function that takes one step on all views of the stage and returns its loss.

    Args:
        stage: what is trained.
        losses: in place of the stage's own ``losses``.
    """
    losses = stage.losses if losses is None else losses
    device = stage.pose_2d.device
    optimizer = build_optimizer(stage.network, stage.options)
    generator = torch.Generator(device).manual_seed(0)
    batch = torch.arange(len(stage.pose_2d), device=device)
    stage.network.train()

    def step() -> Tensor:
        values = losses(batch, 0, generator)
        loss = sum(stage.weights[name] * value for name, value in values.items())
        optimizer.zero_grad()
        loss.backward()
        if stage.options.gradient_clip is not None:
            nn.utils.clip_grad_norm_(stage.network.parameters(), stage.options.gradient_clip)
        optimizer.step()
        return loss.detach()

    return step


@contextmanager
def definitions() -> Iterator[None]:
    """Within it, networks and losses run the definitions of ``ites_fast.reference`` in place of the operators."""
    kept_out = ("ites_fast.ops", "ites_fast.reference", "ites_fast.kernels")
    modules = [module for name, module in sys.modules.items() if name.startswith("ites_fast.")]
    modules = [module for module in modules if not module.__name__.startswith(kept_out)]
    replaced = []
    for name in ops.__all__:
        operator, definition = getattr(ops, name), getattr(reference, name, None)
        if definition is None or definition is operator:
            continue
        for module in modules:
            if getattr(module, name, None) is operator:
                replaced.append((module, name, operator))
                setattr(module, name, definition)
    try:
        yield
    finally:
        for module, name, operator in replaced:
            setattr(module, name, operator)


def by_definition(step: Callable[[], Tensor]) -> Callable[[], Tensor]:
    """The step with the definitions in place of the operators."""

    def run() -> Tensor:
        with definitions():
            return step()

    return run


def linear_flops(network: nn.Module) -> int:
    """FLOPs of the linear layers of a network for one pose, forward."""
    return sum(2 * module.weight.numel() for module in network.modules() if isinstance(module, nn.Linear))


def student_flops(network: AdaptiveGCN) -> int:
    """FLOPs of the student's matrix products for one pose, forward, as the operators compute them.

    Of each layer: one product of the features with own, neighbours', value and key weights, the products with the
    skeleton's edges, with the pooled values and with the affinity.
    """
    C, J = network.input_layer.norm.num_features, JOINTS
    inner, pairs, edges = C // 2, J // 2, int(network.adjacency.sum())
    layer = 2 * (J * C * (2 * C + 2 * inner) + edges * C + pairs * inner * C + J * pairs * C)
    ends = 2 * J * 2 * 2 * C + 2 * J * 2 * C + 4 * edges * C
    return 2 * len(network.blocks) * layer + ends
