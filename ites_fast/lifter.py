"""From any detector's keypoints to 3D poses, in one call."""

import math
import os
from collections.abc import Sequence
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ites_fast.camera import Camera
from ites_fast.cuda_graphs import BATCH_SIZES
from ites_fast.errors import InputError
from ites_fast.lifting.elevation import choose_elevation
from ites_fast.lifting.frames import MIN_CONFIDENCE, FrameLifter, LiftedFrames, join_frames, lift_batches
from ites_fast.lifting.inference import Inference
from ites_fast.lifting.keypoints import keypoints_array, like_keypoints
from ites_fast.lifting.notes import notes
from ites_fast.lifting.over_time import FPS, Smooth, check_smooth, over_time
from ites_fast.lifting.placement import check_height, check_image_size, choose_view
from ites_fast.lifting.pretrained import load_pretrained
from ites_fast.lifting.stream import Stream
from ites_fast.models import ViewLifter
from ites_fast.poses import Poses
from ites_fast.skeleton import Skeleton, get_skeleton

BATCH_SIZE = 4096  # poses at a time


class Lifter:
    """Lifts 2D keypoints of people to 3D poses.

    ::

        lifter = Lifter.from_pretrained()
        poses = lifter(keypoints, skeleton="coco_17", image_size=(1920, 1080))
        poses.positions, poses.joint_names, poses.confidence, poses.units
        poses.to_world(up="z").save("walk.bvh")

    It can be copied, pickled and called by several threads at a time.

    Args:
        lifter: a trained lifter of h36m_17, as ``load_lifter`` gives it.
        source: what it was loaded from, for people to read.
    """

    def __init__(self, lifter: ViewLifter, source: str = "a lifter in memory") -> None:
        self.source = source
        self._inference = Inference(lifter)

    @classmethod
    def from_pretrained(
        cls,
        name: str | os.PathLike | None = None,
        *,
        device: torch.device | str = "cpu",
        mirror_average: bool = True,
    ) -> "Lifter":
        """Load weights.

        Args:
            name: a run's folder, a ``.safetensors`` file of a model, or a model of the Hugging Face hub as
                "owner/name" or "owner/name@revision" (``pip install "ites_fast[hub]"``), of which only
                ``lifter.safetensors`` is downloaded. The bundled weights without it. A folder or file of this name
                comes before the hub.
            device: where the network runs.
            mirror_average: lift the mirror image as well and take the mean of both: 1.2 mm better on the bundled test
                views, 1.5 mm on those spoilt as by a detector. Free where ``ambiguity`` is asked for, which needs both.

        Raises:
            InputError: there is no such file, folder or model, it is damaged, or it cannot be downloaded.
        """
        lifter, source = load_pretrained(name, device)
        lifter.mirror_average = mirror_average
        return cls(lifter, source)

    def __call__(
        self,
        keypoints: np.ndarray | Tensor,
        skeleton: str | os.PathLike | Skeleton = "h36m_17",
        image_size: Sequence[float] | None = None,
        *,
        camera: Camera | None = None,
        focal: float | Sequence[float] | None = None,
        fov: float | None = None,
        height: float | None = None,
        elevation: float | None = None,
        fps: float | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        smooth: Smooth | None = None,
        constant_bones: bool = False,
        consistent_depth: bool = False,
        ambiguity: bool = True,
        batch_size: int = BATCH_SIZE,
    ) -> Poses:
        """Lift keypoints, each frame by itself unless an option says otherwise.

        Args:
            keypoints: x, y in pixels, and a confidence where the detector says one: (J, 2 | 3), (T, J, 2 | 3) or
                (P, T, J, 2 | 3) for J joints, T frames and P people, an array or a tensor on any device. A joint that
                was not seen is NaN or has confidence 0.
            skeleton: of the keypoints: a name such as "coco_17" or "body_25", a YAML file, or a ``Skeleton``.
            image_size: width and height of the picture, pixels.
            camera: intrinsics and lens distortion, where they are known.
            focal: focal length in pixels (one number or two), where it is known; with ``image_size``.
            fov: field of view along the longer side of the picture, degrees, where it is known; with ``image_size``.
            height: of the people, metres, where it is known.
            elevation: how far the camera looks down, degrees, where it is known; ``Poses.to_world`` goes by it. None:
                it is estimated from how people stand, from 15 poses on.
            fps: frames a second, 30 where an option needs it and it is not given.
            min_confidence: joints with a smaller confidence count as not seen.
            smooth: filter the frames, which are neighbours in time: "one_euro" looks at no later frame,
                "savitzky_golay" at both sides.
            constant_bones: give every bone of a person one length in all frames.
            consistent_depth: choose the sign of depth over all frames of a person, who are neighbours in time, so that
                the person moves as little as possible.
            ambiguity: say how uncertain the sign of depth is, for which the mirror image is lifted as well.
            batch_size: poses at a time.

        Returns:
            Poses with the leading shape of the keypoints, of their kind, in the camera's frame.

        Raises:
            InputError: an argument that cannot be used; the message names it.
        """
        skeleton = _skeleton(skeleton)
        array = keypoints_array(keypoints, skeleton)
        check_smooth(smooth)
        if not isinstance(batch_size, Integral) or batch_size < 1:
            raise InputError(f"batch_size: expected a positive whole number, got {batch_size!r}")
        if fps is not None and not (isinstance(fps, Real) and 0 < fps < math.inf):
            raise InputError(f"fps: expected a positive number, got {fps!r}")
        frames = self.frames(
            skeleton,
            image_size,
            camera=camera,
            focal=focal,
            fov=fov,
            height=height,
            min_confidence=min_confidence,
            ambiguity=ambiguity or consistent_depth,
        )
        together = {"smooth": smooth, "constant_bones": constant_bones, "one_sign": consistent_depth}
        lifted, negated = _lift(frames, array, batch_size, fps or FPS, together)
        elevation, about_elevation = choose_elevation(elevation, lifted.positions)
        return Poses(
            positions=like_keypoints(lifted.positions, keypoints),
            confidence=like_keypoints(lifted.confidence, keypoints),
            skeleton=frames.target,
            units=frames.units,
            translation=like_keypoints(lifted.translation, keypoints),
            placed=lifted.translation is not None,
            elevation=elevation,
            ambiguity=like_keypoints(lifted.ambiguity, keypoints),
            keypoints=like_keypoints(lifted.keypoints, keypoints),
            fps=fps,
            image_size=_image_size(image_size, frames.view.camera),
            notes=(*notes(lifted, frames, negated=negated), *about_elevation),
        )

    def frames(
        self,
        skeleton: str | os.PathLike | Skeleton = "h36m_17",
        image_size: Sequence[float] | None = None,
        *,
        camera: Camera | None = None,
        focal: float | Sequence[float] | None = None,
        fov: float | None = None,
        height: float | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        ambiguity: bool = True,
    ) -> FrameLifter:
        """A function of the keypoints alone, numpy to numpy, for frames that come one by one. Arguments: the call's."""
        return FrameLifter(
            self._inference,
            _skeleton(skeleton),
            view=choose_view(camera, focal, fov, image_size),
            height=None if height is None else check_height(height),
            min_confidence=min_confidence,
            with_ambiguity=ambiguity,
        )

    def stream(
        self,
        skeleton: str | os.PathLike | Skeleton = "h36m_17",
        image_size: Sequence[float] | None = None,
        *,
        fps: float = FPS,
        camera: Camera | None = None,
        focal: float | Sequence[float] | None = None,
        fov: float | None = None,
        height: float | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        **options: Any,
    ) -> Stream:
        """A ``lifting.stream.Stream``, for people frame by frame as a camera delivers them.

        Args:
            skeleton: of the keypoints, and so on: as in a call.
            options: of the stream: ``smooth``, ``consistent_depth``, ``constant_bones``, ``forget_after``, ...

        Raises:
            InputError: an argument that cannot be used, or weights of a lifter that needs several frames.
        """
        if self._inference.over_time:
            raise InputError(f"{self.source}: the network needs later frames, which a stream does not have yet")
        frames = self.frames(
            skeleton,
            image_size,
            camera=camera,
            focal=focal,
            fov=fov,
            height=height,
            min_confidence=min_confidence,
            ambiguity=options.get("consistent_depth", True),
        )
        return Stream(frames, fps, **options)

    def compile(self, batch_sizes: Sequence[int] = BATCH_SIZES) -> "Lifter":
        """Prepare for batches of these sizes, so that the first one is not slower than the others.

        On CUDA each size becomes a CUDA graph: a batch is one call of the driver (see ``cuda_graphs``), made by one
        thread at a time. On a CPU there is nothing to prepare but what the first call of an operator sets up.

        Returns:
            The lifter itself.
        """
        if self._inference.device.type == "cuda":
            self._inference.capture(batch_sizes)
        self.frames()(np.arange(34, dtype=np.float32).reshape(1, 17, 2) % 7)
        return self

    def __repr__(self) -> str:
        return f"Lifter({self.source}, on {self._inference.device}, {self._inference.implementation})"


