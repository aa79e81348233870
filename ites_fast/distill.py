"""``python -m ites_fast.distill``: several trained lifters into one that stands noise and missing joints."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from ites_fast import cli
from ites_fast.checkpoint import LIFTER_FILE, load_lifter, save_model
from ites_fast.completion import Completion
from ites_fast.config import options_to_dict, stage_from_dict
from ites_fast.corruption import DETECTOR, Corruption
from ites_fast.data import PoseDataset, load
from ites_fast.data.clips import clip_numbers
from ites_fast.device import Device, MatmulPrecision, choose_device, matmul_precision
from ites_fast.distill_stage import ClipStage, DistillStage
from ites_fast.errors import InputError
from ites_fast.evaluation import Evaluation, evaluate
from ites_fast.figures import draw_losses
from ites_fast.files import write_json
from ites_fast.models import SequenceLifter, ViewLifter, frames_of, lifter_of
from ites_fast.models.temporal import is_power_of_three
from ites_fast.option_checks import check_numbers
from ites_fast.options import DistillOptions
from ites_fast.run_data import load_report_views, of_subjects
from ites_fast.run_folder import (
    LOSSES_FILE,
    METRICS_FILE,
    check_folder,
    claim_folder,
    open_session,
    saved_options,
    stop,
)
from ites_fast.sampling import sequence_probability
from ites_fast.tables import format_table
from ites_fast.teaching import mean_poses
from ites_fast.training import Session, stop_on_signals, train_stage

SHARES = ("clean_share", "whole_share", "limb_share", "region_share", "swap_share", "miss_share", "virtual_share")

# What the report measures the student on, by the name of the row.
CONDITIONS = {
    "clean": Corruption(),
    "6 px noise": Corruption(noise_px=6.0),
    "1 joint missing": Corruption(missing_joints=1),
    "2 joints missing": Corruption(missing_joints=2),
    "4 joints missing": Corruption(missing_joints=4),
    "8 joints missing": Corruption(missing_joints=8),
    "upper body only": Corruption(occlusion="lower_body"),
    "detector": DETECTOR,
}


@dataclass(frozen=True)
class DistillRun:
    """Distil trained lifters into one student, of single views or of clips, that stands noise and missing joints."""

    teachers: tuple[str, ...] = ()
    """folders of runs, or .safetensors files of models, of one skeleton; their predictions are averaged"""
    data: str = "mocap17"
    """"mocap17" (bundled), "synthetic:N", or a file or folder in one of the formats of docs/DATA.md; only its 2D is
    learned from"""
    output: str = "runs/distilled"
    """folder for the model, the state, metrics and the figure of the losses"""
    validation_subjects: tuple[str, ...] = ()
    """subjects of the training split that are left out, and reported on instead of the test split"""
    mirror_average: bool = True
    """teachers lift the mirrored view too, and the mean of both counts"""
    half: bool = False
    """store the weights as float16, in half the space"""
    seed: int = 0
    """of initial weights, batches, noise and missing joints"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""
    matmul_precision: MatmulPrecision = "medium"
    """of float32 products while the student trains: "medium" multiplies in bfloat16 where the processor can, "highest"
    does not; weights, sums, teachers and evaluation are float32 in both"""
    resume: bool = False
    """continue the run in the output folder, with its own options"""
    overwrite: bool = False
    """replace the run in the output folder"""
    stop_after: int | None = None
    """save and stop after this many steps of this invocation; continue with --resume"""
    checkpoint_every: int = 500
    """steps between two saves of the state"""
    log_every: int = 20
    """steps between two records of the losses"""
    distill: DistillOptions = field(default_factory=DistillOptions)


