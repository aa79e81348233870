"""Exported lifters: what onnxruntime and a reloaded program compute, and what the file says about itself."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from ites_fast import export
from ites_fast.camera import Camera
from ites_fast.checkpoint import load_lifter, save_model
from ites_fast.errors import InputError
from ites_fast.export import POSES, TOLERANCE, ExportOptions, real_keypoints, run_onnx
from ites_fast.lifting.frames import FrameLifter
from ites_fast.lifting.placement import choose_view
from ites_fast.lifting.traced import TracedLifter
from ites_fast.models import DepthMLP, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.skeleton import H36M_17, Skeleton, get_skeleton

onnx = pytest.importorskip("onnx", reason="needs the extra export")
pytest.importorskip("onnxruntime", reason="needs the extra export")
EXAMPLE = Path(__file__).resolve().parents[1] / "examples" / "onnx_consumer.py"


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The bundled weights for coco_17, as both kinds of file."""
    folder = tmp_path_factory.mktemp("exported")
    options = ExportOptions(onnx=str(folder / "l.onnx"), torch_export=str(folder / "l.pt2"), skeleton="coco_17")
    export.main(options)
    return options


def bundled(mirror_average=True):
    lifter = load_lifter()
    lifter.mirror_average = mirror_average
    return lifter


def traced(skeleton):
    return TracedLifter(bundled(), get_skeleton(skeleton)).eval()


def frame_lifter(skeleton, camera):
    focal, principal = camera.double().numpy().reshape(2, 2)
    return FrameLifter(bundled(), get_skeleton(skeleton), view=choose_view(Camera(focal, principal)))


