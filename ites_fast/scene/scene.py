"""People in 3D over time: what is written to files and drawn."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

Axes = Literal["camera", "y", "z"]
Units = Literal["metres", "body units"]

# Rows are the new axes in the camera's frame (x right, y down, z forward); all of them are right-handed.
TO_WORLD = {
    "y": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),  # x right, y up, z towards the camera
    "z": np.array([[1.0, 0, 0], [0, 0, 1], [0, -1, 0]]),  # x right, y away from the camera, z up
}


@dataclass(frozen=True, eq=False)
class Person:
    """One person, in the frames in which he was seen.

    Args:
        name: of the person, unique in a scene.
        frame: numbers of the frames (N,) int64, strictly increasing, from 0.
        positions: joints (N, J, 3) float32, finite, in the scene's axes and units.
        confidence: of each joint (N, J) float32, 0 for joints that were filled in, 1 at most.
        ambiguity: of each pose (N,) float32, 0 where the sign of depth is certain, 1 where it is a guess; None unknown.
        keypoints: where the joints were seen (N, J, 3) float32: x, y in pixels, NaN where not seen, and confidence; in
            the scene's skeleton; None where there is no image.
    """

    name: str
    frame: np.ndarray
    positions: np.ndarray
    confidence: np.ndarray
    ambiguity: np.ndarray | None = None
    keypoints: np.ndarray | None = None

    def __post_init__(self) -> None:
        N, J = self.positions.shape[:2]
        shapes = {
            "frame": (N,),
            "positions": (N, J, 3),
            "confidence": (N, J),
            "ambiguity": (N,),
            "keypoints": (N, J, 3),
        }
        for name, shape in shapes.items():
            value = getattr(self, name)
            if value is not None and value.shape != shape:
                raise ValueError(f"{name} must be {shape}, got {value.shape}")
        if N and (self.frame[0] < 0 or (np.diff(self.frame) <= 0).any()):
            raise ValueError("the frames of a person must increase from 0 on")

    def __len__(self) -> int:
        return len(self.frame)


@dataclass(frozen=True, eq=False)
class Scene:
    """People in 3D over time.

    Args:
        source: what messages call it, for example the file's name.
        skeleton: joints of all people.
        people: in the order of their first frames.
        frames: how many frames there are, those without people included.
        fps: frames a second.
        units: of lengths. A body unit is the distance from hip to head of an average body, about 0.72 m.
        axes: "camera": x right, y down, z forward, origin in the camera; "y" and "z": that axis is up, x is right as
            the camera sees it, right-handed.
        placed: whether people stand where they are; otherwise each has its root joint in the origin of every frame
            (or, in a world, above the origin of the floor).
        image_size: of the keypoints, width and height, pixels.
        notes: what was assumed, filled in or left out, for people to read.
    """

    source: str
    skeleton: Skeleton
    people: tuple[Person, ...]
    frames: int
    fps: float = 30.0
    units: Units = "body units"
    axes: Axes = "camera"
    placed: bool = False
    image_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def poses(self) -> int:
        """Poses of all people."""
        return sum(map(len, self.people))

    def to_world(self, up: Literal["y", "z"] = "z", *, floor: bool = True) -> "Scene":
        """The scene with ``up`` pointing up, for a camera that was held level.

        Args:
            up: the axis that points up: "y" (x right, z towards the camera) or "z" (x right, y away from the camera).
            floor: move the scene so that it stands on the floor, at height 0: its lowest joint where people are placed,
                the lowest joint of each pose by itself otherwise.

        Raises:
            InputError: ``up`` is none of these.
        """
        if up not in TO_WORLD:
            raise InputError(f"up: expected 'y' or 'z', got {up!r}")
        if self.axes == up:
            return self
        turn = TO_WORLD[up] if self.axes == "camera" else TO_WORLD[up] @ TO_WORLD[self.axes].T
        people = [replace(person, positions=(person.positions @ turn.T).astype(np.float32)) for person in self.people]
        scene = replace(self, people=tuple(people), axes=up)
        return scene._on_floor() if floor and self.axes == "camera" else scene

    def _on_floor(self) -> "Scene":
        height = "xyz".index(self.axes)
        lowest = [person.positions[..., height].min(1) for person in self.people]  # (N,) each
        if self.placed and self.poses:
            ground = min(heights.min() for heights in lowest if len(heights))
            lowest = [np.full_like(heights, ground) for heights in lowest]
        people = []
        for person, ground in zip(self.people, lowest, strict=True):
            positions = person.positions.copy()
            positions[..., height] -= ground[:, None]
            people.append(replace(person, positions=positions))
        return replace(self, people=tuple(people))
