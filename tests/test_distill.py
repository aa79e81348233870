"""The command that distils: what it writes, how it continues, and what it says to a user's mistake."""

import json
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ites_fast import cli, distill
from ites_fast.checkpoint import load_lifter, save_model
from ites_fast.data import load
from ites_fast.data.clips import clip_numbers
from ites_fast.distill import CONDITIONS, DistillRun
from ites_fast.distill_stage import DistillStage
from ites_fast.errors import InputError
from ites_fast.metrics import p_mpjpe
from ites_fast.models import RobustGCN, RobustMLP, SequenceLifter, TemporalMLP, ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.options import DistillOptions
from ites_fast.skeleton import H36M_17
from ites_fast.training import read_state

STEPS = 8


@pytest.fixture
def teachers(small_mocap, tmp_path):
    """Files of two networks that lift, though nobody taught them."""
    image = torch.from_numpy(load(small_mocap, "train").image())
    paths = []
    for seed in range(2):
        torch.manual_seed(seed)
        options = {"width": 16, "blocks": 1}
        network = build_network("depth_mlp", H36M_17, options).eval()
        with torch.no_grad():
            network.depth.weight *= 200
        path = tmp_path / f"teacher{seed}.safetensors"
        lifter = ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17))
        save_model(path, lifter, {"network": "depth_mlp", "options": options}, {})
        paths.append(str(path))
    return tuple(paths)


@pytest.fixture
def run(small_mocap, teachers, tmp_path) -> DistillRun:
    small = DistillOptions(steps=STEPS, batch_size=32, width=16, channels=8, blocks=1)
    return DistillRun(
        teachers=teachers,
        data=str(small_mocap),
        output=str(tmp_path / "run"),
        device="cpu",
        log_every=2,
        distill=small,
    )


def lifter_bytes(run):
    return Path(run.output, "lifter.safetensors").read_bytes()


@pytest.fixture
def refused(monkeypatch, capsys):
    """Runs the command line: its exit status and what it printed."""

    def call(arguments):
        monkeypatch.setattr(sys, "argv", ["distill", *arguments])
        with pytest.raises(SystemExit) as stop:
            cli.run(distill.main, DistillRun, prog="distill", description="", default=distill.defaults)
        printed = capsys.readouterr()
        return stop.value.code, printed.err + printed.out

    return call


def test_a_run_writes_a_model_that_accepts_missing_joints_and_figures_for_each_condition(run, capsys):
    distill.main(run)
    output = Path(run.output)
    assert {path.name for path in output.iterdir()} == {
        *("lifter.safetensors", "state.safetensors", "config.json", "metrics.json", "losses.png"),
    }
    lifter = load_lifter(output)
    assert isinstance(lifter.network, RobustMLP)
    assert lifter.normalization.hips == H36M_17.hips
    metrics = json.loads((output / "metrics.json").read_text())
    assert list(metrics["conditions"]) == list(CONDITIONS)
    errors = [each["metrics"]["p_mpjpe/flip=none"] for each in metrics["conditions"].values()]
    assert len(set(errors)) == len(CONDITIONS), "each condition has views of its own"
    assert metrics["split"] == "test"
    assert [record["step"] for record in metrics["losses"]] == [2, 4, 6, 8]
    printed = capsys.readouterr().out
    assert f"{metrics['parameters']:,} parameters" in printed
    assert "upper body only" in printed


def test_it_learns(run):
    distill.main(replace(run, distill=replace(run.distill, steps=200, width=64, learning_rate=5e-3)))
    losses = [record["loss"] for record in json.loads(Path(run.output, "metrics.json").read_text())["losses"]]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_the_graph_network_can_be_distilled(run):
    distill.main(replace(run, distill=replace(run.distill, network="agcn")))
    assert isinstance(load_lifter(run.output).network, RobustGCN)


def of_frames(run, frames, **options):
    return replace(run, distill=replace(run.distill, frames=frames, **options))


def test_a_student_of_clips_is_written_and_measured_on_whole_clips(run, small_mocap, monkeypatch, capsys):
    monkeypatch.setattr("ites_fast.evaluation.CHUNK", 11)
    distill.main(of_frames(run, 3, learning_rate=0.1))  # it learns nothing, and neighbours matter
    lifter, views = load_lifter(run.output), load(small_mocap, "test")
    assert isinstance(lifter, SequenceLifter)
    assert lifter.network.frames == 3
    metrics = json.loads(Path(run.output, "metrics.json").read_text())
    pose = lifter.lift(torch.from_numpy(views.image()), clip=clip_numbers(views))
    truth = torch.from_numpy(views.pose_3d - views.pose_3d[:, :1])
    clean = metrics["conditions"]["clean"]["metrics"]["p_mpjpe/flip=none"]
    assert 1000 * p_mpjpe(pose, truth).mean().item() == pytest.approx(clean, rel=1e-6)
    assert len({each["metrics"]["p_mpjpe/flip=none"] for each in metrics["conditions"].values()}) == len(CONDITIONS)


