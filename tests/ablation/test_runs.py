"""Runs of a table: each is trained once, reused when finished, and continued to the bit when it was interrupted."""

import json
import os
import signal
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from ites_fast import recipes, report, training
from ites_fast.ablation import runs as ablation_runs
from ites_fast.ablation.plan import all_runs, plan
from ites_fast.ablation.runs import StoppedError, execute
from ites_fast.ablation.tables import GRAPHS, LOSSES, Row, Table
from ites_fast.errors import InputError

CPU = torch.device("cpu")
STEPS = 8  # of each stage in ``options``
PAIR = Table("pair", "a teacher and its student", "ites", (Row("student", "student", {}),))


@pytest.fixture(autouse=True)
def no_figures(monkeypatch):
    """Figures of the single runs take most of the time, and are tested elsewhere."""
    monkeypatch.setattr(report, "draw_losses", lambda *_: None)
    monkeypatch.setattr(report, "draw_poses", lambda *_: None)


@pytest.fixture
def base(options):
    return replace(options, output="", checkpoint_every=2)


def runs_of(table, base, output, seeds=1):
    return all_runs(plan(table, base, output, seeds))


@pytest.fixture
def stages_trained(monkeypatch):
    """The stages that were trained from here on, by name."""
    trained = []
    original = recipes.train_stage

    def train_stage(stage, *arguments):
        trained.append(stage.name)
        return original(stage, *arguments)

    monkeypatch.setattr(recipes, "train_stage", train_stage)
    return trained


def at_step(number, action, monkeypatch):
    """Act before the step of this number, counted over all stages from here on."""
    original, steps = training.learning_rate, iter(range(1, 1_000_000))

    def learning_rate(*arguments):
        if next(steps) == number:
            action()
        return original(*arguments)

    monkeypatch.setattr(training, "learning_rate", learning_rate)


def files(output):
    """The models of all runs."""
    return {
        path.relative_to(output): path.read_bytes()
        for path in output.glob("*/*.safetensors")
        if "state" not in path.name
    }


def test_a_shared_teacher_is_trained_once_and_finished_runs_are_reused(base, tmp_path, stages_trained):
    first = execute(runs_of(GRAPHS, base, tmp_path), CPU)
    assert not list(tmp_path.rglob("state*"))
    assert sorted(stages_trained) == ["student"] * 3 + ["teacher"]
    stages_trained.clear()
    again = execute(runs_of(GRAPHS, base, tmp_path), CPU)
    assert stages_trained == []
    assert {run: outcome.metrics for run, outcome in first.items()} == {
        run: outcome.metrics for run, outcome in again.items()
    }
    execute(runs_of(LOSSES, base, tmp_path), CPU)  # the teacher and the plain student are there already
    assert sorted(stages_trained) == ["student"] * 2 + ["teacher"]
    assert all(0 < outcome.metrics["p_mpjpe/flip=best"] < 1000 for outcome in first.values())


def histories(output):
    """The recorded losses of all runs."""
    return {path.parent.name: json.loads(path.read_text())["losses"] for path in output.glob("*/metrics.json")}


@pytest.mark.parametrize("step", [3, STEPS + 5])
def test_a_signal_stops_the_table_and_the_same_command_continues_it(base, tmp_path, monkeypatch, step):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    execute(runs_of(PAIR, base, whole), CPU)
    with monkeypatch.context() as patch:
        at_step(step, lambda: os.kill(os.getpid(), signal.SIGINT), patch)
        with pytest.raises(StoppedError) as error:
            execute(runs_of(PAIR, base, stopped), CPU)
    assert error.value.signal == signal.SIGINT
    assert len(files(stopped)) < len(files(whole))
    execute(runs_of(PAIR, base, stopped), CPU)
    assert files(stopped) == files(whole)
    assert histories(stopped) == histories(whole)


class Killed(BaseException):
    """What nothing catches."""


def kill():
    raise Killed


