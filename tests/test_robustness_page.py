"""docs/ROBUSTNESS.md shows the tables that were measured, and what the README or the API rest on holds in them."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def figures():
    return json.loads((ROOT / "bench" / "results" / "lifting.json").read_text())["figures"]


def test_the_page_has_the_measured_tables():
    page = (ROOT / "docs" / "ROBUSTNESS.md").read_text(encoding="utf-8")
    tables = (ROOT / "bench" / "results" / "lifting.md").read_text(encoding="utf-8").rstrip()
    assert tables in page
    assert len([line for line in tables.splitlines() if line.startswith("| ")]) > 30


def test_errors_grow_without_a_cliff(figures):
    """Every further missing joint costs about as much as the one before."""
    errors = [figures["missing"][str(count)]["bundled weights"]["n_mpjpe"] for count in range(9)]
    steps = [later - earlier for earlier, later in pairwise(errors)]
    assert min(steps) > 0
    assert max(steps) < 3 * min(steps)
    assert all(later < 2 * earlier for earlier, later in pairwise(steps))


def test_real_detections_are_lifted_better_than_flat_in_every_camera(figures):
    ours, flat = (figures["detections"][name] for name in ("bundled weights", "depth zero"))
    for camera in ours:
        for key in ("n_mpjpe", "p_mpjpe", "n_mpjpe, best", "p_mpjpe, best"):
            assert ours[camera][key] < 0.85 * flat[camera][key], camera
