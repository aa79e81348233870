"""``python -m ites_fast.visualize``: pictures, films and 3D pages of poses that were saved before."""

from dataclasses import dataclass
from pathlib import Path

import tyro

from ites_fast import cli
from ites_fast.errors import InputError
from ites_fast.pictures.rerun_log import open_viewer
from ites_fast.saving import save_scene
from ites_fast.scene.files import read_scene

PICTURES = (".html", ".png", ".mp4", ".gif", ".rrd")


@dataclass(frozen=True)
class VisualizeOptions:
    """Draw 3D poses: a page with a 3D player, a contact sheet, a film, or a recording for Rerun."""

    input: tyro.conf.Positional[str]
    """3D poses as ites_fast writes them: .npz, .json, .csv, .bvh, .trc or .glb"""
    output: tuple[str, ...] = ()
    """files to write, by suffix: .html, .png, .mp4, .gif, .rrd; without any, INPUT's name with .html, in this folder"""
    video: str | None = None
    """the video that the poses were lifted from, drawn under the keypoints of .mp4 and .gif"""
    rerun: bool = False
    """open the Rerun viewer"""
    overwrite: bool = False
    """replace files that exist"""


def main(options: VisualizeOptions) -> None:
    """Read the poses, draw them, say what was written."""
    outputs = options.output or (() if options.rerun else (f"{Path(options.input).stem}.html",))
    for output in outputs:
        if Path(output).suffix.lower() not in PICTURES:
            raise InputError(
                f"{output}: expected one of {', '.join(PICTURES)}; python -m ites_fast.convert writes others"
            )
    scene = read_scene(options.input)
    for output in outputs:
        for path in save_scene(scene, output, video=options.video, overwrite=options.overwrite):
            print(f"written: {path}")
    if options.rerun:
        open_viewer(scene)


if __name__ == "__main__":
    cli.run(main, VisualizeOptions, prog="python -m ites_fast.visualize", description=VisualizeOptions.__doc__)
