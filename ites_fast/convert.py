"""``python -m ites_fast.convert``: 3D poses from one file format to another."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import tyro

from ites_fast import cli
from ites_fast.errors import InputError
from ites_fast.lifting.placement import check_height, metres_per_body_unit
from ites_fast.saving import save_scene
from ites_fast.scene.files import read_scene
from ites_fast.scene.joints import with_joints
from ites_fast.scene.scene import Scene
from ites_fast.skeleton import get_skeleton

Y_UP = (".bvh", ".glb", ".trc")  # whatever the input's axes are


@dataclass(frozen=True)
class ConvertOptions:
    """Convert 3D poses: .npz, .json, .csv, .bvh, .glb and .trc to each other and to pictures."""

    input: tyro.conf.Positional[str]
    """3D poses: .npz, .json, .csv, .bvh, .glb or .trc"""
    output: tyro.conf.Positional[str]
    """what to write, by suffix: one of these, or .png, .mp4, .gif, .html, .rrd; .bvh and .trc hold one person a file"""
    up: Literal["y", "z", "camera"] | None = None
    """axis that points up, or "camera" for x right, y down, z forward; as in INPUT without it"""
    skeleton: str | None = None
    """joints to write: the name of a skeleton such as coco_17, or a YAML file; as in INPUT without it"""
    fps: float | None = None
    """frames a second, where INPUT says something else"""
    person: tuple[str, ...] = ()
    """only these people, by name"""
    frames: str | None = None
    """only these frames, START:END, counted from 0, END not included; either may be left out"""
    height: float | None = None
    """stature of the people in metres: turns body units into metres"""
    overwrite: bool = False
    """replace files that exist"""


def main(options: ConvertOptions) -> None:
    """Read, change what the options ask for, write, and say what was written."""
    output = Path(options.output)
    if options.up not in (None, "y") and output.suffix.lower() in Y_UP:
        raise InputError(f"--up {options.up}: {output.suffix} files always have y up")
    if output.exists() and Path(options.input).exists() and output.samefile(options.input):
        raise InputError(f"{output}: input and output are the same file")
    scene = changed(read_scene(options.input), options)
    for path in save_scene(scene, output, overwrite=options.overwrite):
        print(f"written: {path}")


def changed(scene: Scene, options: ConvertOptions) -> Scene:
    """The scene with the people, frames, joints, units and axes that the options ask for."""
    if options.person or options.frames is not None:
        scene = scene.select(options.person or None, _frames(options.frames, scene))
    if options.fps is not None:
        scene = replace(scene, fps=options.fps)
        scene.check()
    if options.skeleton is not None:
        scene = with_joints(scene, get_skeleton(options.skeleton))
    if options.height is not None:
        if scene.units == "metres":
            raise InputError(f"--height {options.height:g}: {options.input} is in metres already")
        scene = scene.in_metres(metres_per_body_unit(check_height(options.height)))
    if options.up == "camera" and scene.axes != "camera":
        raise InputError(f"--up camera: {options.input} has {scene.axes} up, and does not say where the camera was")
    return scene if options.up in (None, "camera") else scene.to_world(options.up)


def _frames(text: str | None, scene: Scene) -> tuple[int, int] | None:
    if text is None:
        return None
    first, colon, end = text.partition(":")
    try:
        if not colon:
            raise ValueError
        return int(first or 0), int(end or scene.frames)
    except ValueError:
        raise InputError(f"--frames {text}: expected START:END, such as 100:250") from None


if __name__ == "__main__":
    cli.run(main, ConvertOptions, prog="python -m ites_fast.convert", description=ConvertOptions.__doc__)
