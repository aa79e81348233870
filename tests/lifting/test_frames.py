"""Single frames: what ``ViewLifter.lift`` computes, on arrays, with a camera or without, with joints missing or not."""

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest
import torch

from ites_fast.camera import Camera
from ites_fast.checkpoint import load_lifter
from ites_fast.data import load, mocap17
from ites_fast.errors import InputError
from ites_fast.lifting import FrameLifter
from ites_fast.lifting.inference import Inference
from ites_fast.lifting.placement import MEAN_BONE, METRES_PER_BODY_UNIT, STATURE, choose_view, mean_bone_lengths
from ites_fast.models import ViewLifter, build_network, lifter_of, pack
from ites_fast.normalization import Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17, get_skeleton

NETWORKS = {
    "robust_mlp": {"width": 24, "blocks": 2},
    "robust_agcn": {"channels": 16, "blocks": 1},
    "depth_mlp": {"width": 32, "blocks": 1},
    "student": {"variant": "official", "channels": 16, "blocks": 1},
    "teacher": {"variant": "official", "atoms": 4, "blocks": 1, "width": 16, "bottleneck": 8},
}
COMPLETE = {"depth_mlp", "student", "teacher"}  # need all joints


@pytest.fixture(scope="module")
def views():
    data = load(mocap17.BUNDLED, "test")
    return data.subset(np.arange(0, len(data), 91))


@pytest.fixture(scope="module")
def bundled():
    return load_lifter()


def untrained(name, how=None, **options):
    torch.manual_seed(0)
    network = build_network(name, H36M_17, NETWORKS.get(name, {}) | options)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn_like(parameter)
    how = how or Normalization("root", "pose", 0.126, H36M_17.root, H36M_17.head, hips=H36M_17.hips)
    return lifter_of(network, H36M_17, how).eval()


def spoilt(image, share, seed=0):
    image, rng = image.astype(np.float32), np.random.default_rng(seed)
    image[rng.random(image.shape[:2]) < share] = np.nan
    return image, ~np.isnan(image).any(-1)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("view", ["root", "camera"])
@pytest.mark.parametrize("scale", ["pose", "dataset"])
@pytest.mark.parametrize("mirror_average", [False, True])
def test_lifts_as_a_view_lifter_does(views, name, view, scale, mirror_average):
    how = Normalization(view, scale, 0.126 if scale == "pose" else 0.9, 0, 10, 5.0, H36M_17.hips)
    lifter = untrained(name, how)
    lifter.mirror_average = mirror_average
    image, visible = spoilt(views.image(), 0 if name in COMPLETE else 0.15)
    found = Inference(lifter)(image, visible, turned=True)
    np.testing.assert_allclose(found.poses, lifter.lift(image), atol=2e-5)
    assert found.depth is None


@pytest.mark.parametrize("share", [0.0, 0.2])
def test_lifts_as_the_bundled_lifter_does(views, bundled, share):
    image, visible = spoilt(views.image(), share)
    for lifter in (bundled, pack(bundled)):
        found = Inference(lifter)(image, visible, turned=True)
        np.testing.assert_allclose(found.poses, bundled.lift(image), atol=1e-5)


def test_one_by_one_is_all_at_once(views, bundled):
    inference = Inference(bundled)
    image, visible = spoilt(views.image()[:20], 0.2)
    together = inference(image, visible, turned=True, mirrored=True)
    for n in range(20):
        alone = inference(image[n : n + 1], visible[n : n + 1], turned=True, mirrored=True)
        for one, all_of_them in zip(alone, together, strict=True):
            np.testing.assert_allclose(one[0], all_of_them[n], atol=1e-5)


def test_depths_of_the_mirror_image(views, bundled):
    image, visible = spoilt(views.image(), 0.1)
    found = Inference(bundled)(image, visible, turned=False, mirrored=True)
    assert np.abs(found.mirrored_depth - found.depth).max() > 0.01
    other = torch.from_numpy(image * [-1, 1])[:, list(H36M_17.flip_order)].float().numpy()
    again = Inference(bundled)(other, ~np.isnan(other).any(-1), turned=False)
    np.testing.assert_allclose(found.mirrored_depth, again.poses[:, list(H36M_17.flip_order), 2], atol=1e-5)
    np.testing.assert_allclose(found.depth, found.poses[..., 2], atol=1e-6)


