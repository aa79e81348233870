"""3D poses as arrays or tensors: what ``Lifter`` returns."""

import os
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from ites_fast.errors import InputError
from ites_fast.scene import Person, Scene
from ites_fast.scene.scene import FLOOR_QUANTILE, Axes, Units, turn_to_world
from ites_fast.skeleton import Skeleton

Array = np.ndarray | Tensor

FRAMES = {
    "camera": "camera (x right, y down, z forward)",
    "y": "world, y up (x right, z towards the camera)",
    "z": "world, z up (x right, y away from the camera)",
}


@dataclass(frozen=True, eq=False, repr=False)
class Poses:
    """3D poses of one or several people, in one or several frames. Arrays are float32.

    All arrays are of the kind that the keypoints were: numpy arrays, or tensors on their device. The dots stand for
    the leading dimensions of the keypoints: none, (T,) frames or (P, T) people and frames.

    Args:
        positions: joints (..., J, 3) relative to the root joint (the hip), in ``axes`` and ``units``. NaN where nobody
            could be lifted.
        confidence: of each joint (..., J), from 0 to 1; 0 for joints that the network filled in.
        skeleton: the joints.
        units: "metres" or "body units", of which one is the distance from hip to head of an average body.
        axes: "camera": x right, y down, z forward; "y" and "z": a world in which that axis is up, see ``to_world``.
        translation: where the root is (..., 3), in the same axes and units; None where that is unknown.
        placed: whether ``translation`` is a place in space. In a world the root of poses without a place is above the
            origin of the floor.
        ambiguity: of each pose (...,), 0 where the sign of depth is certain, 1 where it is a guess; None: unknown.
        elevation: of the camera above the horizon, degrees, positive where it looks down; ``to_world`` goes by it.
        keypoints: where the joints were seen (..., J, 3): x, y in pixels and confidence; NaN, NaN, 0 where they were
            not.
        fps: frames a second, None: unknown.
        image_size: of the keypoints, width and height, pixels; None: unknown.
        notes: what was assumed, filled in or left out, for people to read.
    """

    positions: Array
    confidence: Array
    skeleton: Skeleton
    units: Units = "body units"
    axes: Axes = "camera"
    translation: Array | None = None
    placed: bool = False
    ambiguity: Array | None = None
    elevation: float = 0.0
    keypoints: Array | None = None
    fps: float | None = None
    image_size: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.positions.shape[:-2])) or "1"
        placed = "placed in space" if self.placed else "root-relative"
        return f"Poses({shape} of {self.skeleton.name}, {self.units}, {self.frame}, {placed})"

    @property
    def joint_names(self) -> tuple[str, ...]:
        """Names of the joints, in the order of ``positions``."""
        return self.skeleton.joint_names

    @property
    def frame(self) -> str:
        """The coordinate frame in words."""
        return FRAMES[self.axes]

    @cached_property
    def absolute(self) -> Array:
        """Joints (..., J, 3) in space: ``positions`` where the root is.

        Raises:
            InputError: where the root is, is unknown.
        """
        if self.translation is None:
            raise InputError(
                "absolute positions: nothing is known of the camera; give the lifter image_size, focal, fov or camera"
            )
        return self.positions + self.translation[..., None, :]

    def to_world(self, up: Literal["y", "z"] = "z", *, floor: bool = True) -> "Poses":
        """The poses with ``up`` pointing up. The camera was held without roll, at the poses' ``elevation``.

        ``positions`` stay relative to the root; ``absolute`` then stands on the floor.

        Args:
            up: the axis that points up: "y" (x right, z towards the camera) or "z" (x right, y away from the camera).
            floor: move the poses so that they stand on the floor, at height 0: the lowest joints of (nearly) all poses
                where they have a place, the lowest joint of each pose by itself otherwise. Poses without a place get a
                ``translation`` above the origin by that.

        Raises:
            InputError: ``up`` is none of these.
        """
        turn = turn_to_world(self.axes, up, self.elevation)
        if self.axes == up:
            return self
        turn = self._like(turn.T)
        positions = self.positions @ turn
        translation = None if self.translation is None else self.translation @ turn
        poses = replace(self, positions=positions, translation=translation, axes=up, elevation=0.0)
        return poses._on_floor() if floor and self.axes == "camera" else poses

    def scene(self, *, fps: float | None = None, source: str = "poses", person: str = "person") -> Scene:
        """The poses as a ``Scene``, which is what files and pictures are made from.

        Frames in which a person could not be lifted are left out.

        Args:
            fps: frames a second; by default those that the lifter was told, else 30.
            source: what messages call it.
            person: name of the people, who are numbered where there are several.
        """
        positions = _numpy(self.positions if self.translation is None else self.absolute)
        leading = positions.shape[:-2]
        P, T = (1, *leading, 1)[-2:] if len(leading) < 2 else leading
        if len(leading) == 1:
            P, T = 1, leading[0]

        def by_person(values: Array | None) -> np.ndarray | None:
            return None if values is None else _numpy(values).reshape(P, T, *values.shape[len(leading) :])

        names = [person] if P == 1 else [f"{person} {number}" for number in range(1, P + 1)]
        parts = [by_person(each) for each in (positions, self.confidence, self.ambiguity, self.keypoints)]
        people = []
        for index, name in enumerate(names):
            own = [None if part is None else part[index] for part in parts]
            frame = np.flatnonzero(np.isfinite(own[0]).all((1, 2)))
            if len(frame):
                people.append(Person(name, frame, *(None if part is None else part[frame] for part in own)))
        people.sort(key=lambda each: each.frame[0])
        rate = fps or self.fps
        return Scene(
            source,
            self.skeleton,
            tuple(people),
            T,
            **({} if rate is None else {"fps": float(rate)}),
            units=self.units,
            axes=self.axes,
            placed=self.placed,
            elevation=self.elevation,
            image_size=self.image_size,
            notes=self.notes,
        )

    def save(
        self, path: str | os.PathLike, *, fps: float | None = None, video: str | os.PathLike | None = None
    ) -> list[Path]:
        """Write the poses to a file, of which the suffix says the format; see ``saving.SUFFIXES``.

        Args:
            path: such as "walk.bvh", "walk.glb", "walk.json" or "walk.html".
            fps: see ``scene``.
            video: where the keypoints are from, for the formats that show it.

        Returns:
            The files that were written: one, or one a person in formats that hold one person.

        Raises:
            InputError: the suffix is unknown, or a package is missing that the format needs.
            OSError: the file cannot be written.
        """
        from ites_fast.saving import save_scene

        return save_scene(self.scene(fps=fps), path, video=video)

    def _on_floor(self) -> "Poses":
        height = "xyz".index(self.axes)
        heights = self.positions[..., height]  # (..., J)
        if isinstance(self.positions, Tensor):
            lowest, zeros = heights.amin(-1), self.positions.new_zeros((*heights.shape[:-1], 3))
        else:
            lowest, zeros = heights.min(-1), np.zeros((*heights.shape[:-1], 3), np.float32)
        translation = zeros if self.translation is None else self.translation * 1
        if self.placed:
            grounds = _numpy(lowest + translation[..., height])
            grounds = grounds[np.isfinite(grounds)]
            if grounds.size:
                translation[..., height] -= float(np.quantile(grounds, FLOOR_QUANTILE, method="lower"))
        else:
            translation[..., height] = -lowest
        return replace(self, translation=translation)

    def _like(self, values: Any) -> Array:
        values = np.asarray(values, np.float32)
        return torch.from_numpy(values).to(self.positions) if isinstance(self.positions, Tensor) else values


def _numpy(values: Array) -> np.ndarray:
    return values.cpu().numpy() if isinstance(values, Tensor) else values
