"""From keypoints to poses in space: one frame at a time, over time, and as a stream."""

from ites_fast.lifting.frames import FrameLifter, LiftedFrames

__all__ = ["FrameLifter", "LiftedFrames"]
