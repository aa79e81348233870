"""How views are spoilt for the student, and what it is asked for."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ites_fast.corruption import FOCAL_PX, limb_ends
from ites_fast.distill_stage import ClipStage, DistillStage
from ites_fast.models import ViewLifter, build_network
from ites_fast.models.view_lifter import Corrected
from ites_fast.normalization import MIN_VISIBLE, Normalization
from ites_fast.options import DistillOptions
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17
from ites_fast.spoiling import large_regions, spoil
from ites_fast.teaching import in_view, mean_poses

NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)
SMALL = DistillOptions(width=32, blocks=1, max_missing=4, region_share=0.0, swap_share=0.0, miss_share=0.0)
UNSPOILT = replace(SMALL, max_noise_px=0.0, max_missing=0, mirror=False, virtual_share=0.0)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def random_image(views=64):
    return 0.1 * torch.randn(views, 17, 2, generator=generator(1))


def spoilt(options, views=4000):
    image = torch.zeros(views, 17, 2, dtype=torch.float64)
    return spoil(image, H36M_17, options, generator())


class Perfect(nn.Module):
    """A student that has learned the mean of a teacher's two sides by heart."""

    def __init__(self, teacher):
        super().__init__()
        self.teacher = teacher

    def forward(self, pose_2d, visible):
        flipped = mirrored(pose_2d, H36M_17)
        depth = self.teacher(pose_2d) + self.teacher(flipped)[:, list(H36M_17.flip_order)]
        return Corrected(pose_2d, depth / 2)


@pytest.fixture
def stage():
    """Builds a stage whose student is ``Perfect``, when views are not spoilt."""

    def build(options):
        torch.manual_seed(0)
        teacher = build_network("depth_mlp", H36M_17, {"width": 32, "blocks": 1}).eval()
        with torch.no_grad():
            teacher.depth.weight *= 100  # depths that matter
        image = random_image()
        poses = mean_poses([ViewLifter(teacher, H36M_17, NORMALIZATION)], image, NORMALIZATION)
        result = DistillStage(image, poses, H36M_17, NORMALIZATION, options)
        result.network = Perfect(teacher)
        return result

    return build


@pytest.mark.parametrize("mirror", [False, True])
def test_who_agrees_with_the_teachers_has_no_loss(stage, mirror):
    losses = stage(replace(UNSPOILT, mirror=mirror)).losses(torch.arange(64), 0, generator())
    assert losses.keys() == {"distillation"}
    assert losses["distillation"] < 1e-6


def test_noise_costs_the_one_who_trusts_it(stage):
    batch = torch.arange(64)
    loss = [
        stage(replace(UNSPOILT, max_noise_px=noise, clean_share=0.0)).losses(batch, 0, generator())["distillation"]
        for noise in (1.0, 10.0)
    ]
    assert 1e-3 < loss[0] < loss[1] / 3


def test_the_power_of_the_loss(stage):
    spoilt_stage = stage(replace(UNSPOILT, max_noise_px=9.0))
    plain = spoilt_stage.losses(torch.arange(64), 0, generator())["distillation"]
    spoilt_stage.options = replace(spoilt_stage.options, loss_power=2.0)
    squared = spoilt_stage.losses(torch.arange(64), 0, generator())["distillation"]
    assert plain**2 < squared < plain


def test_further_losses_are_switches(stage):
    options = replace(UNSPOILT, bone_weight=0.5, equivariance_weight=2.0)
    built = stage(options)
    assert built.weights == {"distillation": 1.0, "bones": 0.5, "equivariance": 2.0}
    losses = built.losses(torch.arange(64), 0, generator())
    assert losses.keys() == built.weights.keys()
    assert losses["equivariance"] > 0.01
    assert losses["distillation"] < 1e-6


class Flat(nn.Module):
    """Believes the image, and sees no depth."""

    def forward(self, pose_2d, visible):
        return Corrected(pose_2d, torch.zeros_like(pose_2d[..., 0]))


