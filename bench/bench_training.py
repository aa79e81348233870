"""One training step, forward, backward and optimizer: teacher, student and the default recipe's lifter.

All arms of a case start from the same weights. The released code draws other random rotations, so its loss is not
compared; its networks are compared with ours in ``tests/test_release.py``. FLOPs are those of the matrix products,
three times a forward pass for every view; bytes are the weights', which a step has to read and write.
"""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from bench import steps
from bench.arms import Arm, Missing, Work
from bench.released import without_copies
from bench.roofline import nbytes

TUNING_SECONDS = 1200
TRAINED_BYTES = 5  # read a weight, its gradient and its momentum; write a weight and its momentum
SIZES = pytest.mark.poses(cpu=(128,), cuda=(128, 1024, 4096))


@pytest.fixture
def released(request, device) -> Callable[[Callable], dict[str, Arm | Missing]]:
    """Builds the arms of the released code from a function that takes its networks and returns (network, loss)."""
    clone = request.config.getoption("--official")

    def arms(build: Callable) -> dict[str, Arm | Missing]:
        names = "released", "released, copies taken out"
        if clone is None:
            return dict.fromkeys(names, Missing("needs --official DIR, a clone of the released ITES code"))
        official = request.getfixturevalue("official")
        network, loss_of = build(official)
        found = {names[0]: Arm(_released_step(network.to(device), loss_of), compared=False)}
        if device.type == "cpu":
            return found | {names[1]: Missing("there is no device to copy to")}
        own = type(official)(clone)  # its modules are changed
        network, loss_of = build(own)
        changed = without_copies(own, network.to(device), device)
        return found | {names[1]: Arm(_released_step(changed, loss_of), compared=False)}

    return arms


def _released_step(network: nn.Module, loss_of: Callable[[nn.Module], Tensor]) -> Callable[[], Tensor]:
    options = steps.OFFICIAL.student
    optimizer = torch.optim.SGD(
        network.parameters(), lr=options.learning_rate, momentum=options.momentum, weight_decay=options.weight_decay
    )

    def step() -> Tensor:
        optimizer.zero_grad()
        loss = loss_of(network)
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step


def _compare(measure, name, stage_of, pose_2d, flops, rivals) -> None:
    """Measure the step of a stage: ours, by the definitions, and these compiled.

    Args:
        measure: the fixture.
        name: of the stage.
        stage_of: builds it from the views.
        pose_2d: the views (B, J, 2).
        flops: of a step, from the stage.
        rivals: further arms.
    """
    ours, eager = stage_of(pose_2d), stage_of(pose_2d)

    def compiled_step(compile):
        stage = stage_of(pose_2d)
        return steps.by_definition(steps.training_step(stage, compile(stage.losses)))

    compiled = measure.compiled_from(compiled_step)
    if "torch.compile, max-autotune" in compiled and measure.clock.seconds < TUNING_SECONDS:
        compiled["torch.compile, max-autotune"] = Missing(f"tunes for minutes; --bench-seconds {TUNING_SECONDS} has it")
    arms = {
        "ites_fast": steps.training_step(ours),
        "eager": steps.by_definition(steps.training_step(eager)),
        **compiled,
        **rivals,
    }
    moved = TRAINED_BYTES * nbytes(*ours.network.parameters())
    settings = {"draws": getattr(ours.options, "cycle", ours.options).draws}
    measure(Work(name, "training step", len(pose_2d), moved, flops(ours), settings=settings), arms)


@SIZES
def bench_teacher_step(measure, released, device, poses):
    pose_2d = steps.views(poses, device)

    def build(official):
        return official.teacher(), lambda network: _teacher_loss(official, network, pose_2d)

    def flops(stage):
        return 3 * poses * (1 + stage.options.cycle.draws) * steps.linear_flops(stage.network)

    _compare(measure, "teacher", steps.teacher_stage, pose_2d, flops, released(build))


def _teacher_loss(official, network, pose_2d):
    losses = official.teacher_losses(network, pose_2d, align_to_root=True)
    return 5 * losses["reprojection"] + losses["invariance"]


@SIZES
def bench_student_step(measure, released, device, poses):
    pose_2d = steps.views(poses, device)
    depth = steps.student_stage(pose_2d).teacher_depth

    def build(official):
        return official.student(), lambda network: official.training_loss(network, pose_2d, depth)

    def flops(stage):
        return 3 * poses * (1 + stage.options.cycle.draws) * steps.student_flops(stage.network)

    _compare(measure, "student", steps.student_stage, pose_2d, flops, released(build))


@pytest.mark.poses(cpu=(256,), cuda=(256, 1024, 4096))
def bench_lifter_step(measure, device, poses):
    pose_2d = steps.views(poses, device)

    def flops(stage):
        # the density is frozen: its backward passes the gradient on and makes none of its weights
        frozen = 2 * steps.linear_flops(stage.density) * stage.options.draws
        return poses * (3 * (1 + stage.options.draws) * steps.linear_flops(stage.network) + frozen)

    _compare(measure, "lifter", steps.lifter_stage, pose_2d, flops, {})
