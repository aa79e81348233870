"""Noise of a stated size, and joints that are lost."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast.camera import Camera
from ites_fast.corruption import Corruption, add_noise, drop_joints, reference_pixel
from ites_fast.data import load
from ites_fast.errors import InputError


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture
def image():
    return 0.1 * torch.randn(4000, 17, 2, generator=generator(1))


def test_noise_has_the_size_that_was_asked_for(image):
    noise = (add_noise(image, 6, 1145, generator()) - image) * 1145
    torch.testing.assert_close(noise.std((0, 1)), torch.full((2,), 6.0), rtol=0.02, atol=0)
    torch.testing.assert_close(noise.mean((0, 1)), torch.zeros(2), rtol=0, atol=0.1)
    between = torch.corrcoef(noise.reshape(-1, 34).T)
    assert (between - torch.eye(34)).abs().max() < 0.08  # every joint by itself
    assert torch.equal(add_noise(image, 0, 1145, generator()), image)


def test_the_generator_decides(image):
    for corrupt in (lambda g: add_noise(image, 3, 1145, g), lambda g: drop_joints(image, 3, g)):
        once, again, other = corrupt(generator()), corrupt(generator()), corrupt(generator(5))
        torch.testing.assert_close(once, again, rtol=0, atol=0, equal_nan=True)
        assert not torch.equal(once.nan_to_num(9), other.nan_to_num(9))


@pytest.mark.parametrize("count", [0, 1, 5, 13])
def test_every_pose_loses_so_many_joints(image, count):
    before = image.clone()
    result = drop_joints(image, count, generator())
    assert torch.equal(image, before)
    lost = result.isnan()
    assert torch.equal(lost[..., 0], lost[..., 1])
    assert (lost[..., 0].sum(1) == count).all()
    assert torch.equal(result[~lost], image[~lost])
    share = lost[..., 0].float().mean(0)
    torch.testing.assert_close(share, torch.full((17,), count / 17), rtol=0, atol=0.04)


def test_every_set_of_joints_is_as_likely_as_any_other():
    lost = drop_joints(torch.zeros(20000, 6, 2), 2, generator())[..., 0].isnan()
    for pair in itertools.combinations(range(6), 2):
        assert lost[:, list(pair)].all(1).float().mean().item() == pytest.approx(1 / 15, rel=0.1)


def test_what_is_missing_already_stays_missing_and_four_are_left(image):
    image[:, :11] = torch.nan
    image[0, 11] = torch.nan
    lost = drop_joints(add_noise(image, 3, 1145, generator()), 4, generator())[..., 0].isnan()
    assert lost[:, :11].all()
    assert (lost.sum(1) == 13).all()
    lost = drop_joints(image, 1, generator())[..., 0].isnan().sum(1)
    assert lost[0] == 13
    assert (lost[1:] == 12).all()
    image[0, 12:15] = torch.nan  # two are left: none to lose
    assert drop_joints(image, 1, generator())[0, :, 0].isnan().sum() == 15


@pytest.mark.parametrize("count", [-1, 14])
def test_too_many_are_refused(image, count):
    with pytest.raises(InputError, match=f"{count} missing joints: expected 0 to 13 of 17"):
        drop_joints(image, count, generator())


@pytest.mark.parametrize(
    ("camera", "size"),
    [
        (Camera((1145, 1145), (500, 500), (1000, 1000)), 1.0),
        (Camera((1680, 1690), (540, 960), (1088, 1920)), 1.92),
        (Camera((1680, 1690), (960, 540), (1920, 1088)), 1.92),
        (Camera((2290, 2290), (0, 0)), 2.0),
    ],
)
def test_the_size_of_a_pixel(camera, size):
    assert reference_pixel(camera) == size


def test_a_data_set_seen_worse(small_mocap):
    """In pixels, the same on every call, each view by the size of its camera's image."""
    data = load(small_mocap, "test")
    first = data.camera[0]
    large = replace(data.cameras[first], image_size=(2000, 1500))
    data = replace(data, cameras=(*data.cameras[:first], large, *data.cameras[first + 1 :]))
    noisy = Corruption(5, 0, 1).apply(data)
    noise, of_large = noisy.pose_2d - data.pose_2d, data.camera == first
    assert noise[of_large].std() == pytest.approx(10, rel=0.05)
    assert noise[~of_large].std() == pytest.approx(5, rel=0.02)
    assert noisy.pose_3d is data.pose_3d
    assert not noisy.allow_missing
    assert data.missing_joints == 0
    np.testing.assert_array_equal(Corruption(5, 0, 1).apply(data).pose_2d, noisy.pose_2d)
    assert not np.array_equal(Corruption(5, 0, 2).apply(data).pose_2d, noisy.pose_2d)
    both = Corruption(5, 2, 1).apply(data)
    assert both.missing_joints == 2 * len(data)
    both.check()
    assert Corruption(0, 0, 1).apply(data) is data


@pytest.mark.parametrize("noise", [-1, float("nan"), float("inf")])
def test_noise_that_is_none(noise):
    with pytest.raises(InputError, match=r"noise of .* px: expected a finite number that is not negative"):
        Corruption(noise)
