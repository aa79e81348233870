"""What the filters over time are worth, and how the score of ambiguity is fitted.

    python bench/accuracy_sequences.py [--data mocap17_30fps.npz] [--output docs/sequences.md]
    python bench/accuracy_sequences.py --choose filters | signs | ambiguity

The first prints (or writes) the tables of docs/SEQUENCES.md, of the test people. ``--data`` is a file in the bundled
format with more frames a second, which is not in the repository; the bundled sample has 15. The second prints what the
parameters were chosen by, on training people, with their 3D; the lifter saw nothing but their 2D poses.

A clip is one person in one sequence of one camera without gaps (``data.clips``), of at least 10 frames. Every joint of
every frame is seen through the clip's true camera; errors are in millimetres after one scale a pose (n_mpjpe), one
similarity a pose (p_mpjpe), and one scale a clip (acceleration, per second squared), flip=none. Noise is independent
from frame to frame, which real detectors' is not.
"""

import argparse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from ites_fast.camera import Camera
from ites_fast.checkpoint import load_lifter
from ites_fast.corruption import DETECTOR, Corruption
from ites_fast.data import PoseDataset, load
from ites_fast.data.clips import clip_numbers
from ites_fast.files import atomic_path
from ites_fast.lifting import flips
from ites_fast.lifting.bone_lengths import constant_bone_lengths
from ites_fast.lifting.flips import consistent_depth
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.over_time import over_time
from ites_fast.lifting.placement import choose_view
from ites_fast.lifting.smoothing import default_window, one_euro, savitzky_golay
from ites_fast.lifting.stream import Stream
from ites_fast.metrics import accel, bone_length_spread, flip_rate, n_mpjpe, p_mpjpe
from ites_fast.skeleton import H36M_17

CONDITIONS = {
    "exact keypoints": Corruption(),
    "noise of 6 px": Corruption(noise_px=6),
    "`detector` (docs/ROBUSTNESS.md)": DETECTOR,
}
FIT_ON = (Corruption(), Corruption(noise_px=6), Corruption(missing_joints=4), Corruption(noise_px=6, missing_joints=3))
VALIDATION = ("5", "9", "13", "35")
MIN_FRAMES = 10
FIGURES = ("n_mpjpe", "p_mpjpe", "acceleration, m/s²", "bone spread, %", "flips, %")
Poses = np.ndarray  # (T, 17, 3)


class Clip(NamedTuple):
    """A clip as it was seen, and lifted frame by frame."""

    lifter: FrameLifter
    keypoints: np.ndarray  # (T, 17, 2) pixels
    positions: Poses
    ambiguity: np.ndarray  # (T,)
    truth: Poses
    frame: np.ndarray  # (T,)
    fps: float


