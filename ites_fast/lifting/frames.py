"""Keypoints of single frames to poses in space, each frame by itself."""

from collections.abc import Iterator
from numbers import Real
from typing import NamedTuple

import numpy as np

from ites_fast.chunks import chunks
from ites_fast.errors import InputError
from ites_fast.lifting.flips import ambiguity
from ites_fast.lifting.inference import Inference
from ites_fast.lifting.placement import (
    MEAN_BONE,
    View,
    choose_view,
    mean_bone_lengths,
    metres_per_body_unit,
    root_translation,
)
from ites_fast.models import ViewLifter
from ites_fast.scene.scene import Units
from ites_fast.skeleton import H36M_17, Skeleton, conversion

MIN_CONFIDENCE = 0.1


class LiftedFrames(NamedTuple):
    """What is known of N people in single frames, in the order in which they were given."""

    positions: np.ndarray  # (N, 17, 3) float32, root-relative, camera's frame; NaN where there was nobody to lift
    translation: np.ndarray | None  # (N, 3) of the root; None where nothing is known of the camera
    confidence: np.ndarray  # (N, 17), 0 for joints that were filled in
    ambiguity: np.ndarray | None  # (N,) 0 where the sign of depth is certain, 1 where it is a guess
    keypoints: np.ndarray  # (N, 17, 3) x, y in pixels and confidence, as the lifter's joints; NaN, NaN, 0 if not seen


class FrameLifter:
    """Lifts frames that know nothing of each other. Any thread may call it.

    Args:
        lifter: of h36m_17, in eval mode; or what was made from one before.
        skeleton: joints of the keypoints.
        view: how pixels become rays, see ``placement.choose_view``.
        height: stature of the people, metres; None: that of an average body.
        min_confidence: joints below it count as not seen.
        with_ambiguity: say how uncertain the sign of depth is, for which the mirror image is lifted as well.

    Raises:
        InputError: the lifter has other joints, or ``min_confidence`` is not from 0 to 1.
    """

    def __init__(
        self,
        lifter: ViewLifter | Inference,
        skeleton: Skeleton,
        *,
        view: View | None = None,
        height: float | None = None,
        min_confidence: float = MIN_CONFIDENCE,
        with_ambiguity: bool = True,
    ) -> None:
        self.inference = lifter if isinstance(lifter, Inference) else Inference(lifter)
        self.target = self.inference.skeleton
        if self.target != H36M_17:
            raise InputError(f"the weights are for {self.target.name}, expected a lifter of {H36M_17.name}")
        if not isinstance(min_confidence, Real) or not 0 <= min_confidence <= 1:
            raise InputError(f"min_confidence: expected a number from 0 to 1, got {min_confidence!r}")
        self.skeleton = skeleton
        self.conversion = conversion(skeleton, self.target)
        self.view, self.height = choose_view() if view is None else view, height
        self.units: Units = "metres" if height is not None or self.view.known else "body units"
        self.scale = metres_per_body_unit(height) if self.units == "metres" else 1.0
        self.min_confidence, self.with_ambiguity = min_confidence, with_ambiguity

    @np.errstate(all="ignore")  # keypoints may be far outside any sense
    def __call__(self, keypoints: np.ndarray) -> LiftedFrames:
        """Lift keypoints (N, J, 2) or (N, J, 3): x, y in pixels and confidence; NaN where a joint was not seen."""
        seen = self.conversion.apply(_cleaned(keypoints, self.min_confidence))  # (N, 17, 3)
        image, confidence = self._image(seen, seen[..., 2])
        visible = confidence > 0
        inferred = self.inference(image, visible, turned=self.view.camera is not None, mirrored=self.with_ambiguity)
        positions, score = inferred.poses, None
        if self.with_ambiguity:
            score = ambiguity(inferred.depth, inferred.mirrored_depth)
        positions *= (self.scale * MEAN_BONE / mean_bone_lengths(positions, self.target))[:, None, None]
        nobody = np.isnan(positions[:, 0, 0])
        if nobody.any():
            confidence = np.where(nobody[:, None], np.float32(0), confidence)
            if score is not None:
                score[nobody] = np.nan
        translation = None
        if self.view.camera is not None:
            translation = root_translation(positions, image, confidence)
        return LiftedFrames(positions, translation, confidence, score, seen)

    @np.errstate(all="ignore")
    def place(self, positions: np.ndarray, seen: np.ndarray, confidence: np.ndarray) -> np.ndarray | None:
        """Where poses (N, 17, 3) stand (N, 3), by ``keypoints`` and ``confidence`` of their ``LiftedFrames``."""
        if self.view.camera is None:
            return None
        return root_translation(positions, *self._image(seen, confidence))

    def _image(self, seen: np.ndarray, confidence: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Image coordinates (N, 17, 2) float32, pixels without a camera, and confidences (N, 17) in them."""
        camera, pixels = self.view.camera, seen[..., :2]
        if camera is None:
            return pixels, confidence
        if not camera.has_distortion:
            return ((pixels - camera.principal) / camera.focal).astype(np.float32), confidence
        pixels = np.where(confidence[..., None] > 0, pixels, camera.principal)
        image = camera.undistort(pixels).astype(np.float32)
        # far outside the image the lens model has no inverse
        return image, np.where(np.isfinite(image).all(-1), confidence, np.float32(0))


def _cleaned(keypoints: np.ndarray, min_confidence: float) -> np.ndarray:
    """Keypoints (N, J, 3) float32 with confidences from 0 to 1, and NaN, NaN, 0 where a joint was not seen."""
    cleaned = np.empty((*keypoints.shape[:2], 3), np.float32)
    if keypoints.shape[2] == 2:
        cleaned[..., :2], cleaned[..., 2] = keypoints, 1
    else:
        cleaned[...] = keypoints
        np.minimum(cleaned[..., 2], 1, out=cleaned[..., 2])
    confidence = cleaned[..., 2]
    # a comparison with NaN is false
    missing = ~((confidence > 0) & (confidence >= min_confidence) & np.isfinite(cleaned[..., 0] + cleaned[..., 1]))
    if missing.any():
        cleaned[missing] = np.nan, np.nan, 0
    return cleaned


def lift_batches(lifter: FrameLifter, keypoints: np.ndarray, size: int) -> Iterator[LiftedFrames]:
    """Lift keypoints (N, J, 2 | 3), ``size`` poses at a time; all at once where the network looks at neighbours."""
    if len(keypoints) <= size or lifter.inference.over_time:
        yield lifter(keypoints)
        return
    for part in chunks(len(keypoints), size):
        yield lifter(keypoints[part])


def join_frames(parts: list[LiftedFrames]) -> LiftedFrames:
    """Frames one after the other."""
    if len(parts) == 1:
        return parts[0]
    return LiftedFrames(*(None if part[0] is None else np.concatenate(part) for part in zip(*parts, strict=True)))
