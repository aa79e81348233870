"""Render a JSON of pytest-benchmark as a Markdown table: ``python bench/render.py results/x.json > results/x.md``.

The last column compares a pose's least time with that of the first row of the group: of several runs on a shared
machine the least one was disturbed the least.
"""

import json
import sys
from itertools import groupby
from pathlib import Path


def render(document: dict) -> str:
    machine = document["machine_info"]
    lines = [
        f"{document['datetime'][:10]}; {machine['cpu']}; {machine['gpu'] or 'no GPU'}; "
        f"load {machine['load_at_start']} at the start; torch {machine['torch']}."
    ]
    for group, members in groupby(document["benchmarks"], key=lambda result: result["group"]):
        results = list(members)
        header = "| | median ms | least ms | poses | million poses/s | ratio |"
        lines += ["", f"**{group}**", "", header, "|---|" + "--:|" * 5]
        for result in results:
            stats, poses = result["stats"], result["extra_info"]["poses"]
            lines.append(
                f"| {result['param']} | {stats['median'] * 1e3:.2f} | {stats['min'] * 1e3:.2f} | {poses} "
                f"| {1e-6 / cost(result):.3g} | {cost(result) / cost(results[0]):.3g} |"
            )
    return "\n".join(lines)


def cost(result: dict) -> float:
    """The least number of seconds for each pose."""
    return result["stats"]["min"] / result["extra_info"]["poses"]


if __name__ == "__main__":
    print(render(json.loads(Path(sys.argv[1]).read_text())))
