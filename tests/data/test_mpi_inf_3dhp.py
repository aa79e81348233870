"""The MPI-INF-3DHP test set: npz and both generations of mat files."""

import sys

import numpy as np
import pytest

from ites_fast.data import load
from ites_fast.errors import InputError


def write_npz(folder, sequences):
    content = {name: {key: clip[key] for key in ("data_2d", "data_3d", "valid")} for name, clip in sequences.items()}
    np.savez_compressed(folder / "data_test_3dhp.npz", data=content)


def mat_content(clip):
    """Arrays as h5py sees them: frames first."""
    frames = len(clip["valid"])
    return {
        "annot2": clip["data_2d"][:, None],
        "annot3": clip["data_3d"][:, None],
        "univ_annot3": clip["data_3d"][:, None] * 0.9,
        "valid_frame": clip["valid"].reshape(1, frames),
        "activity_annotation": np.full((1, frames), 3.0),
    }


def write_hdf5(folder, sequences):
    h5py = pytest.importorskip("h5py")
    for name, clip in sequences.items():
        (folder / name).mkdir()
        with h5py.File(folder / name / "annot_data.mat", "w", userblock_size=512) as file:
            for key, array in mat_content(clip).items():
                file[key] = array
        with (folder / name / "annot_data.mat").open("rb+") as file:
            file.write(b"MATLAB 7.3 MAT-file, Platform: GLNXA64".ljust(124) + b"\x00\x02IM")


def write_old_mat(folder, sequences):
    io = pytest.importorskip("scipy.io")
    for name, clip in sequences.items():
        (folder / name).mkdir()
        content = {key: np.transpose(array) for key, array in mat_content(clip).items()}
        io.savemat(folder / name / "annot_data.mat", content)


@pytest.mark.parametrize("write", [write_npz, write_hdf5, write_old_mat])
def test_every_form_gives_the_valid_poses(tmp_path, mpi_inf_3dhp, write):
    sequences = mpi_inf_3dhp()
    write(tmp_path, sequences)
    data = load(tmp_path, "test")
    assert data.subjects == ("TS1", "TS5")
    for number, clip in enumerate(sequences.values()):
        at = data.sequence == number
        valid = clip["valid"] > 0
        np.testing.assert_allclose(data.pose_3d[at], clip["pose"][valid], atol=1e-6)
        np.testing.assert_array_equal(data.frame[at], np.flatnonzero(valid))
        camera = data.cameras[number]
        np.testing.assert_allclose(camera.focal, clip["camera"]["focal"], atol=0.01)
        np.testing.assert_allclose(camera.principal, clip["camera"]["principal"], atol=0.01)
        np.testing.assert_allclose(camera.project(data.pose_3d[at]), data.pose_2d[at], atol=0.01)
    assert [camera.image_size for camera in data.cameras] == [(2048, 2048), (1920, 1080)]
    np.testing.assert_allclose(data.image(), data.pose_3d[..., :2] / data.pose_3d[..., 2:], atol=1e-5)
    expected = "unlabelled" if write is write_npz else "sitting"
    assert {data.actions[index] for index in data.action} == {expected}


def test_one_sequence(tmp_path, mpi_inf_3dhp):
    sequences = mpi_inf_3dhp()
    write_old_mat(tmp_path, sequences)
    assert load(tmp_path / "TS5" / "annot_data.mat", "test").subjects == ("TS5",)
    assert load(tmp_path / "TS5", "test").subjects == ("TS5",)


def test_no_training_split(tmp_path, mpi_inf_3dhp):
    write_npz(tmp_path, mpi_inf_3dhp())
    with pytest.raises(InputError, match=r"the train split is empty: this is the test set"):
        load(tmp_path, "train")


def test_detected_2d_still_gives_the_intrinsics(tmp_path, mpi_inf_3dhp):
    sequences = mpi_inf_3dhp()
    rng = np.random.default_rng(0)
    for clip in sequences.values():
        clip["data_2d"] = clip["data_2d"] + rng.normal(0, 5, clip["data_2d"].shape)
        clip["data_2d"][3:5] += 500  # the detector took somebody else
    write_npz(tmp_path, sequences)
    data = load(tmp_path, "test")
    np.testing.assert_allclose(data.cameras[0].focal, sequences["TS1"]["camera"]["focal"], rtol=0.02)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda clip: clip.pop("valid"), "TS1: valid missing; it holds data_2d, data_3d"),
        (
            lambda clip: clip.update(data_2d=clip["data_2d"][:, :16]),
            r"data_2d has shape \(36, 16, 2\), expected \(36, 17, 2\)",
        ),
        (
            lambda clip: clip.update(data_3d=clip["data_3d"][:9]),
            r"data_3d has shape \(9, 17, 3\), expected \(36, 17, 3\)",
        ),
        (lambda clip: clip.update(valid=np.zeros(36)), "TS1: no valid frames"),
        (
            lambda clip: clip.update(data_3d=clip["data_3d"][::-1, ::-1] * [1, -1, 1]),
            "the 2D is no projection of the 3D",
        ),
    ],
)
def test_broken_npz(tmp_path, mpi_inf_3dhp, spoil, message):
    sequences = {"TS1": mpi_inf_3dhp()["TS1"]}
    spoil(sequences["TS1"])
    np.savez(
        tmp_path / "data_test_3dhp.npz",
        data={n: {k: v for k, v in c.items() if k.startswith(("data", "valid"))} for n, c in sequences.items()},
    )
    with pytest.raises(InputError, match=message):
        load(tmp_path / "data_test_3dhp.npz", "test")


def test_other_content(tmp_path):
    np.savez(tmp_path / "list.npz", data=[{}, {}])
    with pytest.raises(InputError, match="'data' is not a dictionary of sequences"):
        load(tmp_path / "list.npz", "test")
    np.savez(tmp_path / "empty.npz", data={})
    with pytest.raises(InputError, match=r"empty.npz: empty, expected sequences TS1"):
        load(tmp_path / "empty.npz", "test")


@pytest.mark.parametrize(("package", "write"), [("h5py", write_hdf5), ("scipy.io", write_old_mat)])
def test_package_that_is_not_installed(tmp_path, mpi_inf_3dhp, monkeypatch, package, write):
    write(tmp_path, mpi_inf_3dhp())
    monkeypatch.setitem(sys.modules, package, None)  # what Python takes as not to be found
    with pytest.raises(InputError, match=f"needs the package {package.split('.')[0]}, which is not installed"):
        load(tmp_path, "test")


@pytest.mark.parametrize("write", [write_hdf5, write_old_mat])
def test_truncated_mat(tmp_path, mpi_inf_3dhp, write):
    write(tmp_path, mpi_inf_3dhp())
    path = tmp_path / "TS1" / "annot_data.mat"
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(InputError, match=r"annot_data.mat: not a whole MATLAB"):
        load(path, "test")
