"""The compiled module ``ites_fast._C``, or None where the installation could not compile it."""

import warnings
from types import ModuleType

try:
    from ites_fast import _C

    extension: ModuleType | None = _C
except ImportError as error:
    # pip hides the warning of the build, so the user hears of it here.
    warnings.warn(f"procrustes runs the slower PyTorch reference, ites_fast._C is missing: {error}", stacklevel=2)
    extension = None