def _skeleton(skeleton: str | os.PathLike | Skeleton) -> Skeleton:
    if isinstance(skeleton, Skeleton):
        return skeleton
    if not isinstance(skeleton, str | os.PathLike):
        raise InputError(f"skeleton: expected a name, a YAML file or a Skeleton, got {type(skeleton).__name__}")
    return get_skeleton(skeleton)


def _lift(
    frames: FrameLifter, keypoints: np.ndarray, batch_size: int, fps: float, together: dict[str, Any]
) -> tuple[LiftedFrames, int]:
    """Lift (J, C), (T, J, C) or (P, T, J, C); how many signs of depth the options ``together`` of a person changed."""
    leading, poses = keypoints.shape[:-2], keypoints.reshape(-1, *keypoints.shape[-2:])
    # people are told apart only where their frames have something to do with each other
    if not leading or not len(poses) or not (any(together.values()) or frames.inference.over_time):
        lifted = join_frames([*lift_batches(frames, poses, batch_size)])
        if not leading and np.isnan(lifted.positions[0, 0, 0]):
            raise InputError(
                f"keypoints: {int((lifted.keypoints[..., 2] > 0).sum())} of the lifter's joints are seen, expected at "
                "least 4 that do not coincide"
            )
        return lifted, 0
    parts, negated = [], 0
    for person in poses.reshape(-1, leading[-1], *poses.shape[1:]):
        lifted, signs = over_time(join_frames([*lift_batches(frames, person, batch_size)]), frames, fps=fps, **together)
        parts.append(lifted)
        negated += signs
    return join_frames(parts), negated


def _image_size(image_size: Sequence[float] | None, camera: Camera | None) -> tuple[int, int] | None:
    if image_size is not None:
        return check_image_size(image_size)
    return camera.image_size if camera is not None and min(camera.image_size) > 0 else None
