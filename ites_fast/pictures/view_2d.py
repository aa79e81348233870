"""The image that poses were lifted from: keypoints over the picture, or over nothing where there is none."""

import numpy as np
from PIL import Image

from ites_fast.pictures.canvas import MIDDLE, Canvas, Colour, bone_colours, mix
from ites_fast.pictures.people_at import PeopleAt
from ites_fast.scene import Scene

PLAIN: Colour = (232, 232, 236)
MARGIN = 0.08  # of the keypoints' extent, where the size of the image is not known
LINE = 0.011  # of the picture's shorter side


class View2D:
    """Draws the keypoints of a scene's frames.

    Args:
        scene: whose people have keypoints.
        size: of the pictures, width and height; the image is fitted into it.
    """

    def __init__(self, scene: Scene, size: tuple[int, int]) -> None:
        self.scene = scene
        self.size = size
        self.people_at = PeopleAt(scene)
        self.colours = bone_colours(scene.skeleton)
        low, high = image_extent(scene)
        self.scale = float(min(np.array(size) / (high - low)))
        self.offset = np.array(size) / 2 - self.scale * (low + high) / 2

    def draw(self, frame: int, picture: np.ndarray | None = None) -> Canvas:
        """One frame, over a ``picture`` (H, W, 3) uint8 of the video where there is one."""
        canvas = Canvas(self.size, PLAIN if picture is None else self._fitted(picture))
        width = max(1.5, LINE * min(self.size))
        for person, row in self.people_at(frame):
            if person.keypoints is None:
                continue
            points = person.keypoints[row, :, :2] * self.scale + self.offset
            seen = np.isfinite(points).all(-1)
            for (child, parent), colour in zip(self.scene.skeleton.edges, self.colours, strict=True):
                if seen[child] and seen[parent]:
                    faint = 0.5 * (1 - float(np.clip(person.keypoints[row, [child, parent], 2].min(), 0, 1)))
                    canvas.line(points[child], points[parent], width, mix(colour, PLAIN, faint))
            for point in points[seen]:
                canvas.disc(point, 0.6 * width, (255, 255, 255), MIDDLE)
        return canvas

    def _fitted(self, picture: np.ndarray) -> Image.Image:
        """The picture where its pixels belong."""
        height, width = picture.shape[:2]
        image = Image.new("RGB", self.size, PLAIN)
        shown = (max(1, round(width * self.scale)), max(1, round(height * self.scale)))
        place = tuple(np.round(self.offset).astype(int).tolist())
        image.paste(Image.fromarray(picture).resize(shown, Image.Resampling.BILINEAR), place)
        return image


def has_image(scene: Scene) -> bool:
    """Whether any keypoint is known."""
    return any(person.keypoints is not None and np.isfinite(person.keypoints).any() for person in scene.people)


def image_extent(scene: Scene) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper corner of the image (2,): its size where that is known, what the keypoints cover otherwise."""
    if scene.image_size is not None:
        return np.zeros(2), np.array(scene.image_size, dtype=float)
    points = np.concatenate(
        [person.keypoints[..., :2].reshape(-1, 2) for person in scene.people if person.keypoints is not None]
    )
    low, high = np.nanmin(points, 0).astype(float), np.nanmax(points, 0).astype(float)
    edge = MARGIN * max(1e-6, float((high - low).max()))
    return low - edge, high + edge
