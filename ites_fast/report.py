"""What a finished training run says of itself: a table, ``metrics.json`` and two figures."""

from pathlib import Path
from typing import Any

from ites_fast.baselines import DepthZero, MeanPose
from ites_fast.checkpoint import load_lifter
from ites_fast.config import TrainOptions
from ites_fast.device import choose_device
from ites_fast.evaluation import Predictor, evaluate
from ites_fast.figures import draw_losses, draw_poses
from ites_fast.files import write_json
from ites_fast.run_data import load_report_views
from ites_fast.run_folder import LOSSES_FILE, METRICS_FILE, POSES_FILE
from ites_fast.tables import format_table


def write_report(
    options: TrainOptions,
    history: list[dict[str, Any]],
    seconds: float,
    models: dict[str, Path],
    mean_pose: MeanPose | None,
) -> None:
    """Evaluate the models of a run beside the baselines, print the table, and write metrics and figures.

    Data without a test split, or without 3D poses, can be trained on: the report then says what is missing and holds
    the losses alone.

    Args:
        options: of the run; its output folder holds the models.
        history: records of the losses.
        seconds: spent in training steps.
        models: files of the trained models by the name of their stage, the one to deploy first.
        mean_pose: the baseline of the training split, where it has 3D.

    Raises:
        InputError: a model's prediction is not finite.
        OSError: a file could not be written.
    """
    output = Path(options.output)
    draw_losses(output / LOSSES_FILE, history)
    # a density of 2D poses lifts nothing
    test = load_report_views(options.data, options.validation_subjects) if models else None
    evaluations = []
    if test is not None:
        device = choose_device(options.device)
        predictors: dict[str, Predictor] = {stage: load_lifter(path, device) for stage, path in models.items()}
        predictors["depth zero"] = DepthZero(test.skeleton)
        if mean_pose is not None:
            predictors["mean pose"] = mean_pose
        evaluations = [evaluate(each, test, model=name, device=device) for name, each in predictors.items()]
    report = {
        "data": options.data,
        "split": "validation" if options.validation_subjects else "test",
        "validation_subjects": list(options.validation_subjects),
        "seed": options.seed,
        "training_seconds": round(seconds, 1),
        "models": {each.model: each.to_dict() for each in evaluations},
        "losses": history,
    }
    write_json(output / METRICS_FILE, report)
    if test is not None:
        draw_poses(output / POSES_FILE, test, evaluations[0])
        views = "validation" if options.validation_subjects else "test"
        print(f"\n{options.data}: {len(test):,} {views} views, protocol {evaluations[0].protocol.name}\n")
        print(format_table(evaluations))
    print(f"\n{seconds:.0f} s of training steps; models, metrics and figures are in {output}")
