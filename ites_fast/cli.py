"""What every command line shares: options from a dataclass, errors in one line, exit status 2."""

import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from ites_fast.errors import InputError

Options = TypeVar("Options")
USAGE_ERROR = 2


def run(
    main: Callable[[Options], None],
    options: type[Options],
    *,
    prog: str,
    description: str,
    arguments: Sequence[str] | None = None,
) -> None:
    """Parse ``options`` from the command line and call ``main`` with them.

    Unknown options are errors. A user's mistake (``InputError``) and a failing disk (``OSError``) end in one line
    on stderr and exit status 2, without a traceback; anything else is a fault of ours and keeps its traceback.
    """
    parsed = tyro.cli(options, prog=prog, description=description, args=arguments)
    try:
        main(parsed)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
