"""The weights that the package bundles, for single frames and 17 joints; their model card stands beside them."""

from pathlib import Path

BUNDLED = Path(__file__).with_name("lifter.safetensors")
