"""Figures: what is drawn is what was measured. They are written whole, also from little."""

import struct

import numpy as np
import pytest
from matplotlib.colors import to_hex

from ites_fast import figures, metrics
from ites_fast.baselines import DepthZero
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.evaluation import evaluate

KEYS = ("n_mpjpe/flip=none/scale=lstsq", "p_mpjpe/flip=none")


@pytest.fixture(scope="module")
def dataset(small_mocap):
    return load(small_mocap, "test")


@pytest.fixture(scope="module")
def result(dataset):
    return evaluate(DepthZero(dataset.skeleton), dataset, model="flat")


@pytest.fixture
def drawn(monkeypatch):
    """The figures that are saved, by the name of their file; nothing is written."""
    saved = {}
    monkeypatch.setattr(figures, "_save", lambda figure, path: saved.update({path.name: figure}))
    return saved


def bones(axes, colours):
    """Bones (16, 2, 2) drawn on axes in any of these colours, in the order of drawing."""
    lines = [line for line in axes.lines if to_hex(line.get_color()) in colours]
    return np.stack([line.get_xydata() for line in lines[:16]])


def test_poses_are_those_that_were_measured(dataset, result, drawn, tmp_path):
    figures.write_evaluation_figures(tmp_path, dataset, result)
    figure = drawn["poses.png"]
    views, pred, target = result.examples
    pred = (pred * metrics.fit_scale(pred, target, "lstsq")[:, None, None]).numpy()
    ends = np.array(dataset.skeleton.edges)
    people = {figures.LEFT, figures.RIGHT, figures.MIDDLE}
    grid = np.array(figure.axes).reshape(4, 5)
    for column, view in enumerate(views):
        seen, front, _, side = grid[:, column]
        np.testing.assert_allclose(bones(seen, people), dataset.pose_2d[view][ends])
        np.testing.assert_allclose(bones(front, people), pred[column][ends][..., :2], atol=1e-3)
        np.testing.assert_allclose(bones(front, {figures.TRUTH}), target[column].numpy()[ends][..., :2], atol=1e-3)
        np.testing.assert_allclose(bones(side, people), pred[column][ends][..., [2, 1]], atol=1e-3)
        np.testing.assert_allclose(bones(side, {figures.TRUTH}), target[column].numpy()[ends][..., [2, 1]], atol=1e-3)
        errors = [result.per_pose[key][view] for key in KEYS]
        assert f"n_mpjpe {errors[0]:.0f} mm, p_mpjpe {errors[1]:.0f} mm" in seen.get_title()
        assert f"frame {dataset.frame[view]}" in seen.get_xlabel()
        assert seen.yaxis_inverted()
        assert front.yaxis_inverted()
        colours = [to_hex(line.get_color()) for line in seen.lines]
        for (child, _), colour in zip(dataset.skeleton.edges, colours, strict=True):
            assert (colour == figures.LEFT) == (child in dataset.skeleton.left)
            assert (colour == figures.RIGHT) == (child in dataset.skeleton.right)
    assert "median" in grid[0, 2].get_title()


def test_joint_errors_are_the_table(dataset, result, drawn, tmp_path):
    figures.write_evaluation_figures(tmp_path, dataset, result)
    (axes,) = drawn["joint_errors.png"].axes
    lengths = [bar.get_width() for container in axes.containers for bar in container if len(container) == 17]
    expected = [result.by_joint[name][key] for key in KEYS for name in dataset.skeleton.joint_names]
    np.testing.assert_allclose(lengths, expected)
    assert [label.get_text() for label in axes.get_yticklabels()][1] == "right hip"


def test_the_histogram_counts_every_view(dataset, result, drawn, tmp_path):
    figures.write_evaluation_figures(tmp_path, dataset, result)
    (axes,) = drawn["error_histogram.png"].axes
    assert sum(bar.get_height() for container in axes.containers for bar in container) == pytest.approx(200)
    medians = [line.get_xdata()[0] for line in axes.lines]
    np.testing.assert_allclose(medians, [np.median(result.per_pose[key]) for key in KEYS])


def test_a_figure_of_fewer_views_than_columns(dataset, tmp_path):
    few = dataset.subset(np.arange(2))
    figures.write_evaluation_figures(tmp_path, few, evaluate(DepthZero(few.skeleton), few))
    assert {path.name for path in tmp_path.iterdir()} == {"poses.png", "joint_errors.png", "error_histogram.png"}


def test_loss_curves(drawn, tmp_path):
    records = [
        {"stage": stage, "step": step, "loss": 5 / step, "reprojection": 1 / step, "learning_rate": 0.1}
        for stage in ("teacher", "student")
        for step in range(1, 400)
    ]
    figures.draw_losses(tmp_path / "losses.png", records)
    left, right = drawn["losses.png"].axes
    assert (left.get_title(), right.get_title()) == ("teacher", "student")
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["reprojection", "loss (weighted sum)"]
    term, smooth_term, total, smooth_total = left.lines
    steps = np.arange(1, 400)
    np.testing.assert_allclose(term.get_xydata(), np.stack([steps, 1 / steps], 1))
    np.testing.assert_allclose(total.get_xydata(), np.stack([steps, 5 / steps], 1))
    np.testing.assert_allclose(smooth_total.get_ydata(), 5 * smooth_term.get_ydata())
    assert left.get_yscale() == "log"


def test_loss_curves_are_written(tmp_path):
    path = tmp_path / "losses.png"
    figures.draw_losses(path, [{"stage": stage, "step": 1, "loss": -3.0} for stage in ("prior", "teacher")])
    size = struct.unpack(">II", path.read_bytes()[16:24])
    assert size[0] > 2 * size[1]  # two stages side by side; a likelihood may be negative
    with pytest.raises(InputError, match="no loss was recorded"):
        figures.draw_losses(path, [])
