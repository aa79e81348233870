"""What a conversion between skeletons costs in 3D: a naive mapping to Human3.6M's joints, this package's rules, gaps.

``python bench/accuracy_skeletons.py --detections FILE`` prints Markdown. FILE holds real detections of BODY_25B with 3D
(docs/DATA.md); its points give the inputs of other detectors, whose joints are a part of them. Every input is converted
to h36m_17 and lifted by the same weights. The naive mapping takes the nose for neck and head. Joints that the rules
extrapolate, or all that they make up, may be left to the network to fill in instead. The 3D is triangulated from the
full BODY_25B, whose row is what perfect rules would reach, and its thorax and spine are means as in the rules.

The second table is mocap17, where joints are exact and there is no face: heads that can only be guessed from the trunk.

Errors are millimetres without any choice of flip, n_mpjpe after a least-squares scale for each pose; "limbs" is its
mean over the twelve joints of arms and legs. At last come the least-squares values behind the rules' constants.
"""

import argparse
import statistics
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from ites_fast.checkpoint import load_lifter
from ites_fast.data import PoseDataset, load
from ites_fast.evaluation import evaluate
from ites_fast.models import ViewLifter
from ites_fast.skeleton import H36M_17, SKELETONS, Skeleton, conversion

N_MPJPE, P_MPJPE = "n_mpjpe/flip=none/scale=lstsq", "p_mpjpe/flip=none"
LIMBS = [name for name in H36M_17.joint_names if name.startswith(("left_", "right_"))]
TRUNK = [name for name in H36M_17.joint_names if name not in LIMBS and name != "hip"]
COCO_17, BODY_25B = SKELETONS["coco_17"], SKELETONS["body_25b"]
NAIVE = {
    "neck_nose": ("nose",),
    "head": ("nose",),
    "hip": ("left_hip", "right_hip"),
    "thorax": ("left_shoulder", "right_shoulder"),
    "spine": ("left_shoulder", "right_shoulder", "left_hip", "right_hip"),
}
MADE_UP = ("averaged", "extrapolated")
Arm = tuple[str, str, np.ndarray]  # the detector's joints, the mapping, keypoints (N, 17, 3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--detections", type=Path, help="real detections with 3D, in the layout of docs/DATA.md")
    parser.add_argument("--lifter", default=None, help="weights, the bundled ones by default")
    options = parser.parse_args()
    lifter = load_lifter() if options.lifter is None else load_lifter(options.lifter)
    if options.detections is not None:
        with np.load(options.detections) as file:
            body_25b = file["body25b"].astype(np.float64)  # (cameras, frames, 25, 3)
        report(lifter, load(options.detections, "test"), lambda _: detected(body_25b.reshape(-1, 25, 3)))
    report(lifter, load("mocap17", "test"), without_a_face)
    if options.detections is not None:
        fit_to_ears(body_25b)
    fit_to_trunk(load("mocap17", "train").pose_2d.astype(np.float64))


def report(lifter: ViewLifter, views: PoseDataset, arms: Callable[[PoseDataset], Iterator[Arm]]) -> None:
    """Print a table of the arms: all joints, limbs, and each joint that a detector may lack."""
    print(f"{Path(views.name).name}: {len(views):,} views\n")
    columns = ["n_mpjpe", "p_mpjpe", "limbs", *TRUNK]
    print(f"| joints | mapping | {' | '.join(columns)} |\n|---|---|{'--:|' * len(columns)}")
    for detector, mapping, keypoints in arms(views):
        pose_2d = keypoints[..., :2].astype(np.float32)
        result = evaluate(lifter, replace(views, pose_2d=pose_2d, allow_missing=True))
        by_joint = {name: row[N_MPJPE] for name, row in result.by_joint.items()}
        figures = [result.metrics[N_MPJPE], result.metrics[P_MPJPE], statistics.mean(by_joint[name] for name in LIMBS)]
        cells = [f"{value:.1f}" for value in (*figures, *(by_joint[name] for name in TRUNK))]
        print(f"| {detector} | {mapping} | {' | '.join(cells)} |", flush=True)
    print()


def detected(body_25b: np.ndarray) -> Iterator[Arm]:
    """Ways to h36m_17 from detections (N, 25, 3)."""
    coco = conversion(BODY_25B, COCO_17).apply(body_25b)
    yield "coco_17", "naive: the nose is neck and head", naive(coco)
    for name in ("coco_17", "body_25", "halpe_26"):
        skeleton = SKELETONS[name]
        yield from ways(skeleton, conversion(BODY_25B, skeleton).apply(body_25b))
    hidden = coco.copy()
    hidden[:, :5] = np.nan  # no point of the face, as in a view from behind
    yield from ways(COCO_17, hidden, "coco_17 without a face")
    yield "body_25b", "rules", conversion(BODY_25B, H36M_17).apply(body_25b)


