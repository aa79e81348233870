"""Large arrays in parts, so that temporaries stay small."""

from collections.abc import Iterator

CHUNK = 16384  # poses at a time; more is slower on a CPU, whose caches it leaves


def chunks(length: int, size: int = CHUNK) -> Iterator[slice]:
    """Slices of ``size`` that cover ``range(length)``; the last may be shorter."""
    for start in range(0, length, size):
        yield slice(start, min(start + size, length))
