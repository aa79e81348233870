"""Recognition by content, and what cannot be recognised."""

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.data.loading import READERS, reader_of
from ites_fast.data.mocap17 import BUNDLED
from ites_fast.errors import InputError


def test_content_decides_not_the_name(tmp_path, human36m, mpi_inf_3dhp, raw):
    truth = human36m()
    (truth.folder / "data_2d_h36m_gt.npz").rename(truth.folder / "mine.npz")
    assert reader_of(truth.folder / "mine.npz") is READERS["Human3.6M npz"]
    assert reader_of(truth.folder) is READERS["Human3.6M npz"]
    np.savez(tmp_path / "test.npz", data=mpi_inf_3dhp())
    assert reader_of(tmp_path / "test.npz") is READERS["MPI-INF-3DHP test set"]
    assert reader_of(BUNDLED) is READERS["mocap17 npz"]
    assert reader_of(raw) is READERS["BVH or ASF/AMC"]


def test_missing_file(tmp_path):
    with pytest.raises(InputError, match=r"nowhere.npz: no such file or folder, and not 'mocap17' or 'synthetic:N'"):
        load(tmp_path / "nowhere.npz")


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_truncated_npz(tmp_path, share):
    whole = BUNDLED.read_bytes()
    (tmp_path / "cut.npz").write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(InputError, match=r"cut.npz: not a whole npz file; was it truncated\?"):
        load(tmp_path / "cut.npz")


def test_damaged_npz(tmp_path):
    """The index at the end of the file is whole, an array in the middle is not."""
    content = bytearray(BUNDLED.read_bytes())
    content[5000:9000] = bytes(4000)
    (tmp_path / "damaged.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"damaged.npz: 'positions_mm' cannot be read .* was the file truncated\?"):
        load(tmp_path / "damaged.npz")


def test_unknown_formats(tmp_path):
    np.savez(tmp_path / "other.npz", weights=np.zeros(3))
    (tmp_path / "notes.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name in ("other.npz", "notes.txt", "empty"):
        with pytest.raises(
            InputError, match=f"{name}: not recognised, expected one of: mocap17 npz, plain npz, Human3.6M"
        ):
            load(tmp_path / name)


def test_subjects():
    data = load("mocap17", "test", subjects=["49"])
    assert {data.subjects[index] for index in data.subject} == {"49"}
    with pytest.raises(InputError, match="mocap17: subjects 9 are not in this split; it has 127, 2, 49"):
        load("mocap17", "test", subjects=["49", "9"])


def test_split_names():
    with pytest.raises(InputError, match=r"split must be one of .* got 'validation'"):
        load("mocap17", "validation")
