"""A scene as one HTML page with a 3D player. The page opens from disk and loads nothing."""

import base64
import hashlib
import html
import json
import math
import os
from collections.abc import Iterator
from importlib import resources
from string import Template
from typing import IO, Any

import numpy as np
from tqdm import tqdm

from ites_fast.files import atomic_path
from ites_fast.scene import Person, Scene
from ites_fast.skeleton import Skeleton

# The parts of the player's script, in the order in which they are joined.
SCRIPTS = [
    "scene",
    "camera",
    "colours",
    "bodies",
    "ground",
    "inset",
    "timeline",
    "panel",
    "framing",
    "hover",
    "input",
    "player",
]
ROWS = 3 * 4096  # of an array that are encoded at once; base64 takes whole triples of bytes
LARGEST = 32767  # int16; -32768 stands for a keypoint that was not seen
HEADLESS = 0.4  # from hip to head, in parts of the diagonal of the box around a standing person
LANE = 2.0  # distance between people whose place is unknown, body sizes
# How thick a body is at a joint whose name has this word, in parts of the distance from hip to head.
RADII = {
    "shoulder": 0.07,
    "clavicle": 0.07,
    "elbow": 0.052,
    "wrist": 0.04,
    "knee": 0.068,
    "ankle": 0.046,
    "spine": 0.12,
    "thorax": 0.1,
    "neck": 0.052,
    "head": 0.13,
    "hip": 0.105,
    "pelvis": 0.105,
    "nose": 0.035,
    "toe": 0.028,
    "heel": 0.035,
    "foot": 0.035,
}
OTHER_RADIUS = 0.022  # fingers and faces


def write_html(scene: Scene, path: str | os.PathLike) -> None:
    """Write ``scene`` as a self-contained page: 3D player, timeline, and the 2D keypoints where there are any.

    The page has no address in it and its content security policy forbids to load any. It shows the scene with z up
    (``Scene.to_world``); the same scene gives the same bytes. A pose is stored as its root joint in float32 and its
    joints relative to that one in steps of 1/32767 of the largest such coordinate of the scene. With no joint further
    than 1.5 m from the root, a coordinate is off by 0.03 mm at most; with none further than 65 m, by 1 mm. Confidence
    and ambiguity are stored in steps of 1/255, keypoints in steps of 1/32767 of the largest coordinate.

    Args:
        scene: people in any axes; those in the camera's are turned for a camera that was held level.
        path: the file, replaced when it is there.

    Raises:
        InputError: a scene that is none, for example with positions that are not finite.
        OSError: the file cannot be written.
    """
    scene.check()
    scene = scene.to_world("z")
    step, keypoint_step = _steps(scene)
    before, after = _page(_title(scene))
    with (
        atomic_path(path) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
        tqdm(total=scene.poses, unit=" poses", desc=str(path), delay=1, disable=None) as progress,
    ):
        file.write(before)
        about = _json(_describe(scene, step, keypoint_step))
        file.write(f'<script type="application/json" id="scene">{about}</script>\n')
        for index, person in enumerate(scene.people):
            _write_person(file, index, person, scene.skeleton.root, step, keypoint_step)
            progress.update(len(person))
        file.write(after)


def _page(title: str) -> tuple[str, str]:
    """The page without its data: what stands before and after them."""
    style = _read("player.css")
    script = "\n".join(['"use strict";', "(() => {", *(_read(f"{name}.js") for name in SCRIPTS), "})();", ""])
    values = {
        "title": html.escape(title),
        "style": style,
        "style_hash": _hash(style),
        "script": script,
        "script_hash": _hash(script),
    }
    before, after = _read("page.html").split("$data\n")
    return Template(before).substitute(values), Template(after).substitute(values)


