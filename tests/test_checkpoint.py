"""Model and state files: what is saved is what is loaded, and every unusable file has its message."""

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from ites_fast import checkpoint
from ites_fast.errors import InputError
from ites_fast.models import ViewLifter, build_network
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17

ARCHITECTURES = {
    "teacher": {"variant": "official", "atoms": 4, "blocks": 1, "width": 16, "bottleneck": 8},
    "student": {"variant": "official", "channels": 8, "blocks": 1, "graphs": "both"},
}


def architecture(name):
    return {"network": name, "options": ARCHITECTURES[name]}


@pytest.fixture
def image():
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(5, 17, 2, generator=generator) + torch.tensor([0.2, -0.1])


@pytest.fixture
def lifter(image) -> ViewLifter:
    torch.manual_seed(0)
    network = build_network("teacher", H36M_17, ARCHITECTURES["teacher"])
    return ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17)).eval()


@pytest.fixture
def path(lifter, tmp_path):
    path = tmp_path / "lifter.safetensors"
    checkpoint.save_model(path, lifter, architecture("teacher"), {"stage": "teacher"})
    return path


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_loaded_model_lifts_as_the_saved_one(name, image, tmp_path):
    torch.manual_seed(0)
    network = build_network(name, H36M_17, ARCHITECTURES[name])
    lifter = ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17)).eval()
    checkpoint.save_model(tmp_path / "lifter.safetensors", lifter, architecture(name), {})
    for place in (tmp_path, tmp_path / "lifter.safetensors"):
        loaded = checkpoint.load_lifter(place)
        assert loaded.normalization == lifter.normalization
        assert torch.equal(loaded.lift(image), lifter.lift(image))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_weights_stored_in_half_precision_are_loaded_in_single(name, image, tmp_path):
    torch.manual_seed(0)
    network = build_network(name, H36M_17, ARCHITECTURES[name])
    lifter = ViewLifter(network, H36M_17, Normalization.fit(image, H36M_17)).eval()
    whole, half = tmp_path / "whole.safetensors", tmp_path / "half.safetensors"
    checkpoint.save_model(whole, lifter, architecture(name), {})
    checkpoint.save_model(half, lifter, architecture(name), {}, dtype=torch.float16)
    assert {tensor.dtype for tensor in load_file(half).values()} <= {torch.float16, torch.int64}
    size = {file: sum(t.nbytes for t in load_file(file).values() if t.is_floating_point()) for file in (whole, half)}
    assert size[half] == size[whole] / 2
    loaded = checkpoint.load_lifter(half)
    assert all(p.dtype == torch.float32 for p in loaded.network.parameters())
    rounded = {key: t.half().float() if t.is_floating_point() else t for key, t in network.state_dict().items()}
    for key, tensor in loaded.network.state_dict().items():
        assert torch.equal(tensor, rounded[key]), key
    torch.testing.assert_close(loaded.lift(image), lifter.lift(image), rtol=0, atol=0.02)


def test_weights_too_large_for_half_precision(lifter, tmp_path):
    with torch.no_grad():
        next(lifter.network.parameters())[0] = 1e5
    with pytest.raises(ValueError, match=r"has 1e\+05, too large to be stored as torch.float16"):
        checkpoint.save_model(tmp_path / "a.safetensors", lifter, architecture("teacher"), {}, dtype=torch.float16)
    assert not list(tmp_path.iterdir())


def test_without_a_path_the_bundled_weights_are_loaded(lifter, path, image, monkeypatch, tmp_path):
    monkeypatch.setattr(checkpoint, "BUNDLED", path)
    assert torch.equal(checkpoint.load_lifter().lift(image), lifter.lift(image))
    monkeypatch.setattr(checkpoint, "BUNDLED", tmp_path / "absent.safetensors")
    with pytest.raises(
        InputError, match=r"no bundled weights \(.*absent.safetensors: no such file\); expected a check"
    ):
        checkpoint.load_lifter()


@pytest.mark.skipif(not checkpoint.BUNDLED.is_file(), reason="this copy has no bundled weights")
def test_the_bundled_weights(image):
    assert checkpoint.BUNDLED.stat().st_size <= 2e6
    assert checkpoint.BUNDLED.with_name("MODEL_CARD.md").is_file()
    lifter = checkpoint.load_lifter()
    assert lifter.skeleton == H36M_17
    assert lifter.accepts_missing
    image[2, [0, 5]] = torch.nan
    pose_3d = lifter.lift(image)
    assert pose_3d.isfinite().all()
    assert torch.equal(pose_3d[:, 0], torch.zeros(5, 3))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"checkpoint .*lifter\.safetensors: no such file"):
        checkpoint.load_lifter(tmp_path)


