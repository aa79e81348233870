"""``FILE::CHOICE``: which of the videos, cameras or people that one file holds is meant."""

from collections.abc import Sequence
from pathlib import Path

from ites_fast.errors import InputError

SEPARATOR = "::"
MAX_LISTED = 20


def split_choice(path: str | Path) -> tuple[Path, str | None]:
    """The file, and what is wanted of it: ``data.npz::S9/Walking/2`` is (``data.npz``, "S9/Walking/2").

    A name that has ``::`` in it and exists is a file.
    """
    path = Path(path)
    text = str(path)
    if SEPARATOR not in text or path.exists():
        return path, None
    file, choice = text.rsplit(SEPARATOR, 1)
    return Path(file), choice


def choose(names: Sequence[str], choice: str | None, path: Path, what: str) -> int:
    """Index of the wanted name; without a choice the only one.

    A choice may be the beginning of a name, up to one of its "/", where only one name begins so.

    Args:
        names: what there is.
        choice: what is wanted.
        path: of the file.
        what: the plural of what the names are, for messages.

    Raises:
        InputError: there is more than one, or none of this name; the message lists what there is.
    """
    if choice in names:
        return names.index(choice)
    found = [i for i, name in enumerate(names) if choice is None or f"{name}/".startswith(f"{choice.rstrip('/')}/")]
    if len(found) == 1:
        return found[0]
    if not names:
        raise InputError(f"{path}: holds no {what}")
    among = [names[i] for i in found] or names
    listed = ", ".join(among[:MAX_LISTED]) + (f" and {len(among) - MAX_LISTED} more" if len(among) > MAX_LISTED else "")
    if choice is not None and not found:
        raise InputError(f"{path}: {choice!r} is none of its {what}: {listed}")
    raise InputError(f"{path}: holds {len(among)} {what}; choose one, as {path}{SEPARATOR}{among[0]}, of {listed}")
