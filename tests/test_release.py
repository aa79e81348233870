"""The preset ``official`` takes the steps of the released code: same weights before, same weights after.

All but the table's test need ``--official DIR``. The rotations of virtual views are ours in both. In float32 some ReLU
has an argument that rounds to the other sign, and a step may differ by a percent; in float64 the steps are the same.
"""

import functools
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ites_fast import stages
from ites_fast.config import PRESETS
from ites_fast.models import Teacher, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.sampling import EpochSampler
from ites_fast.skeleton import H36M_17
from ites_fast.stages import StudentStage, TeacherStage
from ites_fast.training import Session, train_stage
from ites_fast.views import draw_views

VIEWS, STEPS, SEED = 300, 4, 3  # three batches an epoch, the last one smaller
NORMALIZATION = Normalization("camera", "dataset", 1.0, H36M_17.root, H36M_17.head)


@pytest.fixture(autouse=True)
def double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


@pytest.fixture
def pose_2d():
    """Root-centred views (N, J, 2) of the size that the network gets."""
    generator = torch.Generator().manual_seed(0)
    pose_2d = 0.1 * torch.randn(VIEWS, 17, 2, generator=generator)
    return pose_2d - pose_2d[:, :1]


def teacher_pairs(theirs, ours):
    """Parameters and running statistics of the release's teacher, and ours; a rotation vector has another sign."""
    trunk = [(theirs.fe_net[0].conv1, ours.trunk[0]), (theirs.fe_net[0].bn1, ours.trunk[1])]
    for their_block, our_block in zip(theirs.fe_net[1:], ours.trunk[3:], strict=True):
        layers = our_block.layers
        for number in range(3):
            trunk.append((getattr(their_block, f"conv{number + 1}"), layers[3 * number]))
            trunk.append((getattr(their_block, f"bn{number + 1}"), layers[3 * number + 1]))
    heads = [(theirs.alpha_layer, ours.coefficients), (theirs.shape_layer, ours.dictionary)]
    for their_layer, our_layer in [*trunk, *heads, (theirs.rot_layer, ours.rotation_vector)]:
        sign = -1 if our_layer is ours.rotation_vector else 1
        our_tensors = our_layer.state_dict()
        for name, their_tensor in their_layer.state_dict().items():
            if name in our_tensors and name != "num_batches_tracked":
                yield f"{type(our_layer).__name__}.{name}", sign * their_tensor.squeeze(), our_tensors[name]


def student_pairs(theirs, ours, paired_parameters):
    for name, their_parameter, index, our_parameter in paired_parameters(theirs, ours):
        yield name, their_parameter.detach()[index], our_parameter.detach()


def copy(pairs):
    for _, their_tensor, our_tensor in pairs:
        our_tensor.copy_(their_tensor)


def assert_moved_alike(pairs, before, tolerance):
    """Both moved by the same, relative to the largest move of the tensor."""
    for (name, their_tensor, our_tensor), start in zip(pairs, before, strict=True):
        move = (their_tensor - start).abs().max().item()
        difference = (our_tensor - their_tensor).abs().max().item()
        assert difference <= tolerance * move + 1e-12, f"{name} moved by {move:.1e}, and differs by {difference:.1e}"


