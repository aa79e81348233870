"""Normalisation of the 2D input, and the way back."""

import pytest
import torch

from ites_fast import normalization
from ites_fast.errors import InputError
from ites_fast.normalization import Normalization, rotation_to_root, turn_back
from ites_fast.skeleton import H36M_17

MODES = [(view, scale) for view in ("camera", "root") for scale in ("dataset", "pose")]


@pytest.fixture
def pose_3d():
    """People in the camera's frame (N, 17, 3), metres, far off the centre."""
    generator = torch.Generator().manual_seed(3)
    body = torch.randn(40, 17, 3, generator=generator, dtype=torch.float64) * 0.4
    place = torch.tensor([1.0, 0.4, 5.0]) * torch.randn(40, 1, 3, generator=generator, dtype=torch.float64).clamp(-1, 1)
    return body + place + torch.tensor([0.0, 0.0, 8.0])


@pytest.fixture
def image(pose_3d):
    return pose_3d[..., :2] / pose_3d[..., 2:]


@pytest.mark.parametrize(("view", "scale"), MODES)
def test_hip_to_head_is_one_over_c_on_average(image, view, scale):
    fitted = Normalization.fit(image, H36M_17, view, scale, camera_depth=4.0)
    poses = fitted.apply(image)
    assert poses.pose_2d[:, 10].norm(dim=-1).mean().item() == pytest.approx(0.25)
    torch.testing.assert_close(poses.pose_2d[:, 0], torch.zeros_like(image[:, 0]))
    assert (poses.view_rotation is None) == (view == "camera")


@pytest.mark.parametrize("view", ["camera", "root"])
def test_scale_per_pose_gives_every_pose_the_same_size(image, view):
    fitted = Normalization.fit(image, H36M_17, view, "pose")
    size = fitted.apply(image).pose_2d.square().sum(-1).mean(-1).sqrt()
    torch.testing.assert_close(size, torch.full_like(size, fitted.constant))


@pytest.mark.parametrize("scale", ["dataset", "pose"])
def test_virtual_view_is_exact_and_turns_back(pose_3d, image, scale):
    poses = Normalization.fit(image, H36M_17, "root", scale).apply(image)
    virtual = pose_3d @ poses.view_rotation.mT
    seen = virtual[..., :2] / virtual[..., 2:]
    torch.testing.assert_close(seen[:, 0], torch.zeros_like(seen[:, 0]))
    torch.testing.assert_close(poses.pose_2d, seen * poses.scale[:, None, None])
    relative = virtual - virtual[:, :1]
    torch.testing.assert_close(turn_back(relative, poses.view_rotation), pose_3d - pose_3d[:, :1])


def test_turning_back_in_float32(pose_3d, image):
    rotation = Normalization.fit(image, H36M_17).apply(image.float()).view_rotation
    relative = (pose_3d - pose_3d[:, :1]).float()
    torch.testing.assert_close(turn_back(relative @ rotation.mT, rotation), relative, atol=1e-5, rtol=0)


def test_rotation_to_root_has_no_roll():
    root = torch.tensor([[0.0, 0.0], [0.4, 0.0], [0.0, -0.3], [-0.5, 0.6]], dtype=torch.float64)
    rotation = rotation_to_root(root)
    identity = torch.eye(3, dtype=torch.float64).expand(4, 3, 3)
    torch.testing.assert_close(rotation @ rotation.mT, identity)
    torch.testing.assert_close(torch.linalg.det(rotation), torch.ones(4, dtype=torch.float64))
    torch.testing.assert_close(rotation[0], identity[0])
    # The camera's down direction stays in the plane of the view's down and forward directions.
    torch.testing.assert_close(rotation[:, 0, 1], torch.zeros(4, dtype=torch.float64))
    assert (rotation[:, 1, 1] > 0).all()


def test_chunks_make_no_difference(image, monkeypatch):
    whole = Normalization.fit(image, H36M_17).apply(image)
    monkeypatch.setattr(normalization, "CHUNK", 7)
    fitted = Normalization.fit(image, H36M_17)
    for a, b in zip(whole, fitted.apply(image), strict=True):
        torch.testing.assert_close(a, b)
    torch.testing.assert_close(fitted.pose_2d(image), whole.pose_2d)


def test_no_poses(image):
    poses = Normalization.fit(image, H36M_17).apply(image[:0])
    assert (len(poses.pose_2d), len(poses.view_rotation), len(poses.scale)) == (0, 0, 0)
    with pytest.raises(InputError, match=r"file.npz: no poses to fit"):
        Normalization.fit(image[:0], H36M_17, source="file.npz")


@pytest.mark.parametrize(("view", "scale"), MODES)
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda pose: pose[5, 2].fill_(float("nan")), "sample 25 has joints that are NaN or infinite"),
        (lambda pose: pose[5, 2, 1].fill_(float("inf")), "sample 25 has joints that are NaN or infinite"),
        (lambda pose: pose[5].fill_(0.1), "sample 25 has zero size: hip and head coincide"),
        (lambda pose: pose[5, 10].copy_(pose[5, 0]), "sample 25 has zero size: hip and head coincide"),
    ],
)
def test_bad_poses_are_named(image, view, scale, spoil, message, monkeypatch):
    monkeypatch.setattr(normalization, "CHUNK", 10)
    fitted = Normalization.fit(image, H36M_17, view, scale)
    spoil(image[20:])
    with pytest.raises(InputError, match=f"file.npz: {message}"):
        fitted.apply(image, source="file.npz")
    with pytest.raises(InputError, match=f"file.npz: {message}"):
        fitted.pose_2d(image, source="file.npz")
    with pytest.raises(InputError, match=f"poses: {message}"):
        Normalization.fit(image, H36M_17, view, scale)


def test_joint_behind_the_virtual_view(image):
    fitted = Normalization.fit(image, H36M_17)
    image[3, 0], image[3, 4] = torch.tensor([3.0, 0.0]), torch.tensor([-3.0, 0.0])
    with pytest.raises(InputError, match="sample 3 has a joint more than 90 degrees away"):
        fitted.apply(image)


def test_dictionary(image):
    fitted = Normalization.fit(image, H36M_17, "camera", "dataset")
    assert Normalization.from_dict(fitted.to_dict()) == fitted
    with pytest.raises(InputError, match="other fields than expected"):
        Normalization.from_dict({"view": "camera"})
    with pytest.raises(InputError, match=r"view must be one of .* got 'side'"):
        Normalization.from_dict(fitted.to_dict() | {"view": "side"})
    with pytest.raises(InputError, match=r"scale must be one of .* got 'unit'"):
        Normalization.from_dict(fitted.to_dict() | {"scale": "unit"})