def test_ambiguity_is_of_the_view_alone(views, bundled):
    averaging = ViewLifter(bundled.network, H36M_17, bundled.normalization, mirror_average=True).eval()
    plain, mean = (FrameLifter(lifter, H36M_17)(views.pose_2d) for lifter in (bundled, averaging))
    np.testing.assert_allclose(mean.ambiguity, plain.ambiguity, atol=1e-6)
    assert np.abs(mean.positions - plain.positions).max() > 0.01
    assert plain.ambiguity.max() > 0.5 > plain.ambiguity.mean() > 0
    assert FrameLifter(bundled, H36M_17, with_ambiguity=False)(views.pose_2d).ambiguity is None


def test_without_a_camera_neither_scale_nor_place_matters(views, bundled):
    """Pixels may have any unit then, and people are seen from their front wherever they are in the picture."""
    image, visible = spoilt(views.image(), 0.1)
    inference = Inference(bundled)
    poses = inference(image, visible, turned=False).poses
    np.testing.assert_allclose(inference(1145 * image + 700, visible, turned=False).poses, poses, atol=1e-4)
    far = 1e-4 * image  # a long lens, along whose axis everybody is
    np.testing.assert_allclose(inference(far, visible, turned=True).poses, poses, atol=1e-3)
    assert np.abs(inference(image, visible, turned=True).poses - poses).max() > 0.05


def test_without_a_camera_a_constant_scale_gives_people_a_typical_size(views):
    lifter = untrained("robust_mlp", Normalization("root", "dataset", 0.9, 0, 10, 5.0, H36M_17.hips))
    image, visible = spoilt(views.image(), 0)
    poses = Inference(lifter)(900 * image, visible, turned=False).poses
    np.testing.assert_allclose(Inference(lifter)(image, visible, turned=False).poses, poses, atol=1e-4)
    per_pose = lifter_of(lifter.network, H36M_17, replace(lifter.normalization, scale="pose", constant=0.126))
    np.testing.assert_allclose(Inference(per_pose.eval())(image, visible, turned=False).poses, poses, atol=1e-5)


def test_frames_without_a_person_are_nan_and_change_no_other(views, bundled):
    pixels = views.pose_2d[:8].astype(np.float32)
    lift = FrameLifter(bundled, H36M_17, view=choose_view(views.cameras[0]))
    expected = lift(pixels)
    given = np.concatenate([pixels, np.ones((8, 17, 1), np.float32)], -1)
    given[1] = np.nan
    given[2, 3:] = np.nan  # three joints are no person
    given[3, :, 2] = 0
    given[4, :, :2] = 321.0
    given[5, :, :2] *= np.float32(1e30)
    found = lift(given)
    there = np.array([0, 6, 7])
    assert np.isnan(found.positions[1:6]).all()
    assert (found.confidence[1:6] == 0).all()
    assert np.isnan(found.translation[1:6]).all()
    assert np.isnan(found.ambiguity[1:6]).all()
    for name in ("positions", "translation", "confidence", "ambiguity"):
        np.testing.assert_allclose(getattr(found, name)[there], getattr(expected, name)[there], atol=1e-5)
    assert all(np.isnan(values).all() for values in lift(given[1:2])[:2])
    assert lift(given[:0]).positions.shape == (0, 17, 3)


def test_what_was_not_seen_has_no_confidence(views, bundled):
    given = np.concatenate([views.pose_2d[:6], np.full((6, 17, 1), 0.8)], -1).astype(np.float32)
    given[0, 3, 2] = 0.05  # too uncertain
    given[1, 4, 0] = np.nan
    given[2, 5, 2] = np.nan
    given[3, 6, 2] = -1
    given[4, 7] = 0  # the detector's way to say that there is none
    given[5, 8, 2] = 7
    found = FrameLifter(bundled, H36M_17)(given)
    assert np.isfinite(found.positions).all()
    assert np.argwhere(found.confidence == 0).tolist() == [[0, 3], [1, 4], [2, 5], [3, 6], [4, 7]]
    assert found.confidence[5, 8] == 1
    assert np.isnan(found.keypoints[found.confidence == 0][:, :2]).all()
    blank = given.copy()
    blank[found.confidence == 0] = np.nan
    np.testing.assert_array_equal(FrameLifter(bundled, H36M_17)(blank).positions, found.positions)
    assert FrameLifter(bundled, H36M_17, min_confidence=0.0)(given).confidence[0, 3] == np.float32(0.05)
    assert np.isnan(FrameLifter(bundled, H36M_17, min_confidence=0.9)(given[:5]).positions).all()


