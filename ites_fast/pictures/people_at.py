"""Who is where in a frame: rows of a scene's people by the number of the frame."""

from collections.abc import Iterator

import numpy as np

from ites_fast.scene import Person, Scene


class PeopleAt:
    """Finds the people of a frame.

    Args:
        scene: whose people.
    """

    def __init__(self, scene: Scene) -> None:
        self.people = scene.people

    def __call__(self, frame: int) -> Iterator[tuple[Person, int]]:
        """Every person who is there in ``frame``, with the row of that frame."""
        for person in self.people:
            row = int(np.searchsorted(person.frame, frame))
            if row < len(person) and person.frame[row] == frame:
                yield person, row
