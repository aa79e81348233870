"""People in 3D over time: what is written to files and drawn."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

import numpy as np

from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

Axes = Literal["camera", "y", "z"]
Units = Literal["metres", "body units"]

METRES_PER_BODY_UNIT = 0.72

# Three days at 30 frames a second. More than 2**23 would have the same times in float32, in which GLB has them.
MOST_FRAMES = 8_000_000

FLOOR_QUANTILE = 0.05  # of the poses' lowest joints: one joint that is far off does not lift everybody off the floor


def world_axes(up: Axes, elevation: float = 0.0) -> np.ndarray:
    """The axes of a world (3, 3), as rows in the frame of a camera (x right, y down, z forward); right-handed.

    Args:
        up: the axis that points up: "y" (x right, z towards the camera) or "z" (x right, y away from the camera).
        elevation: of the camera above the horizon, degrees, positive where it looks down. It has no roll.
    """
    angle = np.radians(elevation)
    ahead = np.array([0.0, -np.sin(angle), np.cos(angle)])
    upwards = np.array([0.0, -np.cos(angle), -np.sin(angle)])
    right = np.array([1.0, 0.0, 0.0])
    return np.stack([right, upwards, -ahead] if up == "y" else [right, ahead, upwards])


def turn_to_world(axes: Axes, up: str, elevation: float) -> np.ndarray:
    """What turns points in ``axes`` to a world with ``up`` pointing up: points (..., 3) @ turn.T.

    Args:
        axes: that the points are in.
        up: "y" or "z".
        elevation: of the camera, if they are in its axes.

    Raises:
        InputError: ``up`` is none of these.
    """
    if up not in ("y", "z"):
        raise InputError(f"up: expected 'y' or 'z', got {up!r}")
    return world_axes(up, elevation) if axes == "camera" else world_axes(up) @ world_axes(axes).T


@dataclass(frozen=True, eq=False, repr=False)
class Person:
    """One person, in the frames in which the person was seen.

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

    def __repr__(self) -> str:
        return f"Person({self.name!r}, {len(self)} poses)"

    def __len__(self) -> int:
        return len(self.frame)

    def cut(self, first: int, end: int) -> "Person":
        """The person in frames ``first`` to ``end - 1``, counted from ``first``."""
        kept = slice(*np.searchsorted(self.frame, (first, end)))
        arrays = {name: getattr(self, name) for name in ("positions", "confidence", "ambiguity", "keypoints")}
        cut = {name: None if array is None else array[kept] for name, array in arrays.items()}
        return Person(self.name, self.frame[kept] - first, **cut)


