"""``python -m bench.report``: one table and one figure of all benchmarks in ``bench/results``.

Reads every JSON that ``pytest bench/ --benchmark-only --benchmark-json=FILE`` left there; JSON files of another kind
are named and passed over. Writes ``bench/results/benchmarks.md`` and ``benchmarks.png``, and puts the rows of the
largest cases into the README, between the lines ``<!-- bench -->`` and ``<!-- /bench -->``. A case without a
measurement has no row.
"""

import argparse
import json
import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
OURS = "ites_fast"
START, END = "<!-- bench -->", "<!-- /bench -->"
NOTE = (
    "Time of one call in milliseconds, median (first to third quartile). A rival's figure is how many times as long it "
    "took for each pose as ours in the same round, median, and for the best rival also the quartiles; below 1 it is "
    "faster. Roofline: least time for the bytes or the FLOPs that were counted, by the ceilings above, over the "
    "measured time; above 100 the data stays in a cache. Peak: memory of PyTorch beyond the inputs, in megabytes."
)
COLUMNS = "| | device | poses | ours, ms | rivals, times ours | roofline, % | peak, MB |\n|---|---|--:|--:|---|--:|--:|"


@dataclass(frozen=True)
class Case:
    """One case as it was measured.

    Args:
        info: what the harness stored of it.
        machine: on which.
        commit: of which version, shortened.
        date: when.
    """

    info: dict[str, Any]
    machine: dict[str, Any]
    commit: str
    date: str

    @property
    def name(self) -> str:
        """Operator, work and settings."""
        settings = ", ".join(f"{name} {value}" for name, value in self.info["settings"].items())
        return f"`{self.info['operator']}`, {self.info['what']}, {self.info['precision']}" + f"; {settings}" * bool(
            settings
        )

    @property
    def key(self) -> tuple:
        return self.name, self.info["device"], self.info["poses"]

    @property
    def ours(self) -> dict[str, Any]:
        return self.info["arms"][OURS]


def read_cases(folder: Path) -> tuple[list[Case], list[str]]:
    """The cases of all JSON files of a folder, the latest of each, and the names of files that hold none."""
    cases, passed_over = {}, []
    for path in sorted(folder.glob("*.json")):
        document = json.loads(path.read_text())
        results = document.get("benchmarks") if isinstance(document, dict) else None
        measured = [result["extra_info"] for result in results or () if "arms" in result["extra_info"]]
        if not measured:
            passed_over.append(path.name)
        commit = document["commit_info"] if measured else {}
        version = str(commit.get("id"))[:10] + " with changes" * bool(commit.get("dirty"))
        for info in measured:
            case = Case(info, document["machine_info"], version, document["datetime"])
            if case.key not in cases or cases[case.key].date < case.date:
                cases[case.key] = case
    return sorted(cases.values(), key=lambda case: (case.info["device"], case.name, case.info["poses"])), passed_over


def largest(cases: Iterable[Case]) -> list[Case]:
    """Of each operator, work and device the case with the most poses; cases come by number of poses."""
    return list({case.key[:2]: case for case in cases}.values())


def table(cases: Iterable[Case]) -> str:
    """Markdown, one row a case."""
    return "\n".join([COLUMNS, *map(row, cases)])


def row(case: Case) -> str:
    """One row of the table."""
    info, ours = case.info, case.ours
    time = f"{milliseconds(ours['median_s'])} ({milliseconds(ours['q1_s'])} to {milliseconds(ours['q3_s'])})"
    roofline = "" if info["roofline_percent"] is None else f"{info['roofline_percent']:.3g} ({info['bound']})"
    peak = "" if ours["peak_bytes"] is None else f"{ours['peak_bytes'] / 1e6:.3g}"
    cells = [case.name, info["device"], f"{info['poses']:,}", time, "; ".join(rivals(case)), roofline, peak]
    return f"| {' | '.join(cells)} |"


def rivals(case: Case) -> list[str]:
    """Each rival's ratio, the best one first and with its spread."""
    info = case.info
    low, high = info["ratio_quartiles"]
    others = {name: arm["ratio"] for name, arm in info["arms"].items() if name not in (OURS, info["best_rival"])}
    rest = [f"{name} {ratio:.3g}" for name, ratio in sorted(others.items(), key=lambda item: item[1])]
    return [f"{info['best_rival']} **{info['ratio']:.3g}** ({low:.3g} to {high:.3g})", *rest]


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.3g}" if seconds < 1 else f"{seconds * 1e3:.0f}"


def conditions(cases: Iterable[Case]) -> str:
    """One line a run: machine, versions, commit and ceilings."""
    return "\n".join(dict.fromkeys(f"* {condition(case)}" for case in cases))


