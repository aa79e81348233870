"""A scene in perspective: floor, shadows and people, seen by a camera that can go around them."""

from dataclasses import dataclass

import numpy as np

from ites_fast.pictures.canvas import BACKGROUND, GRID, MIDDLE, SHADOW, Canvas, bone_colours, mix
from ites_fast.pictures.people_at import PeopleAt
from ites_fast.scene import Scene

FIELD_OF_VIEW = np.radians(30.0)
PITCH = np.radians(14.0)  # the camera looks down by so much
MARGIN = 1.0
FOLLOW_FROM = 2.0  # times the size of a frame's people: a longer way is followed by the camera
FOLLOW_SECONDS = 1.0
BONE_WIDTH = 0.06  # of the size of a person
FILLED_IN = 0.55  # how far the colour of a joint that was not seen goes to the background
GRID_LINES = 9


@dataclass(frozen=True)
class Framing:
    """Where the camera looks at.

    Args:
        centre: in each frame (frames, 3).
        radius: of what has to be seen around it.
        body: height of a typical person, in the scene's units.
    """

    centre: np.ndarray
    radius: float
    body: float


def framing(scene: Scene) -> Framing:
    """What has to be seen of a scene with z up. A person who walks far is followed, others are not.

    Args:
        scene: with at least one pose.
    """
    low = np.full((scene.frames, 3), np.inf)
    high = -low
    for person in scene.people:
        low[person.frame] = np.minimum(low[person.frame], person.positions.min(1))
        high[person.frame] = np.maximum(high[person.frame], person.positions.max(1))
    seen = np.flatnonzero(np.isfinite(low[:, 0]))
    size = np.linalg.norm(high[seen] - low[seen], axis=1)
    middle = (low[seen] + high[seen]) / 2
    body = float(
        np.median(np.concatenate([np.ptp(person.positions[..., 2], axis=1) for person in scene.people if len(person)]))
    )
    corner_low, corner_high = low[seen].min(0), high[seen].max(0)
    whole = float(np.linalg.norm(corner_high - corner_low))
    if whole <= FOLLOW_FROM * np.quantile(size, 0.95):
        return Framing(np.tile((corner_low + corner_high) / 2, (scene.frames, 1)), whole / 2, body)
    centre = np.stack([np.interp(np.arange(scene.frames), seen, column) for column in middle.T], 1)
    centre = _moving_average(centre, max(1, round(scene.fps * FOLLOW_SECONDS)))
    reach = np.linalg.norm(np.maximum(abs(high[seen] - centre[seen]), abs(low[seen] - centre[seen])), axis=1)
    return Framing(centre, float(np.quantile(reach, 0.98)), body)


def _moving_average(values: np.ndarray, window: int) -> np.ndarray:
    """Mean over ``window`` rows around each (T, D); the ends are continued."""
    before = window // 2
    padded = np.concatenate([values[:1].repeat(before + 1, 0), values, values[-1:].repeat(window - before - 1, 0)])
    total = padded.cumsum(0)
    return (total[window:] - total[:-window]) / window


