"""Networks by name, as checkpoints name them."""

from typing import Any

from torch import nn

from ites_fast.errors import InputError
from ites_fast.models.depth_mlp import DepthMLP, ViewOutput
from ites_fast.models.flow import PoseDensity
from ites_fast.models.packed import PackedMLP, PackedStudent, pack
from ites_fast.models.resfc import ResFC
from ites_fast.models.robust import RobustGCN, RobustMLP
from ites_fast.models.student import AdaptiveGCN
from ites_fast.models.teacher import C3DPO, Teacher
from ites_fast.models.temporal import LiftedClips, SequenceLifter, TemporalMLP, frames_of, lifter_of, of_clips
from ites_fast.models.view_gcn import ViewGCN
from ites_fast.models.view_lifter import ViewLifter
from ites_fast.skeleton import Skeleton

__all__ = [
    "C3DPO",
    "NETWORKS",
    "AdaptiveGCN",
    "DepthMLP",
    "LiftedClips",
    "PackedMLP",
    "PackedStudent",
    "PoseDensity",
    "ResFC",
    "RobustGCN",
    "RobustMLP",
    "SequenceLifter",
    "Teacher",
    "TemporalMLP",
    "ViewGCN",
    "ViewLifter",
    "ViewOutput",
    "build_network",
    "frames_of",
    "lifter_of",
    "of_clips",
    "pack",
]

NETWORKS: dict[str, type[nn.Module]] = {
    "teacher": Teacher,
    "student": AdaptiveGCN,
    "depth_mlp": DepthMLP,
    "view_gcn": ViewGCN,
    "robust_mlp": RobustMLP,
    "robust_agcn": RobustGCN,
    "temporal_mlp": TemporalMLP,
    "c3dpo": C3DPO,
    "resfc": ResFC,
}


def build_network(name: str, skeleton: Skeleton, options: dict[str, Any]) -> nn.Module:
    """The network called ``name`` for a skeleton, built with ``options``.

    Raises:
        InputError: no network has this name, or it does not take these options.
    """
    if name not in NETWORKS:
        raise InputError(f"network {name!r} is unknown; known: {', '.join(NETWORKS)}")
    try:
        return NETWORKS[name](skeleton, **options)
    except TypeError as error:
        raise InputError(f"network {name!r} cannot be built with {options}: {error}") from error
