"""Formats whose files hold one person: which file each person of a scene goes to."""

from pathlib import Path

from ites_fast.scene.scene import Scene


def files_of_people(scene: Scene, path: Path) -> list[Path]:
    """``path`` itself for one person, ``walk_1.bvh``, ``walk_2.bvh`` and so on for several.

    People without poses get no file; without any poses there is ``path`` alone.
    """
    count = sum(len(person) > 0 for person in scene.people)
    if count < 2:
        return [path]
    return [path.with_name(f"{path.stem}_{number}{path.suffix}") for number in range(1, count + 1)]