class View3D:
    """Draws frames of a scene with z up.

    Args:
        scene: with at least one pose.
        size: of the pictures, width and height.
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.scene = scene
        self.size = size
        self.people_at = PeopleAt(scene)
        self.framing = framing(scene)
        self.colours = bone_colours(scene.skeleton)
        self.distance = MARGIN * self.framing.radius / np.sin(FIELD_OF_VIEW / 2)
        self.focal = min(size) / 2 / np.tan(FIELD_OF_VIEW / 2)

    def draw(self, frame: int, yaw: float = 0.0) -> Canvas:
        """One frame, seen by a camera that went around the people by ``yaw`` (radians) from the original one."""
        canvas = Canvas(self.size)
        centre = self.framing.centre[frame]
        axes = _axes(yaw)
        people = list(self.people_at(frame))
        self._floor(canvas, centre, axes)
        self._shadows(canvas, people, centre, axes)
        self._bones(canvas, people, centre, axes)
        if len(self.scene.people) > 1:
            self._names(canvas, people, centre, axes)
        return canvas

    def project(self, points: np.ndarray, centre: np.ndarray, axes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Places in the picture (N, 2) and depths (N,) of points (N, 3)."""
        view = (points - centre) @ axes.T
        depth = np.maximum(view[:, 2] + self.distance, 0.05 * self.distance)
        middle = np.array(self.size) / 2
        return middle + self.focal * view[:, :2] / depth[:, None], depth

    def _floor(self, canvas: Canvas, centre: np.ndarray, axes: np.ndarray) -> None:
        step = self.framing.body / 3
        around = np.round(centre[:2] / step) * step
        ends = (np.arange(GRID_LINES) - GRID_LINES // 2) * step
        reach = ends[-1]
        for offset in ends:
            colour = mix(GRID, BACKGROUND, 0.75 * abs(offset) / reach)
            for line in ([[offset, -reach, 0], [offset, reach, 0]], [[-reach, offset, 0], [reach, offset, 0]]):
                points, _ = self.project(np.array(line) + np.append(around, 0.0), centre, axes)
                canvas.line(points[0], points[1], 1.0, colour)

    def _shadows(self, canvas: Canvas, people: list, centre: np.ndarray, axes: np.ndarray) -> None:
        for person, row in people:
            points, depth = self.project(person.positions[row] * [1.0, 1.0, 0.0], centre, axes)
            for child, parent in self.scene.skeleton.edges:
                canvas.line(points[child], points[parent], self._width(depth[child]), SHADOW)

    def _bones(self, canvas: Canvas, people: list, centre: np.ndarray, axes: np.ndarray) -> None:
        """The bones of all people, the farthest first, each with a rim that sets it off from what is behind it."""
        bones = []
        for person, row in people:
            points, depth = self.project(person.positions[row], centre, axes)
            for (child, parent), colour in zip(self.scene.skeleton.edges, self.colours, strict=True):
                seen = person.confidence[row, [child, parent]].min() > 0
                far = (depth[child] + depth[parent]) / 2
                shade = np.clip((far - self.distance) / (4 * self.framing.body), -0.15, 0.35)
                colour = mix(colour, BACKGROUND if shade > 0 else (0, 0, 0), abs(float(shade)))
                colour = colour if seen else mix(colour, BACKGROUND, FILLED_IN)
                bones.append((far, points[child], points[parent], colour))
            head = self.scene.skeleton.head
            if head is not None:
                neck = self.scene.skeleton.parents[head]
                skull = (person.positions[row, head] + person.positions[row, neck])[None] / 2
                (place,), (far,) = self.project(skull, centre, axes)
                bones.append((far, place, None, mix(MIDDLE, BACKGROUND, 0.1)))
        for far, start, end, colour in sorted(bones, key=lambda bone: -bone[0]):
            width = self._width(far)
            if end is None:
                canvas.disc(start, 1.1 * width, mix(colour, BACKGROUND, 0.85))
                canvas.disc(start, 1.1 * width - 1.0, colour)
            else:
                canvas.line(start, end, width + 1.6, mix(colour, BACKGROUND, 0.85))
                canvas.line(start, end, width, colour)

    def _names(self, canvas: Canvas, people: list, centre: np.ndarray, axes: np.ndarray) -> None:
        for person, row in people:
            top = person.positions[row][person.positions[row, :, 2].argmax()] + [0, 0, 0.12 * self.framing.body]
            (place,), _ = self.project(top[None], centre, axes)
            canvas.text(tuple(place), person.name, anchor="ms")

    def _width(self, depth: float) -> float:
        return max(1.0, BONE_WIDTH * self.framing.body * self.focal / depth * 0.6)


def _axes(yaw: float) -> np.ndarray:
    """Right, down and forward (3, 3) of a camera that looks down by ``PITCH``, in a world with z up."""
    sin, cos = np.sin(yaw), np.cos(yaw)
    right = np.array([cos, sin, 0.0])
    ahead = np.array([-sin, cos, 0.0])
    up = np.array([0.0, 0.0, 1.0])
    forward = np.cos(PITCH) * ahead - np.sin(PITCH) * up
    return np.stack([right, np.cross(forward, right), forward])
