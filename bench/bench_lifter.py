"""From keypoints in pixels to placed poses in metres, numpy to numpy: one pose, and a thousand.

"eager" is what a user of ``ViewLifter.lift`` writes: the network in PyTorch, then size and place. "packed" is the same
with the packed network. "frames" is a ``FrameLifter``, which has looked at its arguments beforehand. "with ambiguity"
does more: it lifts the mirror images as well, as ``Lifter`` does unless it is told not to.
"""

import functools
import os
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.arms import Arm, Missing, Work, optional
from bench.steps import linear_flops
from ites_fast import Camera, Lifter, load, load_lifter, pack
from ites_fast.export import trace, write_onnx
from ites_fast.lifting.placement import MEAN_BONE, METRES_PER_BODY_UNIT, mean_bone_lengths, root_translation
from ites_fast.lifting.traced import INPUTS, TracedLifter
from ites_fast.models import ViewLifter

SIZES = pytest.mark.poses(cpu=(1, 1000), cuda=(1, 1000))


@SIZES
def bench_lifter(measure, device, poses):
    data = load("mocap17", "test")
    rows = np.linspace(0, len(data) - 1, poses).astype(int)
    keypoints, camera = data.pose_2d[rows].astype(np.float32), data.cameras[0]
    network = load_lifter(device=device)
    lifter = Lifter(network)
    if device.type == "cuda":
        lifter.compile(batch_sizes=(poses,))
    frames = lifter.frames(camera=camera, ambiguity=False)

    def call(ambiguity: bool) -> tuple[torch.Tensor, ...]:
        lifted = lifter(keypoints, camera=camera, ambiguity=ambiguity)
        return torch.from_numpy(lifted.positions), torch.from_numpy(lifted.translation)

    work = Work(
        "lifter",
        "pixels to poses",
        poses,
        flops=poses * linear_flops(network.network),
        settings={"joints": keypoints.shape[1]},
        one_call=poses == 1,
    )
    arms = {
        "ites_fast": Arm(lambda: call(False), in_torch=False),
        "eager": Arm(by_hand(network, keypoints, camera), in_torch=False),
        "packed": Arm(by_hand(pack(network), keypoints, camera), in_torch=False),
        "frames": Arm(lambda: tuple(map(torch.from_numpy, frames(keypoints)[:2])), in_torch=False, is_rival=False),
        "with ambiguity": Arm(lambda: call(True), in_torch=False, is_rival=False),
        "onnxruntime": onnx_arm(keypoints, camera, device),
    }
    measure(work, arms)


def by_hand(network: ViewLifter, keypoints: np.ndarray, camera: Camera) -> Callable[[], tuple[torch.Tensor, ...]]:
    """What it takes to have the same from a ``ViewLifter``."""
    weight = np.ones(keypoints.shape[:2], np.float32)

    def lift() -> tuple[torch.Tensor, ...]:
        image = camera.undistort(keypoints).astype(np.float32)
        pose_3d = network.lift(image)
        bone = mean_bone_lengths(pose_3d, network.skeleton)
        pose_3d *= (MEAN_BONE * METRES_PER_BODY_UNIT / bone)[:, None, None]
        return torch.from_numpy(pose_3d), torch.from_numpy(root_translation(pose_3d, image, weight))

    return lift


def onnx_arm(keypoints: np.ndarray, camera: Camera, device: torch.device) -> Arm | Missing:
    """The exported program in onnxruntime, in metres, on the CPU."""
    if device.type != "cpu":
        return Missing("onnxruntime's CPU package is compared on the CPU")

    def build(onnxruntime):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = torch.get_num_threads()
        session = onnxruntime.InferenceSession(exported(), options, providers=["CPUExecutionProvider"])
        seen = np.concatenate([keypoints, np.ones_like(keypoints[..., :1])], -1)
        inputs = dict(zip(INPUTS, (seen, np.float32([*camera.focal, *camera.principal])), strict=True))

        def run() -> tuple[torch.Tensor, ...]:
            return tuple(torch.from_numpy(part * METRES_PER_BODY_UNIT) for part in session.run(None, inputs)[:2])

        return Arm(run, in_torch=False)

    return optional("onnxruntime", build)


@functools.cache
def exported() -> bytes:
    """The ONNX file of the bundled weights."""
    import onnxscript  # noqa: F401

    module = TracedLifter(load_lifter()).eval()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "lifter.onnx")
        write_onnx(trace(module), module, os.fspath(path))
        return path.read_bytes()
