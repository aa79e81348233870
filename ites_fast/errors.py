"""What can go wrong: a user's mistake, and a training run that diverges."""


class InputError(ValueError):
    """A file, argument or array that cannot be used.

    The message names the file or argument, what was received and what was expected. Command lines print it
    as one line and exit with status 2; a library user catches it as a ``ValueError``.
    """


class DivergedError(ArithmeticError):
    """A loss became NaN or infinite. The message names the step, the batch and the last good checkpoint."""
