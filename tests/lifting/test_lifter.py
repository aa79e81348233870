"""``Lifter``: one call for keypoints of any shape and kind, what is refused, copies, threads, and options over time."""

import copy
import json
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ites_fast import Camera, Lifter, metrics
from ites_fast.checkpoint import load_lifter
from ites_fast.data import load, mocap17
from ites_fast.errors import InputError
from ites_fast.lifting.placement import STATURE
from ites_fast.models import lifter_of
from ites_fast.models.temporal import TemporalMLP
from ites_fast.skeleton import H36M_17, conversion, get_skeleton

RECORDED = Path(__file__).parents[1] / "detections" / "recorded" / "one_person"


@pytest.fixture(scope="module")
def lifter():
    return Lifter.from_pretrained()


@pytest.fixture(scope="module")
def views():
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, len(data), 61))


@pytest.fixture(scope="module")
def clip():
    """Neighbouring frames of one camera."""
    return load(mocap17.BUNDLED, "test").subset(np.arange(200, 260))


@pytest.fixture(scope="module")
def detected():
    """OpenPose's keypoints of a person in 12 frames (12, 25, 3), BODY_25."""
    files = sorted(RECORDED.glob("*.json"))
    people = [json.loads(file.read_text())["people"][0]["pose_keypoints_2d"] for file in files]
    return np.array(people, np.float32).reshape(-1, 25, 3)


def errors(positions, data):
    pred, target = torch.from_numpy(positions).double(), 1000 * torch.from_numpy(data.pose_3d).double()
    return torch.stack([metrics.n_mpjpe(pred, target), metrics.p_mpjpe(pred, target)])


def test_errors_are_those_of_the_network(lifter, views):
    expected = errors(load_lifter().lift(views.image()), views)
    poses = lifter(views.pose_2d, camera=views.cameras[0])
    torch.testing.assert_close(errors(poses.positions, views), expected, rtol=0, atol=0.01)  # millimetres
    assert expected[1].mean() < 50


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


def test_frames_without_a_person(lifter, detected):
    given = detected.copy()
    given[3], given[7, :, 2] = np.nan, 0
    poses = lifter(given, "body_25")
    assert np.flatnonzero(np.isnan(poses.positions).any((1, 2))).tolist() == [3, 7]
    assert (poses.confidence[[3, 7]] == 0).all()
    assert "2 of 12 poses have too few joints to be lifted, at least 4: they are NaN." in poses.notes
    assert [len(person) for person in poses.scene().people] == [10]
    nobody = lifter(np.zeros((4, 25, 3)), "body_25", smooth="savitzky_golay", constant_bones=True)
    assert np.isnan(nobody.positions).all()
    assert nobody.scene().people == ()


def test_upper_bodies(lifter, detected):
    given = detected.copy()
    names = get_skeleton("body_25").joint_names
    parts = ("knee", "ankle", "toe", "heel")
    below = [joint for joint, name in enumerate(names) if any(part in name for part in parts)]
    given[:, below] = np.nan
    poses, whole = lifter(given, "body_25"), lifter(detected, "body_25")
    legs = [joint for joint, name in enumerate(poses.joint_names) if "knee" in name or "ankle" in name]
    assert np.isfinite(poses.positions).all()
    assert (poses.confidence[:, legs] == 0).all()
    assert (np.delete(poses.confidence, legs, 1) > 0).any(0).all()
    assert any(note.startswith("Never seen") and "left_knee" in note and "wrist" not in note for note in poses.notes)
    arms = [11, 12, 13, 14, 15, 16]
    assert np.linalg.norm(poses.positions[:, arms] - whole.positions[:, arms], axis=-1).mean() < 0.3


