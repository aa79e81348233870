"""The operators: argument checks, registration with PyTorch and gradients. Formulas: ``ites_fast.reference``."""

from ites_fast.ops.cycle_loss import cycle_loss, depth_cycle_loss
from ites_fast.ops.procrustes import procrustes, procrustes_errors
from ites_fast.ops.rotate_project import rotate_project
from ites_fast.ops.rotation import rotation_from_vector
from ites_fast.reference import random_rotations, unproject

__all__ = [
    "cycle_loss",
    "depth_cycle_loss",
    "procrustes",
    "procrustes_errors",
    "random_rotations",
    "rotate_project",
    "rotation_from_vector",
    "unproject",
]
