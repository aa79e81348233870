"""Runs that are stopped, killed or go wrong: they continue to the bit, and the last good state is never lost."""

import errno
import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from ites_fast import checkpoint, run_data, train, training
from ites_fast.config import PRESETS
from ites_fast.errors import DivergedError, InputError

SMALL_ARGUMENTS = [
    *("--recipe", "ites"),
    *("--teacher.width", "16", "--teacher.bottleneck", "8", "--teacher.blocks", "1", "--teacher.atoms", "4"),
    *("--student.channels", "8", "--student.blocks", "1"),
    *("--teacher.batch-size", "16", "--student.batch-size", "16", "--log-every", "2", "--device", "cpu"),
]


def command(arguments, **kwargs):
    return subprocess.run(
        [sys.executable, "-m", "ites_fast.train", *arguments], capture_output=True, text=True, check=False, **kwargs
    )


def test_a_stopped_and_continued_run_is_the_same_to_the_bit(options, tmp_path, models):
    """Stops in the middle of the teacher, between the stages, and in the middle of the student."""
    train.main(options)
    whole = models(options.output)
    stopped = replace(options, output=str(tmp_path / "stopped"))
    train.main(replace(stopped, stop_after=3))
    for steps in (5, 2, 1):
        train.main(replace(stopped, stop_after=steps, resume=True))
        assert not Path(stopped.output, "student.safetensors").exists()
    train.main(replace(stopped, resume=True))
    assert models(stopped.output) == whole


@pytest.mark.parametrize("preset", ["paper", "official"])
def test_the_source_presets_train_and_continue_to_the_bit(options, preset, tmp_path, models):
    source = PRESETS["ites", preset]
    options = replace(
        source,
        data=options.data,
        device="cpu",
        teacher=replace(source.teacher, steps=6, batch_size=16, width=16, bottleneck=8, blocks=1),
        student=replace(source.student, steps=4, batch_size=16, channels=8, blocks=1),
    )
    whole = replace(options, output=str(tmp_path / "whole"))
    train.main(whole)
    stopped = replace(options, output=str(tmp_path / "stopped"))
    train.main(replace(stopped, stop_after=3))
    train.main(replace(stopped, stop_after=5, resume=True))
    train.main(replace(stopped, resume=True))
    assert models(stopped.output) == models(whole.output)


def explode_after(steps, monkeypatch):
    """Let the step after so many make the weights NaN."""
    original = training.learning_rate
    monkeypatch.setattr(
        training,
        "learning_rate",
        lambda stage, step, *rest: math.inf if step == steps else original(stage, step, *rest),
    )


def test_a_loss_that_is_nan_stops_the_run_and_names_step_batch_and_checkpoint(options, monkeypatch):
    options = replace(options, checkpoint_every=2)
    explode_after(4, monkeypatch)
    with pytest.raises(DivergedError) as error:
        train.main(options)
    message = str(error.value)
    assert re.search(r"teacher: the loss became nan at step 6, on the batch of 16 views \[\d+, .*\.\.\.\]", message)
    state_path = Path(options.output, "state.safetensors")
    assert str(state_path) in message
    state = training.read_state(state_path)
    assert state.step == 4
    assert all(tensor.isfinite().all() for tensor in state.part("network.").values())


def test_weights_that_are_nan_never_replace_the_last_good_state(options, monkeypatch):
    """The step that is saved next is the one that explodes: its loss is still finite."""
    options = replace(options, checkpoint_every=2)
    explode_after(3, monkeypatch)
    with pytest.raises(DivergedError, match=r"teacher: the weights became NaN or infinite at step 4, on the batch"):
        train.main(options)
    assert training.read_state(Path(options.output, "state.safetensors")).step == 2


