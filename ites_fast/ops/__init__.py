"""The operators: argument checks, registration with PyTorch and gradients. Formulas: ``ites_fast.reference``.

What operators take, and geometry that is PyTorch's own work on every device, are passed on from the reference, so that
networks, losses and views have one place to import from.
"""

from ites_fast.ops.agcn import agcn, physical_graph
from ites_fast.ops.channel_mix import channel_mix
from ites_fast.ops.cycle_loss import cycle_loss, depth_cycle_loss
from ites_fast.ops.edge_softmax import edge_softmax
from ites_fast.ops.norm_relu import norm_relu
from ites_fast.ops.procrustes import procrustes, procrustes_errors
from ites_fast.ops.rotate_project import rotate_project
from ites_fast.ops.rotation import rotation_from_vector
from ites_fast.reference.agcn import ChannelGraph, ConcatGraph, LayerStatistics, SharedGraph, SoftmaxGraph
from ites_fast.reference.norm_relu import Norm, Statistics
from ites_fast.reference.rotate_project import rotate, unproject
from ites_fast.reference.rotation import random_rotations, vertical_rotation

__all__ = [
    "ChannelGraph",
    "ConcatGraph",
    "LayerStatistics",
    "Norm",
    "SharedGraph",
    "SoftmaxGraph",
    "Statistics",
    "agcn",
    "channel_mix",
    "cycle_loss",
    "depth_cycle_loss",
    "edge_softmax",
    "norm_relu",
    "physical_graph",
    "procrustes",
    "procrustes_errors",
    "random_rotations",
    "rotate",
    "rotate_project",
    "rotation_from_vector",
    "unproject",
    "vertical_rotation",
]
