"""The operators: argument checks, registration with PyTorch and gradients. Formulas: ``ites_fast.reference``.

What operators take, and geometry that is PyTorch's own work on every device, are passed on from the reference, so that
networks, losses and views have one place to import from.
"""

from ites_fast.ops.agcn import agcn, physical_graph
from ites_fast.ops.aligned_errors import aligned_errors
from ites_fast.ops.channel_mix import channel_mix
from ites_fast.ops.cycle_loss import cycle_loss, depth_cycle_loss
from ites_fast.ops.edge_softmax import edge_softmax
from ites_fast.ops.mlp_infer import mlp_infer
from ites_fast.ops.norm_relu import norm_relu
from ites_fast.ops.pose_error import joint_errors, mpjpe, n_mpjpe, reprojection_loss
from ites_fast.ops.procrustes import procrustes, procrustes_best_errors, procrustes_errors
from ites_fast.ops.random_rotate_project import random_rotate_project
from ites_fast.ops.rotate_project import rotate_project
from ites_fast.ops.rotation import rotation_from_vector
from ites_fast.ops.student_infer import student_infer
from ites_fast.ops.virtual_view import virtual_view
from ites_fast.reference.agcn import ChannelGraph, ConcatGraph, LayerStatistics, SharedGraph, SoftmaxGraph
from ites_fast.reference.aligned_errors import Fit
from ites_fast.reference.mlp_infer import MLPHead, MLPWeights
from ites_fast.reference.norm_relu import Norm, Statistics
from ites_fast.reference.panels import join_parts, to_panels
from ites_fast.reference.philox import philox_rotations
from ites_fast.reference.rotate_project import rotate, unproject
from ites_fast.reference.rotation import random_rotations, vertical_rotation
from ites_fast.reference.student_infer import StudentParts
from ites_fast.reference.virtual_view import view_scale

__all__ = [
    "ChannelGraph",
    "ConcatGraph",
    "Fit",
    "LayerStatistics",
    "MLPHead",
    "MLPWeights",
    "Norm",
    "SharedGraph",
    "SoftmaxGraph",
    "Statistics",
    "StudentParts",
    "agcn",
    "aligned_errors",
    "channel_mix",
    "cycle_loss",
    "depth_cycle_loss",
    "edge_softmax",
    "join_parts",
    "joint_errors",
    "mlp_infer",
    "mpjpe",
    "n_mpjpe",
    "norm_relu",
    "philox_rotations",
    "physical_graph",
    "procrustes",
    "procrustes_best_errors",
    "procrustes_errors",
    "random_rotate_project",
    "random_rotations",
    "reprojection_loss",
    "rotate",
    "rotate_project",
    "rotation_from_vector",
    "student_infer",
    "to_panels",
    "unproject",
    "vertical_rotation",
    "view_scale",
    "virtual_view",
]
