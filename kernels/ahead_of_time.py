"""``python -m ites_fast.kernels.ahead_of_time``: compile every Triton kernel with no GPU, and say what it takes.

Each kernel module lists in ``BUILDS`` the specialisations to compile and the registers and stack that they may take.
"""

import argparse
import importlib
import json
import os
import pkgutil
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

from ites_fast import kernels

WARP = 32
ARCHITECTURES = (80, 90, 100)
USAGE = re.compile(r"REG:(\d+) STACK:(\d+) SHARED:(\d+) LOCAL:(\d+)")


@dataclass(frozen=True)
class Build:
    """One specialisation of a kernel.

    Args:
        kernel: the ``triton.jit`` function.
        types: Triton's type of every argument that is no constant, by name, as ``"*fp32"``, ``"i32"`` or ``"fp32"``.
        constants: value of every ``tl.constexpr`` argument, by name.
        warps: of a program.
        max_registers: of a thread.
        max_stack: bytes a thread may spill to, with the reason beside it where it is not 0.
    """

    kernel: Any
    types: Mapping[str, str]
    constants: Mapping[str, Any] = field(default_factory=dict)
    warps: int = 4
    max_registers: int = 255
    max_stack: int = 0

    @property
    def name(self) -> str:
        constants = ", ".join(f"{name}={value}" for name, value in self.constants.items())
        types = ", ".join(sorted({kind.removeprefix("*") for kind in self.types.values() if kind.startswith("*")}))
        return f"{self.kernel.fn.__name__}[{constants}; {types}; {self.warps} warps]"


@dataclass(frozen=True)
class Usage:
    """What a compiled kernel takes.

    Args:
        name: of the build.
        architecture: compute capability, 90 for sm_90.
        registers: of a thread.
        stack: bytes of a thread, where spilled registers go.
        shared: bytes of shared memory of a program.
        within_bounds: whether registers and stack are at most what the build allows.
    """

    name: str
    architecture: int
    registers: int
    stack: int
    shared: int
    within_bounds: bool


def builds() -> Iterator[Build]:
    """The builds of every kernel module."""
    for module in pkgutil.iter_modules(kernels.__path__):
        yield from getattr(importlib.import_module(f"{kernels.__name__}.{module.name}"), "BUILDS", ())


def compile_kernel(build: Build, architecture: int) -> Usage:
    """Compile a kernel and read its resources from the machine code.

    Pointers are taken to be aligned to 16 bytes, as PyTorch allocates them.

    Raises:
        RuntimeError: the interpreter is on; it leaves nothing to compile.
    """
    if os.environ.get("TRITON_INTERPRET") == "1":
        raise RuntimeError("TRITON_INTERPRET=1: kernels are interpreted, there is nothing to compile; unset it")
    arguments = build.kernel.arg_names
    # in the order of the kernel's arguments, which is what the position of an attribute counts
    signature = {name: build.types.get(name, "constexpr") for name in arguments}
    aligned = {
        (position,): [["tt.divisibility", 16]]
        for position, name in enumerate(arguments)
        if signature[name].startswith("*")
    }
    constants = {(arguments.index(name),): value for name, value in build.constants.items()}
    source = ASTSource(build.kernel, signature, constants, attrs=aligned)
    target = GPUTarget("cuda", architecture, WARP)
    compiled = triton.compile(source, target=target, options={"num_warps": build.warps})
    registers, stack, _, local = resources(compiled.asm["cubin"])
    stack = max(stack, local)
    within = registers <= build.max_registers and stack <= build.max_stack
    return Usage(build.name, architecture, registers, stack, compiled.metadata.shared, within)


def resources(cubin: bytes) -> tuple[int, int, int, int]:
    """Registers, and bytes of stack, static shared and local memory, as Triton's own cuobjdump reports them."""
    cuobjdump = Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "kernel.cubin")
        path.write_bytes(cubin)
        report = subprocess.run([cuobjdump, "-res-usage", path], check=True, capture_output=True, text=True).stdout
    (usage,) = USAGE.findall(report)
    return tuple(int(number) for number in usage)


def compile_all(architectures: Sequence[int], pattern: str = "") -> list[Usage]:
    """Compile every build whose name contains ``pattern`` for every architecture."""
    jobs = [(build, architecture) for build in builds() if pattern in build.name for architecture in architectures]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(lambda job: compile_kernel(*job), jobs))


def table(usages: Sequence[Usage]) -> str:
    """The resources as Markdown."""
    lines = ["| kernel | sm | registers | stack, bytes | shared, bytes | |", "|---|--:|--:|--:|--:|---|"]
    for usage in usages:
        verdict = "" if usage.within_bounds else "OVER ITS BOUND"
        numbers = f"{usage.architecture} | {usage.registers} | {usage.stack} | {usage.shared:,}"
        lines.append(f"| {usage.name} | {numbers} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m ites_fast.kernels.ahead_of_time", description=__doc__)
    parser.add_argument("--architectures", type=int, nargs="+", default=ARCHITECTURES, help="80 for sm_80")
    parser.add_argument("--kernel", default="", help="only builds whose name contains this")
    parser.add_argument("--json", action="store_true", help="print JSON instead of a table")
    options = parser.parse_args()
    usages = compile_all(options.architectures, options.kernel)
    print(json.dumps([asdict(usage) for usage in usages], indent=2) if options.json else table(usages))
    sys.exit(0 if all(usage.within_bounds for usage in usages) else 1)


if __name__ == "__main__":
    main()