@pytest.mark.parametrize("length", [0, 7, 200, -1])
def test_a_truncated_file_is_refused(path, length):
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(InputError, match=r"lifter\.safetensors: not a whole safetensors file"):
        checkpoint.load_lifter(path)


def test_a_pickle_is_never_loaded(tmp_path):
    path = tmp_path / "model.safetensors"
    path.write_bytes(pickle.dumps({"weights": [1, 2, 3]}))
    with pytest.raises(InputError, match="not a whole safetensors file"):
        checkpoint.load_lifter(path)


def test_a_file_of_another_program_is_refused(tmp_path):
    path = tmp_path / "foreign.safetensors"
    save_file({"weight": torch.zeros(2)}, path)
    with pytest.raises(InputError, match=r"foreign\.safetensors: safetensors, but not written by ites_fast"):
        checkpoint.load_lifter(path)


def test_a_state_is_not_a_model(tmp_path):
    path = tmp_path / "state.safetensors"
    checkpoint.write_tensors(path, {"network.weight": torch.zeros(2)}, {"kind": "state"})
    with pytest.raises(InputError, match=r"state\.safetensors: a state file, expected a model file"):
        checkpoint.load_lifter(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"skeleton": "alien"}, "another architecture or skeleton: skeleton 'alien' is unknown"),
        ({"architecture": {"network": "transformer", "options": {}}}, "network 'transformer' is unknown"),
        ({"architecture": {"network": "teacher", "options": {"heads": 8}}}, "unexpected keyword argument 'heads'"),
        ({"architecture": {"network": "teacher", "options": {"width": -1}}}, "another architecture or skeleton"),
        ({"architecture": {"network": "student", "options": {"variant": "new"}}}, "variant must be one of"),
        ({"architecture": {}}, "another architecture or skeleton: 'network'"),
        ({"architecture": architecture("student")}, "the weights are of another architecture"),
        ({"normalization": {"mean": 0}}, "normalization has other fields"),
    ],
)
def test_a_checkpoint_of_another_architecture_is_refused(path, change, message):
    tensors, description = checkpoint.read_tensors(path, kind="model")
    checkpoint.write_tensors(path, tensors, description | change)
    with pytest.raises(InputError, match=message) as error:
        checkpoint.load_lifter(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("header", ["{", "[]", '{"format": 1}', '{"kind": "model"}'])
def test_a_damaged_description_is_refused(tmp_path, header):
    path = tmp_path / "lifter.safetensors"
    save_file({"weight": torch.zeros(2)}, path, metadata={"ites_fast": header})
    with pytest.raises(InputError, match=r"lifter\.safetensors: its description is damaged"):
        checkpoint.load_lifter(path)


def test_a_future_format_is_refused(path):
    tensors, description = checkpoint.read_tensors(path, kind="model")
    checkpoint.write_tensors(path, tensors, description | {"format": 99})
    with pytest.raises(InputError, match="format 99, this version reads 1"):
        checkpoint.load_lifter(path)


def test_optimizer_state_survives(tmp_path):
    for optimizer_class in (torch.optim.Adam, torch.optim.SGD):
        options = {"momentum": 0.9} if optimizer_class is torch.optim.SGD else {}
        parameter = torch.nn.Parameter(torch.ones(3))
        optimizer = optimizer_class([parameter], lr=0.1, **options)
        for _ in range(3):
            parameter.grad = parameter.detach().clone()
            optimizer.step()
        packed = checkpoint.pack_optimizer(optimizer)
        path = tmp_path / "state.safetensors"
        checkpoint.write_tensors(path, packed, {"kind": "state"})
        twin = torch.nn.Parameter(parameter.detach().clone())
        restored = optimizer_class([twin], lr=0.1, **options)
        checkpoint.unpack_optimizer(restored, load_file(path))
        for p, o in ((parameter, optimizer), (twin, restored)):
            p.grad = torch.ones(3)
            o.step()
        assert torch.equal(parameter, twin)