def use_our_rotations(monkeypatch, module, axis):
    """Let the release draw what a stage with the seed draws; its rows of poses are turned by the transpose."""
    generator = torch.Generator().manual_seed(SEED)

    def draw(number, dtype=None, **_):
        return draw_views((4, number // 4), axis, generator=generator).double().flatten(0, 1).mT

    def draw_double(*arguments, **options):
        return draw_views(*arguments, **options).double()

    monkeypatch.setattr(module, "rand_rot", draw)
    monkeypatch.setattr(stages, "draw_views", draw_double)


def train_ours(stage, tmp_path):
    session = Session(tmp_path / "state.safetensors", seed=SEED, checkpoint_every=stage.options.steps, log_every=1)
    assert train_stage(stage, session)
    return session.history


def assert_same_losses(theirs, ours):
    for their_losses, our_losses in zip(theirs, ours, strict=True):
        for name, value in their_losses.items():
            assert our_losses[name] == pytest.approx(value, rel=1e-9), f"{name} at step {our_losses['step']}"


@pytest.mark.parametrize("align_epochs", [15, 1], ids="aligned for {} epochs".format)
def test_teacher_takes_the_steps_of_the_release(official, monkeypatch, tmp_path, pose_2d, align_epochs):
    options = replace(PRESETS["ites", "official"].teacher, steps=STEPS, align_epochs=align_epochs)
    torch.manual_seed(0)
    theirs, stage = official.teacher(), TeacherStage(pose_2d, H36M_17, NORMALIZATION, options)
    with torch.no_grad():
        theirs.shape_layer.bias.normal_(std=0.1)  # zeros would hide the alignment
        copy(teacher_pairs(theirs, stage.network))
    before = [tensor.clone() for _, tensor, _ in teacher_pairs(theirs, stage.network)]
    # the release adds 1e-4 to every angle; ours is exact
    exact = functools.partial(official.geometry.so3_exponential_map, eps=1e-15)
    monkeypatch.setattr(official.teachers, "so3_exponential_map", exact)
    use_our_rotations(monkeypatch, official.teachers, "all")

    def losses_of(batch, epoch):
        return official.teacher_losses(theirs, pose_2d[batch], align_to_root=epoch < align_epochs)

    expected = official.train(theirs, losses_of, EpochSampler(VIEWS, options.batch_size, SEED), STEPS)
    assert_same_losses(expected, train_ours(stage, tmp_path))
    assert_moved_alike(teacher_pairs(theirs, stage.network), before, tolerance=1e-6)


def test_student_takes_the_steps_of_the_release(
    official, monkeypatch, tmp_path, pose_2d, copy_weights, paired_parameters
):
    options = replace(PRESETS["ites", "official"].student, steps=2)  # they take seconds
    torch.manual_seed(0)
    teacher = ViewLifter(Teacher(H36M_17, "official", width=8, bottleneck=4, blocks=1).eval(), H36M_17, NORMALIZATION)
    theirs, stage = official.student(torch.float64), StudentStage(pose_2d, teacher, options)
    copy_weights(theirs, stage.network)
    before = [tensor.clone() for _, tensor, _ in student_pairs(theirs, stage.network, paired_parameters)]
    use_our_rotations(monkeypatch, official.networks, "vertical")

    def losses_of(batch, epoch):
        return official.student_losses(theirs, pose_2d[batch], stage.teacher_depth[batch])

    expected = official.train(theirs, losses_of, EpochSampler(VIEWS, options.batch_size, SEED), options.steps)
    assert_same_losses(expected, train_ours(stage, tmp_path))
    assert_moved_alike(student_pairs(theirs, stage.network, paired_parameters), before, tolerance=1e-6)


def test_teacher_starts_as_the_release_does(official):
    """Mean, standard deviation and largest value of each kind of weight, over one network of each."""
    torch.manual_seed(0)
    theirs, ours = official.teacher(), Teacher(H36M_17, "official")
    kinds = {}
    for name, their_tensor, our_tensor in teacher_pairs(theirs, ours):
        kinds.setdefault(name, []).append((their_tensor.flatten(), our_tensor.flatten()))
    for name, tensors in kinds.items():
        their_values, our_values = (torch.cat(values) for values in zip(*tensors, strict=True))
        spread = their_values.std()
        torch.testing.assert_close(our_values.std(), spread, rtol=0.05, atol=0, msg=name)
        torch.testing.assert_close(our_values.mean(), their_values.mean(), rtol=0, atol=0.05 * spread.item(), msg=name)
        torch.testing.assert_close(our_values.abs().max(), their_values.abs().max(), rtol=0.3, atol=0, msg=name)


@pytest.mark.parametrize("axis", ["all", "vertical"])
def test_virtual_views_are_drawn_as_the_release_draws_them(official, axis):
    """Mean of the rotations, of their squared elements and of the angles, over many draws of each."""
    number = 40_000
    turn, axes = (3.1415926, (1, 1, 1)) if axis == "all" else (2 * 3.1415926, (0, 1, 0))
    torch.manual_seed(0)
    theirs = official.geometry.rand_rot(number, dtype="torch.DoubleTensor", max_rot_angle=turn, axes=axes)
    ours = draw_views((number,), axis, generator=torch.Generator().manual_seed(0)).double().mT
    for moment in (
        lambda R: R.mean(0),
        lambda R: R.square().mean(0),
        lambda R: R.diagonal(dim1=1, dim2=2).sum(1).std(),
    ):
        torch.testing.assert_close(moment(ours), moment(theirs), rtol=0, atol=0.015)


@pytest.mark.parametrize("stage", ["teacher", "student"])
def test_the_preset_has_the_default_arguments_of_the_release(official, stage):
    theirs, ours = official.default_arguments(), getattr(PRESETS["ites", "official"], stage)
    assert (ours.optimizer, ours.schedule, theirs.lr_decay) == ("sgd", "halve", 0.5)
    for our_name, their_name in {
        "learning_rate": "learning_rate",
        "momentum": "momentum",
        "weight_decay": "weight_decay",
        "halve_epochs": "epoch_lr_decay",
        "batch_size": "batch_size",
    }.items():
        assert getattr(ours, our_name) == getattr(theirs, their_name), our_name
    weight = {"teacher": "reprojection_weight", "student": "distillation_weight"}[stage]
    assert getattr(ours, weight) == theirs.reploss_weight


def test_the_table_shows_every_seed_mean_and_difference():
    """Figures that add up by hand."""
    table = _table_module()
    reading = dict.fromkeys(table.KEYS, 100.0)

    def run(arm, seed, error):
        trained = {"cpu_seconds": 1.0, "last_losses": {"reprojection": 0.5}}
        return {"arm": arm, "seed": seed} | {
            name: reading | trained | {"p_mpjpe/flip=none": error} for name in table.READINGS
        }

    budget = {"data": "d", "teacher_steps": 5, "student_steps": 5, "batch_size": 2}
    budget |= {"training_views": 9, "test_views": 1}
    runs = [run("ites_fast", 0, 50.0), run("ites_fast", 1, 60.0), run("release", 0, 58.0), run("release", 1, 58.0)]
    text = table.table(budget, runs)
    assert "| ites_fast, preset official | 1 | 100.0 | 60.0 |" in text
    assert "| mean | **100.0** ± 0.0 | **55.0** ± 7.1 |" in text
    assert "| ites_fast minus release | mean | 0.0 | -3.0 |" in text
    assert "an epoch has 4 steps" in text
    assert "neither the halving nor the end of the alignment is reached" in text


def _table_module():
    import importlib.util

    path = Path(__file__).parent.parent / "bench" / "accuracy_table.py"
    spec = importlib.util.spec_from_file_location("accuracy_table", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