METHODS: dict[str, Callable[[Clip], Poses]] = {
    "each frame by itself": lambda clip: clip.positions,
    "One-Euro": lambda clip: one_euro(clip.positions, clip.frame, clip.fps),
    "Savitzky-Golay": lambda clip: savitzky_golay(clip.positions, clip.frame, default_window(clip.fps)),
    "constant bones": lambda clip: constant_bone_lengths(clip.positions, H36M_17),
    "consistent depth": lambda clip: consistent_depth(clip.positions, clip.ambiguity, clip.fps, clip.frame)[0],
    "all of a recording: depth, Savitzky-Golay, bones": lambda clip: whole(clip),
    "all of a stream: depth, lost joints, One-Euro": lambda clip: streamed(clip),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", nargs="*", default=[], help="files in the bundled format, after the bundled sample")
    parser.add_argument("--checkpoint", default=None, help="weights; the bundled ones without it")
    parser.add_argument("--choose", choices=["filters", "signs", "ambiguity"], help="measure what parameters are worth")
    parser.add_argument("--output", type=Path, help="file for the tables")
    options = parser.parse_args()
    torch.set_num_threads(1)
    names = ["mocap17", *options.data]
    if options.choose == "ambiguity":
        lines = list(fit_ambiguity(options.checkpoint))
    elif options.choose is not None:
        chosen = {"filters": filters, "signs": signs}[options.choose]
        lines = [line for name in names for line in chosen(name, options.checkpoint)]
    else:
        lines = [line for name in names for line in tables(name, options.checkpoint)]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.output is not None:
        with atomic_path(options.output) as path:
            path.write_text(text, encoding="utf-8")


def tables(name: str, checkpoint: str | None) -> Iterator[str]:
    """One table for each condition."""
    views = load(name, "test")
    for condition, corruption in CONDITIONS.items():
        clips = lifted_clips(views, corruption, checkpoint)
        rows = {method: figures(clips, run) for method, run in tqdm(METHODS.items(), desc=condition, disable=None)}
        count = sum(len(clip.frame) for clip in clips)
        yield f"\n{views.fps:g} frames a second, {condition}: {len(clips)} clips, {count:,} frames\n"
        yield f"| | {' | '.join(FIGURES)} |\n|---|{'--:|' * len(FIGURES)}"
        for method, row in rows.items():
            yield f"| {method} | {' | '.join(f'{value:.1f}' for value in row)} |"


def whole(clip: Clip) -> Poses:
    """What ``python -m ites_fast.lift`` does."""
    lifted = clip.lifter(clip.keypoints)
    options = {"smooth": "savitzky_golay", "constant_bones": True, "one_sign": True}
    return over_time(lifted, clip.lifter, fps=clip.fps, frame=clip.frame, **options)[0].positions


def streamed(clip: Clip) -> Poses:
    """What ``Lifter.stream`` does."""
    stream = Stream(clip.lifter, clip.fps)
    frames = zip(clip.keypoints, clip.frame / clip.fps, strict=True)
    return np.concatenate([stream(keypoints, time=time, copy=True).positions for keypoints, time in frames])


def lifted_clips(views: PoseDataset, corruption: Corruption, checkpoint: str | None) -> list[Clip]:
    """The clips of a data set whose keypoints were spoilt, lifted."""
    spoilt, network = corruption.apply(views), load_lifter(checkpoint)
    numbers = clip_numbers(views)
    step = int(np.median(np.diff(views.frame)[np.diff(numbers) == 0]))
    clips = []
    for part in np.split(np.arange(len(views)), np.flatnonzero(np.diff(numbers)) + 1):
        if len(part) < MIN_FRAMES:
            continue
        seen = views.cameras[views.camera[part[0]]]
        camera = Camera(seen.focal, seen.principal, seen.image_size)
        lifter = FrameLifter(network, H36M_17, view=choose_view(camera))
        network = lifter.inference  # packed once
        lifted = lifter(spoilt.pose_2d[part])
        truth = views.pose_3d[part] - views.pose_3d[part, :1]
        frame = (views.frame[part] - views.frame[part[0]]) // step
        clips.append(Clip(lifter, spoilt.pose_2d[part], lifted.positions, lifted.ambiguity, truth, frame, views.fps))
    return clips


def figures(clips: list[Clip], method: Callable[[Clip], Poses]) -> list[float]:
    """Means over frames, in the order of ``FIGURES``."""
    poses = [torch.from_numpy(method(clip)).double() for clip in clips]
    truths = [1000 * torch.from_numpy(clip.truth).double() for clip in clips]
    together, truth = torch.cat(poses), torch.cat(truths)
    clip_of = torch.repeat_interleave(torch.arange(len(poses)), torch.tensor([len(pose) for pose in poses]))
    spread = bone_length_spread(together, H36M_17.edges, clip_of).mean().item()
    acceleration = torch.cat(
        [accel(scaled(a, b), b) * clip.fps**2 / 1000 for a, b, clip in zip(poses, truths, clips, strict=True)]
    )
    means = [n_mpjpe(together, truth), p_mpjpe(together, truth), acceleration]
    return [*(value.mean().item() for value in means), 100 * spread, 100 * flip_rate(together, truth).mean().item()]


def scaled(poses: Tensor, truth: Tensor) -> Tensor:
    """Poses of a clip with one least-squares scale."""
    return poses * ((poses * truth).sum() / poses.square().sum())


def filters(name: str, checkpoint: str | None) -> Iterator[str]:
    """n_mpjpe and acceleration error of filters with other parameters, on validation people."""
    views = load(name, "train", subjects=VALIDATION)
    conditions = {f"{noise:g} px": Corruption(noise_px=noise) for noise in (0, 3, 6)}
    clips = {label: lifted_clips(views, corruption, checkpoint)[::4] for label, corruption in conditions.items()}
    methods = {"none": METHODS["each frame by itself"]}
    for min_cutoff, beta, derivative in [
        *((cutoff, beta, 1.0) for cutoff in (0.5, 1.5, 4.0) for beta in (0.0, 2.0, 6.0, 12.0)),
        *((1.5, 6.0, derivative) for derivative in (0.5, 2.0)),
    ]:
        parameters = {"min_cutoff": min_cutoff, "beta": beta, "derivative_cutoff": derivative}
        methods[f"One-Euro {min_cutoff:g} Hz, {beta:g} Hz/(m/s), {derivative:g} Hz"] = lambda clip, p=parameters: (
            one_euro(clip.positions, clip.frame, clip.fps, **p)
        )
    for order in (2, 3):
        for seconds in (0.2, 0.3, 0.4, 0.5, 0.7):
            window = max(5, 2 * round(seconds * views.fps / 2) + 1)
            name_of = f"Savitzky-Golay {seconds:g} s ({window} frames), order {order}"
            methods[name_of] = lambda clip, w=window, o=order: savitzky_golay(clip.positions, clip.frame, w, o)
    yield f"\nmocap17, subjects {' '.join(VALIDATION)}, every fourth clip, {views.fps:g} frames a second:"
    yield "n_mpjpe (mm) / acceleration (m/s²)\n"
    yield f"| filter | {' | '.join(clips)} |\n|---|{'--:|' * len(clips)}"
    for method, run in tqdm(methods.items(), disable=None):
        rows = [figures(of_condition, run) for of_condition in clips.values()]
        yield f"| {method} | {' | '.join(f'{row[0]:.1f} / {row[2]:.1f}' for row in rows)} |"


def signs(name: str, checkpoint: str | None) -> Iterator[str]:
    """Flips put into clips of validation people: single frames (5 %) and one run of at most a second and a quarter."""
    views = load(name, "train", subjects=VALIDATION)
    yield f"\nmocap17, subjects {' '.join(VALIDATION)}, {views.fps:g} frames a second: flips put in and undone\n"
    yield (
        "| keypoints | NOISE | SPEED | EVIDENCE | n_mpjpe before | after | undone | wrongly negated |\n|---|"
        + "--:|" * 7
    )
    for label, corruption in {"exact": Corruption(), "6 px": Corruption(noise_px=6)}.items():
        clips = lifted_clips(views, corruption, checkpoint)
        for flips.NOISE, flips.SPEED, flips.EVIDENCE in (
            (noise, speed, evidence)
            for noise, speed in ((0.03, 0.5), (0.1, 0.5), (0.03, 2.0))
            for evidence in (0.5, 1, 2, 4)
        ):
            row = put_in_and_undone(clips)
            parameters = f"{flips.NOISE:g} | {flips.SPEED:g} | {flips.EVIDENCE:g}"
            yield f"| {label} | {parameters} | {row[0]:.2f} | {row[1]:.2f} | {row[2]:.1%} | {row[3]:.1%} |"


def put_in_and_undone(clips: list[Clip]) -> tuple[float, float, float, float]:
    generator = np.random.default_rng(0)
    turn = np.float32([1, 1, -1])
    put_in, undone, before, after = [], [], [], []
    for clip in clips:
        T = len(clip.frame)
        chosen = generator.random(T) < 0.05
        length = int(min(generator.integers(2, max(3, clip.fps)), T // 4))
        start = int(generator.integers(0, T - length))
        chosen[start : start + length] = True
        result, own = consistent_depth(clip.positions, clip.ambiguity, clip.fps, clip.frame)
        flipped = np.where(chosen[:, None, None], clip.positions * turn, clip.positions)
        put_in.append(chosen)
        undone.append(consistent_depth(flipped, clip.ambiguity, clip.fps, clip.frame)[1] != own)
        truth = torch.from_numpy(1000 * clip.truth)
        before.append(n_mpjpe(torch.from_numpy(clip.positions), truth))
        after.append(n_mpjpe(torch.from_numpy(result), truth))
    chosen, found = np.concatenate(put_in), np.concatenate(undone)
    means = (torch.cat(errors).mean().item() for errors in (before, after))
    return *means, found[chosen].mean(), found[~chosen].mean()


def fit_ambiguity(checkpoint: str | None) -> Iterator[str]:
    """Offset and gain of the score by maximum likelihood, and how well it predicts flips of other people."""
    from scipy.optimize import minimize

    offset, gain = flips.OFFSET, flips.GAIN
    validation, test = load("mocap17", "train", subjects=VALIDATION), load("mocap17", "test")
    logits, wrong = [], []
    for corruption in FIT_ON:
        score, flipped, _ = scores(corruption.apply(validation), checkpoint)
        logits.append((np.log(score / (1 - score)) - offset) / gain)
        wrong.append(flipped)
    disagreement, flipped = np.concatenate(logits), np.concatenate(wrong)

    def cost(parameters: np.ndarray) -> float:
        probability = 0.5 / (1 + np.exp(-(parameters[0] + parameters[1] * disagreement)))
        return -np.log(np.where(flipped, probability, 1 - probability)).mean()

    fitted = minimize(cost, (offset, gain), method="Nelder-Mead").x
    yield f"OFFSET, GAIN = {fitted[0]:.2f}, {fitted[1]:.2f} (now {offset:g}, {gain:g}), {len(flipped):,} views\n"
    yield "| test people | flips | predicted | AUC, flips | AUC, n_mpjpe above 100 mm |\n|---|--:|--:|--:|--:|"
    for corruption, label in zip(FIT_ON, ("exact", "6 px", "4 joints lost", "6 px, 3 joints lost"), strict=True):
        score, flipped, large = scores(corruption.apply(test), checkpoint)
        areas = " | ".join(f"{area_under_curve(score, positive):.2f}" for positive in (flipped, large))
        yield f"| {label} | {flipped.mean():.1%} | {score.mean() / 2:.1%} | {areas} |"


def scores(views: PoseDataset, checkpoint: str | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ambiguities (N,) of views, whether their depth has the wrong sign, and whether the error is above 100 mm."""
    camera = Camera(views.cameras[0].focal, views.cameras[0].principal, views.cameras[0].image_size)
    lifted = FrameLifter(load_lifter(checkpoint), H36M_17, view=choose_view(camera))(views.pose_2d)
    pose, truth = torch.from_numpy(lifted.positions), torch.from_numpy(1000 * (views.pose_3d - views.pose_3d[:, :1]))
    large = n_mpjpe(pose, truth) > 100
    return lifted.ambiguity.astype(np.float64), flip_rate(pose, truth).numpy() > 0, large.numpy()


def area_under_curve(score: np.ndarray, positive: np.ndarray) -> float:
    """Probability that a positive has a higher score than a negative."""
    rank = np.empty(len(score))
    rank[np.argsort(score, kind="stable")] = np.arange(1, len(score) + 1)
    count = positive.sum()
    return (rank[positive].sum() - count * (count + 1) / 2) / (count * (len(score) - count))


if __name__ == "__main__":
    main()
