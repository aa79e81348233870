"""Stages: what they compute, what they leave out, and the networks that their options ask for."""

from dataclasses import replace

import pytest
import torch

from ites_fast.checkpoint import load_lifter, save_model
from ites_fast.config import PRESETS
from ites_fast.errors import InputError
from ites_fast.losses import canonicalization_loss
from ites_fast.models import C3DPO, AdaptiveGCN, ResFC, Teacher, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.option_checks import check_options
from ites_fast.options import CycleOptions, StudentOptions, TeacherOptions
from ites_fast.skeleton import H36M_17
from ites_fast.stages import StudentStage, TeacherStage
from ites_fast.views import draw_views

BATCH = torch.arange(6)


@pytest.fixture
def normalization():
    generator = torch.Generator().manual_seed(0)
    return Normalization.fit(0.1 * torch.randn(8, 17, 2, generator=generator), H36M_17, "root", "pose", 5.0, source="-")


@pytest.fixture
def teacher_stage(normalization):
    def build(**changes):
        torch.manual_seed(0)
        pose_2d = 0.1 * torch.randn(8, 17, 2, generator=torch.Generator().manual_seed(1))
        small = {"width": 16, "bottleneck": 8, "blocks": 1, "atoms": 4, "channels": 8}
        return TeacherStage(pose_2d, H36M_17, normalization, TeacherOptions(**(small | changes)))

    return build


@pytest.fixture
def student_stage(teacher_stage):
    def build(**changes):
        stage = teacher_stage()
        teacher = ViewLifter(stage.network.eval(), H36M_17, stage.normalization)
        small = {"width": 16, "bottleneck": 8, "blocks": 1, "channels": 8}
        return StudentStage(stage.pose_2d, teacher, StudentOptions(**(small | changes))), teacher

    return build


def losses_and_calls(stage):
    """The losses of a batch, and how often the network was called for them."""
    calls = []
    handle = stage.network.register_forward_pre_hook(lambda *_: calls.append(1))
    losses = stage.losses(BATCH, 0, torch.Generator().manual_seed(2))
    handle.remove()
    return losses, len(calls)


@pytest.mark.parametrize(
    ("changes", "names", "calls"),
    [
        ({}, {"reprojection", "invariance"}, 2),
        ({"invariance_weight": 0.0}, {"reprojection"}, 1),
        ({"reprojection_weight": 0.0}, {"invariance"}, 2),
        ({"method": "c3dpo"}, {"reprojection", "canonicalization"}, 1),
        ({"method": "c3dpo", "invariance_weight": 0.0}, {"reprojection"}, 1),
    ],
)
def test_a_teacher_computes_what_has_a_weight(teacher_stage, changes, names, calls):
    stage = teacher_stage(**changes)
    losses, counted = losses_and_calls(stage)
    assert set(losses) == names
    assert counted == calls
    assert names <= set(stage.weights)
    assert all(loss.ndim == 0 and loss > 0 for loss in losses.values())


@pytest.mark.parametrize(
    ("changes", "names", "calls"),
    [
        ({}, {"distillation", "equivariance"}, 2),
        ({"equivariance_weight": 0.0}, {"distillation"}, 1),
        ({"distillation_weight": 0.0}, {"equivariance"}, 2),
    ],
)
def test_a_student_computes_what_has_a_weight(student_stage, changes, names, calls):
    losses, counted = losses_and_calls(student_stage(**changes)[0])
    assert set(losses) == names
    assert counted == calls


def test_without_distillation_the_teacher_is_not_asked(student_stage, monkeypatch):
    monkeypatch.setattr(Teacher, "forward", lambda *_: pytest.fail("the teacher was asked"))
    stage, _ = student_stage(distillation_weight=0.0)
    assert stage.teacher_depth is None


