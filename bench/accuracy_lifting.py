"""How the bundled weights stand missing joints and what detectors do: tables, JSON and a figure.

"network alone" is the same network without the completion of missing joints that comes with it.

    python bench/accuracy_lifting.py --detections pose2sim_balancing.npz [--before OLD.safetensors]

``--detections`` is a file of real detections with 3D (docs/DATA.md); it is not in the repository. ``--before`` is a
model to compare with. Writes ``bench/results/lifting.json``, ``bench/results/lifting.md`` (the tables of
docs/ROBUSTNESS.md) and ``docs/robustness.png``. About five minutes on a core.
"""

import argparse
import copy
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from ites_fast import metrics
from ites_fast.baselines import DepthZero
from ites_fast.checkpoint import load_lifter
from ites_fast.corruption import DETECTOR, Corruption, body_regions
from ites_fast.data import PoseDataset, load
from ites_fast.data.body25b_npz import JOINTS
from ites_fast.evaluation import Predictor, evaluate
from ites_fast.files import atomic_path, write_json
from ites_fast.models import ViewLifter
from ites_fast.normalization import MIN_VISIBLE

ROOT = Path(__file__).resolve().parent.parent
KEYS = {
    "n_mpjpe": "n_mpjpe/flip=none/scale=lstsq",
    "p_mpjpe": "p_mpjpe/flip=none",
    "n_mpjpe, best": "n_mpjpe/flip=best/scale=lstsq",
    "p_mpjpe, best": "p_mpjpe/flip=best",
    "flips": "flip_rate",
}
MISSING = range(9)
OCCLUSIONS = {
    "one limb": "limb",
    "two limbs": "two_limbs",
    "one side": "side",
    "knees and ankles": "legs",
    "upper body only: root and legs lost": "lower_body",
}
NOISE = {
    "noise of 4 px": Corruption(noise_px=4),
    "noise of 4 px, a tenth four times as large": Corruption(noise_px=4, tail_share=0.1),
    "limb exchanged with its mirror image, 3 % of views": Corruption(swap_share=0.03),
    "the same, every fifth view": Corruption(swap_share=0.2),
    "joint elsewhere, 0.5 % (wrists and ankles 2 %)": Corruption(miss_share=0.005),
    "the same, 2 % (8 %)": Corruption(miss_share=0.02),
    "joint not found, 3 %": Corruption(lost_share=0.03),
    "`detector`: all of these, the first of each": DETECTOR,
}
THRESHOLDS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
Row = dict[str, float]


