"""A ``ViewLifter`` on numpy arrays: what ``ViewLifter.lift`` computes, with the little overhead that one pose allows.

A call of PyTorch costs about as much as five of numpy, so that everything but the network is numpy here. Coordinates
are kept as planes (N, J): arrays whose last axis has two or three elements are slow.
"""

import threading
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from ites_fast.cuda_graphs import CapturedNetwork
from ites_fast.errors import InputError
from ites_fast.models import PackedMLP, PackedStudent, SequenceLifter, ViewLifter, pack
from ites_fast.normalization import MIN_SIZE, MIN_VISIBLE, Normalization
from ites_fast.ops.compiled import language_of
from ites_fast.reference.rotate_project import MIN_DEPTH

# Where one constant of a data set turns image coordinates into the network's input, but no camera turns pixels into
# image coordinates: root mean square of the distances from the root, over the distance from hip to head.
TYPICAL_SIZE = 0.63


class Inferred(NamedTuple):
    """What a network says of N views."""

    poses: np.ndarray  # (N, J, 3) float32, root-relative, camera's frame, body units; NaN where there is no pose
    depth: np.ndarray | None  # (N, J) in the virtual view, of the views alone
    mirrored_depth: np.ndarray | None  # (N, J) of the mirror images, left and right swapped back


class _Input(NamedTuple):
    u: np.ndarray  # (N, J) of the network's input
    v: np.ndarray
    look: tuple[np.ndarray, ...] | None  # u, v of the ray that the virtual camera looks along, its length in the plane
    # of x and z and its length, (N, 1) each; None: it looks as the camera does
    good: np.ndarray  # (N,) whether there is a pose


