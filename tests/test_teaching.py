"""The mean of several teachers, and its way into the frame of a view that was spoilt."""

from dataclasses import replace

import pytest
import torch

from ites_fast.models import ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17
from ites_fast.teaching import depth_in_view, in_view, mean_poses

NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)


def teacher(seed, normalization=NORMALIZATION):
    torch.manual_seed(seed)
    network = build_network("depth_mlp", H36M_17, {"width": 32, "blocks": 1})
    with torch.no_grad():
        network.depth.weight *= 500  # depths that matter
    return ViewLifter(network.double().eval(), H36M_17, normalization)


def random_image(views=6):
    generator = torch.Generator().manual_seed(7)
    image = 0.1 * torch.randn(views, 17, 2, generator=generator, dtype=torch.float64)
    return image + 0.4 * torch.randn(views, 1, 2, generator=generator, dtype=torch.float64)


class Oracle:
    """A teacher that knows the poses, in a unit of its own."""

    skeleton = H36M_17

    def __init__(self, pose, unit=1.0):
        self.pose, self.unit = pose, unit

    def lift(self, image, batch_size=0, *, source="", first=0):
        assert len(image) == len(self.pose)
        return self.unit * self.pose


@pytest.fixture
def scene():
    """A body whose view needs no rescaling, so that the camera model of the networks is exact: image, pose, root."""
    generator = torch.Generator().manual_seed(3)
    pose = 0.3 * torch.randn(1, 17, 3, generator=generator, dtype=torch.float64)
    pose = pose - pose[:, :1]
    root = torch.tensor([[[0.8, -0.5, 4.0]]], dtype=torch.float64)
    points = root + pose
    image = points[..., :2] / points[..., 2:]
    unit = Normalization("root", "dataset", 1.0, H36M_17.root, H36M_17.head)
    rms = unit.apply(image).pose_2d.square().sum(-1).mean().sqrt().item()
    return image, pose, root, replace(NORMALIZATION, constant=rms)


@pytest.mark.parametrize("view", ["root", "camera"])
@pytest.mark.parametrize("scale", ["pose", "dataset"])
def test_a_single_teacher_is_given_back(view, scale):
    normalization = replace(NORMALIZATION, view=view, scale=scale)
    lifter, image = teacher(0, normalization), random_image()
    poses = mean_poses([lifter], image, normalization, mirror_average=False)
    seen = normalization.apply(image)
    lifted = lifter.lift_normalized(seen.pose_2d)
    torch.testing.assert_close(in_view(poses, seen.view_rotation, seen.scale), lifted)
    assert lifted[..., 2].std() > 0.05


def test_depths_are_averaged_and_the_image_is_kept():
    teachers, image = [teacher(seed) for seed in range(3)], random_image()
    poses = mean_poses(teachers, image, NORMALIZATION, mirror_average=False)
    seen = NORMALIZATION.apply(image)
    pose = in_view(poses, seen.view_rotation, seen.scale)
    depth = torch.stack([each.lift_normalized(seen.pose_2d)[..., 2] for each in teachers]).mean(0)
    torch.testing.assert_close(pose[..., 2], depth)
    projected = pose[..., :2] / (NORMALIZATION.camera_depth + pose[..., 2:])
    torch.testing.assert_close(projected, seen.pose_2d)


def test_a_teacher_given_twice_counts_twice():
    first, second, image = teacher(0), teacher(1), random_image()
    poses = [mean_poses(each, image, NORMALIZATION)[..., 2] for each in ([first], [second], [first, first, second])]
    assert (poses[2] - poses[0]).abs().max() > 1e-3
    # around the true camera's axis the mean of depths is not the mean of z, but poses are linear in depths
    full = [mean_poses(each, image, NORMALIZATION) for each in ([first], [second], [first, first, second])]
    torch.testing.assert_close(full[2], (2 * full[0] + full[1]) / 3)


def test_the_mirror_average_does_not_depend_on_the_side():
    lifter, image = teacher(0), random_image()
    averaged = mean_poses([lifter], image, NORMALIZATION)
    flipped = mean_poses([lifter], mirrored(image, H36M_17), NORMALIZATION)
    torch.testing.assert_close(mirrored(flipped, H36M_17), averaged)
    single = mean_poses([lifter], image, NORMALIZATION, mirror_average=False)
    assert (single - averaged).abs().max() > 1e-2


def test_mirror_images_swap_sides():
    pose = torch.arange(34.0).view(1, 17, 2)
    flipped = mirrored(pose, H36M_17)
    assert flipped[0, 3].tolist() == [-pose[0, 6, 0].item(), pose[0, 6, 1].item()]
    torch.testing.assert_close(mirrored(flipped, H36M_17), pose)


def test_the_unit_of_a_teacher_does_not_matter(scene):
    image, pose, root, normalization = scene
    first = mean_poses([Oracle(pose)], image, normalization, mirror_average=False)
    second = mean_poses([Oracle(pose, unit=730.0)], image, normalization, mirror_average=False)
    torch.testing.assert_close(first, second)
    distance = root.norm()
    torch.testing.assert_close(first, pose * normalization.camera_depth / distance)


def test_teachers_of_other_constants_agree_where_their_poses_do():
    """The same depths relative to the size of the view: what a teacher of another constant gives is rescaled."""
    image, other = random_image(), replace(NORMALIZATION, constant=0.26, camera_depth=5.0)
    seen = NORMALIZATION.apply(image)
    pose = in_view(mean_poses([teacher(0)], image, NORMALIZATION), seen.view_rotation, seen.scale)
    assert other.apply(image).pose_2d.abs().max() > seen.pose_2d.abs().max()
    torch.testing.assert_close(depth_in_view(2.0 * pose, seen.pose_2d, 5.0), pose[..., 2])


def test_a_root_that_moves_turns_and_rescales_the_pose(scene):
    """The pose must still project to the joints that did not move, seen by the camera that looks at the wrong root."""
    image, pose, root, normalization = scene
    poses = mean_poses([Oracle(pose)], image, normalization, mirror_average=False)
    spoilt = image.clone()
    spoilt[:, 0] += torch.tensor([0.03, -0.05], dtype=torch.float64)
    seen = normalization.apply(spoilt)
    moved = in_view(poses, seen.view_rotation, seen.scale)
    # the person where it really stands, turned into the same view and in the same unit
    place = seen.scale[:, None, None] * normalization.camera_depth / root.norm() * (root @ seen.view_rotation.mT)
    points = place + moved
    projected = seen.scale[:, None, None] * points[..., :2] / points[..., 2:]
    torch.testing.assert_close(projected[:, 1:], seen.pose_2d[:, 1:])
    assert (projected[:, 0] - seen.pose_2d[:, 0]).abs().max() > 0.02
    torch.testing.assert_close(moved.norm(dim=-1), seen.scale * poses.norm(dim=-1))
    unspoilt = normalization.apply(image)
    assert abs(seen.scale / unspoilt.scale - 1) > 0.01


def test_noise_elsewhere_rescales_only(scene):
    image, pose, _, normalization = scene
    poses = mean_poses([Oracle(pose)], image, normalization, mirror_average=False)
    clean, spoilt = normalization.apply(image), image.clone()
    spoilt[:, 5] += 0.1
    seen = normalization.apply(spoilt)
    ratio = seen.scale / clean.scale
    assert abs(ratio - 1) > 0.01
    moved = in_view(poses, seen.view_rotation, seen.scale)
    torch.testing.assert_close(moved, ratio * in_view(poses, clean.view_rotation, clean.scale))
