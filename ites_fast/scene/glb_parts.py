"""The binary container of glTF 2.0: one JSON chunk and one of binary data.

Specification: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html.
"""

import json
import struct
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from ites_fast.errors import InputError

MAGIC, VERSION = b"glTF", 2
JSON_CHUNK, BINARY_CHUNK = b"JSON", b"BIN\0"
HEADER, CHUNK_HEADER = struct.Struct("<4sII"), struct.Struct("<I4s")
FLOAT = 5126
WIDTHS = {"SCALAR": 1, "VEC3": 3, "VEC4": 4}
VERTICES = 34962  # ARRAY_BUFFER
LARGEST = 2**32 - 1  # bytes of a file


class Buffer:
    """Arrays of float32, one accessor and one view each."""

    def __init__(self) -> None:
        self.accessors: list[dict[str, Any]] = []
        self.views: list[dict[str, Any]] = []
        self.arrays: list[np.ndarray] = []
        self.length = 0

    def add(self, array: np.ndarray, *, bounds: bool = False, vertices: bool = False) -> int:
        """Add an array (N,), (N, 3) or (N, 4); returns the number of its accessor.

        Args:
            array: is stored as float32.
            bounds: whether smallest and largest values are to be told, as times and places of vertices need.
            vertices: whether these belong to a mesh.
        """
        array = np.ascontiguousarray(array, dtype="<f4")
        kind = {1: "SCALAR", 3: "VEC3", 4: "VEC4"}[1 if array.ndim == 1 else array.shape[1]]
        view: dict[str, Any] = {"buffer": 0, "byteOffset": self.length, "byteLength": array.nbytes}
        accessor: dict[str, Any] = {
            "bufferView": len(self.views),
            "componentType": FLOAT,
            "count": len(array),
            "type": kind,
        }
        if vertices:
            view["target"] = VERTICES
        if bounds:
            accessor["min"] = np.atleast_1d(array.min(0)).tolist()
            accessor["max"] = np.atleast_1d(array.max(0)).tolist()
        self.views.append(view)
        self.accessors.append(accessor)
        self.arrays.append(array)
        self.length += array.nbytes
        return len(self.accessors) - 1


def write_glb(file: BinaryIO, document: dict[str, Any], buffer: Buffer) -> None:
    """Write the document, completed by the buffer's accessors and views, and the buffer.

    Raises:
        InputError: more than the 4 GiB that the container can hold.
    """
    parts = {"accessors": buffer.accessors, "bufferViews": buffer.views, "buffers": [{"byteLength": buffer.length}]}
    text = json.dumps(document | parts, separators=(",", ":"), allow_nan=False).encode("ascii")
    text += b" " * (-len(text) % 4)
    total = HEADER.size + 2 * CHUNK_HEADER.size + len(text) + buffer.length
    if total > LARGEST:
        raise InputError(f"{total} bytes are more than a .glb file can hold; write fewer frames")
    file.write(HEADER.pack(MAGIC, VERSION, total))
    file.write(CHUNK_HEADER.pack(len(text), JSON_CHUNK) + text)
    file.write(CHUNK_HEADER.pack(buffer.length, BINARY_CHUNK))
    for array in buffer.arrays:
        file.write(array.data)


def read_glb(path: Path) -> tuple[dict[str, Any], bytes]:
    """The document and the binary data of a file.

    Raises:
        InputError: the file is not whole or not of this format.
    """
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    data = path.read_bytes()
    if len(data) < HEADER.size or data[:4] != MAGIC:
        raise InputError(f"{path}: not a .glb file; it begins with {data[:4]!r}")
    _, version, total = HEADER.unpack_from(data)
    if version != VERSION or total != len(data):
        raise InputError(
            f"{path}: version {version}, {len(data)} bytes; expected {VERSION}, {total} bytes; was it truncated?"
        )
    chunks, start = {}, HEADER.size
    while start + CHUNK_HEADER.size <= len(data):
        length, kind = CHUNK_HEADER.unpack_from(data, start)
        start += CHUNK_HEADER.size
        chunks.setdefault(kind, data[start : start + length])
        start += length
    try:
        document = json.loads(chunks.get(JSON_CHUNK, b""))
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: its description is not JSON ({error})") from error
    if not isinstance(document, dict):
        raise InputError(f"{path}: its description is no object")
    return document, chunks.get(BINARY_CHUNK, b"")


def read_accessor(document: dict[str, Any], data: bytes, number: int) -> np.ndarray:
    """One array of float32, (N,) or (N, 3) or (N, 4), as ``Buffer.add`` stores it.

    Raises:
        ValueError, LookupError, TypeError: a document that says something else.
    """
    accessor = document["accessors"][number]
    view = document["bufferViews"][accessor["bufferView"]]
    width, count, start = WIDTHS[accessor["type"]], accessor["count"], view.get("byteOffset", 0)
    if accessor["componentType"] != FLOAT or min(count, start) < 0 or start + 4 * width * count > len(data):
        raise ValueError(f"accessor {number} is no array of float32 in the file")
    array = np.frombuffer(data, "<f4", width * count, start)
    return array if width == 1 else array.reshape(count, width)
