"""Lifters that come with a completion: it is stored with them, and every way to lift uses it."""

import numpy as np
import pytest
import torch

from ites_fast import checkpoint
from ites_fast.completion import Completion
from ites_fast.corruption import Corruption
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.lifting.inference import Inference
from ites_fast.models import pack
from ites_fast.skeleton import H36M_17
from ites_fast.weights import BUNDLED


@pytest.fixture(scope="module")
def lifter():
    return checkpoint.load_lifter()


@pytest.fixture(scope="module")
def incomplete(small_mocap):
    return torch.from_numpy(Corruption(missing_joints=5).apply(load(small_mocap, "test")).image()[::9])


def save(lifter, path, **options):
    _, description = checkpoint.read_tensors(BUNDLED, kind="model")
    checkpoint.save_model(path, lifter, description["architecture"], {}, **options)


def test_the_bundled_weights_have_one_and_are_small(lifter):
    assert lifter.completion.noise > 0
    assert lifter.completion.mean.shape == (34,)
    assert BUNDLED.stat().st_size <= 2_000_000


def test_a_completion_is_stored_with_the_network_and_not_rounded(lifter, incomplete, tmp_path):
    save(lifter, tmp_path / "lifter.safetensors", dtype=torch.float16)
    loaded = checkpoint.load_lifter(tmp_path)
    for name in ("mean", "covariance", "noise"):
        np.testing.assert_array_equal(getattr(loaded.completion, name), getattr(lifter.completion, name))
    assert torch.equal(loaded.lift(incomplete), lifter.lift(incomplete))


def test_a_lifter_may_have_none(lifter, incomplete, tmp_path):
    alone = type(lifter)(lifter.network, lifter.skeleton, lifter.normalization).eval()
    save(alone, tmp_path / "lifter.safetensors")
    loaded = checkpoint.load_lifter(tmp_path)
    assert loaded.completion is None
    assert (loaded.lift(incomplete) - lifter.lift(incomplete)).abs().max() > 0.05


def test_incomplete_poses_are_lifted_as_the_completed_ones(lifter, incomplete):
    completed = lifter.completion(incomplete)
    torch.testing.assert_close(lifter.lift(incomplete), lifter.lift(completed), rtol=0, atol=1e-6)
    whole = torch.cat([completed[:5], incomplete[:5]])
    torch.testing.assert_close(lifter.lift(whole), lifter.lift(completed[:5]).repeat(2, 1, 1), rtol=0, atol=1e-5)


def test_packed_lifters_and_arrays_are_completed_as_well(lifter, incomplete):
    expected = lifter.lift(incomplete)
    torch.testing.assert_close(pack(lifter).lift(incomplete), expected, rtol=0, atol=1e-5)
    image = incomplete.numpy()
    for turned, given in ((True, image), (False, 1145 * image + 500)):
        visible = ~np.isnan(given).any(-1)
        found = Inference(lifter)(np.where(visible[..., None], given, 7.0).astype(np.float32), visible, turned=turned)
        filled = lifter.completion.filled_array(given, visible)
        again = Inference(lifter)(filled, np.ones_like(visible), turned=turned)
        np.testing.assert_allclose(found.poses, again.poses, atol=1e-5)
        if turned:
            np.testing.assert_allclose(found.poses, expected.numpy(), atol=1e-5)


def test_three_joints_are_still_no_person(lifter, incomplete):
    few = incomplete[:3].clone()
    few[1, 3:] = torch.nan
    with pytest.raises(InputError, match="sample 1 has fewer than 4 joints"):
        lifter.lift(few)
    found = Inference(lifter)(few.numpy(), ~few.isnan().any(-1).numpy(), turned=True)
    assert np.isnan(found.poses).all((1, 2)).tolist() == [False, True, False]


@pytest.mark.parametrize("name", ["mean", "covariance"])
def test_a_damaged_completion_is_refused(lifter, name, tmp_path):
    path = tmp_path / "lifter.safetensors"
    save(lifter, path)
    tensors, description = checkpoint.read_tensors(path, kind="model")
    tensors[f"completion.{name}"] = torch.zeros(3)
    checkpoint.write_tensors(path, tensors, description)
    with pytest.raises(InputError, match=r"its completion has the shapes .*\(3,\).*, expected \[\(34,\), \(34, 34\)\]"):
        checkpoint.load_lifter(path)
    del tensors[f"completion.{name}"]
    checkpoint.write_tensors(path, tensors, description)
    with pytest.raises(InputError, match="its completion has the shapes"):
        checkpoint.load_lifter(path)


def test_half_of_a_body_is_lifted_as_half_of_a_body(lifter, small_mocap):
    """Joints that were seen decide where the others go: a mirrored half gives the mirrored pose."""
    views = load(small_mocap, "test")
    image = torch.from_numpy(Corruption(occlusion="side").apply(views).image()[::19])
    assert isinstance(lifter.completion, Completion)
    lifter.mirror_average = True
    try:
        pose = lifter.lift(image)
        flipped = image[:, list(H36M_17.flip_order)] * torch.tensor([-1.0, 1.0])
        mirrored = lifter.lift(flipped)[:, list(H36M_17.flip_order)] * torch.tensor([-1.0, 1.0, 1.0])
        torch.testing.assert_close(pose, mirrored, rtol=0, atol=1e-4)
    finally:
        lifter.mirror_average = False
