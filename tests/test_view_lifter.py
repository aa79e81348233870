"""Lifting: any network behind one call, any kind of input, and errors that name the sample."""

import numpy as np
import pytest
import torch

from ites_fast.camera import Camera
from ites_fast.errors import InputError
from ites_fast.models import ViewLifter, build_network
from ites_fast.models.view_lifter import Corrected
from ites_fast.normalization import Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17

OPTIONS = {
    "teacher": {"variant": "official", "atoms": 4, "blocks": 1, "width": 16, "bottleneck": 8},
    "student": {"variant": "official", "channels": 8, "blocks": 1, "graphs": "both"},
}


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(5, 17, 2, generator=generator) + torch.tensor([0.2, -0.1])


@pytest.fixture
def lifter(image) -> ViewLifter:
    torch.manual_seed(0)
    network = build_network("teacher", H36M_17, OPTIONS["teacher"])
    return ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17)).eval()


def test_a_lifter_gives_root_relative_poses_in_any_batch_size(lifter, image):
    pose_3d = lifter.lift(image)
    assert pose_3d.shape == (5, 17, 3)
    assert torch.equal(pose_3d[:, 0], torch.zeros(5, 3))
    torch.testing.assert_close(lifter.lift(image, batch_size=2), pose_3d)
    assert lifter.lift(image[:0]).shape == (0, 17, 3)


def test_a_depth_network_keeps_the_image(image):
    """Reprojection of a student is exact: seen from the root's distance, every joint lies on its own ray."""
    torch.manual_seed(0)
    network = build_network("student", H36M_17, OPTIONS["student"])
    lifter = ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17)).eval()
    normalized = lifter.normalization.apply(image)
    with torch.no_grad():
        depth = network(normalized.pose_2d)[..., None]
        pose_3d = lifter.lift_normalized(normalized.pose_2d)
    distance = depth[:, :1] + lifter.normalization.camera_depth
    torch.testing.assert_close(pose_3d[..., :2] / (pose_3d[..., 2:] + distance), normalized.pose_2d)


def test_the_mirror_average_treats_left_and_right_alike(lifter, correcting, image):
    """Lifting the mirror image gives the mirrored pose, whatever the weights, also with missing joints."""
    spoilt = image.clone()
    spoilt[1, 5] = spoilt[2, 16] = torch.nan
    for each, given in ((lifter, image), (correcting, spoilt)):
        plain, plain_mirrored = each.lift(given), each.lift(mirrored(given, H36M_17))
        assert (plain_mirrored - mirrored(plain, H36M_17)).abs().max() > 0.05 * plain.abs().max()
        each.mirror_average = True
        pose_3d = each.lift(given)
        torch.testing.assert_close(pose_3d, (plain + mirrored(plain_mirrored, H36M_17)) / 2)
        torch.testing.assert_close(each.lift(mirrored(given, H36M_17)), mirrored(pose_3d, H36M_17))


def test_a_lifter_refuses_another_number_of_joints(lifter):
    with pytest.raises(InputError, match=r"expected \(N, 17, 2\) for h36m_17, got \(3, 16, 2\)"):
        lifter.lift(torch.zeros(3, 16, 2))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_tensors_of_any_precision(lifter, image, dtype):
    rounded = image.to(dtype)
    pose_3d = lifter.lift(rounded)
    assert pose_3d.dtype == torch.float32
    torch.testing.assert_close(pose_3d, lifter.lift(rounded.float()), rtol=0, atol=0)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f4", "<f8"])
def test_arrays_give_arrays(lifter, image, dtype):
    array = image.numpy().astype(dtype)
    pose_3d = lifter.lift(array)
    assert isinstance(pose_3d, np.ndarray)
    assert pose_3d.dtype == np.float32
    expected = lifter.lift(torch.from_numpy(array.astype(np.float32)))
    np.testing.assert_array_equal(pose_3d, expected.numpy())


def test_arrays_that_are_views_of_others(lifter, image):
    array = image.numpy()[::-1]
    array.flags.writeable = False
    np.testing.assert_allclose(lifter.lift(array), lifter.lift(image).numpy()[::-1], rtol=1e-4, atol=1e-9)
    assert lifter.lift(image.tolist()).shape == (5, 17, 3)
    assert lifter.lift(array[:0]).shape == (0, 17, 3)


def test_poses_can_be_part_of_a_loss(lifter, image):
    pose_3d = lifter.lift(image)
    assert not pose_3d.requires_grad
    scale = torch.ones((), requires_grad=True)
    (scale * pose_3d).square().sum().backward()
    assert scale.grad.isfinite()


