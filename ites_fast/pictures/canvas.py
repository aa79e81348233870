"""A drawing surface: lines with round ends, discs and text, drawn larger and scaled down for smooth edges."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ites_fast.skeleton import Skeleton

Colour = tuple[int, int, int]

LEFT, RIGHT, MIDDLE = (217, 95, 2), (31, 120, 180), (84, 84, 92)
BACKGROUND, GRID, SHADOW, TEXT = (246, 246, 248), (214, 214, 220), (226, 226, 231), (60, 60, 68)
OVERSAMPLING = 2


class Canvas:
    """A picture of ``size`` (width, height) pixels; all lengths and places are in these pixels."""

    def __init__(self, size: tuple[int, int], background: Colour | Image.Image = BACKGROUND) -> None:
        self.size = size
        large = (size[0] * OVERSAMPLING, size[1] * OVERSAMPLING)
        if isinstance(background, Image.Image):
            self._image = background.convert("RGB").resize(large, Image.Resampling.BILINEAR)
        else:
            self._image = Image.new("RGB", large, background)
        self._draw = ImageDraw.Draw(self._image)

    def line(self, start: np.ndarray, end: np.ndarray, width: float, colour: Colour) -> None:
        """A line with round ends."""
        points = np.stack([start, end]) * OVERSAMPLING
        self._draw.line(
            [tuple(point) for point in points.tolist()], fill=colour, width=max(1, round(width * OVERSAMPLING))
        )
        if width > 1:
            for point in (start, end):
                self.disc(point, width / 2, colour)

    def disc(self, centre: np.ndarray, radius: float, colour: Colour, outline: Colour | None = None) -> None:
        """A filled circle."""
        x, y = (centre * OVERSAMPLING).tolist()
        r = radius * OVERSAMPLING
        self._draw.ellipse((x - r, y - r, x + r, y + r), fill=colour, outline=outline, width=OVERSAMPLING)

    def text(
        self, place: tuple[float, float], text: str, size: int = 12, colour: Colour = TEXT, anchor: str = "la"
    ) -> None:
        """One line of text; ``anchor`` as Pillow names it."""
        x, y = place[0] * OVERSAMPLING, place[1] * OVERSAMPLING
        self._draw.text((x, y), text, fill=colour, font=_font(size * OVERSAMPLING), anchor=anchor)

    def finish(self) -> Image.Image:
        """The picture (RGB)."""
        return self._image.reduce(OVERSAMPLING)


def joint_colours(skeleton: Skeleton) -> list[Colour]:
    """One colour for each joint: of the side that it belongs to."""
    left, right = set(skeleton.left), set(skeleton.right)
    return [LEFT if j in left else RIGHT if j in right else MIDDLE for j in range(skeleton.num_joints)]


def bone_colours(skeleton: Skeleton) -> list[Colour]:
    """One colour for each edge: that of its outer joint."""
    colours = joint_colours(skeleton)
    return [colours[child] for child, _ in skeleton.edges]


def mix(colour: Colour, other: Colour, share: float) -> Colour:
    """``colour`` with a ``share`` of ``other``."""
    return tuple(round(a + (b - a) * share) for a, b in zip(colour, other, strict=True))


@lru_cache
def _font(size: int) -> ImageFont.ImageFont:
    return ImageFont.load_default(size)
