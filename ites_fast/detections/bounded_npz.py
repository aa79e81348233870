"""Plain arrays of npz files of any origin: their announced sizes are checked before memory is taken for them."""

import math
import zipfile
from pathlib import Path

import numpy as np

from ites_fast.data.npz_file import Arrays
from ites_fast.errors import InputError

MAX_REASON = 200  # characters
MAX_BYTES = 2 << 30  # of one array; 100,000 frames of 133 joints are 320 MB in float64


def in_short(error: Exception) -> str:
    """Its message in one line: some repeat what a damaged file holds."""
    text = " ".join(str(error).split())
    return text if len(text) <= MAX_REASON else f"{text[:MAX_REASON]}..."


class BoundedArrays(Arrays):
    """As ``Arrays``, for files that somebody else wrote.

    Raises:
        InputError: as ``Arrays``; also an array that is larger than its file or than 2 GiB.
    """

    def __init__(self, path: Path) -> None:
        if path.is_file() and not zipfile.is_zipfile(path):
            raise InputError(f"{path}: not a whole npz file; was it truncated?")
        try:
            super().__init__(path)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: not a whole npz file ({in_short(error)}); is it damaged?") from error

    def get(self, key: str) -> np.ndarray:
        try:
            if key in self:
                self._check_size(key)
            array = super().get(key)
        except InputError:
            raise
        except Exception as error:
            raise InputError(
                f"{self.path}: {key!r} cannot be read ({in_short(error)}); is the file damaged?"
            ) from error
        if not isinstance(array, np.ndarray):
            raise InputError(f"{self.path}: {key!r} is not an array")
        if array.dtype.kind == "U" and not _is_unicode(array):
            raise InputError(f"{self.path}: {key} holds characters that are not Unicode")
        return array

    def text(self, key: str) -> str:
        """The one word called ``key``."""
        array = self.get(key)
        if array.size != 1 or array.dtype.kind != "U":
            raise InputError(f"{self.path}: {key} is {array.dtype} {array.shape}, expected one text")
        return str(array.item())

    def _check_size(self, key: str) -> None:
        archive = self._file.zip
        info = archive.getinfo(f"{key}.npy")
        with archive.open(info) as file:
            version = np.lib.format.read_magic(file)
            read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
            shape, _, dtype = read(file)
        if dtype.hasobject:
            raise InputError(f"{self.path}: {key} is an object array, expected numbers")
        size = math.prod(shape) * dtype.itemsize
        if size > MAX_BYTES:
            raise InputError(f"{self.path}: {key} is {dtype} {shape}, {size} bytes, expected at most {MAX_BYTES}")
        if size > info.file_size:
            raise InputError(
                f"{self.path}: {key} is {dtype} {shape}, {size} bytes, the file holds {info.file_size} of it; "
                "was it truncated?"
            )


def _is_unicode(array: np.ndarray) -> bool:
    """Whether texts can be made of it, and written: numpy checks no character that it reads."""
    if not array.size or not array.dtype.itemsize:
        return True
    codes = np.ascontiguousarray(array.astype(array.dtype.newbyteorder("="))).reshape(-1).view(np.uint32)
    return not ((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any()
