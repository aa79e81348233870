"""3D poses of people over time, and the files that hold them."""

from ites_fast.scene.scene import Person, Scene

__all__ = ["Person", "Scene"]