@dataclass(frozen=True, eq=False, repr=False)
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
        elevation: of the camera above the horizon, degrees, positive where it looks down; ``to_world`` goes by it.
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
    elevation: float = 0.0
    image_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        placed = "placed" if self.placed else "not placed"
        return (
            f"Scene({self.source!r}, {len(self.people)} people, {self.poses} poses of {self.skeleton.name} in "
            f"{self.frames} frames at {self.fps:g} a second, {self.units}, {self.axes} axes, {placed})"
        )

    @property
    def poses(self) -> int:
        """Poses of all people."""
        return sum(map(len, self.people))

    def check(self, where: str | None = None) -> None:
        """Whether the scene is what its documentation says.

        Args:
            where: what the message begins with, ``source`` without it.

        Raises:
            InputError: units, axes, a rate or a size that are none, or a person whose arrays do not fit the scene.
        """
        where = where or self.source
        expected = {"units": get_args(Units), "axes": get_args(Axes)}
        for name, values in expected.items():
            if getattr(self, name) not in values:
                raise InputError(f"{where}: {name} {getattr(self, name)!r}, expected one of {', '.join(values)}")
        if not 0 < self.fps < np.inf:
            raise InputError(f"{where}: {self.fps} frames a second, expected a positive number")
        if not -90 <= self.elevation <= 90:
            raise InputError(f"{where}: elevation {self.elevation}, expected -90 to 90 degrees")
        if not 0 <= self.frames <= MOST_FRAMES:
            raise InputError(f"{where}: {self.frames} frames, expected 0 to {MOST_FRAMES:,}")
        if self.image_size is not None and (len(self.image_size) != 2 or min(self.image_size) < 1):
            raise InputError(f"{where}: image size {self.image_size}, expected width and height in pixels")
        names = [person.name for person in self.people]
        if len(set(names)) != len(names):
            raise InputError(f"{where}: two people have the same name: {', '.join(map(repr, sorted(names)))}")
        for text in (*self.notes, self.skeleton.name, *self.skeleton.joint_names, *names):
            try:
                text.encode()
            except UnicodeEncodeError as error:
                raise InputError(f"{where}: {text!r} is no text that can be written ({error.reason})") from error
        for person in self.people:
            self._check_person(where, person)

    def _check_person(self, where: str, person: Person) -> None:
        where = f"{where}: person {person.name!r}"
        if person.positions.shape[1] != self.skeleton.num_joints:
            raise InputError(
                f"{where} has {person.positions.shape[1]} joints, "
                f"expected {self.skeleton.num_joints} for {self.skeleton.name!r}"
            )
        if len(person) and person.frame[-1] >= self.frames:
            raise InputError(f"{where} is in frame {person.frame[-1]}, but there are only {self.frames} frames")
        if not np.isfinite(person.positions).all():
            raise InputError(f"{where} has positions that are not finite")
        for name in ("confidence", "ambiguity"):
            values = getattr(person, name)
            if values is not None and not ((values >= 0) & (values <= 1)).all():
                raise InputError(f"{where}: {name} must lie between 0 and 1")

    def person(self, name: str) -> Person:
        """The person called ``name``.

        Raises:
            InputError: nobody is called so.
        """
        for person in self.people:
            if person.name == name:
                return person
        known = ", ".join(person.name for person in self.people) or "nobody"
        raise InputError(f"{self.source}: nobody is called {name!r}; people: {known}")

    def select(self, people: Sequence[str] | None = None, frames: tuple[int, int] | None = None) -> "Scene":
        """Some people, and some frames, which are then counted from 0.

        Args:
            people: names, in the order in which they are to be; all without it.
            frames: the first frame and the one after the last; all without it.

        Raises:
            InputError: nobody has that name, or there are no such frames.
        """
        chosen = self.people if people is None else tuple(map(self.person, people))
        if frames is None:
            return replace(self, people=chosen)
        first, end = frames
        if not 0 <= first < end <= self.frames:
            raise InputError(f"{self.source}: frames {first}:{end}, expected a part of 0:{self.frames}")
        cut = [person.cut(first, end) for person in chosen]
        return replace(self, people=tuple(person for person in cut if len(person)), frames=end - first)

    def in_metres(self, metres_per_unit: float = METRES_PER_BODY_UNIT) -> "Scene":
        """The scene in metres; unchanged where it is already.

        Args:
            metres_per_unit: length of a body unit.
        """
        if self.units == "metres":
            return self
        people = [replace(person, positions=person.positions * np.float32(metres_per_unit)) for person in self.people]
        return replace(self, people=tuple(people), units="metres")

    def to_world(self, up: Literal["y", "z"] = "z", *, floor: bool = True) -> "Scene":
        """The scene with ``up`` pointing up. The camera was held without roll, at the scene's ``elevation``.

        Args:
            up: the axis that points up: "y" (x right, z towards the camera) or "z" (x right, y away from the camera).
            floor: move the scene so that it stands on the floor, at height 0: the lowest joints of (nearly) all poses
                where people are placed, the lowest joint of each pose by itself otherwise.

        Raises:
            InputError: ``up`` is none of these.
        """
        turn = turn_to_world(self.axes, up, self.elevation)
        if self.axes == up:
            return self
        people = [replace(person, positions=(person.positions @ turn.T).astype(np.float32)) for person in self.people]
        scene = replace(self, people=tuple(people), axes=up, elevation=0.0)
        return scene._on_floor() if floor and self.axes == "camera" else scene

    def _on_floor(self) -> "Scene":
        height = "xyz".index(self.axes)
        lowest = [person.positions[..., height].min(1) for person in self.people]  # (N,) each
        if self.placed and self.poses:
            ground = np.quantile(np.concatenate(lowest), FLOOR_QUANTILE, method="lower")
            lowest = [np.full_like(heights, ground) for heights in lowest]
        people = []
        for person, ground in zip(self.people, lowest, strict=True):
            positions = person.positions.copy()
            positions[..., height] -= ground[:, None]
            people.append(replace(person, positions=positions))
        return replace(self, people=tuple(people))