def test_virtual_views_are_scaled_as_real_ones(stage, monkeypatch):
    """A flat pose of any size, turned by nothing, is lifted as it is."""
    built = stage(replace(UNSPOILT, equivariance_weight=1.0))
    built.network = Flat()
    identity = torch.eye(3).expand(1, 64, 3, 3)
    monkeypatch.setattr("ites_fast.distill_stage.draw_views", lambda *arguments, **options: identity)
    pose = built._lift(NORMALIZATION.apply(built.pose_2d).pose_2d, None)
    for size in (1.0, 0.5, 2.0):
        assert built._equivariance(size * pose, generator()) < 1e-6
    built.network = stage(UNSPOILT).network
    assert built._equivariance(pose, generator()) > 0.01


class OfClips(nn.Module):
    """A student of clips that looks at the middle frame alone."""

    def __init__(self, student):
        super().__init__()
        self.student = student
        self.windows = []

    def forward(self, pose_2d, visible):
        self.windows.append(pose_2d)
        middle = pose_2d.shape[1] // 2
        return self.student(pose_2d[:, middle], None if visible is None else visible[:, middle])


@pytest.fixture
def clip_stage(stage):
    """Builds a ``ClipStage`` with windows of 3, whose student is ``OfClips``; clips have 32 frames."""

    def build(options, image=None):
        views = stage(UNSPOILT)
        image = views.pose_2d if image is None else image
        clip = torch.arange(len(image)) // 32
        options = replace(options, frames=3)
        result = ClipStage(image, views.target[: len(image)], H36M_17, NORMALIZATION, options, None, clip)
        result.network = OfClips(views.network)
        return result

    return build


@pytest.mark.parametrize("mirror", [False, True])
def test_who_agrees_with_the_teachers_in_the_middle_of_every_window_has_no_loss(clip_stage, mirror):
    built = clip_stage(replace(UNSPOILT, mirror=mirror, bone_weight=0.5))
    losses = built.losses(torch.arange(64), 0, generator())
    assert losses.keys() == {"distillation", "bones"}
    assert losses["distillation"] < 1e-6
    built.target = built.target.roll(1, 0)
    assert built.losses(torch.arange(64), 0, generator())["distillation"] > 1e-3


def test_a_window_has_the_neighbours_of_its_clip(clip_stage):
    built = clip_stage(UNSPOILT)
    built.losses(torch.tensor([5, 32, 31]), 0, generator())
    expected = torch.tensor([[4, 5, 6], [32, 32, 33], [30, 31, 31]])
    whole = NORMALIZATION.apply(built.pose_2d).pose_2d
    torch.testing.assert_close(built.network.windows[0], whole[expected])


def test_the_frames_of_a_window_are_mirrored_and_turned_together(clip_stage):
    """Where nobody moves, nothing moves in a window."""
    built = clip_stage(replace(UNSPOILT, mirror=True, virtual_share=0.5), random_image(1).expand(64, -1, -1).clone())
    built.target = built.target[:1].expand(64, -1, -1).clone()
    built.losses(torch.arange(64), 0, generator())
    (windows,) = built.network.windows
    torch.testing.assert_close(windows[:, 0], windows[:, 1])
    torch.testing.assert_close(windows[:, 2], windows[:, 1])
    real, virtual = windows[32:, 0].unique(dim=0), windows[:32, 0].unique(dim=0)
    assert (len(real), len(virtual)) == (2, 32), "two sides of a real view, and as many virtual ones as there are"


def test_a_virtual_window_shows_what_the_student_is_asked_for(clip_stage):
    """The target is turned as the image is: it projects to the view, at the size that it had in the real one."""
    built = clip_stage(replace(UNSPOILT, virtual_share=1.0))
    asked = []
    built._distance = lambda pose, target, rotation, scale: asked.append((target, rotation, scale)) or pose.sum()
    built.losses(torch.arange(64), 0, generator())
    target, rotation, scale = asked[0]
    size = NORMALIZATION.apply(built.pose_2d).scale[:, None, None]
    pose = size * in_view(target, rotation, torch.ones_like(scale))
    projected = pose[..., :2] / (5 + pose[..., 2:]).clamp(min=1) / size * scale[:, None, None]
    torch.testing.assert_close(built.network.windows[0][:, 1], projected, rtol=1e-4, atol=1e-4)


