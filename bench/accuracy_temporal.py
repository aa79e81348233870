"""What neighbouring frames are worth: students of single views, the mean of their poses over time, students of clips.

``python bench/accuracy_temporal.py --single runs/a runs/b --clips runs/c runs/d`` prints a Markdown table; the runs are
of ``python -m ites_fast.distill``, those of a kind with different seeds. Rows are the mean and the standard deviation
over them, of the validation people on clean 2D and with noise that is independent in every frame.

Before poses are averaged over time each is divided by its mean bone length. The errors of velocity and acceleration are
those of ``metrics.mpjve`` and ``metrics.accel``: poses of mean bone length one, with one least-squares scale for each
clip, at the frame rate of the data.
"""

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from ites_fast.checkpoint import load_lifter
from ites_fast.corruption import Corruption
from ites_fast.data import PoseDataset
from ites_fast.data.clips import clip_numbers
from ites_fast.metrics import accel, mpjve, n_mpjpe, p_mpjpe, root_relative
from ites_fast.models.temporal import frames_of, neighbours, of_clips
from ites_fast.prior_losses import bone_lengths
from ites_fast.run_data import load_report_views

FIGURES = ("n_mpjpe", "p_mpjpe", "velocity", "acceleration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--single", nargs="+", type=Path, required=True, help="runs of students of single views")
    parser.add_argument("--clips", nargs="*", type=Path, default=[], help="runs of students of clips, of any frames")
    parser.add_argument("--data", default="mocap17")
    parser.add_argument("--validation-subjects", nargs="+", default=["5", "9", "13", "35"])
    parser.add_argument("--around", nargs="*", type=int, default=[1, 2, 4], help="frames on each side of a mean")
    parser.add_argument("--noise-px", nargs="+", type=float, default=[0.0, 6.0])
    options = parser.parse_args()
    views = load_report_views(options.data, tuple(options.validation_subjects))
    if views is None:
        parser.error(f"{options.data}: nothing to measure on")
    print(f"{options.data}, subjects {' '.join(options.validation_subjects)}: {len(views):,} views, flip=none")
    print(f"\n| student | 2D | {' | '.join(FIGURES)} | seeds |\n|---|---|{'--:|' * (len(FIGURES) + 1)}")
    for noise in options.noise_px:
        spoilt = Corruption(noise_px=noise).apply(views)
        rows: dict[str, list[dict[str, float]]] = {}
        for path in (*options.single, *options.clips):
            for name, pose in methods(path, spoilt, options.around):
                rows.setdefault(name, []).append(measure(pose, views))
        for name, runs in rows.items():
            cells = [spread([run[figure] for run in runs]) for figure in FIGURES]
            print(
                f"| {name} | {f'{noise:g} px' if noise else 'clean'} | {' | '.join(cells)} | {len(runs)} |", flush=True
            )


def methods(path: Path, views: PoseDataset, around: list[int]) -> Iterator[tuple[str, Tensor]]:
    """Poses (N, J, 3) that a run gives, by the name of their row: its own, and their means over time."""
    lifter, cpu = load_lifter(path), torch.device("cpu")
    frames = frames_of(lifter.network)
    pose = of_clips(lifter, views, cpu).lift(torch.from_numpy(views.image()))
    pose = pose / bone_lengths(pose, views.skeleton.edges).mean(1)[:, None, None]
    name = "1 frame" if frames == 1 else f"{frames} frames"
    yield name, pose
    clip = torch.from_numpy(clip_numbers(views))
    for count in around:
        yield f"{name}, mean of {2 * count + 1}", pose[neighbours(clip, 2 * count + 1)].mean(1)


def measure(pose: Tensor, views: PoseDataset) -> dict[str, float]:
    """Means over views and over pairs and triples of neighbouring frames, in millimetres."""
    target = 1000 * root_relative(torch.from_numpy(views.pose_3d), views.skeleton.root)
    clip = clip_numbers(views)
    velocity, acceleration = [], []
    for part in np.split(np.arange(len(views)), np.flatnonzero(np.diff(clip)) + 1):
        if len(part) < 3:
            continue
        of_clip, truth = pose[part], target[part]
        of_clip = of_clip * ((of_clip * truth).sum() / of_clip.square().sum())
        velocity.append(mpjve(of_clip, truth, root=views.skeleton.root))
        acceleration.append(accel(of_clip, truth, root=views.skeleton.root))
    each = (n_mpjpe(pose, target), p_mpjpe(pose, target), torch.cat(velocity), torch.cat(acceleration))
    return {name: values.mean().item() for name, values in zip(FIGURES, each, strict=True)}


def spread(values: list[float]) -> str:
    """Mean and standard deviation."""
    deviation = f" ± {statistics.stdev(values):.1f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.1f}{deviation}"


if __name__ == "__main__":
    main()
