"""Measures the bundled weights and writes their model card and metrics beside them.

    python bench/model_card.py --detections pose2sim_balancing.npz

``--detections`` is a file of real detections with 3D (docs/DATA.md); it is not in the repository. Nothing in the card's
tables is written by hand.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import torch

from ites_fast.baselines import DepthZero
from ites_fast.checkpoint import load_lifter, read_tensors
from ites_fast.corruption import DEFINITION, DETECTOR, Corruption
from ites_fast.data import PoseDataset, load
from ites_fast.evaluation import Evaluation, evaluate
from ites_fast.files import atomic_path, write_json
from ites_fast.weights import BUNDLED

COLUMNS = {
    "n_mpjpe, flip=none": "n_mpjpe/flip=none/scale=lstsq",
    "p_mpjpe, flip=none": "p_mpjpe/flip=none",
    "n_mpjpe, flip=best": "n_mpjpe/flip=best/scale=lstsq",
    "p_mpjpe, flip=best": "p_mpjpe/flip=best",
    "flip rate": "flip_rate",
}
CONDITIONS = {
    "clean": Corruption(),
    "3 px noise": Corruption(noise_px=3),
    "6 px noise": Corruption(noise_px=6),
    "12 px noise": Corruption(noise_px=12),
    **{f"{count} joint{'s' * (count > 1)} missing": Corruption(missing_joints=count) for count in range(1, 9)},
    "6 px noise, 2 joints missing": Corruption(noise_px=6, missing_joints=2),
    "upper body only: root and legs missing": Corruption(occlusion="lower_body"),
    "one limb missing": Corruption(occlusion="limb"),
    "`detector` (docs/METRICS.md)": DETECTOR,
}
TEXT = Path(__file__).with_name("model_card_text.md")


def main() -> None:
    """Measure, and write card and metrics."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", help="a file of real detections with 3D")
    arguments = parser.parse_args()
    lifter = load_lifter()
    _, description = read_tensors(BUNDLED, kind="model")
    test = load("mocap17", "test")
    rows = {name: evaluate(lifter, condition.apply(test), model=name) for name, condition in CONDITIONS.items()}
    lifter.mirror_average = True
    rows["clean, mean with the mirror image (twice the cost)"] = evaluate(lifter, test)
    lifter.mirror_average = False
    clean = rows["clean"]
    parts = [
        TEXT.read_text(encoding="utf-8").format(
            parameters=sum(parameter.numel() for parameter in lifter.parameters()),
            bytes=BUNDLED.stat().st_size,
            training=json.dumps(description["training"]),
        ),
        f"## mocap17, test people ({len(test):,} views)\n\n{DEFINITION}\n",
        table("2D", {name: row.metrics for name, row in rows.items()}),
        "By subject, clean:\n",
        table("subject", clean.by_subject),
        f"Spread of bone lengths over a sequence: {clean.metrics['bone_length_spread']:.1%} (mean over bones).\n",
    ]
    metrics = {name: figures(row) for name, row in rows.items()}
    if arguments.detections:
        real = load(arguments.detections, "test")
        real_rows = {"bundled weights": evaluate(lifter, real), "depth zero": evaluate(DepthZero(real.skeleton), real)}
        parts += detections(real, real_rows)
        file = {"data": Path(arguments.detections).name}
        metrics |= {f"real detections, {name}": row.to_dict() | file for name, row in real_rows.items()}
    with atomic_path(BUNDLED.with_name("MODEL_CARD.md")) as temporary:
        temporary.write_text("\n".join(parts), encoding="utf-8")
    versions = {"torch": torch.__version__, "python": sys.version.split()[0]}
    write_json(BUNDLED.with_name("metrics.json"), {"versions": versions, "conditions": metrics})
    print("\n".join(parts))


def figures(row: Evaluation) -> dict[str, Any]:
    """All that an evaluation says, without its hundreds of actions."""
    return {key: value for key, value in row.to_dict().items() if key != "by_action"}


def detections(real: PoseDataset, rows: dict[str, Evaluation]) -> list[str]:
    """Sections on real detections: all views, and by camera."""
    by_camera = {f"{camera}, {name}": each for name, row in rows.items() for camera, each in row.by_action.items()}
    return [
        f"## Real detections ({len(real):,} views of one person by four cameras, OpenPose, triangulated 3D)\n",
        table("model", {name: row.metrics for name, row in rows.items()}),
        table("camera", by_camera),
    ]


def table(first: str, rows: dict[str, dict[str, float]]) -> str:
    """A Markdown table of ``COLUMNS``; millimetres, and the flip rate in %."""
    lines = [f"| {first} | {' | '.join(COLUMNS)} |", "|---|" + "--:|" * len(COLUMNS)]
    for name, figures in rows.items():
        cells = [f"{figures[key]:.1%}" if key == "flip_rate" else f"{figures[key]:.1f}" for key in COLUMNS.values()]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
