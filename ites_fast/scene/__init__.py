"""3D poses of people over time, and the files that hold them."""

from ites_fast.scene.scene import METRES_PER_BODY_UNIT, Person, Scene

__all__ = ["METRES_PER_BODY_UNIT", "Person", "Scene"]
