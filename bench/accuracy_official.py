"""Accuracy of ``--recipe ites --preset official`` beside the released code's, on the same data and budget.

    python bench/accuracy_official.py --official DIR --teacher-steps N --student-steps M --seeds 0 1 2

DIR is a clone of the release. Each arm and seed is a run: a teacher, then a student from it. A run that is finished is
written to the JSON at once and never repeated, so the command can be interrupted, repeated, and split over processes by
``--arms`` and ``--seeds`` with the same ``--output``. The table beside the JSON is written anew from all its runs.

What is compared: the release's networks with their own initial weights, losses, random rotations and default arguments
(SGD, learning rate, momentum, weight decay, halving, weights of the losses), imported from the clone and unchanged,
against what ``ites_fast.train`` does with the preset. What both share: the training views normalised as the preset
says (one factor for the data set, from the training split), the batches of a seed, the number of steps, and the
evaluation. What is restated for the release, because its training scripts run on import and read Human3.6M files: the
loop itself, the 15 epochs of root alignment, the teacher's depths in eval mode (computed once), and an empty module in
the place of OpenCV, which its networks import and do not use. Nothing had to be changed for the CPU.
"""

import argparse
import contextlib
import fcntl
import importlib.util
import json
import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from accuracy_table import KEYS, table
from torch import Tensor, nn

from ites_fast import build_info
from ites_fast.checkpoint import load_lifter
from ites_fast.config import PRESETS, TrainOptions
from ites_fast.data import load
from ites_fast.data.dataset import PoseDataset
from ites_fast.evaluation import evaluate
from ites_fast.files import atomic_path, write_json
from ites_fast.models import ViewLifter
from ites_fast.recipes import train_recipe
from ites_fast.run_data import TrainingViews, load_training_views
from ites_fast.sampling import EpochSampler
from ites_fast.training import Session

ROOT = Path(__file__).parent.parent
ARMS = ("ites_fast", "release")
LOSSES = ("reprojection", "invariance", "distillation", "equivariance")
LAST_STEPS = 100  # whose mean losses are reported
EVALUATION_BATCH = 1024


@dataclass
class Pose:
    """What ``ViewLifter`` reads from a network that gives poses."""

    pose_3d: Tensor


class Reading(nn.Module):
    """One way to read a network's output, for ``ViewLifter``.

    Args:
        network: in eval mode.
        read: from it and normalised poses (B, J, 2) to depths (B, J) or a ``Pose``.
        predicts: "depth" or "pose".
    """

    def __init__(self, network: nn.Module, read: Callable[[nn.Module, Tensor], Any], predicts: str) -> None:
        super().__init__()
        self.network, self.read, self.predicts = network, read, predicts

    def forward(self, pose_2d: Tensor) -> Any:
        return self.read(self.network, pose_2d)


def main(arguments: argparse.Namespace) -> None:
    official = load_release(arguments.official)
    options = with_budget(arguments, seed=0)
    budget = {
        "data": options.data,
        "teacher_steps": arguments.teacher_steps,
        "student_steps": arguments.student_steps,
        "batch_size": options.teacher.batch_size,
    }
    views = load_training_views(options.data, options.normalization, torch.device("cpu"))
    test = load(options.data, "test")
    budget |= {"training_views": len(views.pose_2d), "test_views": len(test)}
    for seed in arguments.seeds:
        for arm in arguments.arms:
            if any((run["arm"], run["seed"]) == (arm, seed) for run in read_runs(arguments.output, budget)):
                print(f"{arm}, seed {seed}: already in {arguments.output}")
                continue
            options = with_budget(arguments, seed)
            run = run_ours(options, views, test) if arm == "ites_fast" else run_release(official, options, views, test)
            add_run(arguments.output, budget, {"arm": arm, "seed": seed, **run, **conditions()})
            print(f"{arm}, seed {seed}: added to {arguments.output}", flush=True)
    write_table(arguments.output, budget)


def with_budget(arguments: argparse.Namespace, seed: int) -> TrainOptions:
    """The preset, with everything but the length of its stages as it is."""
    preset = PRESETS["ites", "official"]
    return replace(
        preset,
        seed=seed,
        teacher=replace(preset.teacher, steps=arguments.teacher_steps),
        student=replace(preset.student, steps=arguments.student_steps),
    )


def run_ours(options: TrainOptions, views: TrainingViews, test: PoseDataset) -> dict[str, Any]:
    """Teacher and student as ``python -m ites_fast.train`` trains them, one after the other."""
    figures = {}
    with tempfile.TemporaryDirectory() as folder:
        for stage in ("teacher", "student"):
            session = Session(
                state_path=Path(folder, f"{stage}_state.safetensors"),
                seed=options.seed,
                checkpoint_every=max(options.teacher.steps, options.student.steps),
                log_every=1,
            )
            start = time.process_time()
            files = train_recipe(replace(options, stage=stage, output=folder), views, session)
            seconds = time.process_time() - start
            network = load_lifter(files[stage]).network
            readings = {stage: network}
            if stage == "teacher":
                readings["teacher_depth"] = Reading(network, lambda net, uv: net(uv).pose_3d[..., 2], "depth")
            losses = [{name: record[name] for name in LOSSES if name in record} for record in session.history]
            figures |= measure(readings, views, test, seconds, losses)
    return figures


