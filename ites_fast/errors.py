"""The one exception for what a user can get wrong."""


class InputError(ValueError):
    """A file, argument or array that cannot be used.

    The message names the file or argument, what was received and what was expected. Command lines print it
    as one line and exit with status 2; a library user catches it as a ``ValueError``.
    """
