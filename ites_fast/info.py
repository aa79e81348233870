"""``python -m ites_fast.info``: what is installed and which implementation each operator would use."""

import json
from dataclasses import dataclass
from typing import Any

from ites_fast import cli
from ites_fast.build import build_info


@dataclass(frozen=True)
class InfoOptions:
    """Show the versions, the compiled extension and the implementation of each operator."""

    json: bool = False
    """print one JSON object instead of a table"""


def main(options: InfoOptions) -> None:
    info = build_info()
    print(json.dumps(info, indent=2) if options.json else table(info))


def table(info: dict[str, Any]) -> str:
    """The value of ``build_info`` as text."""
    extension = info["extension"]
    rows = [
        ("ites_fast", info["ites_fast"]),
        ("python", info["python"]),
        ("torch", info["torch"]),
        ("triton", info["triton"] or "not installed"),
        ("CUDA device", "available" if info["cuda_available"] else "none"),
        ("CPU threads", info["threads"]),
    ]
    if extension is None:
        rows.append(("extension", "not compiled: the PyTorch reference is used"))
    else:
        compiled = ", ".join(extension["instruction_sets"])
        cuda = f"CUDA {extension['cuda']} for sm {extension['cuda_architectures']}" if extension["cuda"] else "none"
        rows += [
            ("extension", f"compiled by {extension['compiler']}"),
            ("instruction sets", f"{compiled}; uses {extension['instruction_set']}"),
            ("CUDA kernels", cuda),
        ]
    lines = [f"{name:<18}{value}" for name, value in rows]
    width = max(map(len, info["operators"])) + 2
    lines += ["", f"{'operator':<{width}}{'cpu':<20}cuda"]
    lines += [f"{name:<{width}}{by['cpu']:<20}{by['cuda']}" for name, by in info["operators"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    cli.run(main, InfoOptions, prog="python -m ites_fast.info", description=InfoOptions.__doc__)