def main(options: DistillRun) -> None:
    """Let the teachers lift the training views, train the student, write and evaluate it.

    All that can be refused is looked at before the output folder is touched.
    """
    check_options(options)
    device, output = choose_device(options.device), Path(options.output)
    saved = check_folder(options, options_from_dict)
    teachers = load_teachers(options, device)
    dataset = load_training_views(options, teachers[0])
    print(f"{options.data}: {len(dataset):,} training views on {device}, {len(teachers)} teachers, output {output}")
    image = torch.from_numpy(dataset.image()).to(device)
    normalization = replace(teachers[0].normalization, hips=dataset.skeleton.hips)
    target = mean_poses(teachers, image, normalization, mirror_average=options.mirror_average, source=options.data)
    balance = options.distill.balance
    probability = sequence_probability(dataset.sequence, balance) if balance > 0 else None
    claim_folder(options)
    session = open_session(options, saved)
    torch.manual_seed(options.seed)
    of_views = (image, target, dataset.skeleton, normalization, options.distill, probability)
    clip = torch.from_numpy(clip_numbers(dataset)) if options.distill.frames > 1 else None
    stage = DistillStage(*of_views) if clip is None else ClipStage(*of_views, clip)
    parameters, operations = cost(stage.network, dataset.skeleton.num_joints)
    print(f"{options.distill.network}: {parameters:,} parameters, {operations / 1e6:.2f} MFLOP a pose", flush=True)
    with stop_on_signals(session), matmul_precision(options.matmul_precision):
        finished = train_stage(stage, session, saved)
    if not finished:
        stop(session, output, command="distill")
        return
    save(stage, options)
    write_report(options, session, {"parameters": parameters, "flop_per_pose": operations})


def save(stage: DistillStage, options: DistillRun) -> None:
    """Write the student, and with it what completes views that lack joints."""
    lifter = lifter_of(stage.network.eval(), stage.skeleton, stage.normalization)
    lifter.completion = Completion.fit(stage.pose_2d, stage.skeleton, stage.normalization)
    training = {
        "stage": stage.name,
        "data": options.data,
        "teachers": [Path(path).name for path in options.teachers],
        "validation_subjects": list(options.validation_subjects),
        "seed": options.seed,
    }
    dtype = torch.float16 if options.half else None
    save_model(Path(options.output, LIFTER_FILE), lifter, stage.architecture, training, dtype=dtype)


def write_report(options: DistillRun, session: Session, size: dict[str, int]) -> None:
    """Evaluate the student as it was stored, on clean and on spoilt views; print the table, write ``metrics.json``."""
    output = Path(options.output)
    draw_losses(output / LOSSES_FILE, session.history)
    device = choose_device(options.device)
    views = load_report_views(options.data, options.validation_subjects)
    evaluations: list[Evaluation] = []
    if views is not None:
        student = load_lifter(output, device)
        for name, corruption in CONDITIONS.items():
            spoilt = corruption.apply(views)
            evaluations.append(evaluate(student, spoilt, model=name, device=device))
    report = {
        "data": options.data,
        "split": "validation" if options.validation_subjects else "test",
        "validation_subjects": list(options.validation_subjects),
        "teachers": list(options.teachers),
        "seed": options.seed,
        "training_seconds": round(session.seconds, 1),
        **size,
        "conditions": {each.model: each.to_dict() for each in evaluations},
        "losses": session.history,
    }
    write_json(output / METRICS_FILE, report)
    if views is not None:
        print(f"\n{options.data}: {len(views):,} {report['split']} views, protocol {evaluations[0].protocol.name}\n")
        print(format_table(evaluations))
    print(f"\n{session.seconds:.0f} s of training steps; model, metrics and the figure of the losses are in {output}")


def cost(network: nn.Module, joints: int) -> tuple[int, int]:
    """Parameters of a network, and floating point operations of its products for one pose in inference."""
    parameter = next(network.parameters())
    frames = frames_of(network)
    window = () if frames == 1 else (frames,)
    pose_2d = torch.zeros(1, *window, joints, 2, device=parameter.device, dtype=parameter.dtype)
    training = network.training
    network.eval()
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        network(pose_2d)
    network.train(training)
    return sum(each.numel() for each in network.parameters()), counter.get_total_flops()


