"""Arrays of MATLAB files, of both generations, with frames first."""

import importlib
from pathlib import Path
from types import ModuleType

import numpy as np

from ites_fast.errors import InputError


def read_mat(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    """Those of ``keys`` that the file holds, axes in the order of the HDF5 file: the last MATLAB axis first.

    Version 7.3 files are HDF5 and need h5py, older ones need scipy.

    Raises:
        InputError: the file does not exist or is damaged, or the package that reads it is not installed.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    with path.open("rb") as file:
        text = file.read(128)
    hdf5 = b"MATLAB 7.3" in text or text.startswith(b"\x89HDF")
    return _read_hdf5(path, keys) if hdf5 else _read_old(path, keys)


def _read_hdf5(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    h5py = _package("h5py", f"{path}: a MATLAB 7.3 file")
    try:
        with h5py.File(path) as file:
            return {key: np.asarray(file[key]) for key in keys if key in file}
    except (OSError, RuntimeError, TypeError) as error:
        raise InputError(f"{path}: not a whole MATLAB 7.3 file ({error})") from error


def _read_old(path: Path, keys: list[str]) -> dict[str, np.ndarray]:
    scipy_io = _package("scipy.io", f"{path}: a MATLAB file")
    try:
        content = scipy_io.loadmat(path, variable_names=keys)
    # A damaged file raises whatever its bytes happen to trip over.
    except Exception as error:
        raise InputError(f"{path}: not a whole MATLAB file ({error})") from error
    return {key: np.transpose(content[key]) for key in keys if key in content}


def _package(name: str, what: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        package = name.partition(".")[0]
        raise InputError(f"{what}; reading it needs the package {package}, which is not installed") from error
