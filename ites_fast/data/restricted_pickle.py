"""Object arrays of npy and npz files, read without running anything that the file asks for.

numpy stores object arrays as pickles, and a pickle may call any function it names. Here it may name only what
numpy arrays, numpy scalars and plain containers are made of; every other name is an error.
"""

import collections
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ites_fast.errors import InputError

PLAIN_KINDS = "biufcSU"  # numpy dtypes that hold no references


def load_object_array(path: Path, key: str) -> Any:
    """The content of a 0-dimensional object array, or the array itself when it has dimensions.

    Args:
        path: an npz file.
        key: name of the array in it.

    Raises:
        InputError: the file or key does not exist, the file is not whole, or its pickle names a class or function
            other than numpy arrays, numpy scalars and plain containers. The message names file and class.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(".npy") for name in archive.namelist()]
            if key not in names:
                raise InputError(f"{path}: key {key!r} is missing; it holds {', '.join(names)}")
            with archive.open(f"{key}.npy") as file:
                array = _read_npy(file, path, key)
    except (zipfile.BadZipFile, zipfile.zlib.error, EOFError) as error:
        raise InputError(f"{path}: not a whole npz file ({error}); was it truncated?") from error
    return array.item() if array.ndim == 0 else array


def _read_npy(file: BinaryIO, path: Path, key: str) -> np.ndarray:
    try:
        version = np.lib.format.read_magic(file)
        read_header = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, _, dtype = read_header(file)
        if not dtype.hasobject:
            raise InputError(f"{path}: {key!r} has dtype {dtype}, expected an object array that holds a dictionary")
        array = _Unpickler(file, path).load()
    except InputError:
        raise
    # A damaged pickle can raise nearly anything from the constructors it reaches.
    except Exception as error:
        raise InputError(f"{path}: {key!r} cannot be read ({error}); is the file damaged?") from error
    if not isinstance(array, np.ndarray) or array.dtype != object or array.shape != shape:
        raise InputError(f"{path}: {key!r} is not the object array that its header announces")
    return array


class _Unpickler(pickle._Unpickler):
    """Python's own, not the one in C, which allocates as much as a number in the file says (its memo is an array)."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        super().__init__(file, encoding="latin1")  # what Python 2 wrote
        self._path = path

    def find_class(self, module: str, name: str) -> Callable:
        module = module.replace("numpy._core", "numpy.core")  # numpy 2 renamed it
        if (module, name) not in ADMITTED:
            raise InputError(
                f"{self._path}: refused to unpickle {module}.{name}; "
                "only numpy arrays, numpy scalars and plain containers are read"
            )
        return ADMITTED[module, name]


class _NdarrayName:
    """Stands for ``numpy.ndarray``: it can be passed to ``_reconstruct`` but not called by the file."""


def _reconstruct(_subtype: Any, _shape: Any, _typecode: Any) -> np.ndarray:
    return np.ndarray.__new__(np.ndarray, (0,), "b")


def _dtype(code: str, align: bool = False, copy: bool = False) -> np.dtype:
    dtype = np.dtype(code, align=align, copy=copy)
    if dtype.kind not in PLAIN_KINDS + "O":
        raise ValueError(f"dtype {dtype} is not plain")
    return dtype


def _scalar(dtype: np.dtype, data: bytes | str) -> Any:
    if dtype.kind not in PLAIN_KINDS:
        raise ValueError(f"scalar of dtype {dtype} is not plain")
    raw = data.encode("latin1") if isinstance(data, str) else data
    return np.frombuffer(raw, dtype, count=1)[0]


def _from_buffer(buffer: Any, dtype: np.dtype, shape: Any, order: str) -> np.ndarray:
    return np.frombuffer(buffer, dtype).reshape(shape, order=order)


def _empty_bytes() -> bytes:
    return b""


def _encode(text: str, encoding: str) -> bytes:
    if encoding != "latin1":
        raise ValueError(f"text encoding {encoding!r} is not latin1")
    return text.encode(encoding)


ADMITTED: dict[tuple[str, str], Callable] = {
    ("numpy", "ndarray"): _NdarrayName,
    ("numpy", "dtype"): _dtype,
    ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
    ("numpy.core.multiarray", "scalar"): _scalar,
    ("numpy.core.numeric", "_frombuffer"): _from_buffer,
    ("_codecs", "encode"): _encode,
    ("__builtin__", "bytes"): _empty_bytes,  # what old protocols call for empty bytes
    ("builtins", "set"): set,
    ("builtins", "frozenset"): frozenset,
    ("__builtin__", "set"): set,
    ("__builtin__", "frozenset"): frozenset,
    ("collections", "OrderedDict"): collections.OrderedDict,
}