def test_virtual_views_show_the_teachers_pose_from_another_side(stage):
    """The pose projects to the view, as large as in the real one; level cameras keep the height of every joint."""
    level = stage(replace(UNSPOILT, virtual_share=1.0, virtual_tilt=0.0, virtual_roll=0.0))
    real = NORMALIZATION.apply(level.pose_2d)
    before = in_view(level.target, real.view_rotation, real.scale)
    image, target = level._virtual_views(level.pose_2d, level.target, generator())
    pose = real.scale[:, None, None] * target
    torch.testing.assert_close(pose[..., 1], before[..., 1])
    torch.testing.assert_close(pose.norm(dim=-1), before.norm(dim=-1))
    assert (pose - before).abs().max() > 0.01
    distance = (5 + pose[..., 2:]).clamp(min=1)
    torch.testing.assert_close(real.scale[:, None, None] * image, pose[..., :2] / distance)


def test_tilt_and_roll_of_virtual_views_are_drawn(stage):
    tilted = stage(replace(UNSPOILT, virtual_share=1.0, virtual_tilt=20.0, virtual_roll=0.0))
    rolled = stage(replace(UNSPOILT, virtual_share=1.0, virtual_tilt=0.0, virtual_roll=20.0))
    for each in (tilted, rolled):
        real = NORMALIZATION.apply(each.pose_2d)
        before = in_view(each.target, real.view_rotation, real.scale)
        _, target = each._virtual_views(each.pose_2d, each.target, generator())
        pose = real.scale[:, None, None] * target
        torch.testing.assert_close(pose.norm(dim=-1), before.norm(dim=-1))
        assert (pose[..., 1] - before[..., 1]).abs().max() > 0.005


def test_a_share_of_the_batch_is_virtual(stage, monkeypatch):
    half = stage(replace(UNSPOILT, virtual_share=0.5))
    seen = []
    monkeypatch.setattr(
        half, "_lift", lambda pose_2d, visible: seen.append(pose_2d) or torch.zeros(*pose_2d.shape[:2], 3)
    )
    half.losses(torch.arange(64), 0, generator())
    changed = (seen[0] - NORMALIZATION.apply(half.pose_2d).pose_2d).abs().flatten(1).amax(1) > 1e-6
    assert changed.sum() == 32


def test_gradients_reach_every_weight():
    image = random_image()
    stage = DistillStage(image, torch.randn(64, 17, 3, generator=generator()), H36M_17, NORMALIZATION, SMALL)
    stage.losses(torch.arange(64), 0, generator())["distillation"].backward()
    for name, parameter in stage.network.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_noise_is_uniform_up_to_its_largest_and_some_views_stay_clean():
    noise = spoilt(replace(SMALL, max_noise_px=9.0, clean_share=0.25, max_missing=0)) * FOCAL_PX
    sigma = noise.flatten(1).std(1, correction=0)
    clean = sigma == 0
    assert 0.2 < clean.double().mean() < 0.3
    assert abs(sigma[~clean].mean() - 4.5) < 0.3
    assert 9.0 < sigma.max() < 13.0
    assert abs(noise.mean()) < 0.1


def test_the_number_of_missing_joints_is_uniform():
    options = replace(SMALL, max_missing=4, whole_share=0.4, limb_share=0.0)
    lost = spoilt(options).isnan()
    assert (lost[..., 0] == lost[..., 1]).all()
    share = torch.bincount(lost[..., 0].sum(1), minlength=5).double() / len(lost)
    expected = torch.tensor([0.4 + 0.6 / 5, *[0.6 / 5] * 4], dtype=torch.float64)
    torch.testing.assert_close(share, expected, rtol=0, atol=0.03)
    by_joint = lost[..., 0].double().mean(0)
    torch.testing.assert_close(by_joint, torch.full_like(by_joint, 0.6 * 2 / 17), rtol=0, atol=0.02)


def spoilt_windows(options, windows=3000, frames=3):
    image = torch.zeros(windows, frames, 17, 2, dtype=torch.float64)
    return spoil(image, H36M_17, options, generator())


def test_the_noise_of_a_window_has_one_strength_and_is_new_in_every_frame():
    noise = spoilt_windows(replace(SMALL, max_noise_px=9.0, clean_share=0.25, max_missing=0), frames=9) * FOCAL_PX
    sigma = noise.flatten(2).std(2, correction=0)  # (windows, frames)
    clean = (sigma == 0).all(1)
    assert ((sigma == 0).any(1) == clean).all()
    assert 0.2 < clean.double().mean() < 0.3
    assert 0.1 < (sigma[~clean].std(1) / sigma[~clean].mean(1)).mean() < 0.15, "as 34 samples of one deviation"
    first, second = noise[:, 0].flatten(), noise[:, 1].flatten()
    assert abs(torch.corrcoef(torch.stack([first, second]))[0, 1]) < 0.02


