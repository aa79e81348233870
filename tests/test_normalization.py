"""Normalisation of the 2D input, and the way back."""

import json

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


def remove(image, sample, joints):
    image = image.clone()
    image[sample, joints] = torch.nan
    return image


@pytest.mark.parametrize(("view", "scale"), MODES)
def test_missing_joints_change_nothing_but_the_size(image, view, scale):
    fitted = Normalization.fit(image, H36M_17, view, scale)
    whole = fitted.apply(image)
    for a, b in zip(whole, fitted.apply(image, missing="allow"), strict=True):
        assert a is b is None or torch.equal(a, b)
    poses = fitted.apply(remove(image, 7, [3, 12]), missing="allow")
    seen = torch.ones(40, 17, dtype=torch.bool)
    seen[7, [3, 12]] = False
    assert torch.equal(poses.visible, seen)
    assert torch.equal(poses.pose_2d[~seen], torch.zeros(2, 2, dtype=torch.float64))
    others = torch.arange(40) != 7
    torch.testing.assert_close(poses.pose_2d[others], whole.pose_2d[others])
    ratio = poses.scale[7] / whole.scale[7]
    torch.testing.assert_close(
        poses.pose_2d[seen], (whole.pose_2d * torch.where(others, 1, ratio)[:, None, None])[seen]
    )
    if scale == "pose":
        assert poses.pose_2d[7][seen[7]].square().sum(-1).mean().sqrt().item() == pytest.approx(fitted.constant)
        assert abs(ratio - 1) > 1e-3
    else:
        assert ratio == 1


@pytest.mark.parametrize(
    ("missing", "middle"),
    [([0], [1, 4]), ([0, 4], [1]), ([0, 1, 4], [2, 3, *range(5, 17)]), ([1, 4], [0])],
)
@pytest.mark.parametrize("view", ["camera", "root"])
def test_what_stands_in_for_the_root(image, view, missing, middle):
    """Hips that were seen, else all joints that were seen; the pose is then centred on that point."""
    fitted = Normalization.fit(image, H36M_17, view, "dataset")
    assert fitted.hips == (1, 4)
    moved = image.clone()
    moved[5, 0] = image[5, middle].mean(0)
    expected = fitted.apply(moved)
    poses = fitted.apply(remove(image, 5, missing), missing="allow")
    seen = poses.visible[5]
    assert (~seen).nonzero().flatten().tolist() == missing
    torch.testing.assert_close(poses.pose_2d[5][seen], expected.pose_2d[5][seen])
    if view == "root":
        torch.testing.assert_close(poses.view_rotation, expected.view_rotation)


def test_chunks_of_missing_joints(image, monkeypatch):
    fitted = Normalization.fit(image, H36M_17)
    image = remove(remove(image, 7, [0, 2]), 30, [5])
    whole = fitted.apply(image, missing="allow")
    monkeypatch.setattr(normalization, "CHUNK", 7)
    for a, b in zip(whole, fitted.apply(image, missing="allow"), strict=True):
        torch.testing.assert_close(a, b)


@pytest.mark.parametrize("view", ["camera", "root"])
def test_too_little_of_a_pose_is_refused(image, view):
    fitted = Normalization.fit(image, H36M_17, view)
    four = remove(image, 3, list(range(13)))
    assert fitted.apply(four, missing="allow").visible[3].sum() == 4
    cases = {
        "has fewer than 4 joints that are not NaN": remove(image, 3, list(range(14))),
        "has zero size: all joints coincide": torch.where(four.isnan(), four, 0.1)[3:].repeat(4, 1, 1)[:37],
        "has joints that are NaN or infinite": four.index_fill(1, torch.tensor([16]), torch.inf),
    }
    for problem, poses in cases.items():
        with pytest.raises(InputError, match=f"file.npz: sample [03] {problem}"):
            fitted.apply(poses, source="file.npz", missing="allow")


def test_a_head_before_the_hip_is_refused_of_training_data_only(image):
    fitted = Normalization.fit(image, H36M_17)
    image[3, 10] = image[3, 0]
    assert fitted.apply(image, missing="allow").pose_2d.isfinite().all()
    with pytest.raises(InputError, match="hip and head coincide"):
        fitted.apply(image)


def test_dictionary(image):
    fitted = Normalization.fit(image, H36M_17, "camera", "dataset")
    assert Normalization.from_dict(fitted.to_dict()) == fitted
    assert Normalization.from_dict(json.loads(json.dumps(fitted.to_dict()))) == fitted
    without_hips = {key: value for key, value in fitted.to_dict().items() if key != "hips"}  # of older files
    assert Normalization.from_dict(without_hips).hips == ()
    with pytest.raises(InputError, match="other fields than expected"):
        Normalization.from_dict({"view": "camera"})
    with pytest.raises(InputError, match=r"view must be one of .* got 'side'"):
        Normalization.from_dict(fitted.to_dict() | {"view": "side"})
    with pytest.raises(InputError, match=r"scale must be one of .* got 'unit'"):
        Normalization.from_dict(fitted.to_dict() | {"scale": "unit"})
