"""``python -m ites_fast.lift``: a detector's 2D keypoints, or a video, to 3D poses, animations and pictures."""

import math
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import tyro

from ites_fast import cli
from ites_fast.detections import Detections
from ites_fast.detections.loading import read_detections
from ites_fast.device import Device, choose_device
from ites_fast.errors import InputError
from ites_fast.lifter import Lifter
from ites_fast.lifting.detections import lift_detections
from ites_fast.lifting.frames import MIN_CONFIDENCE
from ites_fast.saving import check_output, save_scene
from ites_fast.scene import Scene


@dataclass(frozen=True)
class LiftOptions:
    """Lift 2D keypoints of people to 3D, and write poses, animations, pages and films."""

    input: tyro.conf.Positional[str]
    """a folder of OpenPose, a file of AlphaPose, COCO, MMPose, MediaPipe, VideoPose3D, CSV or npz, a video, or webcam:0
    (docs/DETECTIONS.md)"""
    output: tuple[str, ...] = ()
    """files to write, by suffix: .npz, .json, .csv, .bvh, .glb, .trc, .html, .png, .mp4, .gif, .rrd; without any,
    INPUT's name with .html, in this folder"""
    format: str | None = None
    """of INPUT, where its content does not tell"""
    skeleton: str | None = None
    """joints of the keypoints, where INPUT does not tell: a name such as coco_17 or a YAML file (docs/SKELETONS.md)"""
    image_size: tuple[int, int] | None = None
    """width and height of the pictures, where INPUT does not tell"""
    fps: float | None = None
    """frames a second, where INPUT does not tell; 30 if nobody does"""
    focal: float | None = None
    """focal length of the camera in pixels; without it and --fov a usual one is assumed"""
    fov: float | None = None
    """field of view of the camera along the longer side of the picture, in degrees"""
    height: float | None = None
    """of the people, metres; with it, or with the camera, lengths are in metres"""
    elevation: float | None = None
    """how far the camera looks down, degrees; without it, estimated from how people stand"""
    checkpoint: str | None = None
    """weights: a run's folder, a .safetensors file or a Hugging Face id; without it those that come with the package"""
    min_confidence: float = MIN_CONFIDENCE
    """joints that the detector is less sure of are filled in by the network"""
    smooth: Literal["savitzky_golay", "one_euro", "none"] = "savitzky_golay"
    """against jitter over time: for recordings, for live use (no look ahead), or nothing"""
    constant_bones: bool = True
    """give every person the same bone lengths in all frames"""
    consistent_depth: bool = True
    """choose the sign of depth for a whole sequence, where single views leave it open"""
    axes: Literal["camera", "y", "z"] = "camera"
    """of .npz, .json and .csv: the camera's (x right, y down, z forward), or a world with that axis up"""
    video: str | None = None
    """the video that INPUT was detected in, drawn under the keypoints of .mp4 and .gif"""
    min_frames: int = 1
    """leave out people who are seen in fewer frames"""
    rerun: bool = False
    """open the Rerun viewer"""
    overwrite: bool = False
    """replace files that exist"""
    device: Device = "auto"
    """"auto" takes CUDA where there is a GPU"""


def main(options: LiftOptions) -> None:
    """Read, lift, write; everything that can be refused is looked at before the work starts."""
    outputs = options.output or (() if options.rerun else (f"{_stem(options.input)}.html",))
    for output in outputs:
        check_output(output, overwrite=options.overwrite)
    if options.min_frames < 1:
        raise InputError(f"--min-frames: expected at least 1, got {options.min_frames}")
    if options.video is not None and not Path(options.video).is_file():
        raise InputError(f"--video {options.video}: no such file")
    lifter = Lifter.from_pretrained(options.checkpoint, device=choose_device(options.device))
    detections = read_detections(
        options.input,
        format=options.format,
        skeleton=options.skeleton,
        fps=options.fps,
        image_size=options.image_size,
    )
    print(describe(detections))
    detections = with_image_size(detections)
    scene = lift(lifter, detections, options)
    for line in summary(scene):
        print(line)
    world = scene if options.axes == "camera" else scene.to_world(options.axes)
    for output in outputs:
        for path in save_scene(world, output, video=options.video or detections.video, overwrite=options.overwrite):
            print(f"written: {path}")
    if options.rerun:
        from ites_fast.pictures.rerun_log import open_viewer

        open_viewer(scene)


def lift(lifter: Lifter, detections: Detections, options: LiftOptions) -> Scene:
    """The people of a video in 3D, in the camera's frame."""
    said = options.focal is not None or options.fov is not None
    frames = lifter.frames(
        detections.skeleton,
        detections.image_size,
        camera=None if said else detections.camera,
        focal=options.focal,
        fov=options.fov,
        height=options.height,
        min_confidence=options.min_confidence,
    )
    return lift_detections(
        frames,
        detections,
        elevation=options.elevation,
        smooth=None if options.smooth == "none" else options.smooth,
        constant_bones=options.constant_bones,
        consistent_depth=options.consistent_depth,
        min_frames=options.min_frames,
    )


def with_image_size(detections: Detections) -> Detections:
    """Several people stand beside each other only if the image's size is known: it is taken to be what they cover."""
    if detections.image_size is not None or detections.camera is not None or len(detections.tracks) < 2:
        return detections
    reach = np.max([np.nanmax(track.keypoints[..., :2], axis=(0, 1)) for track in detections.tracks], axis=0)
    width, height = (max(1, math.ceil(side)) for side in reach)
    note = f"The image's size is not known: it is taken to be {width} x {height} pixels, which the keypoints cover."
    return replace(detections, image_size=(width, height), notes=(*detections.notes, note))


def describe(detections: Detections) -> str:
    """One line on what was read."""
    people, poses = len(detections.tracks), sum(map(len, detections.tracks))
    size = "of unknown size" if detections.image_size is None else "{} x {} pixels".format(*detections.image_size)
    rate = "" if detections.fps is None else f" at {detections.fps:g} a second"
    return (
        f"{detections.source}: {detections.frames:,} frames{rate}, {size}; "
        f"{_number(people, 'person', 'people')}, {_number(poses, 'pose')} of {detections.skeleton.name}"
    )


def summary(scene: Scene) -> list[str]:
    """Lines on what was lifted and what was assumed."""
    where = "placed in space" if scene.placed else "root-relative"
    return [f"{_number(scene.poses, 'pose')} in 3D, {scene.units}, {where}", *(f"note: {note}" for note in scene.notes)]


def _number(count: int, one: str, many: str | None = None) -> str:
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def _stem(path: str) -> str:
    """What to call the result of an input: the name of its file or folder."""
    name = os.path.basename(os.path.abspath(path.partition("::")[0]))
    return Path(name).stem.replace(":", "_") or "poses"


if __name__ == "__main__":
    cli.run(main, LiftOptions, prog="python -m ites_fast.lift", description=LiftOptions.__doc__)