def test_leaving_a_loss_out_does_not_change_the_other(teacher_stage, student_stage):
    for build, changes in (
        (lambda **c: teacher_stage(**c), {"invariance_weight": 0.0}),
        (lambda **c: student_stage(**c)[0], {"equivariance_weight": 0.0}),
        (lambda **c: student_stage(**c)[0], {"distillation_weight": 0.0}),
    ):
        both, _ = losses_and_calls(build())
        ((name, alone),) = losses_and_calls(build(**changes))[0].items()
        torch.testing.assert_close(alone, both[name])


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_canonicalisation_turns_the_canonical_pose_about_any_axis(teacher_stage, axis):
    """The elevation and axis of the cycle are of no account: the dictionary's frame has no vertical."""
    stage = teacher_stage(method="c3dpo", cycle=CycleOptions(draws=3, axis=axis))
    torch.nn.init.normal_(stage.network.dictionary.weight)  # poses that are not small
    torch.nn.init.normal_(stage.network.coefficients.weight)
    losses, _ = losses_and_calls(stage)
    canonical = stage.network(stage.pose_2d[BATCH]).canonical
    rotation = draw_views((3, 6), "all", generator=torch.Generator().manual_seed(2))
    total = 0.0
    answers = stage.network.canonicalize(
        torch.stack([canonical[b] @ rotation[s, b].T for s in range(3) for b in range(6)])
    ).unflatten(0, (3, 6))
    for s in range(3):
        for b in range(6):
            total = total + (answers[s, b] - canonical[b]).norm(dim=-1).mean() / 18
    torch.testing.assert_close(losses["canonicalization"], total)


def test_a_network_that_undoes_the_rotation_has_no_canonicalisation_loss():
    generator = torch.Generator().manual_seed(3)
    canonical = torch.randn(4, 17, 3, generator=generator, dtype=torch.float64)
    rotation = draw_views((2, 4), "all", generator=generator).double()
    undo = rotation.flatten(0, 1)
    assert canonicalization_loss(lambda pose: pose @ undo, canonical, rotation) < 1e-6
    turned = canonicalization_loss(lambda pose: pose, canonical, rotation)
    expected = torch.stack([(canonical @ draw.mT - canonical).norm(dim=-1).mean() for draw in rotation]).mean()
    torch.testing.assert_close(turned, expected)


@pytest.mark.parametrize(
    ("changes", "network"),
    [({}, Teacher), ({"method": "c3dpo"}, C3DPO), ({"features": "agcn"}, Teacher), ({"variant": "official"}, Teacher)],
)
def test_teachers_are_stored_and_loaded(teacher_stage, tmp_path, changes, network):
    stage = teacher_stage(**changes)
    lifter = ViewLifter(stage.network.eval(), H36M_17, stage.normalization)
    save_model(tmp_path / "teacher.safetensors", lifter, stage.architecture, {})
    loaded = load_lifter(tmp_path / "teacher.safetensors")
    assert type(loaded.network) is network
    torch.testing.assert_close(loaded.network(stage.pose_2d).pose_3d, stage.network(stage.pose_2d).pose_3d)


@pytest.mark.parametrize(("changes", "network"), [({}, AdaptiveGCN), ({"network": "resfc"}, ResFC)])
def test_students_are_stored_and_loaded(student_stage, tmp_path, changes, network):
    stage, teacher = student_stage(**changes)
    lifter = ViewLifter(stage.network.eval(), H36M_17, teacher.normalization)
    save_model(tmp_path / "student.safetensors", lifter, stage.architecture, {})
    loaded = load_lifter(tmp_path / "student.safetensors")
    assert type(loaded.network) is network
    torch.testing.assert_close(loaded.network(stage.pose_2d), stage.network(stage.pose_2d))


def test_the_plain_networks_are_described_as_before(teacher_stage, student_stage):
    """Files of older versions have these options and no others, and newer files can be read by them."""
    assert set(teacher_stage().architecture["options"]) == {"variant", "atoms", "blocks", "width", "bottleneck"}
    student = student_stage()[0].architecture["options"]
    assert set(student) == {"variant", "channels", "blocks", "graphs", "edge_weights", "affinity"}


@pytest.mark.parametrize(
    ("stage", "losses"), [("teacher", ("reprojection", "invariance")), ("student", ("distillation", "equivariance"))]
)
def test_a_stage_without_a_loss_is_refused(stage, losses):
    options = PRESETS["ites", "quick"]
    nothing = replace(getattr(options, stage), **{f"{loss}_weight": 0.0 for loss in losses})
    with pytest.raises(InputError, match=f"--{stage}.{losses[0]}-weight and --{stage}.{losses[1]}-weight: expected at"):
        check_options(replace(options, **{stage: nothing}))
