"""Evaluation as a library: figures, groups, baselines, tables."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast import evaluation, metrics
from ites_fast.baselines import DepthZero, MeanPose
from ites_fast.corruption import Corruption
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.evaluation import METRES_PER_BODY_UNIT, evaluate
from ites_fast.protocols import PROTOCOLS
from ites_fast.skeleton import H36M_17
from ites_fast.tables import format_columns, format_evaluation, format_table


class Cheat:
    """Knows the truth and changes it: what the figures must be is then known."""

    skeleton = H36M_17

    def __init__(self, dataset, change=lambda pose: pose):
        self.pose = change(metrics.root_relative(torch.from_numpy(dataset.pose_3d)))

    def lift(self, image, batch_size, *, source, first):
        return self.pose[first : first + len(image)]


def noisy(pose):
    return pose + 0.05 * torch.randn(pose.shape, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def dataset(small_mocap):
    return load(small_mocap, "test")


def test_the_truth_has_no_error(dataset):
    result = evaluate(Cheat(dataset), dataset).metrics
    assert result["p_mpjpe/flip=none"] < 1e-2
    assert result["n_mpjpe/flip=none/scale=lstsq"] < 1e-2
    assert result["pck@150/flip=none"] == 1
    assert result["auc/flip=none"] == pytest.approx(30 / 31, abs=1e-3)
    assert result["flip_rate"] == 0
    assert result["bone_length_spread"] == pytest.approx(result["bone_length_spread/truth"])
    assert result["bone_length_spread"] < 0.02


def test_missing_joints_go_to_those_who_accept_them(dataset):
    incomplete = Corruption(0, 2, 0).apply(dataset)
    with pytest.raises(
        InputError, match=rf"{2 * len(dataset):,} of {17 * len(dataset):,} .* model \(Cheat\) needs all"
    ):
        evaluate(Cheat(dataset), incomplete)
    accepting = Cheat(dataset)
    accepting.accepts_missing = True
    assert evaluate(accepting, incomplete).metrics["p_mpjpe/flip=none"] < 1e-2
    key = "p_mpjpe/flip=none"
    flat, flat_incomplete = (evaluate(DepthZero(H36M_17), data).metrics[key] for data in (dataset, incomplete))
    assert flat < flat_incomplete < 2 * flat


def test_depth_zero_puts_missing_joints_at_the_root():
    image = torch.rand(2, 17, 2, generator=torch.Generator().manual_seed(0))
    image[0, [3, 9]] = torch.nan
    image[1, [0, 5]] = torch.nan
    pose = DepthZero(H36M_17).lift(image)
    assert pose[0, [3, 9]].abs().max() == 0
    assert pose[1, [0, 5]].abs().max() == 0
    torch.testing.assert_close(pose[1, 1, :2], 5 * (image[1, 1] - image[1, [1, 4]].mean(0)))


def test_a_mirrored_truth_is_wrong_without_the_oracle_and_right_with_it(dataset):
    result = evaluate(Cheat(dataset, metrics.flip_depth), dataset).metrics
    assert result["flip_rate"] > 0.99
    for key in ("p_mpjpe", "n_mpjpe"):
        scale = "/scale=lstsq" if key == "n_mpjpe" else ""
        assert result[f"{key}/flip=best{scale}"] < 1e-2
        assert result[f"{key}/flip=none{scale}"] > 30


def test_scale_none_uses_one_stated_factor(dataset):
    units = Cheat(dataset, lambda pose: pose / METRES_PER_BODY_UNIT)
    result = evaluate(units, dataset)
    assert result.metrics["mpjpe/flip=none/scale=none"] < 1e-2
    assert result.metres_per_unit == METRES_PER_BODY_UNIT
    assert "assumed" in result.metres_per_unit_source
    units = Cheat(dataset, lambda pose: pose * 10)
    units.metres_per_unit = 0.1
    result = evaluate(units, dataset)
    assert result.metrics["mpjpe/flip=none/scale=none"] < 1e-2
    assert "stated by the model" in result.metres_per_unit_source
    assert "0.1 m per unit (stated by the model)" in format_evaluation(result)


def test_groups_are_parts_of_the_whole(dataset):
    result = evaluate(Cheat(dataset, noisy), dataset)
    key = "n_mpjpe/flip=none/scale=lstsq"
    for table in (result.by_subject, result.by_action):
        assert sum(row["samples"] for row in table.values()) == len(dataset) == result.samples
        mean = sum(row["samples"] * row[key] for row in table.values()) / len(dataset)
        assert mean == pytest.approx(result.metrics[key])
    assert list(result.by_joint) == list(H36M_17.joint_names)
    assert np.mean([row[key] for row in result.by_joint.values()]) == pytest.approx(result.metrics[key])
    present = {dataset.subjects[index] for index in dataset.subject}
    assert set(result.by_subject) == present
    one = dataset.subset(dataset.subject == dataset.subject[0])
    alone = evaluate(Cheat(one, lambda pose: pose + 0.05), one)
    assert list(alone.by_subject) == [one.subjects[one.subject[0]]]


def test_bone_lengths_are_compared_within_a_clip_of_one_camera(dataset):
    bodies = torch.randn(len(dataset.cameras), 17, 3, generator=torch.Generator().manual_seed(0))
    one_body_per_camera = Cheat(dataset, lambda pose: bodies[torch.from_numpy(dataset.camera).long()])
    assert evaluate(one_body_per_camera, dataset).metrics["bone_length_spread"] < 1e-6


def test_parts_make_no_difference(dataset, monkeypatch):
    whole = evaluate(Cheat(dataset, noisy), dataset)
    monkeypatch.setattr(evaluation, "CHUNK", 100)
    parts = evaluate(Cheat(dataset, noisy), dataset)
    assert parts.metrics == pytest.approx(whole.metrics, rel=1e-5)
    assert parts.bone_length_spread == pytest.approx(whole.bone_length_spread)
    for name, row in whole.by_joint.items():
        assert parts.by_joint[name] == pytest.approx(row, rel=1e-5)
    assert parts.examples.views == whole.examples.views
    torch.testing.assert_close(parts.examples.pred, whole.examples.pred)


def test_examples_lie_at_the_quantiles(dataset):
    result = evaluate(Cheat(dataset, noisy), dataset)
    errors = result.per_pose[evaluation.EXAMPLE_KEY]
    expected = np.quantile(errors, evaluation.EXAMPLE_QUANTILES, method="nearest")
    np.testing.assert_allclose(errors[result.examples.views], expected, rtol=1e-3)
    truth = dataset.pose_3d[result.examples.views] * 1000
    np.testing.assert_allclose(result.examples.target, truth - truth[:, :1], atol=0.01)
    torch.testing.assert_close(
        metrics.n_mpjpe(result.examples.pred, result.examples.target), torch.from_numpy(errors[result.examples.views])
    )


MEMORY_OF_COMMANDS = """
import sys
from pathlib import Path
import torch
from ites_fast.baselines import DepthZero
from ites_fast.data import load
from ites_fast.evaluation import evaluate
from ites_fast.normalization import Normalization
def peak():
    # of this program alone: ru_maxrss begins with that of the process that started it
    return 1024 * int(Path("/proc/self/status").read_text().split("VmHWM:")[1].split()[0])
