"""Long arrays written piece by piece, with a bar where it takes over a second."""

from collections.abc import Iterator

CHUNK = 1000  # rows
BAR_AFTER = 1.0  # seconds


def rows(count: int, what: str, chunk: int = CHUNK) -> Iterator[tuple[int, int]]:
    """First row and the one after the last, of pieces that cover ``count`` rows; a bar called ``what`` on stderr."""
    from tqdm import tqdm  # a file that is quickly written needs no bar

    with tqdm(total=count, desc=what, unit="rows", delay=BAR_AFTER, leave=False, disable=None) as bar:
        for first in range(0, count, chunk):
            end = min(first + chunk, count)
            yield first, end
            bar.update(end - first)