def test_half_of_the_windows_lose_the_same_joints_in_every_frame():
    lost = spoilt_windows(replace(SMALL, max_missing=4, whole_share=0.0, limb_share=0.0)).isnan()[..., 0]
    alike = (lost == lost[:, :1]).flatten(1).all(1)
    lasting = lost[alike].any(-1)[:, 0]
    assert 0.5 < alike.double().mean() < 0.56, "those that lose nothing in any frame are alike as well"
    assert 0.75 < lasting.double().mean() < 0.85
    share = torch.bincount(lost.sum(2).flatten(), minlength=5).double() / lost[..., 0].numel()
    torch.testing.assert_close(share, torch.full((5,), 0.2, dtype=torch.float64), rtol=0, atol=0.02)


def test_whole_ends_of_limbs_are_lost():
    lost = spoilt(replace(SMALL, whole_share=0.0, limb_share=1.0)).isnan()[..., 0]
    found = {tuple(row.nonzero().flatten().tolist()) for row in lost}
    legs = {(1, 2, 3), (2, 3), (3,), (4, 5, 6), (5, 6), (6,)}
    assert found == legs | {(11, 12, 13), (12, 13), (13,), (14, 15, 16), (15, 16), (16,)}
    assert len(limb_ends(H36M_17)) == 12


def test_large_parts_of_the_body_are_lost():
    lost = spoilt(replace(SMALL, whole_share=0.0, limb_share=0.5, region_share=0.9)).isnan()[..., 0]
    found = {tuple(row.nonzero().flatten().tolist()) for row in large_regions(H36M_17)}
    assert {len(region) for region in found} == {4, 6, 7}
    share = dict.fromkeys(found, 0)
    for row in lost:
        region = tuple(row.nonzero().flatten().tolist())
        share[region] = share.get(region, 0) + 1 / len(lost)
    for region in found:
        assert share[region] == pytest.approx(0.9 * (2 if len(region) == 7 else 1) / 9, abs=0.02), region


def test_limbs_change_sides_and_joints_lie_elsewhere():
    """As ``corruption`` does it, for a share of the views or joints, and in a window in each frame anew."""
    image = random_image(4000).double()
    quiet = replace(SMALL, max_noise_px=0.0, whole_share=1.0)
    assert torch.equal(spoil(image, H36M_17, quiet, generator()), image)
    swapped = spoil(image, H36M_17, replace(quiet, swap_share=0.3), generator())
    moved = (swapped != image).any(-1)
    assert moved.any(1).double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert set(moved.sum(1).tolist()) == {0, 2, 4, 6}
    placed = (spoil(image, H36M_17, replace(quiet, miss_share=0.02), generator()) != image).any(-1).double().mean(0)
    assert placed[[3, 6, 13, 16]].mean().item() == pytest.approx(0.08, rel=0.15)
    assert placed[[0, 1, 7, 8, 9]].mean().item() == pytest.approx(0.02, rel=0.25)
    windows = image.view(1000, 4, 17, 2)
    moved = (spoil(windows, H36M_17, replace(quiet, swap_share=0.3), generator()) != windows).any(-1).any(-1)
    assert moved.double().mean().item() == pytest.approx(0.3, abs=0.03)
    assert moved.all(1).double().mean().item() == pytest.approx(0.3**4, abs=0.01)


def test_enough_joints_are_left():
    lost = spoilt(replace(SMALL, max_missing=40, whole_share=0.0, limb_share=0.0)).isnan()[..., 0]
    assert lost.sum(1).max() == 17 - MIN_VISIBLE


def test_a_seed_spoils_alike():
    image = random_image()
    first, second, other = (spoil(image, H36M_17, SMALL, generator(seed)) for seed in (0, 0, 1))
    assert torch.equal(first.nan_to_num(), second.nan_to_num())
    assert not torch.equal(first.nan_to_num(), other.nan_to_num())
