"""Networks that correct the image: shapes, missing joints, size."""

import pytest
import torch

from ites_fast.checkpoint import load_lifter, save_model
from ites_fast.models import RobustGCN, RobustMLP, ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17

NORMALIZATION = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head, hips=H36M_17.hips)
NETWORKS = {
    "robust_mlp": {"width": 24, "blocks": 2},
    "robust_agcn": {"channels": 8, "blocks": 1, "variant": "official"},
}


def build(name):
    torch.manual_seed(0)
    return build_network(name, H36M_17, NETWORKS[name]).eval()


def image(views):
    return 0.1 * torch.randn(views, 17, 2, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("name", NETWORKS)
def test_every_joint_comes_out_and_the_root_has_no_depth(name):
    network = build(name)
    assert network.predicts == "corrected"
    pose_2d = image(5)
    corrected = network(pose_2d)
    assert corrected.pose_2d.shape == (5, 17, 2)
    assert corrected.depth.shape == (5, 17)
    assert (corrected.depth[:, H36M_17.root] == 0).all()
    assert corrected.depth[:, 1:].abs().min() > 0
    moved = (corrected.pose_2d - pose_2d).abs()
    assert 0 < moved.mean() < 1, "starts near the image"


@pytest.mark.parametrize("name", NETWORKS)
def test_visibility_is_seen(name):
    network, pose_2d = build(name), image(3)
    everything = torch.ones(3, 17, dtype=torch.bool)
    for ours, theirs in zip(network(pose_2d), network(pose_2d, everything), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
    for joint in (0, 6, 16):  # a joint in the origin and a joint that was not seen are not the same
        hidden = everything.clone()
        hidden[:, joint] = False
        assert (network(pose_2d, hidden).depth - network(pose_2d).depth).abs().max() > 1e-4


@pytest.mark.parametrize("name", NETWORKS)
def test_an_output_of_nothing_leaves_the_image_as_it_is(name):
    network = build(name)
    with torch.no_grad():
        for parameter in network.output_layer.parameters():
            parameter.zero_()
    pose_2d = image(2)
    corrected = network(pose_2d)
    torch.testing.assert_close(corrected.pose_2d, pose_2d, rtol=0, atol=0)
    assert not corrected.depth.any()


@pytest.mark.parametrize("name", NETWORKS)
def test_lifts_poses_with_missing_joints_and_survives_the_file(name, tmp_path):
    lifter = ViewLifter(build(name), H36M_17, NORMALIZATION)
    incomplete = image(4)
    incomplete[0, 3] = incomplete[1, 0] = incomplete[2, [0, 1, 4]] = torch.nan
    pose = lifter.lift(incomplete)
    assert pose.isfinite().all()
    architecture = {"network": name, "options": NETWORKS[name]}
    save_model(tmp_path / "lifter.safetensors", lifter, architecture, {})
    torch.testing.assert_close(load_lifter(tmp_path).lift(incomplete), pose, rtol=0, atol=0)


def test_the_default_fits_two_megabytes_in_half_precision(tmp_path):
    lifter = ViewLifter(RobustMLP(H36M_17), H36M_17, NORMALIZATION)
    path = tmp_path / "lifter.safetensors"
    save_model(path, lifter, {"network": "robust_mlp", "options": {}}, {}, dtype=torch.float16)
    assert path.stat().st_size <= 2_000_000


def test_the_graph_network_keeps_joints_in_their_places():
    """Four layers of the skeleton's graph carry a change four bones far."""
    network = RobustGCN(H36M_17, channels=16, blocks=1, graphs="physical").double().eval()
    pose_2d = image(8).double()
    moved = pose_2d.clone()
    moved[:, 3] += 0.05  # right ankle
    before, after = network(pose_2d), network(moved)
    reached = {3, 2, 1, 0, 4, 7}  # knee, hips, spine
    change = after.depth - before.depth
    change = change - change[:, 10:11]  # the head is too far, but the root, whose depth is subtracted, is not
    for each in (change, (after.pose_2d - before.pose_2d)[..., 0]):
        assert set((each.abs().amax(0) > 1e-12).nonzero().flatten().tolist()) <= reached
    assert (after.pose_2d - before.pose_2d)[:, [2, 3]].abs().amin() > 0
    hidden = torch.ones(8, 17, dtype=torch.bool)
    hidden[:, 13] = False  # left wrist
    change = (network(pose_2d, hidden).pose_2d - before.pose_2d).abs().amax((0, 2))
    assert set(change.nonzero().flatten().tolist()) <= {13, 12, 11, 8, 7, 9, 14}
    assert change[[12, 13]].amin() > 0