def test_notes_say_what_is_extrapolated(lifter, detected):
    joints = conversion(get_skeleton("body_25"), H36M_17).joints
    expected = ", ".join(joint.name for joint in joints if joint.kind == "extrapolated")
    assert f"Extrapolated, as body_25 has no such joint: {expected}." in lifter(detected, "body_25").notes
    assert not any("xtrapolated" in note for note in lifter(np.ones((0, 17, 2))).notes)


@pytest.mark.parametrize(
    ("keypoints", "arguments", "message"),
    [
        (np.ones((5, 17, 2)), {"skeleton": "coco_18"}, "skeleton 'coco_18' is unknown; known: h36m_17"),
        (np.ones((5, 18, 2)), {"skeleton": "coco_17"}, "keypoints: received 18 joints, expected 17 for coco_17"),
        (np.ones(17), {}, r"keypoints: received \(17,\), expected \(J, 2 or 3\)"),
        (np.ones((1, 1, 5, 17, 2)), {}, r"keypoints: received \(1, 1, 5, 17, 2\), expected"),
        (np.ones((5, 17, 4)), {}, r"keypoints: received \(5, 17, 4\), expected"),
        (np.full((5, 17, 2), "x"), {}, "keypoints: received <U1, expected numbers"),
        (torch.ones(5, 17, 2, dtype=torch.complex64), {}, "keypoints: received complex64, expected numbers"),
        (np.full((5, 17, 2), np.inf), {}, "keypoints: received infinite numbers"),
        ([[1, 2], [3]], {}, "keypoints: expected an array of numbers"),
        (np.zeros((17, 3)), {}, "keypoints: 0 of the lifter's joints are seen, expected at least 4"),
        (np.ones((17, 2)), {}, "keypoints: 17 of the lifter's joints are seen, expected at least 4 that do not coin"),
        (np.ones((5, 17, 2)), {"image_size": (0, 5)}, "image_size: expected two positive numbers"),
        (np.ones((5, 17, 2)), {"fov": 60}, "fov: needs image_size"),
        (np.ones((5, 17, 2)), {"height": 180}, "180 cm are 1.80"),
        (np.ones((5, 17, 2)), {"min_confidence": 30}, "min_confidence: expected a number from 0 to 1, got 30"),
        (np.ones((5, 17, 2)), {"batch_size": 0}, "batch_size: expected a positive number, got 0"),
        (np.ones((5, 17, 2)), {"fps": 0}, "fps: expected a positive number, got 0"),
        (np.ones((5, 17, 2)), {"smooth": "kalman"}, "smooth: expected None or one of one_euro, savitzky_golay"),
    ],
)
def test_what_is_refused(lifter, keypoints, arguments, message):
    with pytest.raises(InputError, match=message):
        lifter(keypoints, **arguments)


def test_keypoints_outside_any_sense(lifter, views):
    given = np.tile(views.pose_2d[:1].astype(np.float64), (5, 1, 1))
    given[1, 3] = 1e300
    given[2, 3] = -1e30
    given[3] *= 1e-30
    given[4] += 1e9
    poses = lifter(given, camera=views.cameras[0])
    assert np.isfinite(poses.positions[[0, 1]]).all()
    assert poses.confidence[1, 3] == 0
    assert (np.isfinite(poses.positions).all((1, 2)) | np.isnan(poses.positions).all((1, 2))).all()


def test_over_time(lifter, clip):
    rng = np.random.default_rng(0)
    noisy = clip.pose_2d + rng.normal(0, 4, clip.pose_2d.shape).astype(np.float32)
    arguments = {"camera": clip.cameras[0], "fps": 15}
    plain = lifter(noisy, **arguments)
    jitter = [np.linalg.norm(np.diff(plain.absolute, 2, axis=0), axis=-1).mean()]
    for smooth in ("one_euro", "savitzky_golay"):
        poses = lifter(noisy, **arguments, smooth=smooth)
        jitter.append(np.linalg.norm(np.diff(poses.absolute, 2, axis=0), axis=-1).mean())
    assert max(jitter[1:]) < 0.75 * jitter[0]
    steady = lifter(noisy, **arguments, constant_bones=True, smooth="savitzky_golay").positions
    child, parent = (list(joints) for joints in zip(*H36M_17.edges, strict=True))
    lengths = np.linalg.norm(steady[:, child] - steady[:, parent], axis=-1)
    np.testing.assert_allclose(lengths, lengths[:1].repeat(len(lengths), 0), atol=1e-4)
    assert lengths.mean() == pytest.approx(0.3388 * 0.72, rel=1e-3)