evaluate(DepthZero((small := load("synthetic:9")).skeleton), small)  # what is imported late
start = peak()
dataset = load("synthetic:1000000", "train")
arrays = sum(value.nbytes for value in vars(dataset).values() if hasattr(value, "nbytes"))
if sys.argv[1] == "evaluate":
    evaluate(DepthZero(dataset.skeleton), dataset)
else:
    image = torch.from_numpy(dataset.image())
    Normalization.fit(image, dataset.skeleton).pose_2d(image)
print((peak() - start) / arrays)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("what", "limit"), [("evaluate", 1.5), ("normalise", 2.0)])
def test_memory_stays_within_twice_the_arrays(what, limit):
    done = subprocess.run(
        [sys.executable, "-c", MEMORY_OF_COMMANDS, what], capture_output=True, text=True, check=True, timeout=300
    )
    print(done.stdout)
    assert float(done.stdout) < limit


def test_c3dpo_takes_the_mean_over_actions(dataset):
    result = evaluate(DepthZero(H36M_17), dataset, protocol=PROTOCOLS["c3dpo"])
    for key in PROTOCOLS["c3dpo"].headline:
        assert result.metrics[key] == pytest.approx(np.mean([row[key] for row in result.by_action.values()]))


def test_baselines(dataset, small_mocap):
    image = torch.from_numpy(dataset.image())
    flat = DepthZero(H36M_17).lift(image)
    assert flat[..., 2].abs().max() == 0
    torch.testing.assert_close(flat[:, 3, :2] / 5, image[:, 3] - image[:, 0])
    train = load(small_mocap, "train")
    mean = MeanPose.fit(train)
    expected = (train.pose_3d - train.pose_3d[:, :1]).mean(0, dtype=np.float64)
    torch.testing.assert_close(mean.lift(image)[7].double(), torch.from_numpy(expected), atol=1e-5, rtol=0)
    flat_figures = evaluate(DepthZero(H36M_17), dataset, model="depth zero")
    mean_figures = evaluate(mean, dataset, model="mean pose")
    assert flat_figures.metrics["flip_rate"] == 0
    assert mean_figures.metrics["bone_length_spread"] < 1e-6
    assert flat_figures.metrics["p_mpjpe/flip=none"] < mean_figures.metrics["p_mpjpe/flip=none"] < 300
    with pytest.raises(InputError, match="no 3D poses to take the mean of"):
        MeanPose.fit(replace(train, pose_3d=None))


