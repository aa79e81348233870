"""The command from end to end: small networks, few steps, synthetic poses."""

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import pytest

from ites_fast import ablate, cli, report
from ites_fast.ablation.prior_tables import PRIOR_TABLES
from ites_fast.ablation.size import PUBLISHED_SIZES, SIZE_ROWS, measure_sizes
from ites_fast.ablation.tables import TABLES
from ites_fast.config import PRESETS
from ites_fast.device import choose_device
from ites_fast.models import C3DPO
from ites_fast.skeleton import H36M_17


@pytest.fixture
def command(monkeypatch, capsys, options):
    """Runs the command in this process, with small networks: its exit status, and what it printed."""
    monkeypatch.setitem(PRESETS, ("ites", "quick"), replace(options, data="mocap17", output="runs/default"))
    monkeypatch.setattr(ablate, "QUICK_STEPS", {"ites": {"teacher.steps": 4, "student.steps": 2}})
    monkeypatch.setattr(ablate, "QUICK_ROUNDS", {1: 3, 1024: 2})
    monkeypatch.setattr(report, "draw_poses", lambda *_: None)  # most of the time, and tested elsewhere
    monkeypatch.setattr(report, "draw_losses", lambda *_: None)

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["ablate", *arguments])
        status = 0
        try:
            cli.run(ablate.main, ablate.AblateOptions, prog="ablate", description="")
        except SystemExit as stop:
            status = stop.code
        printed = capsys.readouterr()
        return status, printed.out + printed.err

    return run


def test_tables_are_printed_and_written_beside_each_other(command, tmp_path):
    arguments = ("--data", "synthetic:120", "--output", str(tmp_path), "--seeds", "2", "--quick", "--device", "cpu")
    status, printed = command("--table", "losses", *arguments)
    assert status == 0, printed
    assert "SHORTENED budget (--quick): 4 teacher steps and 2 student steps" in printed
    assert "153.5 / 120.4" in printed
    assert printed.count("the paper mpjpe") == 4
    status, printed = command("--table", "dictionary", *arguments)
    assert status == 0, printed
    assert "teacher-seed1: finished before" in printed
    tables = json.loads((tmp_path / "ablation.json").read_text())
    assert set(tables) == {"losses", "dictionary"}
    assert [row["n"] for row in tables["losses"]["rows"]] == [2] * 5
    steps = [len(json.loads(path.read_text())["losses"]) for path in tmp_path.glob("teacher*/metrics.json")]
    assert set(steps) == {2}  # every second of 4 steps
    assert (tmp_path / "losses.md").read_text().startswith("## What each training loss is worth\n")
    assert (tmp_path / "dictionary.png").read_bytes().startswith(b"\x89PNG")
    assert not list(tmp_path.glob(".*"))


def test_every_table_can_be_asked_for():
    choices = get_args(get_type_hints(ablate.AblateOptions)["table"])
    assert set(choices) == {*TABLES, *PRIOR_TABLES, "size"}


def test_held_out_subjects_are_reported_on(command, tmp_path, small_mocap):
    arguments = ("--table", "features", "--output", str(tmp_path), "--seeds", "1", "--quick", "--device", "cpu")
    status, printed = command(*arguments, "--data", str(small_mocap), "--validation-subjects", "nobody")
    assert status == 2
    assert "--validation-subjects nobody: not in" in printed
    subject = printed.rpartition("which has ")[2].split(",")[0].strip()
    status, printed = command(*arguments, "--data", str(small_mocap), "--validation-subjects", subject)
    assert status == 0, printed
    assert f"held-out subjects {subject}" in printed
    metrics = json.loads((tmp_path / "teacher-seed0" / "metrics.json").read_text())
    assert (metrics["split"], metrics["validation_subjects"]) == ("validation", [subject])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--table", "loss"), "invalid choice"),
        (("--table", "losses", "--seeds", "0"), "--seeds 0: expected at least 1"),
        (("--table", "losses", "--budget", "0"), "--budget 0: expected more than 0"),
        (("--table", "losses", "--budget", "0.5", "--quick"), "--budget 0.5: --quick has a budget"),
        (("--table", "losses", "--data", "typo.npz"), "typo.npz"),
        (("--table", "losses", "--preset", "fast"), "--preset"),
    ],
)
def test_a_users_mistake_is_one_message_and_status_2(command, tmp_path, arguments, message):
    output = tmp_path / "runs"
    status, printed = command(*arguments, "--output", str(output))
    assert status == 2
    assert message in printed
    assert not output.exists()


@pytest.mark.parametrize("content", ["not json", "[]"])
def test_a_file_that_is_no_table_is_refused_first(command, tmp_path, content):
    (tmp_path / "ablation.json").write_text(content)
    status, printed = command("--table", "losses", "--data", "synthetic:120", "--output", str(tmp_path))
    assert status == 2
    assert "ablation.json: not" in printed
    assert [path.name for path in tmp_path.iterdir()] == ["ablation.json"]


def test_sizes_need_no_data(command, tmp_path):
    status, printed = command("--table", "size", "--data", "nowhere", "--output", str(tmp_path), "--quick")
    assert status == 0, printed
    table = json.loads((tmp_path / "ablation.json").read_text())["size"]
    assert [row["name"] for row in table["rows"]] == [row.name for row in SIZE_ROWS]
    assert all(row["milliseconds_per_pose"]["1"]["median"] > 0 for row in table["rows"])
    assert (tmp_path / "size.md").read_text().count("\n| ") == 1 + 1 + len(SIZE_ROWS)


def test_sizes_are_those_of_the_paper():
    """The student has the 0.53 M that the paper prints beside C3DPO, two trunks have the 7.2 M beside the student."""
    sizes = measure_sizes(PRESETS["ites", "official"], choose_device("cpu"), {1: 2}).sizes
    by_name = {size.name: size for size in sizes}
    student, c3dpo = by_name["student (AGCN)"], by_name["C3DPO"]
    assert f"{student.parameters / 1e6:.2f}" == f"{PUBLISHED_SIZES['C3DPO'].parameters:.2f}"
    assert abs(c3dpo.training_parameters / 1e6 - PUBLISHED_SIZES["student (AGCN)"].parameters) < 0.05
    network = C3DPO(H36M_17, "official")
    canonicalizer = sum(parameter.numel() for parameter in network.canonicalizer.parameters())
    assert c3dpo.parameters == c3dpo.training_parameters - canonicalizer == by_name["teacher (dictionary)"].parameters
    assert student.parameters == student.training_parameters


def test_a_stopped_table_exits_as_shells_expect(command, tmp_path, monkeypatch):
    def stopped(*_arguments, **_options):
        raise ablate.StoppedError(15)

    monkeypatch.setattr(ablate, "execute", stopped)
    status, printed = command("--table", "losses", "--data", "synthetic:120", "--output", str(tmp_path))
    assert status == 128 + 15
    assert "give the same command again" in printed
    assert not Path(tmp_path, "losses.md").exists()
