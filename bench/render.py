"""Render a JSON of pytest-benchmark as a Markdown table: ``python bench/render.py results/x.json > results/x.md``.

``ratio`` compares a pose's least time with that of the first row of the group: of several runs on a shared machine
the least one was disturbed the least. Where a benchmark ran another arm between its rounds, ``beside`` names that arm
and ``ratio of medians`` says how many times as long it took, by the medians of the two.
"""

import json
import sys
from pathlib import Path


def render(document: dict) -> str:
    machine = document["machine_info"]
    lines = [
        f"{document['datetime'][:10]}; {machine['cpu']}; {machine['gpu'] or 'no GPU'}; "
        f"load {machine['load_at_start']} at the start; torch {machine['torch']}."
    ]
    groups: dict[str, list[dict]] = {}
    for result in document["benchmarks"]:
        groups.setdefault(result["group"] or result["name"], []).append(result)
    for group, results in groups.items():
        interleaved = any("beside" in result["extra_info"] for result in results)
        columns = ["median ms", "least ms", "poses", "million poses/s", "ratio"]
        columns += ["beside", "ratio of medians"] * interleaved
        lines += ["", f"**{group}**", "", f"| {row(*columns)}", "|---|" + "--:|" * len(columns)]
        for result in results:
            stats, info = result["stats"], result["extra_info"]
            cells = [f"{stats['median'] * 1e3:.2f}", f"{stats['min'] * 1e3:.2f}", info["poses"]]
            cells += [f"{1e-6 / cost(result):.3g}", f"{cost(result) / cost(results[0]):.3g}"]
            if interleaved:
                cells += [info["beside"], f"{info['ratio']:.3g}"] if "beside" in info else ["", ""]
            lines.append(row(result["param"] or result["name"], *cells))
    return "\n".join(lines)


def row(*cells: object) -> str:
    return f"| {' | '.join(map(str, cells))} |"


def cost(result: dict) -> float:
    """The least number of seconds for each pose."""
    return result["stats"]["min"] / result["extra_info"]["poses"]


if __name__ == "__main__":
    print(render(json.loads(Path(sys.argv[1]).read_text())))
