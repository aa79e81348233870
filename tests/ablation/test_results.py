"""Means, spreads, sentences about orderings, and how a table looks."""

import json
import statistics
from dataclasses import replace
from pathlib import Path

import pytest

from ites_fast.ablation.plan import plan
from ites_fast.ablation.render import Report, draw_sweep
from ites_fast.ablation.results import COLUMNS, MPJPE_BEST, P_MPJPE_BEST, collect, judge
from ites_fast.ablation.runs import Outcome
from ites_fast.ablation.tables import DICTIONARY, Claim, Published, Row, Table
from ites_fast.config import PRESETS

TABLE = Table(
    "test",
    "a table",
    "ites",
    (
        Row("good", "teacher", {}, Published(10.0, 5.0)),
        Row("bad", "teacher", {"teacher.atoms": 2}, Published(20.0)),
        Row("other", "teacher", {"teacher.atoms": 3}),
    ),
    (Claim("good", "bad"),),
)


def results(good, bad, table=TABLE):
    """Results whose runs have these pairs of (n_mpjpe, p_mpjpe), None for a run that diverged."""
    planned = plan(table, PRESETS["ites", "quick"], Path("runs"), seeds=len(good))
    rows = dict(zip(planned, [good, bad, *[good] * len(planned)], strict=False))
    outcomes = {}
    for name, runs in planned.items():
        for run, pair in zip(runs, rows[name], strict=True):
            figures = None
            if pair is not None:
                figures = dict.fromkeys(COLUMNS, 1.0) | {MPJPE_BEST: pair[0], P_MPJPE_BEST: pair[1]}
            outcomes[run] = Outcome(figures, 3.0, None if pair else "the loss became nan")
    return collect(table, planned, outcomes)


def sentence(good, bad):
    return judge(TABLE.claims[0], results(good, bad))


def test_mean_and_spread_leave_out_what_diverged():
    row = results([(1, 2), None, (4, 2), (10, 2)], [(1, 1)] * 4)[0]
    assert row.count == 3
    assert row.mean(MPJPE_BEST) == 5
    assert row.spread(MPJPE_BEST) == pytest.approx(statistics.stdev([1, 4, 10]))
    assert row.spread(P_MPJPE_BEST) == 0
    assert results([(1, 2)], [(1, 1)])[0].spread(MPJPE_BEST) is None


def test_an_ordering_that_is_there():
    verdict = sentence([(30, 10), (32, 11)], [(40, 20), (43, 22)])
    assert verdict.reproduced
    assert verdict.sentence == (
        "good < bad: the paper mpjpe 10.0 < 20.0; here n_mpjpe 31.0 < 41.5 mm (2 of 2 seeds), "
        "p_mpjpe 10.5 < 21.0 mm (2 of 2 seeds): reproduced."
    )


def test_an_ordering_that_is_not_there():
    verdict = sentence([(40, 20), (43, 22)], [(30, 10), (32, 11)])
    assert not verdict.reproduced
    assert verdict.sentence.endswith(
        "n_mpjpe 41.5 >= 31.0 mm (0 of 2 seeds), p_mpjpe 21.0 >= 10.5 mm (0 of 2 seeds): NOT reproduced."
    )


def test_an_ordering_in_one_measure_only():
    verdict = sentence([(30, 20), (32, 22)], [(40, 10), (43, 11)])
    assert verdict.holds == {"n_mpjpe": True, "p_mpjpe": False}
    assert not verdict.reproduced
    assert verdict.sentence.endswith("reproduced in one of the two measures only.")


def test_an_ordering_within_the_spread():
    """The spread is that of the paired differences: 10 and -8 in n_mpjpe, 10 and 10 in p_mpjpe."""
    verdict = sentence([(30, 10), (48, 90)], [(40, 20), (40, 100)])
    assert verdict.reproduced
    assert "n_mpjpe 39.0 < 40.0 mm (1 of 2 seeds)" in verdict.sentence
    assert verdict.sentence.endswith("reproduced; in n_mpjpe the difference is within its spread over seeds.")


def test_an_ordering_of_few_seeds():
    assert sentence([(1, 1)], [(2, 2)]).sentence.endswith("reproduced by one seed, which says nothing of the spread.")
    # a seed counts where both rows have it
    assert "n_mpjpe 1.0 < 2.0 mm (1 of 1 seeds)" in sentence([(1, 1), None, (9, 9)], [(2, 2), (3, 3), None]).sentence
    verdict = sentence([None, (1, 1)], [(2, 2), None])
    assert not verdict.reproduced
    assert verdict.sentence.endswith("here no seed of both was trained to its end.")


def report(good=((31.25, 10), (32, 11)), bad=((40, 20), None)):
    rows = results(list(good), list(bad))
    return Report(TABLE, "some data, 2 seed(s)", rows, [judge(claim, rows) for claim in TABLE.claims])


def test_text_and_markdown_hold_figures_beside_published_ones():
    text = report().text()
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert lines[0] == "a table: some data, 2 seed(s)"
    assert "good 31.6 ± 0.5 10.5 ± 0.7 1.0 ± 0.0 1.0 ± 0.0 2 10.0 / 5.0" in lines
    assert "bad 40.0 20.0 1.0 1.0 1 (1 diverged) 20.0 / -" in lines
    markdown = report().markdown().splitlines()
    table = [line for line in markdown if line.startswith("|")]
    assert len(table) == 2 + len(TABLE.rows)
    assert len({line.count("|") for line in table}) == 1
    assert any(line.startswith("* good < bad: the paper mpjpe 10.0 < 20.0; here ") for line in markdown)


def test_a_row_without_a_finished_run_has_no_figures():
    text = report(bad=(None, None)).text()
    assert "bad - - - - 0 (2 diverged) 20.0 / -" in [" ".join(line.split()) for line in text.splitlines()]
    assert json.loads(json.dumps(report(bad=(None, None)).to_dict(), allow_nan=False))["rows"][1]["n"] == 0


def test_json_holds_the_values_behind_the_means():
    row = json.loads(json.dumps(report().to_dict(), allow_nan=False))["rows"][0]
    assert row["metrics"][MPJPE_BEST]["values"] == [31.25, 32]
    assert row["published"] == {"mpjpe": 10.0, "p_mpjpe": 5.0}
    assert row["runs"] == ["teacher-seed0", "teacher-seed1"]


def test_the_figure_of_a_sweep(tmp_path):
    table = replace(DICTIONARY, claims=())
    sweep = results([(3, 2), (4, 2)], [None, None], table=table)
    draw_sweep(tmp_path / "sweep.png", Report(table, "data " * 40, sweep, []))
    assert (tmp_path / "sweep.png").read_bytes().startswith(b"\x89PNG")
