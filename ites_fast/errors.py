"""What can go wrong: a user's mistake, and a training run that diverges."""

LONGEST_MESSAGE = 2000  # characters


class InputError(ValueError):
    """A file, argument or array that cannot be used.

    The message names the file or argument, what was received and what was expected. Command lines print it
    as one line and exit with status 2; a library user catches it as a ``ValueError``.

    Args:
        message: becomes one line of text that can be printed; the middle of a very long one, as when it quotes what a
            broken file holds, is left out.
    """

    def __init__(self, message: str) -> None:
        line = " ".join(message.encode(errors="replace").decode().split())
        if len(line) > LONGEST_MESSAGE:
            line = f"{line[: LONGEST_MESSAGE // 2]} ... {line[-LONGEST_MESSAGE // 2 :]}"
        super().__init__(line)


class DivergedError(ArithmeticError):
    """A loss became NaN or infinite. The message names the step, the batch and the last good checkpoint."""
