"""``python -m ites_fast.skeleton NAME``: the joints of a skeleton, and how those of another are found in it."""

from dataclasses import dataclass

import tyro

from ites_fast import cli
from ites_fast.skeleton import Skeleton, conversion, get_skeleton


@dataclass(frozen=True)
class SkeletonOptions:
    """Show a skeleton's joints and how those of another are found in it: exact, averaged, extrapolated or missing."""

    skeleton: tyro.conf.Positional[str]
    """a name such as coco_17, or a YAML file (docs/SKELETONS.md)"""
    to: str = "h36m_17"
    """the other skeleton"""


def main(options: SkeletonOptions) -> None:
    print(text(get_skeleton(options.skeleton), get_skeleton(options.to)))


def text(source: Skeleton, target: Skeleton) -> str:
    """Markdown: the joints of ``source`` by number, and a table of those of ``target``."""
    numbered = ", ".join(f"{number} {name}" for number, name in enumerate(source.joint_names))
    return f"{numbered}.\n\nTo {target.name}:\n\n{conversion(source, target).describe()}"


if __name__ == "__main__":
    cli.run(main, SkeletonOptions, prog="python -m ites_fast.skeleton", description=SkeletonOptions.__doc__)
