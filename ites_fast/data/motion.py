"""Recorded motion before any camera: joints in a world whose z axis points up."""

import re
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np


@dataclass(frozen=True, eq=False)
class Motion:
    """One recording of one person."""

    name: str
    subject: str
    positions: np.ndarray  # (F, 17, 3), metres, z up, joints as in H36M_17
    frame: np.ndarray  # (F,) int32, number in the file, from 0
    fps: float

    def __len__(self) -> int:
        return len(self.positions)

    def thinned(self, fps: float) -> "Motion":
        """Every n-th frame, n the whole number that comes nearest to ``fps``; never more frames than there are."""
        step = max(1, round(self.fps / fps))
        return replace(self, positions=self.positions[::step], frame=self.frame[::step], fps=self.fps / step)

    def moving(self, distance: float) -> "Motion":
        """Without the frames in which no joint has moved ``distance`` metres since the last one that was kept."""
        kept = [0]
        for index in range(1, len(self)):
            moved = np.linalg.norm(self.positions[index] - self.positions[kept[-1]], axis=-1).max()
            if moved >= distance:
                kept.append(index)
        return replace(self, positions=self.positions[kept], frame=self.frame[kept])

    def centred(self) -> "Motion":
        """With the mean position of the hip as the origin."""
        return replace(self, positions=self.positions - self.positions[:, 0].mean(0))


def subject_of(path: Path) -> str:
    """ "07" for ``07_01.amc``, as the CMU database names its files; the name of the folder for other names."""
    match = re.fullmatch(r"(\d+)_\d+", path.stem)
    return match[1] if match else path.resolve().parent.name


def z_up(positions: np.ndarray) -> np.ndarray:
    """Positions (..., 3) of a world with y up in one with z up: (x, y, z) becomes (z, x, y)."""
    return positions[..., [2, 0, 1]]
