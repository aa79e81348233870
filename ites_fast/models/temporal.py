"""A lifter of video: it sees the neighbouring frames of a clip beside the one that it lifts."""

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from ites_fast.chunks import chunks
from ites_fast.data.clips import clip_numbers
from ites_fast.data.dataset import PoseDataset
from ites_fast.errors import InputError
from ites_fast.models.resfc import linear_norm
from ites_fast.models.robust import CHANNELS, OUTPUT_GAIN
from ites_fast.models.view_lifter import Corrected, ViewLifter
from ites_fast.normalization import Normalization
from ites_fast.ops import unproject
from ites_fast.skeleton import Skeleton

WINDOWS = 4096  # windows at a time


class TemporalMLP(nn.Module):
    """Dilated convolutions over the frames of a window (VideoPose3D, CVPR 2019), then residual fully connected layers.

    Every layer takes three neighbouring sets of features to one, so that log3(F) layers see F frames. A skip takes
    the middle one of three past each layer but the first. The weights of the layers over time are those of
    convolutions with kernels and strides of 3, which give what dilated convolutions give for one frame.

    Args:
        skeleton: joints of the input and the output.
        frames: of a window F, a power of 3.
        width: features of every hidden layer.
        blocks: residual blocks of two layers behind those over time.

    Raises:
        ValueError: the number of frames is no power of 3.
    """

    predicts = "corrected"

    def __init__(self, skeleton: Skeleton, frames: int = 9, width: int = 480, blocks: int = 2) -> None:
        super().__init__()
        if not is_power_of_three(frames):
            raise ValueError(f"frames: expected a power of 3 such as 9, got {frames}")
        self.root = skeleton.root
        self.frames = frames
        size = CHANNELS * skeleton.num_joints
        self.input_layer = _layer(3 * size, width)
        over_time = []
        while frames > 3:
            over_time.append(nn.Sequential(*_layer(3 * width, width), *_layer(width, width)))
            frames //= 3
        self.over_time = nn.ModuleList(over_time)
        self.blocks = nn.ModuleList(nn.Sequential(*_layer(width, width), *_layer(width, width)) for _ in range(blocks))
        self.output_layer = nn.Linear(width, size)
        with torch.no_grad():
            self.output_layer.weight *= OUTPUT_GAIN
            self.output_layer.bias.zero_()

    def forward(self, pose_2d: Tensor, visible: Tensor | None = None) -> Corrected:
        """Correct and lift the middle frames of windows.

        Args:
            pose_2d: normalised 2D poses (B, F, J, 2), missing joints in the origin.
            visible: the joints that were seen (B, F, J), None for all.
        """
        views, frames, joints = pose_2d.shape[:3]
        if frames != self.frames:
            raise ValueError(f"expected windows of {self.frames} frames, got {tuple(pose_2d.shape)}")
        seen = torch.ones_like(pose_2d[..., 0]) if visible is None else visible.to(pose_2d.dtype)
        features = torch.cat([pose_2d.flatten(2), seen], dim=2)  # (B, F, 3J)
        features = self.input_layer(_in_threes(features))  # (B * F / 3, width)
        for layer in self.over_time:
            middle = features.unflatten(0, (-1, 3))[:, 1]
            features = middle + layer(_in_threes(features.unflatten(0, (views, -1))))
        for block in self.blocks:
            features = features + block(features)
        output = self.output_layer(features)  # (B, 3J)
        middle, depth = pose_2d[:, frames // 2], output[:, 2 * joints :]
        move = output[:, : 2 * joints].view_as(middle)
        return Corrected(middle + move, depth - depth[:, self.root, None])


class SequenceLifter(ViewLifter):
    """A ``ViewLifter`` whose network sees windows of neighbouring frames: it lifts clips, not single views.

    A window is centred on the frame that is lifted. Where it sticks out of the clip, the first or last frame is
    repeated. Frames are expected at the rate of the data that the network was trained on (15 a second in the bundled
    motion capture). Arguments are those of ``ViewLifter``.
    """

    def lift(self, image, batch_size=1024, *, source="image", first=0, clip=None):
        """Lift the frames of a clip, in their order, or of several clips.

        Args:
            image: undistorted image coordinates (T, J, 2), see ``ViewLifter.lift``.
            batch_size: windows at a time are ``WINDOWS``; there for the interface.
            source: what error messages call the poses.
            first: what error messages call the first frame.
            clip: number of the clip that each frame belongs to (T,), as ``data.clips.clip_numbers`` gives it; frames of
                a clip follow each other. None: all are of one.

        Returns:
            Root-relative poses (T, J, 3), as ``ViewLifter.lift``.

        Raises:
            InputError: as ``ViewLifter.lift``, or there is not one clip number a frame.
        """
        if clip is None:
            return super().lift(image, max(1, len(image)), source=source, first=first)
        if len(clip) != len(image):
            raise InputError(f"{source}: clip: expected one number for each of {len(image)} frames, got {len(clip)}")
        starts = [0, *(np.flatnonzero(np.diff(np.asarray(clip))) + 1).tolist()]
        poses = [
            self.lift(image[start:end], source=source, first=first + start)
            for start, end in pairwise([*starts, len(image)])
        ]
        return torch.cat(poses) if isinstance(image, Tensor) else np.concatenate(poses)

    def _lift(self, pose_2d: Tensor, visible: Tensor | None) -> Tensor:
        index = neighbours(torch.zeros(len(pose_2d), device=pose_2d.device), self.network.frames)
        poses = []
        for part in chunks(len(pose_2d), WINDOWS):
            seen = None if visible is None else visible[index[part]]
            output = self.network(pose_2d[index[part]], seen)
            poses.append(unproject(output.pose_2d, output.depth, self.normalization.camera_depth))
        pose_3d = torch.cat(poses) if poses else pose_2d.new_empty(*pose_2d.shape[:2], 3)
        return pose_3d - pose_3d[:, self.skeleton.root, None]


class LiftedClips:
    """A predictor for ``evaluate``, which asks for views in parts: a ``SequenceLifter`` that has seen whole clips.

    Args:
        lifter: in eval mode.
        image: undistorted image coordinates of all views (N, J, 2).
        clip: the clip of each view (N,).
        source: what error messages call the views.
    """

    def __init__(self, lifter: SequenceLifter, image: Tensor, clip: np.ndarray, source: str = "image") -> None:
        self.skeleton = lifter.skeleton
        self.network = lifter.network
        self.accepts_missing = lifter.accepts_missing
        self.poses = lifter.lift(image, source=source, clip=clip)

    def lift(self, image: Tensor, batch_size: int = 1024, *, source: str = "image", first: int = 0) -> Tensor:
        """The poses of the views from ``first`` on, as many as ``image`` has."""
        return self.poses[first : first + len(image)]


def of_clips(lifter: ViewLifter, views: PoseDataset, device: torch.device | str = "cpu") -> ViewLifter | LiftedClips:
    """What ``evaluate`` can ask for views in parts: a lifter of clips sees them whole first, others are as they are."""
    if not isinstance(lifter, SequenceLifter):
        return lifter
    image = torch.from_numpy(views.image()).to(device)
    return LiftedClips(lifter, image, clip_numbers(views), source=views.name)


def clip_ends(clip: Tensor) -> Tensor:
    """The first and the last view of each view's clip (N, 2), by its number (N,); views of a clip follow each other."""
    _, number, count = torch.unique_consecutive(clip, return_inverse=True, return_counts=True)
    end = count.cumsum(0)
    return torch.stack([end - count, end - 1], 1)[number]


def window(view: Tensor, ends: Tensor, frames: int) -> Tensor:
    """The neighbours of views (B, F): views of their clip, of which the first and the last one are repeated.

    Args:
        view: the views in the middle (B,).
        ends: their part of ``clip_ends`` (B, 2).
        frames: of a window F, odd.
    """
    index = view[:, None] + torch.arange(frames, device=view.device) - frames // 2
    return torch.minimum(torch.maximum(index, ends[:, :1]), ends[:, 1:])


def neighbours(clip: Tensor, frames: int) -> Tensor:
    """``window`` of every view (N, F), by the number of its clip (N,)."""
    return window(torch.arange(len(clip), device=clip.device), clip_ends(clip), frames)


def lifter_of(network: nn.Module, skeleton: Skeleton, normalization: Normalization) -> ViewLifter:
    """The lifter for a network: of clips where it sees several frames, of single views otherwise."""
    kind = SequenceLifter if frames_of(network) > 1 else ViewLifter
    return kind(network, skeleton, normalization)


def frames_of(network: nn.Module) -> int:
    """How many frames a network sees at a time."""
    return getattr(network, "frames", 1)


def is_power_of_three(number: int) -> bool:
    """Whether a number is 3, 9, 27, ..."""
    while number > 3 and number % 3 == 0:
        number //= 3
    return number == 3


def _layer(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(*linear_norm(inputs, outputs), nn.ReLU(inplace=True))


def _in_threes(features: Tensor) -> Tensor:
    """Features (B, 3G, C) of frames as those of groups of three neighbours (B * G, 3C)."""
    return features.reshape(-1, 3 * features.shape[2])