def test_everybody_has_the_size_of_an_average_body(views, bundled):
    pixels = views.pose_2d.astype(np.float32)
    camera = choose_view(views.cameras[0])
    for arguments, units, metres in (
        ({}, "body units", 1),
        ({"view": camera}, "metres", METRES_PER_BODY_UNIT),
        ({"view": camera, "height": 1.9}, "metres", 1.9 / STATURE),
        ({"height": 1.2}, "metres", 1.2 / STATURE),
        ({"view": choose_view(image_size=(1000, 1000))}, "body units", 1),
    ):
        lift = FrameLifter(bundled, H36M_17, **arguments)
        found = lift(pixels)
        assert lift.units == units
        np.testing.assert_allclose(mean_bone_lengths(found.positions, H36M_17), MEAN_BONE * metres, rtol=1e-5)
        assert (found.translation is None) == (lift.view.camera is None)


def test_places_scale_with_the_body(views, bundled):
    pixels, view = views.pose_2d.astype(np.float32), choose_view(views.cameras[0])
    small, tall = (FrameLifter(bundled, H36M_17, view=view, height=height)(pixels) for height in (1.0, 2.0))
    np.testing.assert_allclose(tall.translation, 2 * small.translation, rtol=1e-4)
    np.testing.assert_allclose(tall.positions, 2 * small.positions, atol=1e-5)


def test_people_stand_where_they_are(views, bundled):
    found = FrameLifter(bundled, H36M_17, view=choose_view(views.cameras[0]))(views.pose_2d)
    error = np.linalg.norm(found.translation - views.pose_3d[:, 0], axis=1)
    assert np.median(error / views.pose_3d[:, 0, 2]) < 0.05
    placed = found.positions + found.translation[:, None]
    again = views.cameras[0].project(placed.astype(np.float64))
    assert np.median(np.linalg.norm(again - views.pose_2d, axis=-1)) < 12  # pixels: the network moves joints


def test_a_lens_is_taken_out_before_lifting(views, bundled):
    camera = Camera((1145, 1143), (512, 515), radial=(-0.2, 0.24, 0.01), tangential=(-0.001, 0.002))
    through_lens = camera.project(views.pose_3d.astype(np.float64))
    ideal = Camera(camera.focal, camera.principal)
    lift, straight = (FrameLifter(bundled, H36M_17, view=choose_view(each)) for each in (camera, ideal))
    expected = straight(ideal.project(views.pose_3d.astype(np.float64)))
    found = lift(through_lens)
    np.testing.assert_allclose(found.positions, expected.positions, atol=1e-4)
    np.testing.assert_allclose(found.translation, expected.translation, atol=1e-2)
    assert np.abs(straight(through_lens).positions - expected.positions).max() > 0.01
    through_lens[:, 5] = np.nan
    assert np.isfinite(lift(through_lens).positions).all()


@pytest.mark.parametrize("name", ["coco_17", "halpe_26", "body_25", "body_25b", "mpi_inf_3dhp_28", "mediapipe_33"])
def test_keypoints_of_detectors(bundled, name):
    """Left stays left: of a person who faces the camera, the left wrist is on the right of the picture."""
    skeleton = get_skeleton(name)
    given = np.full((1, skeleton.num_joints, 3), np.nan, np.float32)
    given[..., 2] = 0
    for joint, where in UPRIGHT.items():
        if joint in skeleton.joint_names:
            given[0, skeleton.joint_names.index(joint)] = (*where, 0.9)
    found = FrameLifter(bundled, skeleton)(given)
    joints = dict(zip(H36M_17.joint_names, found.positions[0], strict=True))
    assert joints["left_wrist"][0] > 0.2
    assert joints["right_wrist"][0] < -0.2
    assert joints["left_ankle"][0] > joints["right_ankle"][0]
    assert joints["head"][1] < joints["thorax"][1] < joints["hip"][1] < joints["left_knee"][1] < joints["left_ankle"][1]


