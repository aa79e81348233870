"""Missing joints are the mean of a Gaussian given the others, wherever and however large a person is."""

import numpy as np
import pytest
import torch

from ites_fast.completion import FREE, NOISE, UPRIGHT, Completion
from ites_fast.corruption import Corruption
from ites_fast.data import load
from ites_fast.metrics import root_relative
from ites_fast.normalization import MIN_VISIBLE, Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17

NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)


@pytest.fixture(scope="module")
def views(small_mocap):
    return load(small_mocap, "test")


@pytest.fixture(scope="module")
def completion(small_mocap):
    image = torch.from_numpy(load(small_mocap, "train").image())
    return Completion.fit(image, H36M_17, NORMALIZATION)


@pytest.fixture(scope="module")
def spoilt(views):
    """Image coordinates of some views of which each lacks five joints, in double precision."""
    return torch.from_numpy(Corruption(missing_joints=5, seed=3).apply(views).image()[::7]).double()


def test_seen_joints_stay_and_all_others_are_filled(completion, spoilt):
    before = spoilt.clone()
    filled = completion(spoilt)
    assert torch.equal(spoilt.nan_to_num(9), before.nan_to_num(9))
    seen = ~spoilt.isnan()
    assert torch.equal(filled[seen], spoilt[seen])
    assert filled.isfinite().all()
    assert torch.equal(completion(filled), filled)


def test_it_is_the_mean_given_the_others_at_the_likeliest_size(completion, spoilt):
    """By the textbook's formulas for one pose, and a search over sizes."""
    mean, covariance = completion.mean.double().numpy(), completion.covariance.double().numpy()
    axis = np.arange(34) % 2
    covariance = covariance + FREE * (axis[:, None] == axis)
    for image in spoilt[:5].numpy():
        seen = ~np.isnan(image).any(1)
        known = image[seen] - image[seen].mean(0)
        known /= np.sqrt((known**2).sum(1).mean())
        o, m = np.flatnonzero(np.repeat(seen, 2)), np.flatnonzero(np.repeat(~seen, 2))
        inverse = np.linalg.inv(covariance[np.ix_(o, o)] + NOISE**2 * np.eye(len(o)))

        def likelihood(factor, sign=1, inverse=inverse, known=known, o=o):
            residual = factor * known.ravel() - sign * mean[o]
            return (len(o) - 2) * np.log(factor) - residual @ inverse @ residual / 2

        factors = np.geomspace(0.05, 5, 20001)
        best = factors[np.argmax([likelihood(factor) for factor in factors])]
        assert max(likelihood(factor, -1) for factor in factors[::50]) < likelihood(best) + UPRIGHT
        expected = mean[m] + covariance[np.ix_(m, o)] @ inverse @ (best * known.ravel() - mean[o])
        filled = completion(torch.from_numpy(image)[None])[0].numpy()
        unit = (filled - image[seen].mean(0)) / np.sqrt(((image[seen] - image[seen].mean(0)) ** 2).sum(1).mean())
        np.testing.assert_allclose(unit[~seen].ravel() * best, expected, atol=2e-3)


def test_arrays_are_filled_as_tensors_are(completion, spoilt, views):
    upside_down, point = -torch.from_numpy(views.image()[:9]).double(), torch.full((1, 17, 2), 0.25).double()
    upside_down[:, [2, 3, 12]] = torch.nan
    given = torch.cat([spoilt, upside_down, point])
    given[-1, 4] = torch.nan
    for image in (given, 1145 * given + 500):
        seen = ~image.isnan().any(-1)
        filled = completion.filled_array(image.numpy(), seen.numpy())
        np.testing.assert_allclose(filled, completion(image).numpy(), rtol=0, atol=1e-6)
        single = completion.filled_array(image.float().numpy()[:1], seen.numpy()[:1])
        assert single.dtype == np.float32
    assert completion.filled_array(np.zeros((0, 17, 2), np.float32), np.zeros((0, 17), bool)).shape == (0, 17, 2)


def test_place_and_size_do_not_matter(completion, spoilt):
    pixels = 1145 * spoilt + torch.tensor([500.0, 620.0])
    expected = 1145 * completion(spoilt) + torch.tensor([500.0, 620.0])
    torch.testing.assert_close(completion(pixels), expected, rtol=0, atol=1e-6)


def test_left_and_right_are_alike(completion, spoilt):
    filled = completion(spoilt)
    torch.testing.assert_close(completion(mirrored(spoilt, H36M_17)), mirrored(filled, H36M_17), rtol=0, atol=1e-5)


def test_a_person_on_their_hands_is_filled_in_upside_down(completion, views):
    whole = torch.from_numpy(views.image()[::7]).double()
    hidden = whole.clone()
    hidden[:, [3, 6, 13]] = torch.nan
    torch.testing.assert_close(completion(-hidden), -completion(hidden), rtol=0, atol=1e-6)


def test_it_is_better_than_the_middle_of_the_body(completion, views):
    whole = torch.from_numpy(views.image())
    for corruption in (Corruption(missing_joints=4), Corruption(missing_joints=8), Corruption(occlusion="lower_body")):
        hidden = torch.from_numpy(corruption.apply(views).image())
        lost = hidden.isnan()
        middle = hidden.nanmean(1, keepdim=True).expand_as(hidden)
        errors = [(guess - whole)[lost].abs().mean() for guess in (completion(hidden), middle)]
        assert errors[0] < 0.5 * errors[1]


def test_noise_of_a_detector_does_not_throw_joints_off(completion, views):
    whole = root_relative(torch.from_numpy(views.image()))
    clean, noisy = (
        (root_relative(completion(torch.from_numpy(Corruption(noise, 5).apply(views).image()))) - whole).norm(dim=-1)
        for noise in (0, 6)
    )
    assert noisy.mean() < clean.mean() + 3 * 6 / 1145
    assert noisy.max() < 2 * clean.max()


def test_too_few_joints_or_a_point_stay_incomplete(completion, spoilt):
    few = spoilt.clone()
    few[0, MIN_VISIBLE - 1 :] = torch.nan
    few[0, : MIN_VISIBLE - 1] = torch.rand(MIN_VISIBLE - 1, 2)
    few[1, :] = torch.nan
    few[1, 3:8] = 0.25
    filled = completion(few)
    assert torch.equal(filled[:2].isnan(), few[:2].isnan())
    torch.testing.assert_close(filled[2:], completion(spoilt)[2:])


def test_batches_and_dtypes(completion, spoilt, monkeypatch):
    expected = completion(spoilt)
    single = completion(spoilt.float())
    assert single.dtype == torch.float32
    torch.testing.assert_close(single.double(), expected, rtol=0, atol=1e-5)
    monkeypatch.setattr("ites_fast.completion.CHUNK", 3)
    torch.testing.assert_close(completion(spoilt), expected, rtol=0, atol=1e-9)
    assert completion(spoilt[:0]).shape == (0, 17, 2)