def test_a_student_of_clips_learns(run):
    learning = of_frames(run, 9, steps=200, width=64, learning_rate=5e-3)
    distill.main(learning)
    losses = [record["loss"] for record in json.loads(Path(run.output, "metrics.json").read_text())["losses"]]
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])


def test_a_stopped_and_continued_student_of_clips_is_the_same_to_the_bit(run, tmp_path):
    whole = of_frames(run, 3)
    distill.main(whole)
    stopped = replace(whole, output=str(tmp_path / "stopped"))
    distill.main(replace(stopped, stop_after=3))
    distill.main(replace(stopped, resume=True))
    assert lifter_bytes(stopped) == lifter_bytes(whole)


def test_a_lifter_of_clips_is_no_teacher(run, tmp_path):
    distill.main(of_frames(run, 3))
    with pytest.raises(InputError, match=r"--teachers .*lifter\.safetensors: lifts clips, expected lifters of single"):
        distill.main(replace(run, teachers=(*run.teachers, run.output), output=str(tmp_path / "next")))


def test_only_the_students_products_are_rounded(run, monkeypatch):
    seen = {}

    def watch(owner, name):
        original = getattr(owner, name)

        def watched(*arguments, **options):
            seen[name] = torch.get_float32_matmul_precision()
            return original(*arguments, **options)

        monkeypatch.setattr(owner, name, watched)

    watch(distill, "mean_poses")
    watch(DistillStage, "losses")
    watch(distill, "evaluate")
    distill.main(run)
    assert seen == {"mean_poses": "highest", "losses": "medium", "evaluate": "highest"}


def test_cost_counts_products():
    parameters, operations = distill.cost(RobustMLP(H36M_17, width=100, blocks=2), 17)
    products = 51 * 100 + 4 * 100 * 100 + 100 * 51
    assert operations == 2 * products
    assert parameters == products + 51 + 5 * 2 * 100
    products = 3 * (153 * 100) + 300 * 100 + 3 * 100 * 100 + 100 * 51
    assert distill.cost(TemporalMLP(H36M_17, frames=9, width=100, blocks=1), 17)[1] == 2 * products
    assert distill.cost(RobustGCN(H36M_17, channels=8), 17)[1] > 17 * 2 * 8 * 8


def test_a_stopped_and_continued_run_is_the_same_to_the_bit(run, tmp_path):
    distill.main(run)
    stopped = replace(run, output=str(tmp_path / "stopped"))
    distill.main(replace(stopped, stop_after=3))
    assert not Path(stopped.output, "lifter.safetensors").exists()
    distill.main(replace(stopped, resume=True, stop_after=2))
    distill.main(replace(stopped, resume=True))
    assert lifter_bytes(stopped) == lifter_bytes(run)


def test_ctrl_c_saves_and_the_command_continues(run, tmp_path, monkeypatch, capsys):
    distill.main(run)
    stopped, calls = replace(run, output=str(tmp_path / "stopped")), []
    original = DistillStage.losses

    def interrupt(self, *arguments):
        calls.append(1)
        if len(calls) == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return original(self, *arguments)

    monkeypatch.setattr(DistillStage, "losses", interrupt)
    with pytest.raises(SystemExit) as stop:
        distill.main(stopped)
    assert stop.value.code == 128 + signal.SIGINT
    assert f"python -m ites_fast.distill --resume --output {stopped.output}" in capsys.readouterr().out
    assert read_state(Path(stopped.output, "state.safetensors")).step == 3
    monkeypatch.setattr(sys, "argv", ["distill", "--resume", "--output", stopped.output])
    cli.run(distill.main, DistillRun, prog="distill", description="", default=distill.defaults)
    assert lifter_bytes(stopped) == lifter_bytes(run)


def test_validation_subjects_are_left_out_and_reported_on(run, small_mocap):
    subjects = load(small_mocap, "train").subjects
    train = load(small_mocap, "train")
    chosen = str(subjects[train.subject[0]])
    distill.main(replace(run, validation_subjects=(chosen,)))
    metrics = json.loads(Path(run.output, "metrics.json").read_text())
    assert metrics["split"] == "validation"
    assert set(metrics["conditions"]["clean"]["by_subject"]) == {chosen}
    kept = distill.load_training_views(replace(run, validation_subjects=(chosen,)), load_lifter(run.output))
    assert 0 < len(kept) < len(train)
    assert chosen not in {str(kept.subjects[index]) for index in kept.subject}


