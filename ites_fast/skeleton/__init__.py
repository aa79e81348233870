"""Joint conventions of lifters and detectors, and how the joints of one are found in those of another."""

from ites_fast.skeleton.conversion import Conversion, ConvertedJoint, conversion
from ites_fast.skeleton.lookup import get_body, get_skeleton
from ites_fast.skeleton.registry import H36M_17, SKELETONS
from ites_fast.skeleton.skeleton import Skeleton

__all__ = ["H36M_17", "SKELETONS", "Conversion", "ConvertedJoint", "Skeleton", "conversion", "get_body", "get_skeleton"]
