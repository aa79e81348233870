"""3D human poses from 2D poses, learned without any 3D label."""

from ites_fast.build import build_info
from ites_fast.camera import Camera
from ites_fast.checkpoint import load_lifter
from ites_fast.data import PoseDataset, load
from ites_fast.errors import InputError
from ites_fast.lifter import Lifter
from ites_fast.models import ViewLifter, pack
from ites_fast.poses import Poses

__all__ = [
    "Camera",
    "InputError",
    "Lifter",
    "PoseDataset",
    "Poses",
    "ViewLifter",
    "build_info",
    "load",
    "load_lifter",
    "pack",
]
