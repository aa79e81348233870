"""2D keypoints from pictures, by the networks of rtmlib (ONNX)."""

import os
from pathlib import Path
from typing import Protocol

import numpy as np

from ites_fast.detections.frames import PIP
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton, get_skeleton

# rtmlib's class for each skeleton
SOLUTIONS = {"coco_17": "Body", "halpe_26": "BodyWithFeet", "coco_wholebody_133": "Wholebody"}
DEFAULT = "halpe_26"  # with feet, hip and head
MODE = "balanced"


class Detector(Protocol):
    """What finds people in pictures."""

    skeleton: Skeleton

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """x, y in pixels and confidence (P, J, 3) of the people in an RGB picture (H, W, 3) uint8."""


class RtmlibDetector:
    """rtmlib's detector of people, and its detector of keypoints in each of them.

    Args:
        skeleton: coco_17, halpe_26 or coco_wholebody_133.

    Raises:
        InputError: another skeleton; rtmlib is not installed; or its networks are not there and cannot be downloaded.
    """

    def __init__(self, skeleton: Skeleton | None = None) -> None:
        self.skeleton = skeleton or get_skeleton(DEFAULT)
        if self.skeleton.name not in SOLUTIONS:
            raise InputError(f"rtmlib finds the joints of {', '.join(SOLUTIONS)}, not those of {self.skeleton.name}")
        try:
            import rtmlib
        except ImportError as error:
            raise InputError(f"finding people in a video needs rtmlib ({error}): {PIP}") from error
        solution = getattr(rtmlib, SOLUTIONS[self.skeleton.name])
        try:
            self._solution = solution(mode=MODE, backend="onnxruntime", device="cpu")
        # Whatever a refused download or half a file raises.
        except Exception as error:
            names = [Path(solution.MODE[MODE][part]).stem for part in ("det", "pose")]
            raise InputError(
                f"rtmlib's networks cannot be had ({type(error).__name__}: {error}); put {names[0]}.onnx and "
                f"{names[1]}.onnx into {_folder()}, or give the keypoints of another detector in place of the video"
            ) from error

    def __call__(self, picture: np.ndarray) -> np.ndarray:
        """x, y in pixels and confidence (P, J, 3) of the people in an RGB picture (H, W, 3) uint8."""
        bgr = np.ascontiguousarray(picture[..., ::-1])
        boxes = self._solution.det_model(bgr)
        # Without boxes rtmlib looks for a person in the whole picture, and always finds one.
        if not len(boxes):
            return np.zeros((0, self.skeleton.num_joints, 3), np.float32)
        keypoints, scores = self._solution.pose_model(bgr, bboxes=boxes)
        return np.concatenate([keypoints, scores[..., None]], -1).astype(np.float32)


def _folder() -> Path:
    """Where rtmlib looks for its networks."""
    cache = os.environ.get("TORCH_HOME") or os.path.join(os.environ.get("XDG_CACHE_HOME", "~/.cache"), "rtmlib")
    return Path(cache).expanduser() / "hub" / "checkpoints"
