"""Valid files made wrong: bytes, text, JSON, npz and glb, by a generator of random numbers."""

import copy
import io
import json
import re
import struct
import zipfile
from random import Random
from typing import Any

import numpy as np

ODD = (
    *(None, True, False, "", "x", "1", "nan", "\ud800", "../../x", -1, 0, 1, 7, 2**31, 2**63, 10**30, -(2**70)),
    *(1e-320, 1e30, 1e308, -1e308, float("nan"), float("inf"), 0.5, [], {}, [[]], [None], [1, 2, 3], {"x": 1}),
)
ODD_TEXT = (
    *("", " ", "0", "-1", "1e400", "nan", "inf", "9" * 30, "9" * 5000, "\x00", "\n", '"', "'", ",", ";", "\t"),
    *("[", "]", "{", "}", ":", "- ", "&a", "*a", "<<", "!!python/object:os.system", "é", "\ufeff", "0x10", "1_0"),
    *("1,5", "::", "%d"),
)
GARBAGE = (
    *(b"", b"\x00", b"{", b"[" * 100_000, b'{"a":' * 20_000, b"[" + b"9" * 6000 + b"]", b"\xff\xfe", b"PK\x03\x04"),
    *(b"PK\x05\x06" + bytes(18), b"null", b"[]", b"{}", b'""', b"[null]", b"[[]]", b"[{}]", b"glTF", b"HIERARCHY\n"),
)