def _read(name: str) -> str:
    return resources.files("ites_fast.pictures").joinpath("player", name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _json(value: Any) -> str:
    """JSON that cannot end the element it stands in."""
    return json.dumps(value, allow_nan=False, separators=(",", ":")).replace("<", "\\u003c")


def _describe(scene: Scene, step: float, keypoint_step: float) -> dict[str, Any]:
    """All that the player knows besides the arrays of people."""
    sizes = [_body_size(person, scene.skeleton) for person in scene.people]
    shifts = _lanes(scene, LANE * max(sizes, default=1.0))
    size = float(np.median(sizes)) if sizes else 1.0
    return {
        "source": _title(scene),
        "units": scene.units,
        "fps": scene.fps,
        "frames": max(1, scene.frames),
        "placed": scene.placed,
        "notes": list(scene.notes),
        "step": step,
        "keypoint_step": keypoint_step,
        "view": _view(scene),
        "ground": _ground(scene, size),
        "size": size,
        "cell": _cell(size),
        "skeleton": _describe_skeleton(scene.skeleton),
        "people": [
            {"name": person.name, "size": size, "shift": shift}
            for person, size, shift in zip(scene.people, sizes, shifts, strict=True)
        ],
    }


def _title(scene: Scene) -> str:
    """The source; of an absolute path the last part, as pages are handed on."""
    return os.path.basename(os.path.normpath(scene.source)) if os.path.isabs(scene.source) else scene.source


def _ground(scene: Scene, size: float) -> float:
    """Height of the grid: 0, unless nearly everybody floats far above it or stands far below.

    Files of other programs, and scenes that were turned without a floor, have it anywhere.
    """
    lowest = [person.positions[..., 2].min(1) for person in scene.people if len(person)]
    usual = float(np.quantile(np.concatenate(lowest), 0.1)) if lowest else 0.0
    return usual if abs(usual) > 0.1 * size else 0.0


def _describe_skeleton(skeleton: Skeleton) -> dict[str, Any]:
    sides = [1 if j in skeleton.left else 2 if j in skeleton.right else 0 for j in range(skeleton.num_joints)]
    return {
        "joints": skeleton.joint_names,
        "parents": skeleton.parents,
        "sides": sides,
        "radius": [_radius(name) for name in skeleton.joint_names],
        "head": skeleton.head,
        "feet": [j for j, name in enumerate(skeleton.joint_names) if "ankle" in name],
    }


def _radius(joint: str) -> float:
    return next((radius for word, radius in RADII.items() if word in joint), OTHER_RADIUS)


def _body_size(person: Person, skeleton: Skeleton) -> float:
    """From hip to head, the median over poses; in skeletons without a head so much of the body's full extent."""
    if not len(person):
        return 1.0
    if skeleton.head is None:
        size = HEADLESS * np.quantile(np.linalg.norm(np.ptp(person.positions, axis=1), axis=1), 0.9)
    else:
        body = person.positions[:, skeleton.head] - person.positions[:, skeleton.root]
        size = np.median(np.linalg.norm(body, axis=1))
    return float(size) or 1.0


def _cell(size: float) -> float:
    """Side of the grid's cells: a half, or whatever power of ten of it suits the bodies."""
    return 0.5 * 10.0 ** round(math.log10(size))


def _lanes(scene: Scene, width: float) -> list[float]:
    """Where each person is moved along x to be seen: apart where their place is unknown, nowhere otherwise.

    People who are there at different times may share a lane. Lanes are in the order of the people in the image.
    """
    if scene.placed:
        return [0.0] * len(scene.people)
    ends: list[int] = []  # last frame of each lane
    lanes = []
    for person in scene.people:
        first, last = (int(person.frame[0]), int(person.frame[-1])) if len(person) else (0, -1)
        lane = next((lane for lane, end in enumerate(ends) if end < first), len(ends))
        ends[lane : lane + 1] = [last]
        lanes.append(lane)
    places = [[] for _ in ends]  # x in the image of the people in a lane
    for person, lane in zip(scene.people, lanes, strict=True):
        if person.keypoints is not None and np.isfinite(person.keypoints[..., 0]).any():
            places[lane].append(float(np.nanmedian(person.keypoints[..., 0])))
    order = sorted(range(len(ends)), key=lambda lane: (float(np.mean(places[lane])) if places[lane] else 0.0, lane))
    return [(order.index(lane) - (len(ends) - 1) / 2) * width for lane in lanes]


def _view(scene: Scene) -> list[float] | None:
    """Corners of what the inset shows, pixels: the image, or where it is not known what the keypoints cover."""
    seen = [person.keypoints[..., :2].reshape(-1, 2) for person in scene.people if person.keypoints is not None]
    if not seen:
        return None
    if scene.image_size is not None:
        return [0.0, 0.0, *map(float, scene.image_size)]
    seen = np.concatenate(seen)
    seen = seen[np.isfinite(seen).all(1)]
    if not len(seen):
        return None
    low, high = seen.min(0), seen.max(0)
    margin = 0.05 * (high - low).max() + 1
    return [*map(float, low - margin), *map(float, high + margin)]


def _steps(scene: Scene) -> tuple[float, float]:
    """What one step of the stored integers is: in the scene's units, and in pixels."""
    largest, furthest = 0.0, 0.0
    for person in scene.people:
        for rows in _chunks(len(person)):
            largest = max(largest, float(np.abs(_from_root(person, rows, scene.skeleton.root)).max()))
            if person.keypoints is not None:
                furthest = max(furthest, float(np.nan_to_num(np.abs(person.keypoints[rows, :, :2])).max()))
    return largest / LARGEST or 1.0, furthest / LARGEST or 1.0


def _chunks(poses: int) -> Iterator[slice]:
    return (slice(start, start + ROWS) for start in range(0, poses, ROWS))


def _from_root(person: Person, rows: slice, root: int) -> np.ndarray:
    """Joints relative to the root joint (rows, J, 3)."""
    return person.positions[rows] - person.positions[rows, root, None]


def _write_person(file: IO[str], index: int, person: Person, root: int, step: float, keypoint_step: float) -> None:
    """The arrays of a person, an element each, a chunk at a time."""

    def keypoints(rows: slice) -> np.ndarray:
        places = np.round(person.keypoints[rows, :, :2] / keypoint_step)
        return np.where(np.isfinite(places).all(-1, keepdims=True), places, -LARGEST - 1).astype("<i2")

    arrays = {
        "frame": lambda rows: person.frame[rows].astype("<i4"),
        "root": lambda rows: person.positions[rows, root].astype("<f4"),
        "offset": lambda rows: np.round(_from_root(person, rows, root) / step).astype("<i2"),
        "confidence": lambda rows: _bytes(person.confidence[rows]),
    }
    if person.ambiguity is not None:
        arrays["ambiguity"] = lambda rows: _bytes(person.ambiguity[rows])
    if person.keypoints is not None:
        arrays["keypoints"] = keypoints
    for name, values in arrays.items():
        file.write(f'<script type="text/plain" id="data-{index}-{name}">')
        for rows in _chunks(len(person)):
            file.write(base64.b64encode(np.ascontiguousarray(values(rows)).tobytes()).decode())
        file.write("</script>\n")


def _bytes(part: np.ndarray) -> np.ndarray:
    """Numbers from 0 to 1 in steps of 1/255; what is more than 0 stays more than 0, which means that it was seen."""
    steps = np.round(np.clip(part, 0, 1) * 255)
    return np.maximum(steps, part > 0).astype(np.uint8)
