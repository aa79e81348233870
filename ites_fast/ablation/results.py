"""Mean and spread over seeds, and whether an ordering that the paper claims is there."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ites_fast.ablation.plan import Run
from ites_fast.ablation.runs import Outcome
from ites_fast.ablation.tables import Claim, Published, Row, Table

# What the paper reports is nearest to the first two; the last two take no oracle but the scale.
MPJPE_BEST, P_MPJPE_BEST = "n_mpjpe/flip=best/scale=lstsq", "p_mpjpe/flip=best"
MPJPE_STRICT, P_MPJPE_STRICT = "n_mpjpe/flip=none/scale=lstsq", "p_mpjpe/flip=none"
COLUMNS = (MPJPE_BEST, P_MPJPE_BEST, MPJPE_STRICT, P_MPJPE_STRICT)
COMPARED = {"n_mpjpe": MPJPE_BEST, "p_mpjpe": P_MPJPE_BEST}


@dataclass(frozen=True)
class RowResult:
    """A row and what came of its runs, one a seed."""

    row: Row
    runs: tuple[Run, ...]
    outcomes: tuple[Outcome, ...]

    @property
    def count(self) -> int:
        """Runs that did not diverge."""
        return sum(outcome.metrics is not None for outcome in self.outcomes)

    def values(self, key: str) -> list[float]:
        """One figure a run, without those that diverged."""
        return [outcome.metrics[key] for outcome in self.outcomes if outcome.metrics is not None]

    def mean(self, key: str) -> float:
        """Mean over seeds, NaN where every run diverged."""
        return statistics.fmean(self.values(key)) if self.count else math.nan

    def spread(self, key: str) -> float | None:
        """Standard deviation over seeds (of a sample), None for fewer than two."""
        return statistics.stdev(self.values(key)) if self.count > 1 else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON: every figure with mean, spread and the values behind them."""
        keys = next((outcome.metrics.keys() for outcome in self.outcomes if outcome.metrics is not None), ())
        return {
            "name": self.row.name,
            "model": self.row.model,
            "published": self.row.published and self.row.published._asdict(),
            "n": self.count,
            "diverged": [outcome.diverged for outcome in self.outcomes if outcome.diverged],
            "training_seconds": [outcome.seconds for outcome in self.outcomes],
            "runs": [run.folder.name for run in self.runs],
            "metrics": {
                key: {"mean": self.mean(key), "std": self.spread(key), "values": self.values(key)} for key in keys
            },
        }


@dataclass(frozen=True)
class Verdict:
    """Whether an ordering was found.

    Args:
        claim: the ordering.
        holds: by metric, whether the mean over seeds has it.
        sentence: the same in words, with the figures.
    """

    claim: Claim
    holds: dict[str, bool]
    sentence: str

    @property
    def reproduced(self) -> bool:
        return bool(self.holds) and all(self.holds.values())

    def to_dict(self) -> dict[str, Any]:
        return {
            "better": self.claim.better,
            "worse": self.claim.worse,
            "reproduced": self.reproduced,
            "holds": self.holds,
            "sentence": self.sentence,
        }


def collect(table: Table, planned: dict[str, list[Run]], outcomes: dict[Run, Outcome]) -> list[RowResult]:
    """The results of a table's rows."""
    return [
        RowResult(row, tuple(planned[row.name]), tuple(outcomes[run] for run in planned[row.name]))
        for row in table.rows
    ]


def judge(claim: Claim, results: Sequence[RowResult]) -> Verdict:
    """Compare the two rows of a claim, seed by seed and in the mean; the spread is that of the paired differences."""
    by_name = {result.row.name: result for result in results}
    better, worse = by_name[claim.better], by_name[claim.worse]
    paper = _published(better.row.published, worse.row.published)
    start = f"{claim.better} < {claim.worse}: the paper {paper}; here "
    pairs = [
        (first.metrics, second.metrics)
        for first, second in zip(better.outcomes, worse.outcomes, strict=True)
        if first.metrics is not None and second.metrics is not None
    ]
    if not pairs:
        return Verdict(claim, {}, start + "no seed of both was trained to its end.")
    holds, clear, parts = {}, {}, []
    for name, key in COMPARED.items():
        gains = [second[key] - first[key] for first, second in pairs]
        gain = statistics.fmean(gains)
        holds[name] = gain > 0
        clear[name] = len(gains) > 1 and abs(gain) > statistics.stdev(gains)
        means = [statistics.fmean(side[key] for side in sides) for sides in zip(*pairs, strict=True)]
        wins = sum(gain > 0 for gain in gains)
        relation = "<" if holds[name] else ">="
        parts.append(f"{name} {means[0]:.1f} {relation} {means[1]:.1f} mm ({wins} of {len(gains)} seeds)")
    found = {2: "reproduced", 0: "NOT reproduced", 1: "reproduced in one of the two measures only"}[sum(holds.values())]
    if len(pairs) == 1:
        found += " by one seed, which says nothing of the spread"
    elif not all(clear.values()):
        unclear = " and in ".join(name for name, is_clear in clear.items() if not is_clear)
        found += f"; in {unclear} the difference is within its spread over seeds"
    return Verdict(claim, holds, f"{start}{', '.join(parts)}: {found}.")


def _published(better: Published | None, worse: Published | None) -> str:
    """The paper's figures of both rows, as far as it has them."""
    if better is None or worse is None:
        return "says so without figures that can be assigned"
    parts = []
    for name in Published._fields:
        pair = getattr(better, name), getattr(worse, name)
        if None not in pair:
            parts.append(f"{name} {pair[0]:.1f} {'<' if pair[0] < pair[1] else '>='} {pair[1]:.1f}")
    return ", ".join(parts)
