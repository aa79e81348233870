"""What was assumed, filled in or left out, in words."""

import numpy as np

from ites_fast.lifting.frames import FrameLifter, LiftedFrames
from ites_fast.lifting.placement import STATURE
from ites_fast.scene import METRES_PER_BODY_UNIT


def notes(lifted: LiftedFrames, lifter: FrameLifter, *, negated: int = 0) -> tuple[str, ...]:
    """Sentences about poses and the lifter that they are from; ``negated`` of the poses got another sign of depth."""
    signs = (f"The sign of depth was changed in {negated} poses, to agree with their neighbours.",) if negated else ()
    return (*lifter.view.notes, *_about_size(lifter), *_about_joints(lifted, lifter), *signs)


def _about_size(lifter: FrameLifter) -> tuple[str, ...]:
    if lifter.units == "body units":
        return ("Lengths are in body units: hip to head of an average body is one.",)
    if lifter.height is None:
        stature = STATURE * METRES_PER_BODY_UNIT
        return (f"Metres are those of an average body, {stature:.2f} m tall; give height where it is known.",)
    return ()


def _about_joints(lifted: LiftedFrames, lifter: FrameLifter) -> tuple[str, ...]:
    said = []
    joints = lifter.conversion.joints
    extrapolated = [joint.name for joint in joints if joint.kind == "extrapolated"]
    if extrapolated:
        said.append(f"Extrapolated, as {lifter.skeleton.name} has no such joint: {', '.join(extrapolated)}.")
    there = np.isfinite(lifted.positions[:, 0, 0])
    poses, total = int(there.sum()), len(there)
    filled = (lifted.confidence[there] == 0).sum(0)  # of each joint, in how many poses
    never = [joint.name for joint, count in zip(joints, filled, strict=True) if count == poses > 0]
    if never:
        said.append(f"Never seen, filled in by the network with confidence 0: {', '.join(never)}.")
    sometimes = [joint.name for joint, count in zip(joints, filled, strict=True) if 0 < count < poses]
    if sometimes:
        some = int((lifted.confidence[there][:, [0 < count < poses for count in filled]] == 0).any(1).sum())
        said.append(f"Filled in by the network in {some} of {poses} poses, some of: {', '.join(sometimes)}.")
    if poses < total:
        said.append(f"{total - poses} of {total} poses have too few joints to be lifted, at least 4: they are NaN.")
    return tuple(said)
