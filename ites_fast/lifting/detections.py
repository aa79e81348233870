"""All people of a video to a scene."""

import numpy as np
from tqdm import tqdm

from ites_fast.detections import Detections, Track
from ites_fast.errors import InputError
from ites_fast.lifting.elevation import choose_elevation
from ites_fast.lifting.frames import FrameLifter, LiftedFrames, join_frames, lift_batches
from ites_fast.lifting.notes import notes
from ites_fast.lifting.over_time import FPS, Smooth, check_smooth, over_time
from ites_fast.scene import Person, Scene

BATCH = 4096  # poses at a time


def lift_detections(
    lifter: FrameLifter,
    detections: Detections,
    *,
    elevation: float | None = None,
    smooth: Smooth | None = "savitzky_golay",
    constant_bones: bool = True,
    consistent_depth: bool = True,
    min_frames: int = 1,
) -> Scene:
    """Lift every person of a video. Frames in which a person cannot be lifted are left out.

    Args:
        lifter: of the detections' skeleton and camera, from ``Lifter.frames``.
        detections: people in one video.
        elevation: how far the camera looks down, degrees; None: estimated, see ``Lifter``.
        smooth: filter each person over time; see ``Lifter``.
        constant_bones: one length for each bone of a person; see ``Lifter``.
        consistent_depth: one sign of depth for a sequence; see ``Lifter``. Needs a lifter with ambiguities.
        min_frames: leave out people who are seen in fewer frames.

    Returns:
        A scene in the camera's frame.

    Raises:
        InputError: nobody can be lifted, or an option is none.
    """
    check_smooth(smooth)
    tracks = [track for track in detections.tracks if len(track) >= min_frames]
    fps = detections.fps or FPS
    people, lifted, negated = [], [], 0
    with tqdm(total=sum(map(len, tracks)), desc="lifting", unit="pose", disable=None, delay=1.0) as progress:
        for track in tracks:
            parts = []
            for part in lift_batches(lifter, track.keypoints, BATCH):
                parts.append(part)
                progress.update(len(part.positions))
            frames, signs = over_time(
                join_frames(parts),
                lifter,
                fps=fps,
                frame=track.frame,
                smooth=smooth,
                constant_bones=constant_bones,
                one_sign=consistent_depth,
            )
            negated += signs
            lifted.append(frames)
            if (person := _person(track, frames)) is not None:
                people.append(person)
    if not people:
        raise InputError(
            f"{detections.source}: nobody is seen well enough to be lifted, in {min_frames} frames or more"
        )
    every = join_frames(lifted)
    elevation, about_elevation = choose_elevation(elevation, every.positions)
    said = [*detections.notes, *_left_out(detections, min_frames), *notes(every, lifter, negated=negated)]
    return Scene(
        source=detections.source,
        skeleton=lifter.target,
        people=tuple(sorted(people, key=lambda person: int(person.frame[0]))),
        frames=detections.frames,
        fps=fps,
        units=lifter.units,
        placed=every.translation is not None,
        elevation=elevation,
        image_size=detections.image_size,
        notes=(*said, *about_elevation),
    )


def _person(track: Track, frames: LiftedFrames) -> Person | None:
    """The frames in which there is a pose, and a place where places are known."""
    positions = frames.positions if frames.translation is None else frames.positions + frames.translation[:, None]
    there = np.isfinite(positions).all((1, 2))
    if not there.any():
        return None
    parts = (track.frame, positions, frames.confidence, frames.ambiguity, frames.keypoints)
    return Person(track.name, *(None if part is None else part[there] for part in parts))


def _left_out(detections: Detections, min_frames: int) -> list[str]:
    few = sum(len(track) < min_frames for track in detections.tracks)
    return [f"{few} people who are seen in fewer than {min_frames} frames are left out."] if few else []