@pytest.mark.parametrize("skeleton", ["h36m_17", "coco_17", "body_25", "mediapipe_33"])
def test_the_traced_lifter_computes_what_the_lifter_does(skeleton):
    module = traced(skeleton)
    keypoints, camera = real_keypoints(module)
    generator = torch.Generator().manual_seed(0)
    keypoints[..., 2] *= torch.rand(keypoints.shape[:2], generator=generator)  # some joints are below the threshold
    keypoints[7] = torch.nan
    with torch.no_grad():
        positions, translation, confidence = module(keypoints, camera)
    frames = frame_lifter(skeleton, camera)
    expected = frames(keypoints.numpy())
    np.testing.assert_allclose(positions, expected.positions / frames.scale, rtol=0, atol=2e-5)
    np.testing.assert_allclose(translation, expected.translation / frames.scale, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(confidence, expected.confidence, rtol=0, atol=1e-6)
    assert np.isnan(expected.positions[7]).all()


def test_onnxruntime_agrees_on_a_thousand_real_poses(written):
    module = traced("coco_17")
    keypoints, camera = real_keypoints(module)
    assert len(keypoints) == POSES == 1000
    assert keypoints.isnan().any(-1).any(-1).float().mean() > 0.2
    with torch.no_grad():
        expected = module(keypoints, camera)
    outputs = run_onnx(written.onnx, keypoints, camera)
    assert (outputs[0] - expected[0]).abs().max() < TOLERANCE
    for output, value in zip(outputs[1:], expected[1:], strict=True):
        torch.testing.assert_close(output, value, rtol=1e-5, atol=TOLERANCE)
    for size in (1, 7):  # the batch is free
        torch.testing.assert_close(
            run_onnx(written.onnx, keypoints[:size], camera)[0], expected[0][:size], rtol=0, atol=TOLERANCE
        )


def test_the_file_has_standard_operators_and_describes_itself(written):
    model = onnx.load(written.onnx)
    onnx.checker.check_model(model, full_check=True)
    assert {node.domain for node in model.graph.node} == {""}
    assert [(opset.domain, opset.version) for opset in model.opset_import] == [("", export.OPSET)]
    said = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(said["joint_names"]) == list(H36M_17.joint_names)
    assert json.loads(said["keypoint_names"])[0] == "nose"
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param  # any batch


def test_the_torch_program_is_loaded_without_the_package(written, tmp_path):
    module = traced("coco_17")
    keypoints, camera = real_keypoints(module)
    torch.save((keypoints, camera), tmp_path / "inputs.pt")
    script = (
        "import sys, torch; keypoints, camera = torch.load(sys.argv[2]);"
        "torch.save(torch.export.load(sys.argv[1]).module()(keypoints, camera), sys.argv[3]);"
        "assert 'ites_fast' not in sys.modules"
    )
    paths = [written.torch_export, str(tmp_path / "inputs.pt"), str(tmp_path / "outputs.pt")]
    subprocess.run([sys.executable, "-c", script, *paths], check=True, cwd=tmp_path)
    with torch.no_grad():
        torch.testing.assert_close(torch.load(paths[2]), module(keypoints, camera), equal_nan=True)


def test_the_example_needs_numpy_and_onnxruntime_only(written, tmp_path):
    module = traced("coco_17")
    keypoints, _ = real_keypoints(module)
    np.save(tmp_path / "keypoints.npy", keypoints[1:9].numpy())
    command = [sys.executable, str(EXAMPLE), written.onnx, "keypoints.npy", "1000", "1000"]
    printed = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    assert "left_ankle" in printed
    with np.load(tmp_path / "poses.npz") as poses, torch.no_grad():
        expected = module(keypoints[1:9], torch.tensor([1000.0, 1000, 500, 500]))[0]
        np.testing.assert_allclose(poses["positions"], expected, rtol=0, atol=TOLERANCE)
    imports = [line.split()[1] for line in EXAMPLE.read_text().splitlines() if line.startswith("import ")]
    assert set(imports) <= {"json", "sys", "numpy", "onnxruntime"}


@pytest.mark.slow
def test_a_network_that_needs_all_joints(tmp_path):
    torch.manual_seed(0)
    normalization = Normalization("root", "pose", 0.13, H36M_17.root, H36M_17.head)
    lifter = ViewLifter(DepthMLP(H36M_17, width=32, blocks=1), H36M_17, normalization).eval()
    save_model(tmp_path / "m.safetensors", lifter, {"network": "depth_mlp", "options": {"width": 32, "blocks": 1}}, {})
    export.main(ExportOptions(checkpoint=str(tmp_path / "m.safetensors"), onnx=str(tmp_path / "m.onnx")))
    arms = Skeleton("arms", ("left_wrist", "right_wrist", "head_top"), (2, 2, -1), left=(0,), right=(1,))
    with pytest.raises(InputError, match="arms lacks joints of h36m_17, and this network needs all"):
        TracedLifter(lifter, arms)
    keypoints, camera = real_keypoints(TracedLifter(lifter))
    keypoints[3, 5] = torch.nan
    positions = run_onnx(str(tmp_path / "m.onnx"), keypoints, camera)[0]
    assert positions[3].isnan().all()
    assert not positions[4:].isnan().any()


@pytest.mark.slow
def test_without_the_mirror_image(tmp_path):
    export.main(ExportOptions(onnx=str(tmp_path / "m.onnx"), mirror_average=False))
    module = TracedLifter(bundled(mirror_average=False)).eval()
    keypoints, camera = real_keypoints(module)
    with torch.no_grad():
        expected = module(keypoints, camera)[0]
    torch.testing.assert_close(
        run_onnx(str(tmp_path / "m.onnx"), keypoints, camera)[0], expected, rtol=0, atol=TOLERANCE
    )


@pytest.mark.slow
def test_whole_batches_and_batches_with_gaps_agree(tmp_path):
    """The file completes poses only where a joint is missing."""
    path = str(tmp_path / "m.onnx")
    export.main(ExportOptions(onnx=path))
    keypoints, camera = real_keypoints(traced("h36m_17"))
    whole = ~keypoints.isnan().any(-1).any(-1)
    assert 600 < whole.sum() < 700
    apart = run_onnx(path, keypoints[whole], camera)[0]
    torch.testing.assert_close(run_onnx(path, keypoints, camera)[0][whole], apart, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "nothing to write"),
        (["--onnx", "l.pt"], "expected a name that ends in .onnx"),
        (["--torch-export", "l.onnx"], "expected a name that ends in .pt2"),
        (["--onnx", "l.onnx", "--skeleton", "alien"], "alien"),
        (["--onnx", "l.onnx", "--min-confidence", "2"], "expected 0 to 1, got 2"),
        (["--onnx", "l.onnx", "--checkpoint", "none.safetensors"], "no such file"),
    ],
)
def test_mistakes_are_one_line_and_status_2(arguments, message, tmp_path, monkeypatch, run_command):
    monkeypatch.chdir(tmp_path)
    status, _, errors = run_command(export.main, ExportOptions, *arguments)
    assert status == 2
    assert message in errors
    assert errors.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
