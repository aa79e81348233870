"""Arrays of an npz file, with errors that name file and key."""

import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from ites_fast.errors import InputError


def npz_keys(path: Path) -> frozenset[str]:
    """Names of the arrays in an npz file; none for any other file, however damaged."""
    try:
        with zipfile.ZipFile(path) as archive:
            return frozenset(name.removesuffix(".npy") for name in archive.namelist())
    # A damaged directory of a zip file raises struct.error, NotImplementedError and others.
    except Exception:
        return frozenset()


class Arrays:
    """Lazy access to the plain arrays of one npz file. Pickled (object) arrays are refused.

    Raises:
        InputError: the file does not exist or is not a whole npz file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if not path.is_file():
            raise InputError(f"{path}: no such file")
        try:
            self._file = np.load(path, allow_pickle=False)
        except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: not a whole npz file ({error}); was it truncated?") from error
        if not isinstance(self._file, np.lib.npyio.NpzFile):
            raise InputError(f"{path}: holds a single array, expected an npz file")

    def __contains__(self, key: str) -> bool:
        return key in self._file.files

    @property
    def keys(self) -> frozenset[str]:
        return frozenset(self._file.files)

    def get(self, key: str) -> np.ndarray:
        """The array called ``key``."""
        if key not in self:
            raise InputError(f"{self.path}: key {key!r} is missing; it holds {', '.join(sorted(self.keys))}")
        try:
            return self._file[key]
        except (ValueError, EOFError, OSError, zipfile.BadZipFile, zipfile.zlib.error) as error:
            raise InputError(f"{self.path}: {key!r} cannot be read ({error}); was the file truncated?") from error

    def numbers(self, key: str) -> np.ndarray:
        """The array called ``key``, which must hold integers or real numbers."""
        array = self.get(key)
        if array.dtype.kind not in "iuf":
            raise InputError(f"{self.path}: {key} is {array.dtype}, expected numbers")
        return array

    def number(self, key: str) -> float:
        """The one number called ``key``."""
        array = self.numbers(key)
        if array.size != 1 or not np.isfinite(array).all():
            raise InputError(f"{self.path}: {key} is {array.dtype} {array.shape}, expected one finite number")
        return float(array.item())

    def integers(self, key: str, length: int) -> np.ndarray:
        """The integers (length,) called ``key``, as int32."""
        array = self.get(key)
        if array.shape != (length,) or array.dtype.kind not in "iu":
            raise InputError(f"{self.path}: {key} is {array.dtype} {array.shape}, expected integers ({length},)")
        return array.astype(np.int32, copy=False)

    def check_shapes(self, arrays: Mapping[str, np.ndarray], shapes: Mapping[str, tuple[int | str, ...]]) -> None:
        """Compare shapes with a pattern; the same letter must mean the same number everywhere.

        Raises:
            InputError: naming file, key, received and expected shape.
        """
        sizes: dict[str, int] = {}
        for key, pattern in shapes.items():
            shape = arrays[key].shape
            fits = len(shape) == len(pattern) and all(
                size == (sizes.setdefault(want, size) if isinstance(want, str) else want)
                for size, want in zip(shape, pattern, strict=True)
            )
            if not fits:
                expected = ", ".join(str(sizes.get(want, want)) for want in pattern)
                raise InputError(f"{self.path}: {key} has shape {shape}, expected ({expected})")
