"""One plain-PyTorch function for each operator: its specification, its oracle and its implementation on any device."""

from ites_fast.reference.agcn import agcn, channel_graph, concat_graph, shared_graph, softmax_graph
from ites_fast.reference.channel_mix import channel_mix
from ites_fast.reference.cycle_loss import cycle_loss, depth_cycle_loss
from ites_fast.reference.edge_softmax import edge_softmax
from ites_fast.reference.norm_relu import batch_norm, norm_relu
from ites_fast.reference.procrustes import procrustes, procrustes_errors
from ites_fast.reference.rotate_project import MIN_DEPTH, rotate_project, unproject
from ites_fast.reference.rotation import random_rotations, rotation_from_vector

__all__ = [
    "MIN_DEPTH",
    "agcn",
    "batch_norm",
    "channel_graph",
    "channel_mix",
    "concat_graph",
    "cycle_loss",
    "depth_cycle_loss",
    "edge_softmax",
    "norm_relu",
    "procrustes",
    "procrustes_errors",
    "random_rotations",
    "rotate_project",
    "rotation_from_vector",
    "shared_graph",
    "softmax_graph",
    "unproject",
]
