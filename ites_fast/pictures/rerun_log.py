"""A scene for the Rerun viewer (extra ``rerun``): bones and joints of each person over time, as a file or live."""

import os
from types import ModuleType
from typing import Any

import numpy as np

from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.pictures.canvas import bone_colours, joint_colours
from ites_fast.scene import Person, Scene

APPLICATION = "ites_fast"
RADIUS = 0.012  # of a body unit or a metre


def write_rrd(scene: Scene, path: str | os.PathLike) -> None:
    """Write a recording that ``rerun FILE`` opens.

    Args:
        scene: in any axes.
        path: the .rrd file.

    Raises:
        InputError: Rerun is not installed.
        OSError: the file cannot be written.
    """
    rerun = _rerun()
    with atomic_path(path) as temporary:
        recording = rerun.RecordingStream(APPLICATION)
        recording.save(temporary)
        _log(rerun, recording, scene)
        recording.flush()
        recording.disconnect()


def open_viewer(scene: Scene) -> None:
    """Open the Rerun viewer and send the scene to it.

    Raises:
        InputError: Rerun is not installed.
    """
    rerun = _rerun()
    recording = rerun.RecordingStream(APPLICATION)
    recording.spawn()
    _log(rerun, recording, scene)
    recording.flush()


def _rerun() -> ModuleType:
    try:
        import rerun
    except ImportError as error:
        raise InputError('Rerun is not installed: pip install "ites_fast[rerun]"') from error
    return rerun


def _log(rerun: ModuleType, recording: Any, scene: Scene) -> None:
    scene = scene.to_world("z")
    recording.log("world", rerun.ViewCoordinates.RIGHT_HAND_Z_UP, static=True)
    skeleton = scene.skeleton
    children, parents = np.array(skeleton.edges).T
    joints = joint_colours(skeleton)
    for person in scene.people:
        for row, frame in enumerate(person.frame.tolist()):
            recording.set_time("frame", sequence=frame)
            recording.set_time("time", duration=frame / scene.fps)
            positions = person.positions[row]
            strips = np.stack([positions[children], positions[parents]], 1)
            name = f"world/{_entity(person)}"
            recording.log(f"{name}/bones", rerun.LineStrips3D(strips, colors=bone_colours(skeleton), radii=RADIUS))
            recording.log(f"{name}/joints", rerun.Points3D(positions, colors=joints, radii=2 * RADIUS))
            if _leaves(person, row):
                recording.set_time("frame", sequence=frame + 1)
                recording.set_time("time", duration=(frame + 1) / scene.fps)
                recording.log(name, rerun.Clear(recursive=True))


def _entity(person: Person) -> str:
    """The name as part of a path of the viewer."""
    return "person_" + "".join(letter if letter.isalnum() else "_" for letter in person.name)


def _leaves(person: Person, row: int) -> bool:
    """Whether the person is not there in the next frame."""
    return row + 1 == len(person) or person.frame[row + 1] > person.frame[row] + 1
