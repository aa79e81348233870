"""What a benchmark hands to the harness: the work, and the implementations of it."""

import importlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Arm:
    """One implementation.

    Args:
        run: does the work once and returns tensors that are compared with those of the reference.
        poses: how many of the poses it does, the first ones, where it is too slow for all of them.
        threads: of the CPU.
        compiles: whether its first call compiles, which a session without time left leaves out.
        compared: whether its result is compared; not where it draws its own random numbers.
        in_torch: whether PyTorch allocates its memory; that of numpy and others is not seen.
        is_rival: whether it does all of the work; one that does less is shown, but is never the best rival.
    """

    run: Callable[[], Any]
    poses: int | None = None
    threads: int = 1
    compiles: bool = False
    compared: bool = True
    in_torch: bool = True
    is_rival: bool = True


@dataclass(frozen=True)
class Missing:
    """An implementation that is not timed, and why."""

    reason: str


@dataclass(frozen=True)
class Work:
    """What one call does.

    Args:
        operator: name of the operator, or of the step.
        what: "forward", "forward and backward" or the like.
        poses: how many.
        moved_bytes: that have to be read and written, each tensor once; None where it was not counted.
        flops: counted by hand; None where they were not.
        precision: of the arithmetic.
        settings: what else tells this case from others, as {"joints": 17}.
        one_call: whether every timing is of one synchronised call, which measures latency.
    """

    operator: str
    what: str
    poses: int
    moved_bytes: int | None = None
    flops: int | None = None
    precision: str = "float32"
    settings: Mapping[str, Any] = field(default_factory=dict)
    one_call: bool = False


def optional(module: str, arm: Callable[[Any], Arm]) -> Arm | Missing:
    """The arm that ``arm`` builds from a library, or why there is none."""
    try:
        return arm(importlib.import_module(module))
    except ImportError as error:
        return Missing(f"{module} is not installed" if error.name == module.partition(".")[0] else str(error))
