"""Figures are written whole, also from little."""

import struct

import numpy as np
import pytest

from ites_fast import figures
from ites_fast.baselines import DepthZero
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.evaluation import evaluate


def test_a_figure_of_fewer_views_than_columns(small_mocap, tmp_path):
    few = load(small_mocap, "test").subset(np.arange(2))
    result = evaluate(DepthZero(few.skeleton), few)
    figures.write_evaluation_figures(tmp_path, few, result)
    assert len(list(tmp_path.iterdir())) == 3


def test_loss_curves(tmp_path):
    records = [
        {"stage": stage, "step": step, "loss": 5 / step, "reprojection": 1 / step, "learning_rate": 0.1}
        for stage in ("teacher", "student")
        for step in range(1, 400)
    ]
    path = tmp_path / "losses.png"
    figures.draw_losses(path, records)
    size = struct.unpack(">II", path.read_bytes()[16:24])
    assert size[0] > 2 * size[1]  # two stages side by side
    figures.draw_losses(path, [{"stage": "prior", "step": 1, "loss": -3.0}])  # a likelihood may be negative
    with pytest.raises(InputError, match="no loss was recorded"):
        figures.draw_losses(path, [])