def without_a_face(views: PoseDataset) -> Iterator[Arm]:
    """Ways back to h36m_17 from what other skeletons keep of it."""
    exact = np.concatenate([views.pose_2d, np.ones_like(views.pose_2d[..., :1])], -1)
    yield "h36m_17", "", exact
    for name in ("halpe_26", "coco_17"):
        skeleton = SKELETONS[name]
        yield from ways(skeleton, conversion(H36M_17, skeleton).apply(exact), f"{name} without a face")


def ways(skeleton: Skeleton, keypoints: np.ndarray, name: str | None = None) -> Iterator[Arm]:
    """The rules, and the rules without what they extrapolate and without all that they make up."""
    rules = conversion(skeleton, H36M_17)
    converted = rules.apply(keypoints)
    yield name or skeleton.name, "rules", converted
    for kinds, title in ((("extrapolated",), "extrapolated joints missing"), (MADE_UP, "joints not exact missing")):
        left_out = [number for number, joint in enumerate(rules.joints) if joint.kind in kinds]
        if any(rules.joints[number].kind == kinds[0] for number in left_out):
            with_gaps = converted.copy()
            with_gaps[:, left_out] = (np.nan, np.nan, 0)
            yield name or skeleton.name, title, with_gaps


def naive(coco: np.ndarray) -> np.ndarray:
    """Keypoints (N, 17, 3) of COCO in Human3.6M's order, as they are often mapped."""
    points = np.where(coco[..., 2:] > 0, coco, np.nan)
    index = COCO_17.joint_names.index
    sources = [[index(source) for source in NAIVE.get(name, (name,))] for name in H36M_17.joint_names]
    return np.stack([points[:, source].mean(1) for source in sources], 1)


def fit_to_ears(body_25b: np.ndarray) -> None:
    """Print how far head tops lie from the thorax, in ways to the middle of the ears, and what is left of them.

    Args:
        body_25b: detections (cameras, frames, 25, 3). A camera's pixels are turned to millimetres by the median length
            of the trunk, taken as 500 mm.
    """
    index = BODY_25B.joint_names.index
    points = np.where(body_25b[..., 2:] > 0, body_25b[..., :2], np.nan)
    ears, thorax, hips = (
        points[:, :, [index(f"left_{name}"), index(f"right_{name}")]].mean(2) for name in ("ear", "shoulder", "hip")
    )
    trunk = np.nanmedian(np.linalg.norm(thorax - hips, axis=-1), 1)[:, None, None]
    way, goal = (500 * (x - thorax) / trunk for x in (ears, points[:, :, index("head_top")]))
    print(f"head top from ears: {slope(way, goal):.3f}; of each camera by the fit to the others:")
    for camera in range(len(points)):
        factor = slope(np.delete(way, camera, 0), np.delete(goal, camera, 0))
        error = np.nanmean(np.linalg.norm(factor * way[camera] - goal[camera], axis=-1))
        print(f"* camera {camera + 1}: {factor:.3f}, {error:.0f} mm")


def fit_to_trunk(pose_2d: np.ndarray) -> None:
    """Print heads in ways from hips to thorax, and necks in ways from thorax to head; pose_2d: (N, 17, 2) pixels."""
    index = H36M_17.joint_names.index
    thorax, hips = (pose_2d[:, [index(f"left_{name}"), index(f"right_{name}")]].mean(1) for name in ("shoulder", "hip"))
    size = np.sqrt(pose_2d.var(1).sum(-1))[:, None]
    trunk, head, neck = (
        x / size for x in (thorax - hips, pose_2d[:, index("head")] - thorax, pose_2d[:, index("neck_nose")] - thorax)
    )
    print(f"head top from trunk: {1 + slope(trunk, head):.3f}; neck from head top: {slope(head, neck):.3f}")


def slope(way: np.ndarray, goal: np.ndarray) -> float:
    """The factor of ``way`` that comes nearest to ``goal``, over all samples without gaps."""
    whole = np.isfinite(way + goal)
    return float((way[whole] * goal[whole]).sum() / (way[whole] ** 2).sum())


if __name__ == "__main__":
    main()
