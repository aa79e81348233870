"""Poses from files: the bundled sample, the field's formats and synthetic ones."""

from ites_fast.data.dataset import PoseDataset
from ites_fast.data.loading import load

__all__ = ["PoseDataset", "load"]
