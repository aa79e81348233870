"""A scene at a glance: frames side by side in one PNG, the image above and the pose from two sides below."""

import os

import numpy as np
from PIL import Image

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.pictures.canvas import Canvas
from ites_fast.pictures.view_2d import View2D, has_image, image_extent
from ites_fast.pictures.view_3d import View3D
from ites_fast.scene import Scene

FRAMES = 12
COLUMNS = 6
CELL = 220  # pixels, width of a frame
SIDE = np.radians(-60.0)
GAP = 8
LABEL = 18


def write_png(scene: Scene, path: str | os.PathLike) -> None:
    """Draw up to ``FRAMES`` frames, evenly spaced over those with people, in rows of ``COLUMNS``.

    Each frame has the keypoints (where there are any), the pose as the camera sees it, and the pose from the side.

    Args:
        scene: in any axes.
        path: the PNG.

    Raises:
        InputError: nobody is in the scene.
        OSError: the file cannot be written.
    """
    if scene.poses == 0:
        raise InputError(f"{scene.source}: nobody is in it, so there is nothing to draw")
    scene = scene.to_world("z")
    occupied = np.unique(np.concatenate([person.frame for person in scene.people]))
    chosen = occupied[np.unique(np.linspace(0, len(occupied) - 1, FRAMES).round().astype(int))]
    cells = _Cells(scene)
    rows = -(-len(chosen) // COLUMNS)
    columns = min(COLUMNS, len(chosen))
    sheet = Image.new("RGB", (columns * (CELL + GAP) + GAP, rows * (cells.height + GAP) + GAP), (255, 255, 255))
    for number, frame in enumerate(chosen.tolist()):
        row, column = divmod(number, COLUMNS)
        sheet.paste(cells.draw(frame), (GAP + column * (CELL + GAP), GAP + row * (cells.height + GAP)))
    with atomic_path(path) as temporary:
        sheet.save(temporary, format="PNG", optimize=True)


class _Cells:
    """Draws the cell of one frame."""

    def __init__(self, scene: Scene) -> None:
        self.scene = scene
        self.view = View3D(scene, (CELL, CELL))
        self.image = None
        if has_image(scene):
            low, high = image_extent(scene)
            shown = round(np.clip(CELL * (high - low)[1] / (high - low)[0], CELL / 3, 1.4 * CELL))
            self.image = View2D(scene, (CELL, shown))
        self.height = LABEL + 2 * CELL + GAP // 2 + (0 if self.image is None else self.image.size[1] + GAP // 2)

    def draw(self, frame: int) -> Image.Image:
        cell = Canvas((CELL, self.height), (255, 255, 255))
        cell.text((2, 2), f"frame {frame}, {frame / self.scene.fps:.2f} s", size=11)
        cell = cell.finish()
        top = LABEL
        pictures = [] if self.image is None else [self.image.draw(frame)]
        for picture in (*pictures, self.view.draw(frame), self.view.draw(frame, SIDE)):
            cell.paste(picture.finish(), (0, top))
            top += picture.size[1] + GAP // 2
        return cell