@pytest.mark.parametrize("step", [1, 6, STEPS + 4])
def test_a_killed_table_continues_from_the_last_state(base, tmp_path, monkeypatch, step):
    """The state of every second step is on the disk: a kill loses at most one step, and none of the bits."""
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    execute(runs_of(PAIR, base, whole), CPU)
    with monkeypatch.context() as patch:
        at_step(step, kill, patch)
        with pytest.raises(Killed):
            execute(runs_of(PAIR, base, killed), CPU)
    with monkeypatch.context() as patch:
        at_step(1, kill, patch)  # once more, before anything new is saved
        with pytest.raises(Killed):
            execute(runs_of(PAIR, base, killed), CPU)
    with monkeypatch.context() as patch:
        counted = []
        original = training.learning_rate
        patch.setattr(training, "learning_rate", lambda *a: counted.append(1) or original(*a))
        execute(runs_of(PAIR, base, killed), CPU)
    assert len(counted) == 2 * STEPS - 2 * ((step - 1) // 2)
    assert files(killed) == files(whole)


def test_a_run_killed_before_its_report_is_not_trained_again(base, tmp_path, monkeypatch):
    table = Table("t", "t", "ites", (Row("teacher", "teacher", {}),))
    with monkeypatch.context() as patch:
        patch.setattr(ablation_runs, "write_report", lambda *_a, **_k: kill())
        with pytest.raises(Killed):
            execute(runs_of(table, base, tmp_path), CPU)
    at_step(1, kill, monkeypatch)
    (outcome,) = execute(runs_of(table, base, tmp_path), CPU).values()
    assert outcome.metrics["p_mpjpe/flip=none"] > 0


def test_a_moved_folder_is_still_the_same_runs(base, tmp_path, stages_trained):
    execute(runs_of(PAIR, base, tmp_path / "here"), CPU)
    (tmp_path / "here").rename(tmp_path / "there")
    stages_trained.clear()
    execute(runs_of(PAIR, base, tmp_path / "there"), CPU)
    assert stages_trained == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data": "other.npz"}, r"--data: the run has .*small\.npz, received other\.npz"),
        ({"preset": "paper"}, "--preset: the run has quick, received paper"),
    ],
)
def test_runs_of_another_recipe_are_refused_before_anything_is_trained(base, tmp_path, stages_trained, change, message):
    teacher = Table("t", "t", "ites", (Row("teacher", "teacher", {}),))
    execute(runs_of(teacher, base, tmp_path), CPU)
    stages_trained.clear()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(InputError, match=rf"teacher-seed0 holds a run of another recipe \({message}\); choose another"):
        execute(runs_of(GRAPHS, replace(base, **change), tmp_path), CPU)
    assert sorted(tmp_path.rglob("*")) == before
    assert stages_trained == []


def test_files_of_the_users_own_are_not_replaced(base, tmp_path):
    (tmp_path / "student-seed0").mkdir()
    (tmp_path / "student-seed0" / "poses.png").write_text("mine")
    with pytest.raises(InputError, match=r"files that it would replace \(poses\.png\)"):
        execute(runs_of(GRAPHS, base, tmp_path), CPU)
    assert [path.name for path in tmp_path.iterdir()] == ["student-seed0"]


def test_damaged_metrics_are_named(base, tmp_path):
    table = Table("t", "t", "ites", (Row("teacher", "teacher", {}),))
    execute(runs_of(table, base, tmp_path), CPU)
    path = tmp_path / "teacher-seed0" / "metrics.json"
    path.write_text("{}")
    with pytest.raises(InputError, match=r"metrics\.json: not the metrics of a teacher .*; remove the file"):
        execute(runs_of(table, base, tmp_path), CPU)
    path.unlink()
    execute(runs_of(table, base, tmp_path), CPU)


def test_a_run_that_diverges_does_not_stop_the_others(base, tmp_path):
    rows = (
        Row("exploding teacher", "teacher", {"teacher.learning_rate": 1e30}),
        Row("its student", "student", {"teacher.learning_rate": 1e30}),
        Row("teacher", "teacher", {}),
    )
    said = []
    outcomes = execute(runs_of(Table("t", "t", "ites", rows), base, tmp_path), CPU, said.append)
    exploded, student, teacher = outcomes.values()
    assert "the loss became" in exploded.diverged or "the weights became" in exploded.diverged
    assert student.diverged == "its first stage diverged"
    assert teacher.metrics is not None
    assert any("left out" in line for line in said)


def test_a_table_of_the_other_recipe_trains(prior_options, tmp_path, stages_trained):
    rows = (Row("all", "lifter", {}), Row("no bones", "lifter", {"lifter.bone_weight": 0.0}))
    base = replace(prior_options, output="")
    runs = runs_of(Table("t", "t", "prior", rows), base, tmp_path)
    outcomes = execute(runs, CPU)
    assert stages_trained == ["flow", "lifter", "lifter"]
    assert [bool(outcome.metrics) for outcome in outcomes.values()] == [False, True, True]
    execute(runs, CPU)
    assert len(stages_trained) == 3
    assert Path(tmp_path, "lifter+bone_weight=0.0-seed0", "metrics.json").exists()