def main() -> None:
    """Measure, write the JSON, the tables and the figure."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, required=True, help="a file of real detections with 3D")
    parser.add_argument("--before", type=Path, help="a model to compare the bundled weights with")
    parser.add_argument("--every", type=int, default=1, help="take each n-th test view only, to try it")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    bundled, test = load_lifter(), load("mocap17", "test")
    if arguments.every > 1:
        test = test.subset(np.arange(0, len(test), arguments.every))
    alone = copy.copy(bundled)
    alone.completion = None
    models: dict[str, Predictor] = {"bundled weights": bundled, "network alone": alone}
    if arguments.before:
        models["weights before"] = load_lifter(arguments.before)
    models["depth zero"] = DepthZero(test.skeleton)
    real = load(arguments.detections, "test")
    missing = {str(count): Corruption(missing_joints=count) for count in MISSING}
    figures = {
        "missing": by_condition(models, missing, test),
        "occlusion": occlusions(models, test),
        "detector": by_condition(models, NOISE, test),
        "detections": detections(models, real),
        "min_confidence": by_threshold(bundled, real, confidences(arguments.detections)),
    }
    text = "\n".join(tables(figures))
    results = ROOT / "bench" / "results"
    write_json(results / "lifting.json", {"views": len(test), "real_views": len(real), "figures": figures})
    with atomic_path(results / "lifting.md") as temporary:
        temporary.write_text(text, encoding="utf-8")
    draw(figures["missing"], ROOT / "docs" / "robustness.png")
    print(text)


def by_condition(models: dict[str, Predictor], conditions: dict[str, Corruption], views: PoseDataset) -> dict[str, Any]:
    """Figures by condition and model."""
    return {
        name: by_model(models, condition.apply(views))
        for name, condition in tqdm(conditions.items(), desc="conditions", disable=None)
    }


def by_model(models: dict[str, Predictor], views: PoseDataset) -> dict[str, Row]:
    """Figures of all models on the same 2D."""
    return {name: short(evaluate(model, views).metrics) for name, model in models.items()}


def short(figures: dict[str, float]) -> Row:
    """Figures under the names of ``KEYS``."""
    return {name: figures[key] for name, key in KEYS.items()}


def occlusions(models: dict[str, Predictor], views: PoseDataset) -> dict[str, Any]:
    """Figures by what is hidden, each region in turn: the mean over regions, the worst, and the joints still seen."""
    result: dict[str, Any] = {}
    regions = body_regions(views.skeleton)
    for name, occlusion in tqdm(OCCLUSIONS.items(), desc="occlusions", disable=None):
        result[name] = {}
        for model_name, model in models.items():
            rows = [short_hidden(model, views, region.numpy()) for region in regions[occlusion]]
            means = {key: float(np.mean([row[key] for row in rows])) for key in rows[0]}
            result[name][model_name] = means | {"n_mpjpe, worst region": max(row["n_mpjpe"] for row in rows)}
    return result


def short_hidden(model: Predictor, views: PoseDataset, region: np.ndarray) -> Row:
    """Figures where a region (J,) is hidden, and ``p_mpjpe`` of the joints that are seen, by themselves."""
    pose_2d = np.where(region[:, None], np.nan, views.pose_2d)
    hidden = replace(views, pose_2d=pose_2d, allow_missing=True)
    pose = model.lift(torch.from_numpy(hidden.image()), 1024, source=views.name, first=0)
    error = metrics.p_mpjpe(pose[:, ~region], torch.from_numpy(views.pose_3d[:, ~region]))
    return short(evaluate(model, hidden).metrics) | {"p_mpjpe, joints seen": 1000 * error.mean().item()}


def detections(models: dict[str, Predictor], real: PoseDataset) -> dict[str, Any]:
    """Figures on real detections by model, all cameras and each; lifters also with the mean of the mirror image."""
    result: dict[str, Any] = {}
    for name, model in models.items():
        for mirror in (False, True) if isinstance(model, ViewLifter) else (False,):
            if isinstance(model, ViewLifter):
                model.mirror_average = mirror
            evaluation = evaluate(model, real)
            rows = {"all cameras": evaluation.metrics, **evaluation.by_action}
            label = f"{name}, mean with the mirror image" if mirror else name
            result[label] = {camera: short(figures) for camera, figures in rows.items()}
        if isinstance(model, ViewLifter):
            model.mirror_average = False
    return result


def confidences(path: Path) -> np.ndarray:
    """Confidence of the 17 joints (N, 17), the least of those that a joint is the mean of."""
    body25b = np.load(path)["body25b"]
    return np.stack([body25b[..., list(source), 2].min(-1) for source in JOINTS], -1).reshape(-1, len(JOINTS))


def by_threshold(lifter: ViewLifter, real: PoseDataset, confidence: np.ndarray) -> dict[str, Any]:
    """Figures where detections below a confidence count as missing, as long as enough joints are left."""
    result = {}
    for threshold in THRESHOLDS:
        low = (confidence < threshold) & ~np.isnan(real.pose_2d).any(-1)
        low &= ((confidence >= threshold).sum(1) >= MIN_VISIBLE)[:, None]
        seen = replace(real, pose_2d=np.where(low[..., None], np.nan, real.pose_2d))
        result[f"{threshold:g}"] = short(evaluate(lifter, seen).metrics) | {"joints left out": int(low.sum())}
    return result


def tables(figures: dict[str, Any]) -> Iterable[str]:
    """The tables of docs/ROBUSTNESS.md."""
    models = list(figures["missing"]["0"])
    yield "### Missing joints\n"
    yield table("joints missing", models, figures["missing"], pair)
    yield "### Occlusion\n"
    yield table("not seen", models, figures["occlusion"], pair)
    yield "The worst of the regions by `n_mpjpe`, and `p_mpjpe` of the joints that are seen:\n"
    yield table(
        "not seen",
        models,
        figures["occlusion"],
        lambda row: f"{row['n_mpjpe, worst region']:.1f}, {row['p_mpjpe, joints seen']:.1f}",
    )
    yield "### Detector noise\n"
    yield table("2D", models, figures["detector"], pair)
    yield "### Real detections\n"
    cameras = list(figures["detections"]["bundled weights"])
    yield table("model, flip=none", cameras, figures["detections"], pair)
    yield table(
        "model, flip=best",
        cameras,
        figures["detections"],
        lambda row: f"{row['n_mpjpe, best']:.1f} / {row['p_mpjpe, best']:.1f}",
    )
    yield "### Confidence\n"
    yield "| least confidence | joints left out | n_mpjpe / p_mpjpe |\n|--:|--:|--:|"
    for threshold, row in figures["min_confidence"].items():
        yield f"| {threshold} | {row['joints left out']} | {pair(row)} |"
    yield ""


def pair(row: Row) -> str:
    """The two figures that come first."""
    return f"{row['n_mpjpe']:.1f} / {row['p_mpjpe']:.1f}"


def table(first: str, columns: list[str], rows: dict[str, dict[str, Row]], cell: Callable[[Row], str]) -> str:
    """A Markdown table of a cell for each row and column."""
    lines = [f"| {first} | {' | '.join(columns)} |", "|---|" + "--:|" * len(columns)]
    lines += [f"| {name} | {' | '.join(cell(row[column]) for column in columns)} |" for name, row in rows.items()]
    return "\n".join(lines) + "\n"


def draw(missing: dict[str, dict[str, Row]], path: Path) -> None:
    """Error against the number of missing joints."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(1, 2, figsize=(7.2, 2.8), sharex=True, layout="constrained")
    for axis, key in zip(axes, ("n_mpjpe", "p_mpjpe"), strict=True):
        for name in missing["0"]:
            if name != "depth zero":
                axis.plot(list(MISSING), [row[name][key] for row in missing.values()], marker="o", ms=3, label=name)
        axis.set_ylim(bottom=0)
        axis.set_xlabel("joints missing of 17")
        axis.set_title(f"{key}, flip=none, mm", fontsize=9)
        axis.grid(alpha=0.3)
    axes[0].legend(fontsize=8)
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=100)
    plt.close(figure)


if __name__ == "__main__":
    main()
