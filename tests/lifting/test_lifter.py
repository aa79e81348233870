"""``Lifter``: one call for keypoints of any shape and kind, and what comes out; copies and threads."""

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch

from ites_fast import Camera, Lifter, metrics
from ites_fast.checkpoint import load_lifter
from ites_fast.data import load, mocap17
from ites_fast.lifting.placement import STATURE
from ites_fast.skeleton import H36M_17


@pytest.fixture(scope="module")
def views():
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, len(data), 61))


def errors(positions, data):
    pred, target = torch.from_numpy(positions).double(), 1000 * torch.from_numpy(data.pose_3d).double()
    return torch.stack([metrics.n_mpjpe(pred, target), metrics.p_mpjpe(pred, target)])


def test_errors_are_those_of_the_network(lifter, views):
    network = load_lifter()
    network.mirror_average = True
    expected = errors(network.lift(views.image()), views)
    poses = lifter(views.pose_2d, camera=views.cameras[0])
    torch.testing.assert_close(errors(poses.positions, views), expected, rtol=0, atol=0.01)  # millimetres
    assert expected[1].mean() < 50


def test_the_mirror_average_is_better(lifter, views):
    once = Lifter.from_pretrained(mirror_average=False)
    plain, mean = (errors(each(views.pose_2d, camera=views.cameras[0]).positions, views) for each in (once, lifter))
    assert (mean.mean(1) < plain.mean(1) - 0.5).all()


def test_what_is_known_of_the_camera_matters_a_little(lifter, views):
    """On all test views: with the camera 54.1 mm, with its focal length assumed 54.2 mm, without 59.0 mm (N-MPJPE)."""
    known, assumed, nothing = (
        errors(lifter(views.pose_2d, **arguments).positions, views)[0].mean()
        for arguments in ({"camera": views.cameras[0]}, {"image_size": (1000, 1000)}, {})
    )
    assert abs(assumed - known) < 1
    assert known + 2 < nothing < known + 8


@pytest.mark.parametrize("columns", [2, 3])
def test_shapes(lifter, views, columns):
    pixels = views.pose_2d[:12]
    if columns == 3:
        pixels = np.concatenate([pixels, np.full((12, 17, 1), 0.7, np.float32)], -1)
    flat = lifter(pixels, image_size=(1000, 1000))
    assert flat.positions.shape == (12, 17, 3)
    for shape in ((3, 4), (12, 1), (1, 12)):
        poses = lifter(pixels.reshape(*shape, 17, columns), image_size=(1000, 1000))
        assert poses.confidence.shape == (*shape, 17)
        assert poses.ambiguity.shape == shape
        assert poses.keypoints.shape == (*shape, 17, 3)
        np.testing.assert_array_equal(poses.positions.reshape(12, 17, 3), flat.positions)
        np.testing.assert_array_equal(poses.translation.reshape(12, 3), flat.translation)
    one = lifter(pixels[5], image_size=(1000, 1000))
    assert one.positions.shape == (17, 3)
    assert one.translation.shape == (3,)
    np.testing.assert_allclose(one.positions, flat.positions[5], atol=1e-5)
    assert (flat.confidence == np.float32(1 if columns == 2 else 0.7)).all()
    assert (flat.positions[:, 0] == 0).all()
    for empty in ((0, 17, columns), (2, 0, 17, columns), (0, 5, 17, columns)):
        assert lifter(np.empty(empty)).positions.shape == (*empty[:-1], 3)
        assert lifter(np.empty(empty), smooth="one_euro").positions.shape == (*empty[:-1], 3)


def test_batches_change_nothing(lifter, views):
    whole = lifter(views.pose_2d)
    parts = lifter(views.pose_2d, batch_size=50)
    for name in ("positions", "confidence", "ambiguity", "keypoints"):
        np.testing.assert_allclose(getattr(parts, name), getattr(whole, name), atol=1e-5)


@pytest.mark.parametrize("dtype", [np.float16, np.float64, np.int32, ">f4"])
def test_arrays_of_any_number(lifter, views, dtype):
    pixels = views.pose_2d[:5].round().astype(dtype)
    expected = lifter(pixels.astype(np.float32))
    np.testing.assert_array_equal(lifter(pixels).positions, expected.positions)
    np.testing.assert_array_equal(lifter(pixels.tolist()).positions, expected.positions)
    assert expected.positions.dtype == np.float32
    frozen = pixels[::-1]
    frozen.flags.writeable = False
    np.testing.assert_allclose(lifter(frozen).positions, expected.positions[::-1], atol=1e-5)


def test_tensors_give_tensors_on_their_device(lifter, views, device):
    pixels = torch.from_numpy(views.pose_2d[:6]).to(device).requires_grad_()
    poses = lifter(pixels, image_size=(1000, 1000))
    expected = lifter(views.pose_2d[:6], image_size=(1000, 1000))
    for name in ("positions", "confidence", "translation", "ambiguity", "keypoints", "absolute"):
        values = getattr(poses, name)
        assert values.device == pixels.device
        assert values.dtype == torch.float32
        np.testing.assert_array_equal(values.cpu().numpy(), getattr(expected, name))
    rounded = pixels.detach().bfloat16()
    np.testing.assert_array_equal(lifter(rounded).positions.cpu(), lifter(rounded.float()).positions.cpu())


def test_a_camera_that_turns_about_its_axis_turns_the_result(lifter, views):
    """By a right angle, clockwise: what was right in the picture is down in it afterwards. Few people lie in the data,
    so that a network is not indifferent to it; half a turn would not even be a person upright."""
    camera = views.cameras[0]
    turned = np.stack([1000 - views.pose_2d[..., 1], views.pose_2d[..., 0]], -1)
    poses, lying = lifter(views.pose_2d, camera=camera), lifter(turned, camera=camera)
    back = np.stack([lying.positions[..., 1], -lying.positions[..., 0], lying.positions[..., 2]], -1)
    assert np.linalg.norm(back[..., :2] - poses.positions[..., :2], axis=-1).mean() < 0.08  # metres


