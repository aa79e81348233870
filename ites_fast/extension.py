"""The compiled module ``ites_fast._C``, or None where the installation could not compile it."""

import importlib
import warnings
from types import ModuleType

extension: ModuleType | None = None
try:
    extension = importlib.import_module("ites_fast._C")
except ImportError as error:
    # pip hides the warning of the build, so the user hears of it here.
    warnings.warn(f"alignment and inference run the slower PyTorch reference: {error}", stacklevel=2)
