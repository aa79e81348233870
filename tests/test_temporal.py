"""Lifting video: the network against dilated convolutions, windows by their definition, clips one by one."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import conv1d

from ites_fast.checkpoint import load_lifter, save_model
from ites_fast.data import load
from ites_fast.data.clips import clip_numbers
from ites_fast.errors import InputError
from ites_fast.evaluation import evaluate
from ites_fast.models import (
    LiftedClips,
    RobustMLP,
    SequenceLifter,
    TemporalMLP,
    ViewLifter,
    frames_of,
    lifter_of,
    of_clips,
)
from ites_fast.models.temporal import is_power_of_three, neighbours
from ites_fast.normalization import Normalization
from ites_fast.sides import mirrored
from ites_fast.skeleton import H36M_17

J = H36M_17.num_joints
NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)


def random_network(frames=9, blocks=1, width=8):
    """In eval mode, with batch norms and outputs that matter."""
    torch.manual_seed(0)
    network = TemporalMLP(H36M_17, frames=frames, width=width, blocks=blocks).double().eval()
    with torch.no_grad():
        network.output_layer.weight *= 10
        for name, buffer in network.named_buffers():
            if name.endswith("running_mean"):
                buffer.normal_(0, 0.1)
            elif name.endswith("running_var"):
                buffer.uniform_(0.5, 2)
    return network


def images(frames, seed=0):
    return 0.1 * torch.randn(frames, J, 2, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def sequence_lifter(**options):
    return SequenceLifter(random_network(**options), H36M_17, NORMALIZATION)


@pytest.mark.parametrize(("frames", "blocks"), [(3, 1), (9, 0), (27, 2)])
def test_it_is_dilated_convolutions_over_the_clip(frames, blocks):
    network, pose_2d = random_network(frames, blocks), images(frames + 6)
    visible = torch.rand(len(pose_2d), J, generator=torch.Generator().manual_seed(1)) < 0.8

    def convolution(layer, features, dilation):
        """A layer over three frames that lie ``dilation`` apart; features (C, T)."""
        linear, norm, relu = layer
        weight = linear.weight.unflatten(1, (3, -1)).permute(0, 2, 1)  # (C', C, 3)
        return relu(norm(conv1d(features[None], weight, dilation=dilation)[0].mT)).mT

    features = torch.cat([pose_2d.flatten(1), visible.double()], 1).mT
    features, dilation = convolution(network.input_layer, features, 1), 1
    for layer in network.over_time:
        dilation *= 3
        moved = layer[3:](convolution(layer[:3], features, dilation).mT).mT
        features = features[:, dilation:-dilation] + moved
    features = features.mT
    for block in network.blocks:
        features = features + block(features)
    output = network.output_layer(features)
    index = neighbours(torch.zeros(len(pose_2d)), frames)[frames // 2 : -(frames // 2)]
    found = network(pose_2d[index], visible[index])
    assert found.pose_2d.shape == (7, J, 2)
    middle = pose_2d[frames // 2 : -(frames // 2)]
    torch.testing.assert_close(found.pose_2d, middle + output[:, : 2 * J].unflatten(1, (J, 2)))
    depth = output[:, 2 * J :]
    torch.testing.assert_close(found.depth, depth - depth[:, :1])


def test_every_frame_of_the_window_is_seen():
    network, window = random_network(27, width=32), images(27)[None].requires_grad_()
    (gradient,) = torch.autograd.grad(network(window).depth.abs().sum(), window)
    assert (gradient.abs().sum((0, 2, 3)) > 0).all()


def test_all_joints_are_seen_where_nothing_else_is_said():
    network, window = random_network(), images(18).unflatten(0, (2, 9))
    for found, expected in zip(network(window), network(window, torch.ones(2, 9, J, dtype=torch.bool)), strict=True):
        assert torch.equal(found, expected)


def test_windows_of_another_length_are_refused():
    assert [number for number in range(-3, 90) if is_power_of_three(number)] == [3, 9, 27, 81]
    with pytest.raises(ValueError, match="frames: expected a power of 3 such as 9, got 5"):
        TemporalMLP(H36M_17, frames=5)
    with pytest.raises(ValueError, match=r"expected windows of 9 frames, got \(1, 3, 17, 2\)"):
        random_network()(images(3)[None])


def test_a_window_stays_in_its_clip_and_repeats_its_ends():
    clip = torch.tensor([4, 4, 4, 2, 4, 4, 4, 4, 4, 4])
    ends = [(0, 3)] * 3 + [(3, 4)] + [(4, 10)] * 6
    expected = [
        [min(max(view + step, begin), end - 1) for step in range(-2, 3)] for view, (begin, end) in enumerate(ends)
    ]
    assert neighbours(clip, 5).tolist() == expected


def test_clips_are_lifted_apart():
    lifter, image = sequence_lifter(), images(23)
    clip = np.array([-1] * 11 + [0] + [1] * 11)
    together = lifter.lift(image, clip=clip)
    assert together[:, H36M_17.root].abs().max() == 0
    for part in (slice(0, 11), slice(11, 12), slice(12, 23)):
        assert torch.equal(together[part], lifter.lift(image[part]))
    assert not torch.equal(together, lifter.lift(image))
    np.testing.assert_array_equal(lifter.lift(image.numpy(), clip=clip), together.numpy())
    with pytest.raises(InputError, match="video: clip: expected one number for each of 22 frames, got 23"):
        lifter.lift(image[:22], source="video", clip=clip)


def test_the_ends_of_a_clip_are_repeated(monkeypatch):
    lifter, image = sequence_lifter(), images(12)
    longer = torch.cat([image[:1].repeat(4, 1, 1), image, image[-1:].repeat(4, 1, 1)])
    torch.testing.assert_close(lifter.lift(image), lifter.lift(longer)[4:-4])
    expected = lifter.lift(image, batch_size=2)
    monkeypatch.setattr("ites_fast.models.temporal.WINDOWS", 5)
    torch.testing.assert_close(lifter.lift(image), expected)


@pytest.mark.parametrize("clip", [None, np.zeros(0, int)])
def test_nothing_is_lifted_to_nothing(clip):
    assert sequence_lifter().lift(images(0), clip=clip).shape == (0, J, 3)


def test_what_it_sees_of_one_frame_is_the_pose_in_the_cameras_frame():
    """A network that moves nothing and sees no depth gives back the image."""
    lifter, image = sequence_lifter(), images(5)
    with torch.no_grad():
        lifter.network.output_layer.weight.zero_()
    flat = ViewLifter(RobustMLP(H36M_17, width=8).double().eval(), H36M_17, NORMALIZATION)
    with torch.no_grad():
        flat.network.output_layer.weight.zero_()
    torch.testing.assert_close(lifter.lift(image), flat.lift(image))


def test_missing_joints_are_filled_in_and_errors_name_the_frame():
    lifter, image = sequence_lifter(), images(12)
    image[4, 3] = torch.nan
    pose = lifter.lift(image)
    assert pose.isfinite().all()
    seen = pose[:8], lifter.lift(images(12))[:8]
    assert not torch.equal(*seen)
    assert torch.equal(pose[8 + 1 :], lifter.lift(images(12))[8 + 1 :]), "four frames on it is out of sight"
    image[7] = torch.nan
    with pytest.raises(InputError, match="video: sample 27 has fewer than 4 joints"):
        lifter.lift(image, source="video", first=20, clip=np.array([0] * 6 + [1] * 6))


def test_mirror_average_lifts_the_mirrored_clip_too():
    lifter, image = sequence_lifter(), images(10)
    alone = lifter.lift(image)
    level = Normalization("camera", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)
    lifter.normalization = level
    alone, flipped = lifter.lift(image), lifter.lift(mirrored(image, H36M_17))
    lifter.mirror_average = True
    torch.testing.assert_close(lifter.lift(image), (alone + mirrored(flipped, H36M_17)) / 2)


def test_a_file_gives_back_the_lifter_of_clips(tmp_path):
    options = {"frames": 9, "width": 8, "blocks": 1}
    lifter = lifter_of(random_network(), H36M_17, NORMALIZATION).float()
    architecture = {"network": "temporal_mlp", "options": options}
    save_model(tmp_path / "lifter.safetensors", lifter, architecture, {})
    loaded = load_lifter(tmp_path)
    assert isinstance(loaded, SequenceLifter)
    assert (loaded.network.frames, frames_of(loaded.network), loaded.training) == (9, 9, False)
    assert torch.equal(loaded.lift(images(5).float()), lifter.lift(images(5).float()))
    save_model(tmp_path / "bad.safetensors", lifter, {**architecture, "options": {**options, "frames": 4}}, {})
    with pytest.raises(InputError, match="frames: expected a power of 3"):
        load_lifter(tmp_path / "bad.safetensors")


def test_a_network_of_single_views_stays_a_lifter_of_them():
    lifter = lifter_of(RobustMLP(H36M_17, width=8), H36M_17, NORMALIZATION)
    assert type(lifter) is ViewLifter
    assert of_clips(lifter, None) is lifter
    assert frames_of(lifter.network) == 1


def test_evaluation_in_parts_sees_whole_clips(small_mocap, monkeypatch):
    views = load(small_mocap, "test")
    lifter, image = lifter_of(random_network(), H36M_17, NORMALIZATION).float(), torch.from_numpy(views.image())
    clips = of_clips(lifter, views)
    assert isinstance(clips, LiftedClips)
    whole = evaluate(clips, views)
    monkeypatch.setattr("ites_fast.evaluation.CHUNK", 7)
    assert evaluate(clips, views).metrics == pytest.approx(whole.metrics, rel=1e-5)
    assert torch.equal(clips.lift(image[3:8], first=3), lifter.lift(image, clip=clip_numbers(views))[3:8])


def test_a_clip_is_one_person_in_one_sequence_of_one_camera(small_mocap):
    views = load(small_mocap, "train")
    clip = clip_numbers(views)
    assert (np.diff(clip) >= 0).all()
    assert clip[0] == 0
    identity = [views.sequence, views.camera, views.subject]
    for number in range(clip[-1] + 1):
        assert all(len(np.unique(each[clip == number])) == 1 for each in identity)
        assert (np.diff(views.frame[clip == number]) > 0).all()


def test_clips_end_where_anything_changes_or_frames_are_missing(small_mocap):
    views = load(small_mocap, "train").subset(np.arange(12))
    zero = np.zeros(12, np.int32)
    #        usual step 4, one frame left out, a gap | usual step 1 | frames that go back
    frame = np.array([0, 4, 8, 16, 20, 40, 44, 7, 8, 9, 3, 4], np.int32)
    camera = np.array([0] * 7 + [1] * 5, np.int32)
    plain = replace(views, sequence=zero, camera=camera, subject=zero, frame=frame)
    assert clip_numbers(plain).tolist() == [0] * 5 + [1] * 2 + [2] * 3 + [3] * 2
    for name in ("sequence", "subject"):
        changed = zero.copy()
        changed[2:] = 1
        expected = [0] * 2 + [1] * 3 + [2] * 2 + [3] * 3 + [4] * 2
        assert clip_numbers(replace(plain, **{name: changed})).tolist() == expected
    assert clip_numbers(plain.subset(np.arange(0))).tolist() == []
