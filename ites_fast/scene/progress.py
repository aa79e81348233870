"""Long arrays written and read piece by piece, with a bar where it takes over a second."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tqdm import tqdm

CHUNK = 1000  # rows
BAR_AFTER = 1.0  # seconds


def bar(count: int | None, what: str) -> tqdm:
    """A bar on stderr, called ``what``, that shows itself after a second."""
    from tqdm import tqdm  # ``import ites_fast`` needs none

    return tqdm(total=count, desc=what, unit="rows", delay=BAR_AFTER, leave=False, disable=None)


def rows(count: int, what: str) -> Iterator[tuple[int, int]]:
    """First row and the one after the last, of pieces that cover ``count`` rows."""
    with bar(count, what) as progress:
        for first in range(0, count, CHUNK):
            end = min(first + CHUNK, count)
            yield first, end
            progress.update(end - first)