def condition(case: Case) -> str:
    machine = case.machine
    libraries = [f"{name} {version}" for name, version in machine["libraries"].items() if version]
    versions = [f"torch {machine['torch']}", f"triton {machine['triton']}", *libraries]
    where = f"{machine['gpu']} (driver {machine['driver']}), {machine['cpu']}" if machine["gpu"] else machine["cpu"]
    ceilings = [
        f"{threads} thread{'s' * (threads != '1')}: " * (machine["gpu"] is None)
        + f"copy {ceiling['bytes_per_second'] / 1e9:.3g} GB/s, products "
        + ", ".join(f"{name} {rate / 1e12:.3g}" for name, rate in ceiling["flops_per_second"].items())
        + " TFLOP/s"
        for threads, ceiling in machine["ceilings"].items()
    ]
    load = f"load {machine['load_at_start']} at the start"
    return "; ".join([where, ", ".join(versions), *ceilings, load, f"version {case.commit}, {case.date[:10]}"]) + "."


def not_timed(cases: Iterable[Case]) -> str:
    """What was left out, and why, with the cases counted."""
    reasons: dict[tuple[str, str, str], int] = {}
    for case in cases:
        for arm, reason in case.info["not_timed"].items():
            key = (case.info["device"], arm, reason)
            reasons[key] = reasons.get(key, 0) + 1
    lines = [f"* {device}, {arm}: {reason} ({count})" for (device, arm, reason), count in sorted(reasons.items())]
    return "\n".join(["Not timed (number of cases):", "", *lines]) if lines else ""


def document(cases: Sequence[Case]) -> str:
    """All of it as Markdown."""
    parts = ["Rendered by `python -m bench.report`; do not edit.", conditions(cases), NOTE, table(cases)]
    return "\n\n".join([*parts, *filter(None, [not_timed(cases)])]) + "\n"


def draw(cases: Sequence[Case], path: Path) -> None:
    """Bars of the ratio to the best rival and of the percent of the roofline, one row a case."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    colours = {"cpu": "#1f78b4", "cuda": "#33a02c"}
    figure = Figure(figsize=(11, 1 + 0.32 * len(cases)), layout="constrained")
    faster, roofline = figure.subplots(1, 2, sharey=True)
    names = [f"{case.name.replace('`', '')}\n{case.info['device']}, {case.info['poses']:,} poses" for case in cases]
    colour = [colours[case.info["device"]] for case in cases]
    rows = range(len(cases))
    faster.barh(rows, [case.info["ratio"] - 1 for case in cases], left=1, color=colour)
    faster.set_xscale("log")
    faster.xaxis.set_major_formatter("{x:g}")
    faster.axvline(1, color="#444444", linewidth=1)
    faster.set_yticks(rows, names, fontsize=7)
    faster.invert_yaxis()
    faster.set_xlabel("time of the best rival / our time")
    roofline.barh(rows, [case.info["roofline_percent"] or 0 for case in cases], color=colour)
    roofline.set_xlabel("percent of the roofline")
    roofline.set_xlim(0, 100)
    devices = sorted({case.info["device"] for case in cases})
    bars = [Patch(color=colours[device], label=device) for device in devices]
    figure.legend(handles=bars, loc="outside upper right", ncols=len(bars), frameon=False)
    figure.savefig(path, dpi=130)


def replace_block(text: str, block: str) -> str:
    """The text with ``block`` between the two marks.

    Raises:
        ValueError: the marks are not there, once each and in this order.
    """
    before, found, rest = text.partition(START)
    _, closed, after = rest.partition(END)
    if not (found and closed):
        raise ValueError(f"there are no lines {START} and {END} to put the table between")
    return f"{before}{START}\n{block}\n{END}{after}"


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.report", description=__doc__)
    parser.add_argument("--results", type=Path, default=ROOT / "bench" / "results", help="folder of the JSON files")
    parser.add_argument("--readme", type=Path, default=ROOT / "README.md", help="file to put the table in")
    parser.add_argument("--check", action="store_true", help="write nothing; status 1 where a file is out of date")
    options = parser.parse_args(arguments)
    cases, passed_over = read_cases(options.results)
    for name in passed_over:
        print(f"{name}: no benchmark of this harness, passed over", file=sys.stderr)
    if not cases:
        print(f"{options.results}: nothing was measured; run pytest bench/ --benchmark-only --benchmark-json=FILE")
        return 2
    shown = largest(cases)
    readme = replace_block(options.readme.read_text(), f"\n{conditions(shown)}\n\n{table(shown)}\n")
    texts = {options.results / "benchmarks.md": document(cases), options.readme: readme}
    if options.check:
        stale = [str(path) for path, text in texts.items() if not path.exists() or path.read_text() != text]
        print("\n".join(f"{path} is out of date: run python -m bench.report" for path in stale))
        return 1 if stale else 0
    for path, text in texts.items():
        path.write_text(text)
    draw(shown, options.results / "benchmarks.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