def load_teachers(options: DistillRun, device: torch.device) -> list[ViewLifter]:
    """Load the teachers, in eval mode.

    Raises:
        InputError: there are none, a file cannot be used, one lifts clips or is in the output folder, or their
            skeletons differ.
    """
    if not options.teachers:
        raise InputError("--teachers: expected at least one run's folder or .safetensors file")
    files = [path / LIFTER_FILE if path.is_dir() else path for path in map(Path, options.teachers)]
    for index, file in enumerate(files):
        if file.resolve().parent == Path(options.output).resolve():
            raise InputError(f"--teachers {options.teachers[index]}: is in the output folder, which the student is for")
        if file.resolve() in [other.resolve() for other in files[:index]]:
            print(f"--teachers {options.teachers[index]}: given before, so it counts once more")
    teachers = [load_lifter(file, device) for file in files]
    for file, teacher in zip(files, teachers, strict=True):
        if isinstance(teacher, SequenceLifter):
            raise InputError(f"--teachers {file}: lifts clips, expected lifters of single views")
        if teacher.skeleton != teachers[0].skeleton:
            raise InputError(
                f"--teachers {file}: of skeleton {teacher.skeleton.name}, {files[0]} is of {teachers[0].skeleton.name}"
            )
    return teachers


def load_training_views(options: DistillRun, teacher: ViewLifter) -> PoseDataset:
    """The training split without the validation subjects.

    Raises:
        InputError: it cannot be read or used, has fewer than two views or no such subject, or is of another skeleton
            than the teachers.
    """
    dataset = load(options.data, "train")
    dataset.require_complete("distillation")
    if dataset.skeleton != teacher.skeleton:
        raise InputError(
            f"{options.data}: of skeleton {dataset.skeleton.name}, the teachers lift {teacher.skeleton.name}"
        )
    if options.validation_subjects:
        dataset = dataset.subset(~of_subjects(dataset, options.validation_subjects, "--validation-subjects"))
    if len(dataset) < 2:
        raise InputError(f"{options.data}: {len(dataset)} training views, expected at least 2")
    return dataset


def check_options(options: DistillRun) -> None:
    """Refuse numbers that cannot be trained with, and options that do not go together.

    Raises:
        InputError: names the option, the value and what was expected.
    """
    check_numbers(options_to_dict(options), prefix="")
    for name in SHARES:
        share = getattr(options.distill, name)
        if not 0 <= share <= 1:
            raise InputError(f"--distill.{name.replace('_', '-')}: expected 0 to 1, got {share}")
    student = options.distill
    if student.frames == 1:
        return
    if not is_power_of_three(student.frames):
        raise InputError(f"--distill.frames: expected 1 or a power of 3 such as 9, got {student.frames}")
    if student.network != "mlp":
        raise InputError(f"--distill.network {student.network}: sees single views; --distill.frames needs mlp")
    if student.equivariance_weight > 0:
        raise InputError("--distill.equivariance-weight: is of single virtual views, expected 0 with --distill.frames")


def options_from_dict(values: dict[str, Any], source: str) -> DistillRun:
    """Inverse of ``options_to_dict``.

    Raises:
        InputError: ``source`` holds other options than this version knows.
    """
    try:
        lists = {name: tuple(values[name]) for name in ("teachers", "validation_subjects")}
        return DistillRun(**{**values, **lists, "distill": stage_from_dict(DistillOptions, values["distill"])})
    except (KeyError, TypeError) as error:
        raise InputError(f"{source}: not the options of a distillation of this version ({error})") from error


def defaults(arguments: Sequence[str]) -> DistillRun:
    """The options that a command line starts from: those of the run that it continues, where it continues one."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--output", default=DistillRun.output)
    parser.add_argument("--resume", action="store_true")
    given, _ = parser.parse_known_args(arguments)
    return saved_options(given.output, options_from_dict) if given.resume else DistillRun()


if __name__ == "__main__":
    cli.run(main, DistillRun, prog="python -m ites_fast.distill", description=DistillRun.__doc__, default=defaults)
