"""One plain-PyTorch function for each operator: its specification, its oracle and its implementation on any device."""

from ites_fast.reference.agcn import agcn, channel_graph, concat_graph, shared_graph, softmax_graph
from ites_fast.reference.aligned_errors import aligned_errors
from ites_fast.reference.channel_mix import channel_mix
from ites_fast.reference.cycle_loss import cycle_loss, depth_cycle_loss
from ites_fast.reference.edge_softmax import edge_softmax
from ites_fast.reference.mlp_infer import mlp_infer
from ites_fast.reference.norm_relu import batch_norm, norm_relu
from ites_fast.reference.philox import philox, philox_rotations
from ites_fast.reference.pose_error import joint_errors, mpjpe, n_mpjpe, reprojection_loss
from ites_fast.reference.procrustes import procrustes, procrustes_best_errors, procrustes_errors
from ites_fast.reference.random_rotate_project import random_rotate_project
from ites_fast.reference.rotate_project import MIN_DEPTH, rotate_project, unproject
from ites_fast.reference.rotation import random_rotations, rotation_from_vector
from ites_fast.reference.student_infer import student_infer
from ites_fast.reference.virtual_view import view_scale, virtual_view

__all__ = [
    "MIN_DEPTH",
    "agcn",
    "aligned_errors",
    "batch_norm",
    "channel_graph",
    "channel_mix",
    "concat_graph",
    "cycle_loss",
    "depth_cycle_loss",
    "edge_softmax",
    "joint_errors",
    "mlp_infer",
    "mpjpe",
    "n_mpjpe",
    "norm_relu",
    "philox",
    "philox_rotations",
    "procrustes",
    "procrustes_best_errors",
    "procrustes_errors",
    "random_rotate_project",
    "random_rotations",
    "reprojection_loss",
    "rotate_project",
    "rotation_from_vector",
    "shared_graph",
    "softmax_graph",
    "student_infer",
    "unproject",
    "view_scale",
    "virtual_view",
]
