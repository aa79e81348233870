"""``python -m ites_fast.evaluate``: how good a trained model is."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from ites_fast import cli
from ites_fast.checkpoint import load_lifter
from ites_fast.corruption import DEFINITION, DETECTOR, Corruption, Occlusion
from ites_fast.data import PoseDataset, load
from ites_fast.data.loading import Split
from ites_fast.device import Device, choose_device
from ites_fast.errors import InputError
from ites_fast.evaluation import evaluate
from ites_fast.files import write_json
from ites_fast.protocols import ProtocolName, get_protocol
from ites_fast.tables import format_evaluation


@dataclass(frozen=True)
class EvaluateOptions:
    """Measure how far a model's 3D poses are from the truth."""

    checkpoint: str | None = None
    """a run's folder, or a .safetensors file of a model; the bundled weights without it"""
    data: str = "mocap17"
    """"mocap17" (bundled), "synthetic:N", or a file or folder in one of the formats of docs/DATA.md"""
    split: Split = "test"
    """which part of the data"""
    subjects: tuple[str, ...] = ()
    """only these subjects of it, by name; all without it"""
    noise_px: float = 0.0
    """Gaussian noise on the 2D: standard deviation in pixels of an image whose longer side is 1000 px"""
    missing_joints: int = 0
    """joints that each view loses, for models that accept it"""
    occlusion: Occlusion = "none"
    """parts of the body that no view shows, for models that accept it; see docs/METRICS.md"""
    detector: bool = False
    """what a detector does to 2D, the preset of docs/METRICS.md, instead of the noise of --noise-px"""
    corruption_seed: int = 0
    """of the noise and of the choice of the missing joints"""
    mirror_average: bool = False
    """lift the mirror image of each view as well and take the mean of both"""
    protocol: ProtocolName = "strict"
    """whose convention; "strict" takes no oracle but one scale per pose"""
    json: str | None = None
    """write every number to this JSON file"""
    figures: str | None = None
    """draw poses and errors (PNG) into this folder"""
    by_action: bool = False
    """print a line per action (always in the JSON)"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""
    batch_size: int = 1024
    """views at a time in the network"""


def main(options: EvaluateOptions) -> None:
    """Load, lift, measure, print, and write what the options ask for."""
    if options.batch_size < 1:
        raise InputError(f"--batch-size {options.batch_size}: expected at least 1")
    protocol = get_protocol(options.protocol)
    corruption = corruption_of(options)
    device = choose_device(options.device)
    lifter = load_lifter(options.checkpoint, device)
    lifter.mirror_average = options.mirror_average
    dataset = load(options.data, options.split, subjects=options.subjects or None)
    dataset = corruption.apply(dataset)
    evaluation = evaluate(
        lifter,
        dataset,
        protocol=protocol,
        model=model_name(options.checkpoint),
        device=device,
        batch_size=options.batch_size,
    )
    if options.mirror_average:
        print("mean of every view and its mirror image")
    for line in describe_input(dataset, corruption):
        print(line)
    print(format_evaluation(evaluation, by_action=options.by_action))
    if options.json is not None:
        inputs = {
            "checkpoint": options.checkpoint or "bundled",
            "split": options.split,
            "subjects": list(options.subjects) or "all",
            "device": str(device),
            "mirror_average": options.mirror_average,
            "corruption": asdict(corruption) | {"noise": DEFINITION},
            "missing_joints_in_all": dataset.missing_joints,
        }
        write_json(options.json, inputs | evaluation.to_dict())
        print(f"\nwritten: {options.json}")
    if options.figures is not None:
        # matplotlib takes a second to import, and most runs draw nothing
        from ites_fast.figures import write_evaluation_figures

        for path in write_evaluation_figures(options.figures, dataset, evaluation):
            print(f"written: {path}")


def corruption_of(options: EvaluateOptions) -> Corruption:
    """What the options do to the 2D.

    Raises:
        InputError: both a detector and noise of its own.
    """
    if options.detector and options.noise_px:
        raise InputError(f"--noise-px {options.noise_px}: --detector has noise of its own; expected one of them")
    base = DETECTOR if options.detector else Corruption(options.noise_px)
    return replace(
        base,
        missing_joints=options.missing_joints,
        occlusion=options.occlusion,
        seed=options.corruption_seed,
    )


def model_name(checkpoint: str | None) -> str:
    """What tables call a model."""
    return "bundled weights" if checkpoint is None else Path(checkpoint).name or checkpoint


def describe_input(dataset: PoseDataset, corruption: Corruption) -> Iterator[str]:
    """Lines that say what is wrong with the 2D, if anything is."""
    if corruption.changes:
        yield f"2D made worse: {corruption}"
    if dataset.allow_missing:
        joints = len(dataset) * dataset.skeleton.num_joints
        yield f"2D without {dataset.missing_joints:,} of {joints:,} joints ({dataset.missing_joints / joints:.2%})"


if __name__ == "__main__":
    cli.run(main, EvaluateOptions, prog="python -m ites_fast.evaluate", description=EvaluateOptions.__doc__)