def test_left_and_right_are_not_swapped(lifter, views):
    """A mirrored picture with its joints named anew gives the mirrored person."""
    camera = views.cameras[0]
    poses = lifter(views.pose_2d, camera=camera)
    other = views.pose_2d.copy()
    other[..., 0] = 2 * camera.principal[0] - other[..., 0]
    mirrored = lifter(other[:, list(H36M_17.flip_order)], camera=camera)
    back = mirrored.positions[:, list(H36M_17.flip_order)] * [-1, 1, 1]
    assert np.median(np.linalg.norm(back - poses.positions, axis=-1)) < 0.03
    wrong = mirrored.positions * [-1, 1, 1]
    assert np.median(np.linalg.norm(wrong - poses.positions, axis=-1)) > 0.1


def test_units(lifter, views):
    pixels = views.pose_2d[:4]
    sizes = {"image_size": (1000, 1000)}
    nothing, assumed = lifter(pixels), lifter(pixels, **sizes)
    assert nothing.units == assumed.units == "body units"
    assert nothing.translation is None
    assert assumed.placed
    assert any("assumed" in note for note in assumed.notes)
    for arguments in ({"focal": 1145}, {"fov": 47.2}):
        poses = lifter(pixels, **sizes, **arguments)
        assert poses.units == "metres"
        assert any("average body, 1.68 m tall" in note for note in poses.notes)
        np.testing.assert_allclose(np.abs(poses.translation - views.pose_3d[:4, 0]).max(), 0, atol=0.5)
    tall = lifter(pixels, height=2.0)
    assert tall.units == "metres"
    assert not any("average" in note for note in tall.notes)
    np.testing.assert_allclose(tall.positions, nothing.positions * 2.0 / STATURE, atol=1e-5)


def test_the_size_of_the_picture_is_kept(lifter, views):
    pixels, camera = views.pose_2d[:2], views.cameras[0]
    assert lifter(pixels).image_size is None
    assert lifter(pixels, image_size=[640.0, 480.0]).image_size == (640, 480)
    assert lifter(pixels, camera=camera).image_size == (1000, 1000)
    unsized = Camera(camera.focal, camera.principal)
    assert lifter(pixels, camera=unsized).image_size is None
    assert lifter(pixels, camera=unsized, image_size=(1000, 1000)).image_size == (1000, 1000)


def test_copies(lifter, views):
    expected = lifter(views.pose_2d[:9], image_size=(1000, 1000)).positions
    for other in (copy.deepcopy(lifter), pickle.loads(pickle.dumps(lifter)), copy.copy(lifter)):
        np.testing.assert_array_equal(other(views.pose_2d[:9], image_size=(1000, 1000)).positions, expected)


def test_threads(lifter, views, detected):
    """Calls of other skeletons, cameras and sizes at the same time."""
    calls = [
        ((views.pose_2d[:40],), {"camera": views.cameras[0]}),
        ((views.pose_2d[40],), {}),
        ((detected, "body_25", (1280, 720)), {"smooth": "one_euro"}),
        ((views.pose_2d[:7], "h36m_17"), {"height": 1.7}),
    ]
    expected = [lifter(*arguments, **options).positions for arguments, options in calls]
    with ThreadPoolExecutor(8) as pool:
        rounds = [pool.submit(lifter, *arguments, **options) for _ in range(25) for arguments, options in calls]
        for index, done in enumerate(rounds):
            np.testing.assert_array_equal(done.result().positions, expected[index % len(calls)])


def test_compile_gives_the_lifter(lifter, views):
    expected = lifter(views.pose_2d[:3]).positions
    assert lifter.compile(batch_sizes=(1, 4)) is lifter
    np.testing.assert_array_equal(lifter(views.pose_2d[:3]).positions, expected)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_cuda_graphs(lifter, views):
    on_gpu = Lifter.from_pretrained(device="cuda").compile(batch_sizes=(1, 16, 256))
    for pixels in (views.pose_2d, views.pose_2d[:3], views.pose_2d[0]):
        expected = lifter(pixels, camera=views.cameras[0])
        np.testing.assert_allclose(on_gpu(pixels, camera=views.cameras[0]).positions, expected.positions, atol=1e-4)
    assert "cuda" in repr(on_gpu)


def test_it_says_what_it_is(lifter):
    assert repr(lifter).startswith("Lifter(bundled weights, on cpu, packed, ")


def test_real_detections(lifter, pose2sim):
    """Four calibrated cameras: places within a few percent of the distance, and errors as large as they were."""
    with np.load(pose2sim) as file:
        data = dict(file)
    for index in range(4):
        K, dist = data["K"][index], data["dist"][index]
        focal, principal = (K[0, 0], K[1, 1]), (K[0, 2], K[1, 2])
        camera = Camera(focal, principal, radial=(*dist[:2], 0), tangential=dist[2:])
        true = load(pose2sim, "test").subset(np.arange(100 * index, 100 * index + 100)).pose_3d
        poses = lifter(data["body25b"][index], "body_25b", camera=camera)
        there = np.isfinite(poses.positions).all((1, 2))
        assert there.sum() >= 95
        error = np.linalg.norm(poses.translation - true[:, 0], axis=1)[there]
        assert np.median(error / true[there, 0, 2]) < 0.08
        pred, target = torch.from_numpy(poses.positions[there]), torch.from_numpy(true[there]) * 1000
        assert metrics.n_mpjpe(pred.double(), target.double()).mean() < 120
