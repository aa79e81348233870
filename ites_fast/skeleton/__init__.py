"""Joint conventions of lifters and detectors, and how the joints of one are found in those of another."""

from ites_fast.skeleton.skeleton import H36M_17, SKELETONS, Skeleton, get_skeleton

__all__ = ["H36M_17", "SKELETONS", "Skeleton", "get_skeleton"]