def test_the_command_reports_divergence_in_a_line(small_mocap, tmp_path, status_and_errors):
    arguments = ["--data", str(small_mocap), "--output", str(tmp_path / "run"), "--teacher.learning-rate", "1e30"]
    status, errors = status_and_errors([*arguments, *SMALL_ARGUMENTS])
    assert status == 1
    assert "error: teacher: the loss became" in errors
    assert "no checkpoint was saved yet" in errors


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, 130, marks=pytest.mark.slow)]
)
def test_a_signal_saves_the_state_and_exits(small_mocap, tmp_path, number, status):
    output = tmp_path / "run"
    process = start_long_run(small_mocap, output)
    wait_for(output / "state.safetensors", process)
    process.send_signal(number)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == status, errors
    assert "--resume" in printed
    assert "Traceback" not in errors
    step = training.read_state(output / "state.safetensors").step
    result = command(["--resume", "--output", str(output), "--stop-after", "2"])
    assert result.returncode == 0, result.stderr
    assert training.read_state(output / "state.safetensors").step == step + 2


@pytest.mark.slow
def test_a_kill_at_any_moment_leaves_a_readable_state(small_mocap, tmp_path):
    """The state is written after every step here, so that most kills fall into a write."""
    for trial in range(6):
        output = tmp_path / f"run{trial}"
        process = start_long_run(small_mocap, output)
        wait_for(output / "state.safetensors", process)
        time.sleep(0.05 + 0.03 * trial)
        process.kill()
        process.communicate(timeout=60)
        state = training.read_state(output / "state.safetensors")
        assert state.step >= 1
        assert all(tensor.isfinite().all() for tensor in state.part("network.").values())
        result = command(["--resume", "--output", str(output), "--stop-after", "1"])
        assert result.returncode == 0, result.stderr
        assert training.read_state(output / "state.safetensors").step == state.step + 1


def test_a_full_disk_keeps_the_last_good_state(options, monkeypatch):
    train.main(replace(options, stop_after=2))
    state_path = Path(options.output, "state.safetensors")
    before = state_path.read_bytes()

    def full(_descriptor):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"could not be written: No space left on device.*state\.safetensors"):
        train.main(replace(options, stop_after=2, resume=True))
    assert state_path.read_bytes() == before
    assert not [path for path in state_path.parent.iterdir() if path.name.startswith(".")]


@pytest.mark.slow
def test_a_full_disk_is_one_message_and_status_2(small_mocap, tmp_path):
    """A limit on the size of files stands in for the end of the disk: the state does not fit under it."""
    limit = 10_000
    result = command(
        ["--data", str(small_mocap), "--output", str(tmp_path / "run"), "--stop-after", "1", *SMALL_ARGUMENTS],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert result.returncode == 2, result.stderr
    assert "state.safetensors" in result.stderr.splitlines()[-1]
    assert "could not be written" in result.stderr.splitlines()[-1]
    assert "Traceback" not in result.stderr
    assert [path.name for path in (tmp_path / "run").iterdir()] == ["config.json"]


def test_leftovers_of_a_killed_save_are_removed(options):
    train.main(replace(options, stop_after=2))
    leftover = Path(options.output, ".state-abc123.safetensors")
    leftover.write_bytes(b"half")
    train.main(replace(options, stop_after=1, resume=True))
    assert not leftover.exists()


def test_a_state_of_another_device_is_refused(options):
    train.main(replace(options, stop_after=2))
    state_path = Path(options.output, "state.safetensors")
    tensors, description = checkpoint.read_tensors(state_path, kind="state")
    checkpoint.write_tensors(state_path, tensors, description | {"device": "tpu"})
    with pytest.raises(InputError, match=r"saved on tpu, .* cannot continue on cpu; continue with --device tpu"):
        train.main(replace(options, resume=True))


def test_ctrl_c_outside_the_training_steps_is_a_word(status_and_errors, monkeypatch, tmp_path):
    def interrupted(*_arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(run_data, "load", interrupted)
    status, errors = status_and_errors(["--output", str(tmp_path / "run")])
    assert (status, errors.splitlines()[0]) == (130, "interrupted")


def test_a_continuation_with_another_recipe_is_refused(options):
    train.main(replace(options, stop_after=2))
    with pytest.raises(InputError, match="--seed: the run has 0, received 1"):
        train.main(replace(options, resume=True, seed=1))


def start_long_run(data, output) -> subprocess.Popen:
    arguments = ["--data", str(data), "--output", str(output), "--teacher.steps", "100000", "--checkpoint-every", "1"]
    return subprocess.Popen(
        [sys.executable, "-m", "ites_fast.train", *arguments, *SMALL_ARGUMENTS],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def wait_for(path: Path, process: subprocess.Popen) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