def test_mirror_average_and_balance_matter(run, tmp_path):
    distill.main(run)
    single = replace(run, output=str(tmp_path / "single"), mirror_average=False)
    epochs = replace(run, output=str(tmp_path / "epochs"), distill=replace(run.distill, balance=0.0))
    for other in (single, epochs):
        distill.main(other)
    assert len({lifter_bytes(each) for each in (run, single, epochs)}) == 3
    assert read_state(Path(epochs.output, "state.safetensors")).position == STEPS * run.distill.batch_size


def test_half_precision_halves_the_file(run, tmp_path):
    distill.main(run)
    half = replace(run, output=str(tmp_path / "half"), half=True)
    distill.main(half)
    weights = sum(tensor.numel() for tensor in load_lifter(run.output).network.state_dict().values())
    assert len(lifter_bytes(run)) - len(lifter_bytes(half)) > 1.9 * weights
    clean = [json.loads(Path(each.output, "metrics.json").read_text())["conditions"]["clean"] for each in (run, half)]
    first, second = (each["metrics"]["p_mpjpe/flip=none"] for each in clean)
    assert first != second
    assert abs(first - second) < 1


def test_a_teacher_given_twice_is_mentioned(run, capsys):
    distill.main(replace(run, teachers=(run.teachers[0], run.teachers[0]), stop_after=1))
    assert "given before, so it counts once more" in capsys.readouterr().out


def test_a_teacher_of_another_skeleton_is_refused(run, monkeypatch):
    def load(path, device):
        lifter = load_lifter(path, device)
        if Path(path).name == "teacher1.safetensors":
            lifter.skeleton = replace(H36M_17, name="other_17")
        return lifter

    monkeypatch.setattr(distill, "load_lifter", load)
    with pytest.raises(InputError, match=r"teacher1\.safetensors: of skeleton other_17, .*teacher0.* is of h36m_17"):
        distill.main(run)


def test_the_folder_of_a_teacher_is_not_the_students(run, tmp_path):
    before = Path(run.teachers[0]).read_bytes()
    with pytest.raises(InputError, match="is in the output folder"):
        distill.main(replace(run, output=str(tmp_path), overwrite=True))
    assert Path(run.teachers[0]).read_bytes() == before


def test_a_run_is_not_overwritten_by_accident(run):
    distill.main(replace(run, stop_after=2))
    with pytest.raises(InputError, match="already holds a run"):
        distill.main(run)
    distill.main(replace(run, overwrite=True, stop_after=1))
    assert read_state(Path(run.output, "state.safetensors")).step == 1
    with pytest.raises(InputError, match="--mirror-average: the run has True, received False"):
        distill.main(replace(run, resume=True, mirror_average=False))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "--teachers: expected at least one"),
        (["--teachers", "typo.safetensors"], "typo.safetensors: no such file"),
        (["--teachers", "TEACHER", "--data", "typo.npz"], "typo.npz"),
        (["--teachers", "TEACHER", "--validation-subjects", "nobody"], "nobody"),
        (["--teachers", "TEACHER", "--distill.clean-share", "1.5"], "--distill.clean-share: expected 0 to 1, got 1.5"),
        (["--teachers", "TEACHER", "--distill.loss-power", "0.5"], "--distill.loss-power: expected at least 1"),
        (["--teachers", "TEACHER", "--distill.network", "cnn"], "--distill.network"),
        (["--teachers", "TEACHER", "--distill.frames", "6"], "--distill.frames: expected 1 or a power of 3 such as 9"),
        (["--teachers", "TEACHER", "--distill.frames", "0"], "--distill.frames: expected at least 1, got 0"),
        (
            ["--teachers", "TEACHER", "--distill.frames", "9", "--distill.network", "agcn"],
            "--distill.network agcn: sees single views; --distill.frames needs mlp",
        ),
        (
            ["--teachers", "TEACHER", "--distill.frames", "9", "--distill.equivariance-weight", "1"],
            "--distill.equivariance-weight: is of single virtual views",
        ),
        (["--resume"], "no run to continue"),
    ],
)
def test_a_users_mistake_is_one_message_and_status_2(arguments, message, teachers, small_mocap, tmp_path, refused):
    output = tmp_path / "run"
    given = [teachers[0] if each == "TEACHER" else each for each in arguments]
    data = [] if "--data" in given or "--resume" in given else ["--data", str(small_mocap)]
    status, printed = refused([*given, *data, "--output", str(output)])
    assert status == 2
    assert message in printed
    assert not output.exists()