def run_release(official: Any, options: TrainOptions, views: TrainingViews, test: PoseDataset) -> dict[str, Any]:
    """Teacher and student of the release, by its defaults."""
    pose_2d, batch_size = views.pose_2d, options.teacher.batch_size

    def trained(network, losses_of, steps):
        start = time.process_time()
        losses = official.train(network, losses_of, EpochSampler(len(pose_2d), batch_size, options.seed), steps)
        return time.process_time() - start, losses

    def teacher_losses(batch: Tensor, epoch: int) -> dict[str, Tensor]:
        return official.teacher_losses(teacher, pose_2d[batch], align_to_root=epoch < official.aligned_epochs)

    def student_losses(batch: Tensor, epoch: int) -> dict[str, Tensor]:
        return official.student_losses(student, pose_2d[batch], depth[batch])

    torch.manual_seed(options.seed)
    teacher = official.teacher()
    seconds, losses = trained(teacher, teacher_losses, options.teacher.steps)
    teacher.eval()
    teacher.cycle_consistent = False  # its own switch for a pass without that loss
    readings = {
        "teacher": Reading(teacher, lambda net, uv: Pose(net(uv)["shape_camera_coord"]), "pose"),
        "teacher_depth": Reading(teacher, lambda net, uv: net(uv)["shape_camera_coord"][..., 2], "depth"),
    }
    figures = measure(readings, views, test, seconds, losses)
    with torch.no_grad():
        depth = torch.cat([readings["teacher_depth"](part) for part in pose_2d.split(EVALUATION_BATCH)])
    torch.manual_seed(options.seed)
    student = official.student()
    seconds, losses = trained(student, student_losses, options.student.steps)
    readings = {"student": Reading(student.eval(), lambda net, uv: net.predict(uv)[..., 0], "depth")}
    return figures | measure(readings, views, test, seconds, losses)


def measure(
    readings: dict[str, nn.Module],
    views: TrainingViews,
    test: PoseDataset,
    seconds: float,
    losses: list[dict[str, float]],
) -> dict[str, Any]:
    """Figures on the test split for each way to read a network, with what its training took and came to."""
    last = losses[-LAST_STEPS:]
    training = {
        "cpu_seconds": round(seconds, 1),
        "last_losses": {name: sum(step[name] for step in last) / len(last) for name in last[0]},
    }
    figures = {}
    for name, network in readings.items():
        lifter = ViewLifter(network, views.skeleton, views.normalization).eval()
        metrics = evaluate(lifter, test, batch_size=EVALUATION_BATCH).metrics
        figures[name] = training | {key: metrics[key] for key in KEYS}
    return figures


def add_run(output: Path, budget: dict[str, Any], run: dict[str, Any]) -> None:
    """Write a run beside those that the file has; other processes may do the same at the same time."""
    units = "millimetres; flip_rate is a fraction; losses are means over the last steps, in body units, not weighted"
    with locked(output):
        runs = sorted([*read_runs(output, budget), run], key=lambda run: (run["arm"], run["seed"]))
        write_json(output, {"budget": budget, "units": units, "runs": runs})


def write_table(output: Path, budget: dict[str, Any]) -> None:
    """Write the table of all finished runs beside the JSON."""
    with locked(output), atomic_path(output.with_suffix(".md")) as temporary:
        temporary.write_text(table(budget, read_runs(output, budget)), encoding="utf-8")


def read_runs(output: Path, budget: dict[str, Any]) -> list[dict[str, Any]]:
    """The finished runs; runs of another budget are refused."""
    if not output.exists():
        return []
    document = json.loads(output.read_text(encoding="utf-8"))
    if document["budget"] != budget:
        raise SystemExit(f"error: {output}: holds runs of the budget {document['budget']}, expected {budget}")
    return document["runs"]


@contextlib.contextmanager
def locked(output: Path) -> Iterator[None]:
    """Keep other processes from writing the same file."""
    with Path(tempfile.gettempdir(), f"{output.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def conditions() -> dict[str, Any]:
    """What a run was made with; the kind of machine, never its name."""
    commit = subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, text=True, check=True)
    info = build_info()
    return {
        "commit": commit.stdout.strip(),
        "cpu": f"{platform.machine()} {torch.backends.cpu.get_cpu_capability()}, {os.cpu_count()} cores",
        **{name: info[name] for name in ("ites_fast", "python", "torch", "threads")},
    }


def load_release(clone: Path) -> Any:
    """The release's networks, imported as the tests import them."""
    spec = importlib.util.spec_from_file_location("released_code", ROOT / "conftest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.Official(clone)


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--official", type=Path, required=True, help="a clone of the released code")
    parser.add_argument("--teacher-steps", type=int, required=True)
    parser.add_argument("--student-steps", type=int, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=ARMS, default=ARMS)
    parser.add_argument("--output", type=Path, default=ROOT / "bench/results/accuracy_official.json")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main(parse())