UPRIGHT = {
    "nose": (500, 110),
    "left_eye": (510, 100),
    "right_eye": (490, 100),
    "left_ear": (520, 105),
    "right_ear": (480, 105),
    "neck": (500, 170),
    "left_shoulder": (550, 175),
    "right_shoulder": (450, 175),
    "left_elbow": (590, 260),
    "right_elbow": (410, 260),
    "left_wrist": (620, 340),
    "right_wrist": (380, 340),
    "left_hip": (530, 400),
    "right_hip": (470, 400),
    "left_knee": (535, 560),
    "right_knee": (465, 560),
    "left_ankle": (540, 720),
    "right_ankle": (460, 720),
}


@pytest.mark.parametrize("name", sorted(COMPLETE))
def test_networks_that_need_all_joints_say_which_they_lack(views, name):
    given = views.pose_2d[:5].astype(np.float32)
    lift = FrameLifter(untrained(name), H36M_17)
    assert np.isfinite(lift(given).positions).all()
    given[1] = np.nan  # nobody is there
    assert np.isnan(lift(given).positions[1]).all()
    given[3, [2, 16]] = np.nan
    given[2] = np.nan
    with pytest.raises(InputError, match=r"pose 3 lacks right_knee, right_wrist, and the network .* needs all joints"):
        lift(given)


def test_a_lifter_of_clips_sees_the_neighbours_of_a_frame(views):
    lifter = untrained("temporal_mlp", frames=9, width=16, blocks=1)
    image = views.image()[:30].astype(np.float32)
    visible = np.ones(image.shape[:2], bool)
    inference = Inference(lifter)
    found = inference(image, visible, turned=True, mirrored=True)
    np.testing.assert_allclose(found.poses, lifter.lift(image), atol=1e-5)
    with torch.no_grad():
        other = lifter.lift_normalized(mirrored(lifter.normalization.apply(torch.from_numpy(image)).pose_2d, H36M_17))
    np.testing.assert_allclose(found.mirrored_depth, other[:, list(H36M_17.flip_order), 2], atol=1e-5)
    visible[[12, 20]] = False  # a frame without a person ends a clip
    parts = [lifter.lift(image[part]) for part in (slice(0, 12), slice(13, 20), slice(21, 30))]
    poses = inference(image, visible, turned=True).poses
    assert np.isnan(poses[[12, 20]]).all()
    np.testing.assert_allclose(np.delete(poses, [12, 20], 0), np.concatenate(parts), atol=1e-5)


def test_another_skeleton_is_refused():
    skeleton = get_skeleton("mpi_inf_3dhp_17")
    torch.manual_seed(0)
    network = build_network("robust_mlp", skeleton, {"width": 16, "blocks": 1})
    lifter = ViewLifter(network, skeleton, Normalization("root", "pose", 0.126, skeleton.root, 10)).eval()
    with pytest.raises(InputError, match="the weights are for mpi_inf_3dhp_17, expected a lifter of h36m_17"):
        FrameLifter(lifter, skeleton)


def test_copies_are_independent_and_alike(views, bundled):
    lift = FrameLifter(bundled, H36M_17, view=choose_view(views.cameras[0]))
    expected = lift(views.pose_2d)
    for other in (copy.deepcopy(lift), pickle.loads(pickle.dumps(lift))):
        np.testing.assert_array_equal(other(views.pose_2d).positions, expected.positions)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_cuda(views):
    lifter = load_lifter(device="cuda")
    image, visible = spoilt(views.image(), 0.1)
    expected = load_lifter().lift(image)
    inference = Inference(lifter)
    np.testing.assert_allclose(inference(image, visible, turned=True).poses, expected, atol=1e-4)
    inference.capture((1, 8, 64))
    np.testing.assert_allclose(inference(image, visible, turned=True).poses, expected, atol=1e-4)
    found = copy.deepcopy(inference)(image, visible, turned=True, mirrored=True)
    np.testing.assert_allclose(found.poses, expected, atol=1e-4)
