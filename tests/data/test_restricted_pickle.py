"""Only arrays and plain containers come out of a pickle, and nothing in it runs."""

import collections
import os
import pickle
import zipfile

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.data.restricted_pickle import load_object_array
from ites_fast.errors import InputError

CONTENT = {
    "S1": {"Walking 1": np.arange(12, dtype=np.float32).reshape(2, 2, 3), "fortran": np.ones((3, 2), order="F")},
    "list": [np.zeros((0, 17, 2)), np.array(["a", "bc"]), np.float64(1.5), np.int32(-3), np.bool_(True)],
    "plain": (1, 2.5, "text", b"bytes\xff", None, True, {1, 2}, frozenset({3}), collections.OrderedDict(a=1)),
    "nested": np.array([{"x": 1}, [2]], dtype=object),
}


class Attack:
    """Creates a file when it is unpickled the usual way."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return os.mkdir, (self.path,)


def write(path, pickled: bytes, shape="()"):
    """An npz whose object array has these bytes as its pickle."""
    header = f"{{'descr': '|O', 'fortran_order': False, 'shape': {shape}, }}".ljust(117).encode() + b"\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("data.npy", b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + pickled)


def assert_same(a, b):
    assert type(a) is type(b)
    if isinstance(a, np.ndarray):
        assert a.dtype == b.dtype
        assert a.flags.f_contiguous == b.flags.f_contiguous
        if a.dtype == object:
            assert a.tolist() == b.tolist()
        else:
            np.testing.assert_array_equal(a, b)
    elif isinstance(a, dict):
        assert list(a) == list(b)
        for key in a:
            assert_same(a[key], b[key])
    elif isinstance(a, (list, tuple)):
        for x, y in zip(a, b, strict=True):
            assert_same(x, y)
    else:
        assert a == b


def test_what_numpy_writes(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", data=CONTENT)
    assert_same(load_object_array(tmp_path / "a.npz", "data"), CONTENT)


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_every_pickle_protocol(tmp_path, protocol):
    array = np.empty((), dtype=object)
    array[()] = CONTENT
    write(tmp_path / "a.npz", pickle.dumps(array, protocol))
    assert_same(load_object_array(tmp_path / "a.npz", "data"), CONTENT)


def test_names_of_other_numpy_versions(tmp_path):
    array = np.empty((), dtype=object)
    array[()] = {"S1": np.float32([1, 2])}
    for new, old in ((b"numpy._core", b"numpy.core"), (b"numpy.core", b"numpy._core")):
        write(tmp_path / "a.npz", pickle.dumps(array, 2).replace(new, old))
        np.testing.assert_array_equal(load_object_array(tmp_path / "a.npz", "data")["S1"], [1, 2])


def test_array_with_dimensions(tmp_path):
    np.savez(tmp_path / "a.npz", data=np.array([{"x": 1}, None], dtype=object))
    assert load_object_array(tmp_path / "a.npz", "data").tolist() == [{"x": 1}, None]


@pytest.mark.parametrize("protocol", [2, 4])
def test_forbidden_function_is_named_and_not_called(tmp_path, protocol):
    array = np.empty((), dtype=object)
    array[()] = {"S1": Attack(tmp_path / "pwned")}
    write(tmp_path / "evil.npz", pickle.dumps(array, protocol))
    with pytest.raises(InputError, match=r"evil.npz: refused to unpickle (posix|nt).mkdir; only numpy arrays"):
        load(tmp_path / "evil.npz", "test")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize(
    "name",
    [b"builtins\neval", b"builtins\ngetattr", b"numpy\nload", b"numpy\nmemmap", b"numpy.core.multiarray\nfrombuffer",
     b"numpy.testing._private.utils\nrunstring", b"collections\nnamedtuple", b"functools\npartial"],
)  # fmt: skip
def test_other_names_of_the_same_modules(tmp_path, name):
    write(tmp_path / "evil.npz", b"c" + name + b"\n(tR.")
    with pytest.raises(InputError, match=f"refused to unpickle {name.decode().replace(chr(10), '.')}"):
        load_object_array(tmp_path / "evil.npz", "data")


@pytest.mark.parametrize(
    "pickled",
    [
        b"cnumpy\nndarray\n((I1\ntR.",  # calling ndarray itself
        b"cnumpy\ndtype\n(S'V8'\nI0\nI1\ntR.",  # a structured dtype
        b"cnumpy.core.multiarray\nscalar\n(cnumpy\ndtype\n(S'O8'\nI0\nI1\ntRS'12345678'\ntR.",  # a made-up pointer
        b"c_codecs\nencode\n(Vx\nVrot13\ntR.",
        b"I1\n.",  # not an array
        b"",
        b"\x80\x04garbage",
    ],
)
def test_odd_pickles(tmp_path, pickled):
    write(tmp_path / "odd.npz", pickled)
    with pytest.raises(InputError, match=r"odd.npz: 'data' (cannot be read|is not the object array)"):
        load_object_array(tmp_path / "odd.npz", "data")


def test_shape_must_be_the_announced_one(tmp_path):
    write(tmp_path / "a.npz", pickle.dumps(np.array([1, 2], dtype=object)), shape="(5,)")
    with pytest.raises(InputError, match="is not the object array that its header announces"):
        load_object_array(tmp_path / "a.npz", "data")


def test_missing_key_and_plain_array(tmp_path):
    np.savez(tmp_path / "a.npz", other=np.zeros(3))
    with pytest.raises(InputError, match=r"a.npz: key 'data' is missing; it holds other"):
        load_object_array(tmp_path / "a.npz", "data")
    with pytest.raises(InputError, match="'other' has dtype float64, expected an object array"):
        load_object_array(tmp_path / "a.npz", "other")
    with pytest.raises(InputError, match=r"b.npz: no such file"):
        load_object_array(tmp_path / "b.npz", "data")


def test_truncated(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", data=CONTENT)
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"a.npz: not a whole npz file"):
        load_object_array(tmp_path / "a.npz", "data")