def test_a_network_in_double_precision(lifter, image):
    pose_3d = lifter.lift(image)
    torch.testing.assert_close(lifter.double().lift(image), pose_3d.double(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_a_pose_that_cannot_be_lifted_is_named_by_its_place_in_the_data(lifter, image, kind):
    image = image.repeat(10, 1, 1)
    image[33, 10] = image[33, 0]
    given = image if kind == "tensor" else image.numpy()
    with pytest.raises(InputError, match="image: sample 33 has zero size"):
        lifter.lift(given, batch_size=8)
    with pytest.raises(InputError, match=r"poses.npz: sample 1033 has zero size"):
        lifter.lift(given, batch_size=8, source="poses.npz", first=1000)


@pytest.mark.parametrize(
    "given", [np.full((2, 17, 2), "x"), np.ones((2, 17, 2), np.int32), torch.ones(2, 17, 2, dtype=torch.uint8)]
)
def test_whole_numbers_are_pixels_and_refused(lifter, given):
    with pytest.raises(InputError, match=r"image: received .*(U1|int32|uint8), expected floating point image coord"):
        lifter.lift(given)


def test_from_pixels_to_a_pose(lifter, image):
    camera = Camera(focal=(1145, 1143), principal=(512, 515), radial=(-0.2, 0.24, 0))
    points = np.concatenate([image.numpy(), np.ones((5, 17, 1), np.float32)], -1)
    np.testing.assert_allclose(lifter.lift(camera.undistort(camera.project(points))), lifter.lift(image), atol=1e-4)


class Shifts(torch.nn.Module):
    """A corrected network whose answer is known: all joints moved by (0.1, 0.2), those not seen to (0.5, 0.5)."""

    predicts = "corrected"

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor([0.1, 0.2]))
        self.seen = []

    def forward(self, pose_2d, visible):
        self.seen.append(visible)
        moved = pose_2d + self.weight
        if visible is not None:
            moved = torch.where(visible[..., None], moved, 0.5)
        return Corrected(moved, 0.1 * torch.arange(17.0).expand(len(pose_2d), 17) + 0.3)


@pytest.fixture
def correcting(image) -> ViewLifter:
    return ViewLifter(Shifts(), H36M_17, Normalization.fit(image, H36M_17)).eval()


def test_a_corrected_image_is_what_is_lifted_about_its_own_root(correcting, image):
    with torch.no_grad():
        pose_2d = correcting.normalization.apply(image).pose_2d
        pose_3d = correcting.lift_normalized(pose_2d)
    assert correcting.network.seen == [None]
    depth = 0.1 * torch.arange(17.0) + 0.3
    points = torch.cat(
        [(pose_2d + torch.tensor([0.1, 0.2])) * (5 + depth)[:, None], depth.expand(5, 17)[..., None]], -1
    )
    torch.testing.assert_close(pose_3d, points - points[:, :1])
    assert torch.equal(correcting.lift(image)[:, 0], torch.zeros(5, 3))


@pytest.mark.parametrize("kind", ["tensor", "array"])
def test_a_network_that_corrects_takes_missing_joints_and_gives_whole_poses(correcting, image, kind):
    image[2, [0, 5, 10]] = torch.nan
    image[4, 3, 1] = torch.nan  # half a joint is none
    given = image if kind == "tensor" else image.numpy()
    pose_3d = torch.as_tensor(correcting.lift(given, batch_size=2))
    assert pose_3d.isfinite().all()
    assert torch.equal(pose_3d[:, 0], torch.zeros(5, 3))
    masks = correcting.network.seen
    assert masks[0] is None  # nothing is missing in the first two
    assert (~masks[1]).nonzero().tolist() == [[0, 0], [0, 5], [0, 10]]
    assert (~masks[2]).nonzero().tolist() == [[0, 3]]


def test_other_networks_refuse_missing_joints(lifter, image):
    image[3, [2, 7]] = torch.nan
    message = r"a.npz: sample 13 lacks 2 joints \(NaN\), such as right_knee; the network Teacher needs all"
    with pytest.raises(InputError, match=message):
        lifter.lift(image, batch_size=2, source="a.npz", first=10)
    image[0, 1] = torch.inf
    with pytest.raises(InputError, match="image: sample 0 has joints that are NaN or infinite"):
        lifter.lift(image[:2])
