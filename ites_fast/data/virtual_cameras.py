"""Virtual cameras around a recorded motion, drawn as those of mocap17."""

import zlib
from collections.abc import Mapping

import numpy as np

from ites_fast.camera import Camera
from ites_fast.data.dataset import PoseDataset
from ites_fast.data.motion import Motion
from ites_fast.skeleton import H36M_17

NUM_CAMERAS = 4
FOCAL_PX, PRINCIPAL_PX, IMAGE_PX = 1145.0, 500.0, 1000
AZIMUTH_JITTER = 20.0  # degrees either side of a cross with a random direction
ELEVATION = (-5.0, 25.0)  # degrees above the centre of the motion
ROLL = 3.0  # degrees either side
DISTANCE = (4.0, 6.0)  # metres from the centre of the motion
FREE_RADIUS = 1.6  # metres; a person who walks further from the centre pushes the cameras back by as much


def views(motions: Mapping[str, Motion], seed: int, name: str) -> PoseDataset:
    """Each motion seen by four cameras that look at its centre, camera by camera.

    The cameras depend on the seed and the motion's key only, so other files in a folder do not change them. Motions of
    one name are one action.

    Args:
        motions: at least one, by the file's path in its folder; all with the same frame rate, or the rate of the data
            set is unknown.
        seed: of the cameras.
        name: what to call the data set.
    """
    pose_3d, cameras = [], []
    for key, motion in motions.items():
        centred = motion.centred()
        generator = np.random.default_rng([seed, zlib.crc32(key.encode())])
        for camera in draw_cameras(centred.positions, generator):
            cameras.append(camera)
            pose_3d.append(camera.to_camera(centred.positions).astype(np.float32))
    poses = np.concatenate(pose_3d)
    lengths = np.repeat([len(motion) for motion in motions.values()], NUM_CAMERAS)
    sequence = np.repeat(np.repeat(np.arange(len(motions), dtype=np.int32), NUM_CAMERAS), lengths)
    subjects, subject = np.unique([motion.subject for motion in motions.values()], return_inverse=True)
    actions, action = np.unique([motion.name for motion in motions.values()], return_inverse=True)
    rates = {round(motion.fps, 2) for motion in motions.values()}
    return PoseDataset(
        name=name,
        skeleton=H36M_17,
        pose_2d=poses[..., :2] / poses[..., 2:] * np.float32(FOCAL_PX) + np.float32(PRINCIPAL_PX),
        pose_3d=poses,
        cameras=tuple(cameras),
        camera=np.repeat(np.arange(len(cameras), dtype=np.int32), lengths),
        subjects=tuple(str(s) for s in subjects),
        subject=subject.astype(np.int32)[sequence],
        actions=tuple(str(a) for a in actions),
        action=action.astype(np.int32)[sequence],
        sequence=sequence,
        frame=np.concatenate([np.tile(motion.frame, NUM_CAMERAS) for motion in motions.values()]),
        fps=rates.pop() if len(rates) == 1 else None,
    )


def draw_cameras(positions: np.ndarray, generator: np.random.Generator) -> list[Camera]:
    """Four cameras around positions (F, J, 3), z up, whose centre is the origin. All draws are uniform.

    Azimuth: a cross with a random direction, each arm turned by up to 20 degrees. Elevation -5 to 25 degrees, roll
    -3 to 3 degrees, distance 4 to 6 m, plus what the hip goes further from the centre than 1.6 m.
    """
    reach = np.linalg.norm(positions[:, 0, :2], axis=-1).max()
    first = generator.uniform(0, 360)
    cameras = []
    for index in range(NUM_CAMERAS):
        azimuth = first + 90 * index + generator.uniform(-AZIMUTH_JITTER, AZIMUTH_JITTER)
        elevation, roll = generator.uniform(*ELEVATION), generator.uniform(-ROLL, ROLL)
        distance = generator.uniform(*DISTANCE) + max(0.0, reach - FREE_RADIUS)
        cameras.append(orbit_camera(azimuth, elevation, roll, distance))
    return cameras


def orbit_camera(azimuth: float, elevation: float, roll: float, distance: float, target: float = 0.0) -> Camera:
    """Camera that looks at a point on the z axis.

    Args:
        azimuth: direction from the point to the camera, degrees from the x axis.
        elevation: height of that direction over the horizon, degrees.
        roll: turn about the optical axis, degrees.
        distance: metres.
        target: height of the point, metres.
    """
    a, e, r = np.radians([azimuth, elevation, roll])
    outward = np.array([np.cos(e) * np.cos(a), np.cos(e) * np.sin(a), np.sin(e)])
    level = np.array([-np.sin(a), np.cos(a), 0.0])  # the camera's right before the roll
    down = np.cross(-outward, level)
    rotation = np.stack([np.cos(r) * level + np.sin(r) * down, np.cos(r) * down - np.sin(r) * level, -outward])
    return Camera(
        focal=np.full(2, FOCAL_PX),
        principal=np.full(2, PRINCIPAL_PX),
        image_size=(IMAGE_PX, IMAGE_PX),
        rotation=rotation,
        position=distance * outward + np.array([0.0, 0.0, target]),
    )
