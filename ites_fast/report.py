"""What a finished training run says of itself: a table, ``metrics.json`` and two figures."""

from pathlib import Path
from typing import Any

import torch

from ites_fast.baselines import DepthZero, MeanPose
from ites_fast.checkpoint import load_lifter
from ites_fast.config import TrainOptions
from ites_fast.data import PoseDataset, load
from ites_fast.errors import InputError
from ites_fast.evaluation import Predictor, evaluate
from ites_fast.figures import draw_losses, draw_poses
from ites_fast.files import write_json
from ites_fast.run_folder import METRICS_FILE
from ites_fast.tables import format_table


def write_report(
    options: TrainOptions,
    history: list[dict[str, Any]],
    seconds: float,
    device: torch.device,
    models: dict[str, Path],
) -> None:
    """Evaluate the models of a run beside the baselines, print the table, and write metrics and figures.

    Data without a test split, or without 3D poses, can be trained on: the report then says what is missing and holds
    the losses alone.

    Args:
        options: of the run; its output folder holds the models.
        history: records of the losses.
        seconds: spent in training steps.
        device: where the models run.
        models: files of the trained models by the name of their stage, the one to deploy first.

    Raises:
        OSError: a file could not be written.
    """
    output = Path(options.output)
    draw_losses(output / "losses.png", history)
    try:
        test = load(options.data, "test")
        trained: dict[str, Predictor] = {stage: load_lifter(path, device) for stage, path in models.items()}
        everything = trained | baselines(options.data, test)
        evaluations = [evaluate(model, test, model=name, device=device) for name, model in everything.items()]
    except InputError as error:
        print(f"not evaluated: {error}")
        evaluations = []
    report = {
        "data": options.data,
        "split": "test",
        "seed": options.seed,
        "training_seconds": round(seconds, 1),
        "models": {each.model: each.to_dict() for each in evaluations},
        "losses": history,
    }
    write_json(output / METRICS_FILE, report)
    if evaluations:
        draw_poses(output / "poses.png", test, evaluations[0])
        print(f"\n{options.data}: {len(test):,} test views, protocol {evaluations[0].protocol.name}\n")
        print(format_table(evaluations))
    print(f"\n{seconds:.0f} s of training steps; models, metrics and figures are in {output}")


def baselines(data: str, test: PoseDataset) -> dict[str, Predictor]:
    """What any model has to beat. The mean pose is of the training split's 3D, which nothing else ever sees."""
    return {"depth zero": DepthZero(test.skeleton), "mean pose": MeanPose.fit(load(data, "train"))}
