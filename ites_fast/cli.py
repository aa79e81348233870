"""What every command line shares: options from a dataclass, errors in one line, exit status 2."""

import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import tyro

from ites_fast.errors import DivergedError, InputError

Options = TypeVar("Options")
USAGE_ERROR = 2
FAILURE = 1
SIGNAL_STATUS = 128  # plus the signal's number


def run(
    main: Callable[[Options], None],
    options: type[Options],
    *,
    prog: str,
    description: str,
    default: Callable[[Sequence[str]], Options] | None = None,
) -> None:
    """Parse ``options`` from the command line and call ``main`` with them.

    Unknown options are errors. A user's mistake (``InputError``) and a failing disk (``OSError``) end in one line
    on stderr and exit status 2, a diverged training in one line and status 1, Ctrl-C in one word and status 130, all
    without a traceback; anything else is a fault of ours and keeps its traceback.

    Args:
        main: the command.
        options: a dataclass; its fields are the command's options.
        prog: what the help calls the command.
        description: first line of the help.
        default: gives the defaults of the options from the arguments themselves, for a command with presets.
    """
    arguments = sys.argv[1:]
    logging.basicConfig(format="%(message)s")
    logging.getLogger("ites_fast").setLevel(logging.INFO)  # what a reader solved or assumed
    try:
        defaults = {} if default is None else {"default": default(arguments)}
        main(tyro.cli(options, prog=prog, description=description, args=arguments, **defaults))
    except BrokenPipeError:  # the reader of our output has left, as ``head`` does: there is nobody to tell
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(FAILURE)
    except (InputError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(USAGE_ERROR)
    except DivergedError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(FAILURE)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(SIGNAL_STATUS + signal.SIGINT)
