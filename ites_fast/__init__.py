"""3D human poses from 2D poses, learned without any 3D label."""

from ites_fast.build import build_info

__all__ = ["build_info"]