def test_depth_that_is_consistent(lifter, clip):
    """The poses of some frames are negated by a lifter that is wrong there; the call finds them, and moves them."""
    given = {"camera": clip.cameras[0], "fps": 15}
    right = lifter(clip.pose_2d, **given)
    wrong = np.zeros(len(clip), bool)
    wrong[[11, 12, 30]] = True
    broken = copy.deepcopy(lifter)
    infer = broken._inference.__class__.__call__

    class Wrong(broken._inference.__class__):
        def __call__(self, *args, **options):
            inferred = infer(self, *args, **options)
            inferred.poses[wrong, :, 2] *= -1
            return inferred

    broken._inference.__class__ = Wrong
    flipped = broken(clip.pose_2d, **given)
    assert np.abs(flipped.positions[wrong] - right.positions[wrong]).max() > 0.1
    poses = broken(clip.pose_2d, **given, consistent_depth=True)
    np.testing.assert_allclose(poses.positions, right.positions, atol=1e-5)
    np.testing.assert_allclose(poses.translation, right.translation, atol=1e-4)
    assert "The sign of depth was changed in 3 poses, to agree with their neighbours." in poses.notes


def test_people_are_filtered_apart(lifter, clip):
    both = np.stack([clip.pose_2d, clip.pose_2d[::-1]])
    options = {"smooth": "one_euro", "constant_bones": True, "consistent_depth": True, "fps": 15}
    poses = lifter(both, **options)
    for person, given in zip(poses.positions, both, strict=True):
        np.testing.assert_allclose(person, lifter(given, **options).positions, atol=1e-5)


def test_lifters_of_clips(views):
    torch.manual_seed(0)
    network = TemporalMLP(H36M_17, frames=9, width=16, blocks=1)
    clips = lifter_of(network, H36M_17, load_lifter().normalization).eval()
    lifter = Lifter(clips)
    camera, pixels = views.cameras[0], views.pose_2d[:40].reshape(2, 20, 17, 2)
    poses = lifter(pixels, camera=camera, batch_size=3)
    for person in (0, 1):
        expected = clips.lift(camera.undistort(pixels[person]).astype(np.float32))
        size = np.linalg.norm(poses.positions[person], axis=(1, 2)) / np.linalg.norm(expected, axis=(1, 2))
        np.testing.assert_allclose(poses.positions[person] / size[:, None, None], expected, atol=1e-4)
    assert "TemporalMLP in PyTorch" in repr(lifter)


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
    for given in (views.pose_2d, views.pose_2d[:3], views.pose_2d[0]):
        expected = lifter(given, camera=views.cameras[0])
        np.testing.assert_allclose(on_gpu(given, camera=views.cameras[0]).positions, expected.positions, atol=1e-4)
    assert "cuda" in repr(on_gpu)


def test_a_stream_lifts_what_a_call_lifts(lifter, detected):
    stream = lifter.stream("body_25", (1280, 720), fov=60, smooth=None, consistent_depth=False)
    expected = lifter(detected, "body_25", (1280, 720), fov=60)
    found = [stream(frame, ids=["a"], copy=True) for frame in detected]
    assert found[0].units == "metres"
    np.testing.assert_allclose(found[0].positions[0], expected.positions[0], atol=1e-4)
    np.testing.assert_allclose(found[0].translation[0], expected.translation[0], atol=1e-3)


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