def test_data_that_cannot_be_evaluated(dataset):
    cheat = Cheat(dataset)
    with pytest.raises(InputError, match="has no 3D poses"):
        evaluate(cheat, replace(dataset, pose_3d=None))
    with pytest.raises(InputError, match="no views to evaluate on"):
        evaluate(cheat, dataset.subset(np.zeros(len(dataset), bool)))
    other = DepthZero(replace(H36M_17, name="other"))
    with pytest.raises(InputError, match="skeleton h36m_17 of 17 joints, but the model lifts other of 17"):
        evaluate(other, dataset)
    cheat.pose[12, 3] = torch.nan
    with pytest.raises(InputError, match="the prediction for sample 12 is not finite"):
        evaluate(cheat, dataset)


@pytest.mark.parametrize("name", PROTOCOLS)
def test_text_says_flip_and_scale_beside_every_figure(name, dataset):
    protocol = PROTOCOLS[name]
    result = evaluate(DepthZero(H36M_17), dataset, protocol=protocol, model="flat")
    text = format_evaluation(result, by_action=True)
    for word in ("flip=none", "flip=best", "scale=lstsq", "scale=procrustes", "scale=none", f"protocol {name}"):
        assert word in text
    for key in protocol.headline:
        assert f"{result.metrics[key]:.1f} mm*" in text
    assert all(action in text for action in result.by_action)
    assert all(line == line.rstrip() for line in text.splitlines())
    table = format_table([result, replace(result, model="another")])
    assert {line.split()[0] for line in table.splitlines()[-3:-1]} == {"flat", "another"}


def test_columns_are_aligned():
    text = format_columns(["name", "a/b", "long header"], [["x", "1.0", "2.0"], ["long name", "100.0", ""]])
    assert text.splitlines() == [
        "name           a  long header",
        "               b",
        "---------  -----  -----------",
        "x            1.0          2.0",
        "long name  100.0",
    ]


def test_devices_agree(dataset, device):
    pred = Cheat(dataset, lambda pose: noisy(pose).to(device))
    moved = Cheat(dataset)
    moved.pose = pred.pose.cpu()
    here, there = evaluate(pred, dataset, device=device), evaluate(moved, dataset)
    for key, value in there.metrics.items():
        assert here.metrics[key] == pytest.approx(value, rel=1e-4, abs=1e-6)
