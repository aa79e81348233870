"""Noise of a stated size, joints that are lost, change sides or lie elsewhere, and parts of bodies that are hidden."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast.camera import Camera
from ites_fast.corruption import (
    DETECTOR,
    TAIL,
    Corruption,
    add_noise,
    body_regions,
    drop_joints,
    limb_ends,
    misplace,
    reference_pixel,
    swap_limbs,
)
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.skeleton import H36M_17

LEGS, ARMS = ((1, 2, 3), (4, 5, 6)), ((11, 12, 13), (14, 15, 16))  # right before left, left before right


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


def test_a_share_of_the_joints_moves_farther(image):
    noise = (add_noise(image, 6, 1145, generator(), tail_share=0.1) - image) * 1145
    assert noise.std().item() == pytest.approx(6 * (0.9 + 0.1 * TAIL**2) ** 0.5, rel=0.02)
    far = noise.norm(dim=-1) > 6 * 4  # a Rayleigh tail of 3.4e-4 without, of 0.61 at four times the size
    assert far.float().mean().item() == pytest.approx(0.1 * np.exp(-0.5) + 0.9 * np.exp(-8), rel=0.05)
    again = add_noise(image, 6, 1145, generator(), tail_share=0.1)
    assert torch.equal((again - image) * 1145, noise)


def test_ends_of_limbs_change_sides(image):
    swapped = swap_limbs(image, H36M_17, 0.25, generator())
    moved = (swapped != image).any(-1)
    assert moved.any(1).float().mean().item() == pytest.approx(0.25, abs=0.02)
    found = {tuple(row.nonzero().flatten().tolist()) for row in moved if row.any()}
    ends = [tuple(sorted(a[start:] + b[start:])) for a, b in (LEGS, ARMS) for start in range(3)]
    assert found == set(ends)
    for row in moved.any(1).nonzero()[:50, 0]:
        for joint in moved[row].nonzero()[:, 0].tolist():
            assert torch.equal(swapped[row, joint], image[row, H36M_17.flip_order[joint]])


def test_joints_lie_elsewhere(image):
    image[:, 9] = torch.nan
    placed = misplace(image, H36M_17, 0.02, generator())
    assert placed[:, 9].isnan().all()
    seen = [joint for joint in range(17) if joint != 9]
    wrong = (placed != image).any(-1)[:, seen]
    assert not placed[:, seen].isnan().any()
    share = dict(zip(seen, wrong.float().mean(0).tolist(), strict=True))
    for joint in seen:
        assert share[joint] == pytest.approx(0.08 if joint in (3, 6, 13, 16) else 0.02, rel=0.4), joint
    onto = (placed[:, :, None] == image[:, None]).all(-1).any(2)[:, seen] & wrong
    assert onto.sum().item() / wrong.sum().item() == pytest.approx(0.5 * 15 / 17, abs=0.05), "itself and a missing one"


def test_regions_of_the_body():
    regions = {
        name: {tuple(row.nonzero().flatten().tolist()) for row in rows} for name, rows in body_regions(H36M_17).items()
    }
    limbs = {*LEGS, *ARMS}
    assert regions["limb"] == limbs
    assert regions["two_limbs"] == {tuple(sorted(a + b)) for a, b in itertools.combinations(limbs, 2)}
    assert regions["side"] == {(1, 2, 3, 14, 15, 16), (4, 5, 6, 11, 12, 13)}
    assert regions["legs"] == {(2, 3, 5, 6)}
    assert regions["lower_body"] == {(0, 1, 2, 3, 4, 5, 6)}
    assert {tuple(row.nonzero().flatten().tolist()) for row in limb_ends(H36M_17)} == {
        limb[start:] for limb in limbs for start in range(3)
    }


@pytest.mark.parametrize(("occlusion", "count"), [("limb", 3), ("two_limbs", 6), ("legs", 4), ("lower_body", 7)])
def test_a_region_is_hidden_in_every_view(small_mocap, occlusion, count):
    data = load(small_mocap, "test")
    hidden = Corruption(occlusion=occlusion).apply(data)
    lost = np.isnan(hidden.pose_2d).any(-1)
    assert (lost.sum(1) == count).all()
    regions = body_regions(H36M_17)[occlusion].numpy()
    assert {tuple(row) for row in lost} == {tuple(row) for row in regions}, "each of them somewhere"
    both = Corruption(missing_joints=8, occlusion=occlusion).apply(data)
    assert (np.isnan(both.pose_2d).any(-1).sum(1) == min(count + 8, 13)).all()
    both.check()


def test_each_part_of_a_detector(small_mocap):
    """Every field does something, and the preset is the sum of the parts."""
    data = load(small_mocap, "test")
    for name in ("swap_share", "miss_share", "lost_share"):
        one = Corruption(**{name: 0.5}).apply(data)
        changed = (one.pose_2d != data.pose_2d).any(-1)
        assert 0.1 < changed.mean() < 0.9, name
        assert one.allow_missing == (name == "lost_share")
    seen = DETECTOR.apply(data)
    assert np.isnan(seen.pose_2d).any(-1).mean() == pytest.approx(DETECTOR.lost_share, rel=0.3)
    error = np.linalg.norm(seen.pose_2d - data.pose_2d, axis=-1)
    assert np.nanmedian(error) == pytest.approx(1.2 * 1.177 * DETECTOR.noise_px, rel=0.1)
    assert 0.01 < np.nanmean(error > 40) < 0.05
    assert "tail_share 0.1" in str(DETECTOR)
    assert "swap_share" not in str(Corruption(3))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"swap_share": 1.5}, "swap_share 1.5: expected 0 to 1"),
        ({"miss_share": -0.1}, "miss_share -0.1: expected 0 to 1"),
        ({"tail_share": float("nan")}, "tail_share nan: expected 0 to 1"),
        ({"occlusion": "head"}, "occlusion 'head': expected one of"),
    ],
)
def test_a_corruption_that_is_none(arguments, message):
    with pytest.raises(InputError, match=message):
        Corruption(**arguments)
