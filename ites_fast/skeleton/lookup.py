"""A skeleton by its name or its file."""

from pathlib import Path

from ites_fast.errors import InputError
from ites_fast.skeleton.registry import SKELETONS
from ites_fast.skeleton.skeleton import Skeleton
from ites_fast.skeleton.yaml_file import SUFFIXES, read_skeleton


def get_skeleton(name: str | Path) -> Skeleton:
    """The skeleton of this name, or that of a YAML file (docs/SKELETONS.md has the format).

    Args:
        name: a name of ``SKELETONS``, or the path of a file that ends in .yaml or .yml.

    Raises:
        InputError: no skeleton has this name, or the file does not describe one.
    """
    skeleton = SKELETONS.get(str(name))
    if skeleton is not None:
        return skeleton
    if Path(name).suffix.lower() in SUFFIXES:
        return read_skeleton(Path(name))
    raise InputError(f"skeleton {str(name)!r} is unknown; known: {', '.join(SKELETONS)}, or a file that ends in .yaml")


def get_body(name: str) -> Skeleton:
    """The registered skeleton called ``name``, for data to train and measure with: its head tells the size of a body.

    Raises:
        InputError: no registered skeleton has this name, or it has no head.
    """
    bodies = [each for each, skeleton in SKELETONS.items() if skeleton.head is not None]
    if name not in bodies:
        what = "has no head to measure a body by" if name in SKELETONS else "is unknown"
        raise InputError(f"skeleton {name!r} {what}; known: {', '.join(bodies)}")
    return SKELETONS[name]
