"""``python -m ites_fast.export``: a lifter as an ONNX file or a ``torch.export`` program, from keypoints to poses."""

import json
import logging
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from ites_fast import cli
from ites_fast.checkpoint import load_lifter
from ites_fast.data import load
from ites_fast.errors import InputError
from ites_fast.files import atomic_path
from ites_fast.lifting.frames import MIN_CONFIDENCE
from ites_fast.lifting.traced import INPUTS, OUTPUTS, TracedLifter
from ites_fast.skeleton import H36M_17, conversion, get_skeleton

OPSET = 18
POSES = 1000  # real ones, that the written file is checked with
TOLERANCE = 1e-5  # body units: 7 micrometres
MAX_BATCH = 2**20


@dataclass(frozen=True)
class ExportOptions:
    """Write a lifter for programs without this package: keypoints and a camera in, poses out."""

    onnx: str | None = None
    """the ONNX file to write, opset 18, without custom operators (needs the extra "export")"""
    torch_export: str | None = None
    """the .pt2 file of ``torch.export`` to write"""
    checkpoint: str | None = None
    """a run's folder or a .safetensors file of a model; without it the weights that come with the package"""
    skeleton: str = "h36m_17"
    """joints of the keypoints: a name or a YAML file (docs/SKELETONS.md)"""
    min_confidence: float = MIN_CONFIDENCE
    """joints that the detector is less sure of count as not seen"""
    mirror_average: bool = True
    """the mean of every pose and its mirror image, at twice the cost"""


def main(options: ExportOptions) -> None:
    """Write what was asked for, and check each file with real poses."""
    if options.onnx is None and options.torch_export is None:
        raise InputError("nothing to write: expected --onnx FILE, --torch-export FILE, or both")
    for name, path, suffix in (("onnx", options.onnx, ".onnx"), ("torch-export", options.torch_export, ".pt2")):
        if path is not None and Path(path).suffix != suffix:
            raise InputError(f"--{name} {path}: expected a name that ends in {suffix}")
    if not 0 <= options.min_confidence <= 1:
        raise InputError(f"--min-confidence: expected 0 to 1, got {options.min_confidence}")
    lifter = load_lifter(options.checkpoint)
    lifter.mirror_average = options.mirror_average
    module = TracedLifter(lifter, get_skeleton(options.skeleton), options.min_confidence).eval()
    program = trace(module)
    keypoints, camera = real_keypoints(module)
    with torch.no_grad():
        expected = module(keypoints, camera)
    if options.torch_export is not None:
        with atomic_path(options.torch_export) as temporary:
            torch.export.save(program, temporary)
        loaded = torch.export.load(options.torch_export).module()
        _report(options.torch_export, _largest_difference(loaded(keypoints, camera), expected))
    if options.onnx is not None:
        write_onnx(program, module, options.onnx)
        _report(options.onnx, _largest_difference(run_onnx(options.onnx, keypoints, camera), expected))


def trace(module: TracedLifter) -> ExportedProgram:
    """The module as a program of any batch size."""
    keypoints, camera = torch.zeros(2, module.source.num_joints, 3), torch.ones(4)
    shapes = {"keypoints": {0: Dim("batch", min=1, max=MAX_BATCH)}, "camera": None}
    with torch.no_grad():
        return torch.export.export(module, (keypoints, camera), dynamic_shapes=shapes)


def write_onnx(program: ExportedProgram, module: TracedLifter, path: str) -> None:
    """Write a program of ``trace`` as ONNX, with a description of its inputs in the metadata.

    Raises:
        InputError: the packages of the extra ``export`` are not installed.
    """
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise InputError(f'{path}: needs {error.name}: pip install "ites_fast[export]"') from error
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter, about itself
        exported = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            input_names=INPUTS,
            output_names=OUTPUTS,
            verbose=False,
        )
    exported.model.metadata_props.update(describe(module))
    with atomic_path(path) as temporary:
        exported.save(temporary, external_data=False)


def describe(module: TracedLifter) -> dict[str, str]:
    """What a program that loads the file needs to know, for its metadata."""
    return {
        "skeleton": module.source.name,
        "keypoint_names": json.dumps(module.source.joint_names),
        "joint_names": json.dumps(H36M_17.joint_names),
        "parents": json.dumps(H36M_17.parents),
        "keypoints": "float32 (batch, keypoint, 3): x, y in pixels and confidence; NaN or 0 where not seen",
        "camera": "float32 (4,): fx, fy, cx, cy, pixels",
        "positions": "root-relative joints (batch, 17, 3), x right, y down, z forward, body units (about 0.72 m each)",
        "translation": "of the root (batch, 3), body units",
        "confidence": "(batch, 17), 0 for joints that were filled in",
    }


def run_onnx(path: str, keypoints: Tensor, camera: Tensor) -> tuple[Tensor, ...]:
    """What onnxruntime computes.

    Raises:
        InputError: onnxruntime is not installed.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise InputError(f'{path}: was written, not checked: pip install "ites_fast[export]"') from error
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    outputs = session.run(None, dict(zip(INPUTS, (keypoints.numpy(), camera.numpy()), strict=True)))
    return tuple(map(torch.from_numpy, outputs))


def real_keypoints(module: TracedLifter) -> tuple[Tensor, Tensor]:
    """Keypoints of test views of the bundled motion capture (N, J, 3), every third without a joint, and a camera."""
    data = load("mocap17", "test")
    rows = np.linspace(0, len(data) - 1, POSES).astype(int)
    seen = np.concatenate([data.pose_2d[rows], np.ones((POSES, H36M_17.num_joints, 1), np.float32)], -1)
    if module.lifter.accepts_missing:
        seen[np.arange(0, POSES, 3), np.arange(0, POSES, 3) % H36M_17.num_joints] = np.nan
    keypoints = conversion(H36M_17, module.source).apply(seen).astype(np.float32)
    focal, principal = data.cameras[0].focal, data.cameras[0].principal
    return torch.from_numpy(keypoints), torch.tensor([*focal, *principal], dtype=torch.float32)


def _largest_difference(outputs: tuple[Tensor, ...], expected: tuple[Tensor, ...]) -> float:
    for output, value in zip(outputs, expected, strict=True):
        assert torch.equal(output.isnan(), value.isnan()), "the exported program fails on other poses"
    return (outputs[0] - expected[0]).abs().nan_to_num().max().item()


def _report(path: str, difference: float) -> None:
    print(f"written: {path}; positions differ by {difference:.1e} body units at most over {POSES} real poses")
    if difference > TOLERANCE:
        raise RuntimeError(f"{path}: differs by {difference:.1e} from PyTorch, {TOLERANCE:.0e} at most was expected")


if __name__ == "__main__":
    cli.run(main, ExportOptions, prog="python -m ites_fast.export", description=ExportOptions.__doc__)