class Inference:
    """Lifts image coordinates by numpy and one call of the network, packed where it can be. Any thread may call it.

    Args:
        lifter: in eval mode; its weights are copied where they can be packed.
    """

    def __init__(self, lifter: ViewLifter) -> None:
        self.skeleton, self.normalization = lifter.skeleton, lifter.normalization
        self.mirror_average = lifter.mirror_average
        self.over_time = isinstance(lifter, SequenceLifter)
        self.lifter = _packed(
            type(lifter)(lifter.network, self.skeleton, self.normalization, completion=lifter.completion)
        ).eval()
        self.device = next(self.lifter.network.parameters()).device
        self.flip_order = list(self.skeleton.flip_order)
        self.network = _OfFeatures(self.lifter)
        self._captured, self._turn = None, threading.Lock()

    def __getstate__(self) -> dict[str, Any]:
        """Neither locks nor graphs of a GPU can be copied or go to another process."""
        return {**self.__dict__, "_captured": None, "_turn": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._turn = threading.Lock()

    @property
    def implementation(self) -> str:
        """What runs the network: C++, Triton or PyTorch."""
        network = self.lifter.network
        names = {PackedMLP: "ites_fast::mlp_infer", PackedStudent: "ites_fast::student_infer"}
        if type(network) not in names:
            return f"{type(network).__name__} in PyTorch"
        return f"packed, {language_of(names[type(network)], self.device.type) or 'PyTorch'}"

    def capture(self, batch_sizes: Sequence[int]) -> None:
        """Have batches of these sizes run as one CUDA graph each, see ``cuda_graphs.CapturedNetwork``."""
        if not self.over_time:
            self._captured = CapturedNetwork(self.network.eval(), (self.network.inputs,), batch_sizes)

    def __call__(self, image: np.ndarray, visible: np.ndarray, *, turned: bool, mirrored: bool = False) -> Inferred:
        """Lift image coordinates to poses in the camera's frame.

        Args:
            image: undistorted image coordinates (N, J, 2) float32; what they are where a joint is not visible does not
                matter.
            visible: the joints that were seen (N, J), boolean.
            turned: whether to look at people as the network's normalisation has it; else ``image`` may have any scale
                (pixels, for example), and people are seen from their front.
            mirrored: lift the mirror images as well, in the same batch.

        Returns:
            Poses; NaN where fewer than ``MIN_VISIBLE`` joints are seen, or where they cannot be a person: all in one
            place, or a right angle away from the root.

        Raises:
            InputError: joints are missing that the network needs.
        """
        poses = np.full((*image.shape[:2], 3), np.nan, np.float32)
        whole = visible.all()
        if not whole and self.lifter.completion is not None:
            image, visible = self._completed(image, visible)
            whole = visible.all()
        given = _network_input(image, None if whole else visible, self.normalization, turned)
        good = given.good
        every = good.all()
        if not every:
            rows = None if given.look is None else tuple(plane[good] for plane in given.look)
            given, visible = _Input(given.u[good], given.v[good], rows, good), visible[good]
        if not whole and not self.lifter.accepts_missing:
            self._require_joints(visible, good)
        (x, y, z), *depths = self._lift(given, None if whole else visible, mirrored)
        if every:
            _turn_back(x, y, z, given.look, poses)
            return Inferred(poses, *depths)
        some = np.empty((len(x), *poses.shape[1:]), np.float32)
        _turn_back(x, y, z, given.look, some)
        poses[good] = some
        return Inferred(poses, *(None if plane is None else _spread(plane, good) for plane in depths))

    def _completed(self, image: np.ndarray, visible: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Views with the joints filled in, and which joints they have then."""
        rows = np.flatnonzero(~visible.all(1) & (visible.sum(1) >= MIN_VISIBLE))
        filled, known = image.copy(), visible.copy()
        filled[rows] = self.lifter.completion.filled_array(image[rows], visible[rows])
        known[rows] |= np.isfinite(filled[rows]).all(-1)
        return filled, known

    def _lift(
        self, given: _Input, visible: np.ndarray | None, mirrored: bool
    ) -> tuple[tuple[np.ndarray, ...], np.ndarray | None, np.ndarray | None]:
        """Planes (N, J) of root-relative poses in the virtual view; depths of the views alone and of their images."""
        poses, joints, features = len(given.u), self.skeleton.num_joints, self.network.inputs
        both = mirrored or self.mirror_average
        inputs = np.empty((2, poses, features) if both else (1, poses, features), np.float32)
        inputs[0, :, : 2 * joints : 2], inputs[0, :, 1 : 2 * joints : 2] = given.u, given.v
        inputs[:, :, 2 * joints :] = 1
        takes_mask = visible is not None and features > 2 * joints
        if takes_mask:
            inputs[0, :, 2 * joints :] = visible
        if both:
            order = self.flip_order
            inputs[1, :, : 2 * joints : 2], inputs[1, :, 1 : 2 * joints : 2] = -given.u[:, order], given.v[:, order]
            if takes_mask:
                inputs[1, :, 2 * joints :] = visible[:, order]
        planes = self._decoded(inputs.reshape(-1, features), self._run(inputs, given.good))
        if not both:
            return planes, None, None
        x, y, z = (plane[:poses] for plane in planes)
        other_x, other_y, other_z = (plane[poses:, order] for plane in planes)
        depths = (z, other_z) if mirrored else (None, None)
        if not self.mirror_average:
            return (x, y, z), *depths
        return ((x - other_x) / 2, (y + other_y) / 2, (z + other_z) / 2), *depths

    def _run(self, inputs: np.ndarray, good: np.ndarray) -> np.ndarray:
        """Outputs of the network (S * N, ...) for inputs (S, N, F)."""
        tensor = torch.from_numpy(inputs)
        if self._captured is not None:
            with self._turn:
                return self._captured(tensor.flatten(0, 1)).numpy()
        with torch.inference_mode():
            if not self.over_time:
                return self.network(tensor.flatten(0, 1)).cpu().numpy()
            clips = np.flatnonzero(np.diff(np.flatnonzero(good)) > 1) + 1  # a frame without a person ends a clip
            parts = [part for views in tensor for part in views.tensor_split(clips.tolist())]
            return torch.cat([self.network(part) for part in parts]).cpu().numpy()

    def _decoded(self, inputs: np.ndarray, output: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Planes of root-relative poses from what the network took and what it said."""
        if output.ndim == 3:
            return output[..., 0], output[..., 1], output[..., 2]
        joints, root = self.skeleton.num_joints, slice(self.skeleton.root, self.skeleton.root + 1)
        u, v, z = inputs[:, : 2 * joints : 2], inputs[:, 1 : 2 * joints : 2], output[:, -joints:]
        if output.shape[1] > joints:
            u, v = u + output[:, : 2 * joints : 2], v + output[:, 1 : 2 * joints : 2]
        distance = np.maximum(z + np.float32(self.normalization.camera_depth), np.float32(MIN_DEPTH))
        u, v = u * distance, v * distance
        return u - u[:, root], v - v[:, root], z - z[:, root]

    def _require_joints(self, visible: np.ndarray, good: np.ndarray) -> None:
        lacking = ~visible.all(1)
        if not lacking.any():
            return
        first = int(lacking.argmax())
        joints = ", ".join(self.skeleton.joint_names[joint] for joint in np.flatnonzero(~visible[first]))
        raise InputError(
            f"keypoints: pose {int(np.flatnonzero(good)[first])} lacks {joints}, and the network of these weights "
            "needs all joints; expected complete poses, or weights that fill joints in, such as the bundled ones"
        )


class _OfFeatures(nn.Module):
    """A lifter's network as a function of one tensor: poses (B, 2J), then ones where joints were seen (B, J)."""

    def __init__(self, lifter: ViewLifter) -> None:
        super().__init__()
        self.lifter, self.joints = lifter, lifter.skeleton.num_joints
        self.is_packed = isinstance(lifter.network, PackedMLP)
        self.inputs = 2 * self.joints if self.is_packed and not lifter.accepts_missing else 3 * self.joints

    def forward(self, features: Tensor) -> Tensor:
        """Moves and depths (B, 3J) or depths (B, J) of a packed network, poses (B, J, 3) of others."""
        network = self.lifter.network
        if self.is_packed:
            return network.infer(features.to(network.head))
        features = features.to(next(network.parameters()))
        pose_2d = features[:, : 2 * self.joints].unflatten(1, (self.joints, 2))
        return self.lifter.lift_normalized(pose_2d, features[:, 2 * self.joints :] > 0)


def _packed(lifter: ViewLifter) -> ViewLifter:
    if isinstance(lifter, SequenceLifter) or isinstance(lifter.network, PackedMLP | PackedStudent):
        return lifter
    try:
        return pack(lifter)
    except InputError:  # there is no operator for this network
        return lifter


def _spread(plane: np.ndarray, good: np.ndarray) -> np.ndarray:
    """Rows of the poses that are there, and NaN for the others."""
    whole = np.full((len(good), plane.shape[1]), np.nan, np.float32)
    whole[good] = plane
    return whole


@np.errstate(all="ignore")
def _network_input(image: np.ndarray, visible: np.ndarray | None, how: Normalization, turned: bool) -> _Input:
    """``Normalization.apply``, but poses that cannot be normalised are marked and not refused."""
    u, v = image[..., 0], image[..., 1]
    good, root = None, slice(how.root, how.root + 1)
    if visible is not None:
        good = visible.sum(1) >= MIN_VISIBLE
        u, v = _with_missing_at_root(u, v, visible, how)
    look = None
    if turned and how.view == "root":
        a, b = u[:, root], v[:, root]
        across = np.sqrt(1 + a * a)
        ray = np.sqrt(across * across + b * b)
        look = a, b, across, ray
        depth = (a * u + b * v + 1) / ray
        u, v = (u - a) / (across * depth), (across * across * v - a * b * u - b) / (across * ray * depth)
        in_front = depth.min(1) > 0
        good = in_front if good is None else good & in_front
    else:
        u, v = u - u[:, root], v - v[:, root]
    squared = u * u + v * v
    count = np.float32(u.shape[1]) if visible is None else np.maximum(visible.sum(1, dtype=np.float32), 1)
    size = np.sqrt(squared.sum(1) / count)
    smallest = size > MIN_SIZE
    good = smallest if good is None else good & smallest
    good &= np.isfinite(size)
    if how.scale == "pose":
        factor = how.constant / size
    elif turned:
        factor = np.full_like(size, how.constant)
    else:
        factor = TYPICAL_SIZE / how.camera_depth / size
    factor = factor.astype(np.float32, copy=False)[:, None]
    return _Input(u * factor, v * factor, look, good)


def _with_missing_at_root(
    u: np.ndarray, v: np.ndarray, visible: np.ndarray, how: Normalization
) -> tuple[np.ndarray, np.ndarray]:
    """``normalization.fill_missing`` on planes (N, J)."""
    is_root, is_hip = np.zeros_like(visible), np.zeros_like(visible)
    is_root[:, how.root] = visible[:, how.root]
    is_hip[:, list(how.hips)] = visible[:, list(how.hips)]
    chosen = np.where(is_hip.any(1, keepdims=True), is_hip, visible)
    chosen = np.where(is_root.any(1, keepdims=True), is_root, chosen)
    count = chosen.sum(1, keepdims=True, dtype=np.float32)
    return tuple(
        np.where(visible, plane, np.where(chosen, plane, 0).sum(1, keepdims=True, dtype=np.float32) / count)
        for plane in (u, v)
    )


def _turn_back(
    x: np.ndarray, y: np.ndarray, z: np.ndarray, look: tuple[np.ndarray, ...] | None, result: np.ndarray
) -> None:
    """Planes of the virtual view into ``result`` (N, J, 3), in the camera's frame: ``normalization.turn_back``."""
    if look is not None:
        a, b, across, ray = look
        down, forward = y / (across * ray), z / ray
        x, y, z = (
            x / across - a * b * down + a * forward,
            across * across * down + b * forward,
            forward - a * x / across - b * down,
        )
    result[..., 0], result[..., 1], result[..., 2] = x, y, z