def mutate_bytes(data: bytes, random: Random) -> bytes:
    """Flip, cut, repeat, or overwrite a few bytes."""
    data = bytearray(data)
    for _ in range(random.choice((1, 1, 2, 5, 30))):
        if not data:
            break
        at = random.randrange(len(data))
        length = min(random.choice((1, 1, 2, 4, 50)), len(data) - at)
        kind = random.randrange(6)
        if kind == 0:
            data[at] ^= 1 << random.randrange(8)
        elif kind == 1:
            data[at : at + length] = bytes(random.randrange(256) for _ in range(length))
        elif kind == 2:
            del data[at : at + length]
        elif kind == 3:
            data[at:at] = data[at : at + length] * random.choice((1, 2, 100))
        elif kind == 4:
            data[at : at + 4] = random.choice((b"\xff" * 4, bytes(4), b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80"))
        elif random.random() < 0.3:
            del data[at:]
    return bytes(data)


def mutate_text(data: bytes, random: Random) -> bytes:
    """Replace, drop or repeat words and lines."""
    words = re.split(r"(\s+|[,;:{}\[\]]|[\w.+-]+)", data.decode("utf-8", "surrogateescape"))
    words = [word for word in words if word]
    for _ in range(random.choice((1, 1, 2, 5))):
        if not words:
            break
        at = random.randrange(len(words))
        kind = random.randrange(5)
        if kind <= 1:
            words[at] = random.choice(ODD_TEXT)
        elif kind == 2:
            words[at] = random.choice(words)
        elif kind == 3:
            del words[at : at + random.choice((1, 2, 20))]
        else:
            words[at:at] = words[at : at + random.choice((1, 2, 20))]
    return "".join(words).encode("utf-8", "surrogateescape" if random.random() < 0.9 else "replace")


def mutate_value(value: Any, random: Random) -> Any:
    """A copy of parsed JSON with a few of its parts changed."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 2, 4))):
        value = _change(value, random)
    return value


def _change(value: Any, random: Random) -> Any:
    """One part of it, somewhere, is another."""
    if not isinstance(value, (list, dict)) or not value or random.random() < 0.12:
        return _other(value, random)
    keys = list(range(len(value))) if isinstance(value, list) else list(value)
    key = random.choice(keys)
    if random.random() < 0.7:
        value[key] = _change(value[key], random)
    elif random.random() < 0.5:
        del value[key]
    elif isinstance(value, list):
        value[key:key] = [copy.deepcopy(value[key])] * (50 if _parts(value[key]) < 20 else 1)
    else:
        other = random.choice(keys)
        value[random.choice((other, "unknown", "", str(random.choice(ODD))[:40]))] = copy.deepcopy(value[key])
    return value


def _parts(value: Any) -> int:
    """How many values it is made of."""
    children = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + sum(map(_parts, children))


def _other(value: Any, random: Random) -> Any:
    if random.random() < 0.2:
        return [value]
    if isinstance(value, (int, float)) and not isinstance(value, bool) and random.random() < 0.5:
        return random.choice((-value, value * 1e6, str(value), value + 0.5))
    return copy.deepcopy(random.choice(ODD))


def garbage(random: Random, keys: tuple[str, ...], depth: int = 0) -> Any:
    """Any value of JSON, with keys that the readers look for."""
    if depth > 4 or random.random() < 0.25:
        return copy.deepcopy(random.choice(ODD))
    if random.random() < 0.5:
        part = garbage(random, keys, depth + 1)
        count = random.choice((0, 1, 3, 17, 33, 51, 75) if _parts(part) < 20 else (0, 1, 3))
        return [copy.deepcopy(part) for _ in range(count)]
    return {random.choice(keys): garbage(random, keys, depth + 1) for _ in range(random.randrange(4))}


def mutate_json(data: bytes, random: Random) -> bytes:
    """As bytes, as text, or in its structure."""
    kind = random.random()
    if kind < 0.15:
        return mutate_bytes(data, random)
    if kind < 0.25:
        return mutate_text(data, random)
    value = json.loads(data)
    changed = garbage(random, tuple(_keys(value)) or ("x",)) if kind < 0.35 else mutate_value(value, random)
    return json.dumps(changed).encode()


def _keys(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value).union(*(_keys(part) for part in value.values()))
    return set().union(*(_keys(part) for part in value[:20])) if isinstance(value, list) else set()


def mutate_glb(data: bytes, random: Random) -> bytes:
    """As bytes, or with another description of its buffers and nodes, in whole chunks."""
    if random.random() < 0.3:
        return mutate_bytes(data, random)
    length = struct.unpack_from("<I", data, 12)[0]
    text = json.dumps(mutate_value(json.loads(data[20 : 20 + length]), random)).encode()
    text += b" " * (-len(text) % 4)
    rest = data[20 + length :]
    if random.random() < 0.3:
        rest = rest[:8] + mutate_bytes(rest[8:], random)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text) + len(rest), len(text), 0x4E4F534A) + text + rest


def mutate_npz(data: bytes, random: Random) -> bytes:
    """As bytes, in the bytes of one array of a whole archive, or in arrays and keys."""
    if random.random() < 0.15:
        return mutate_bytes(data, random)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    for _ in range(random.choice((1, 1, 2, 3))):
        if not members:
            break
        name = random.choice(list(members))
        kind = random.random()
        if kind < 0.25:
            members[name] = _spoil_payload(members[name], random)
        elif kind < 0.32:
            del members[name]
        elif kind < 0.4:
            members[name] = random.choice(list(members.values()))
        else:
            members[name] = _other_array(members[name], random)
    result = io.BytesIO()
    with zipfile.ZipFile(result, "w", random.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return result.getvalue()


def _spoil_payload(content: bytes, random: Random) -> bytes:
    """The header is hit as often as the far longer rest."""
    if random.random() < 0.5:
        return mutate_bytes(content[:128], random) + content[128:]
    return content[:128] + mutate_bytes(content[128:], random)


def _other_array(content: bytes, random: Random) -> bytes:
    try:
        array = np.lib.format.read_array(io.BytesIO(content), allow_pickle=False)
    except Exception:  # a pickle, or an array that was hit before: its bytes are all there is
        return _spoil_payload(content, random)
    with np.errstate(all="ignore"):
        array = _odd_array(array, random)
    result = io.BytesIO()
    np.lib.format.write_array(result, np.asarray(array), allow_pickle=True)
    return result.getvalue()


def _odd_array(array: np.ndarray, random: Random) -> np.ndarray:
    kind = random.randrange(8)
    if kind == 0:
        kinds = (np.float16, np.float64, complex, bool, str, object) if array.dtype.kind in "iufb" else (object,)
        return array.astype(random.choice(kinds))
    if kind == 1:
        return np.array(random.choice((0, -1, 1.5, np.nan, 2**62, "x", 1e300)))
    if kind == 2 and array.ndim:
        return array[: random.choice((0, 1, 2))]
    if kind == 3 and array.ndim:
        return array.reshape(random.choice(((-1,), (1, *array.shape), array.shape[::-1], (*array.shape, 1))))
    if kind == 4 and array.ndim > 1:
        return array[..., : array.shape[-1] - 1]
    if kind == 5 and array.ndim:
        return np.concatenate([array, array])
    if kind == 6 and array.dtype.kind in "iu" and array.size:
        odd = array.astype(np.int64).reshape(-1).copy()
        odd[random.randrange(array.size)] = random.choice((-1, 2**31, 2**62, 10**7))
        return odd.reshape(array.shape)
    if array.dtype.kind == "f" and array.size:
        odd = array.astype(np.float64).reshape(-1).copy()
        for _ in range(random.choice((1, 3, array.size))):
            odd[random.randrange(array.size)] = random.choice((np.nan, np.inf, -np.inf, 1e300, 1e7, -1, 0))
        return odd.reshape(array.shape)
    return np.zeros((0, *array.shape[1:]), array.dtype)
