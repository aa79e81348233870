"""Keypoints as callers have them: arrays or tensors of one pose, of frames, or of people and frames."""

import numpy as np
import torch
from torch import Tensor

from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton


def keypoints_array(keypoints: np.ndarray | Tensor, skeleton: Skeleton) -> np.ndarray:
    """Keypoints (J, 2 | 3), (T, J, 2 | 3) or (P, T, J, 2 | 3) as a numpy array of numbers of the same shape.

    Raises:
        InputError: another shape or dtype, another number of joints than the skeleton's, or infinite numbers.
    """
    if isinstance(keypoints, Tensor):
        tensor = keypoints.detach().cpu()
        array = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()  # numpy has no such numbers
    else:
        try:
            array = np.asarray(keypoints)
        except ValueError as error:
            raise InputError(f"keypoints: expected an array of numbers: {error}") from error
    if array.dtype.kind not in "fiu":
        raise InputError(f"keypoints: received {array.dtype}, expected numbers")
    if not 2 <= array.ndim <= 4 or array.shape[-1] not in (2, 3):
        raise InputError(
            f"keypoints: received {array.shape}, expected (J, 2 or 3), (T, J, 2 or 3) or (P, T, J, 2 or 3)"
        )
    joints = skeleton.num_joints
    if array.shape[-2] != joints:
        raise InputError(f"keypoints: received {array.shape[-2]} joints, expected {joints} for {skeleton.name}")
    if array.dtype.kind == "f" and np.isinf(array).any():
        raise InputError("keypoints: received infinite numbers, expected pixels, or NaN for joints that were not seen")
    return array


def like_keypoints(values: np.ndarray | None, keypoints: np.ndarray | Tensor) -> np.ndarray | Tensor | None:
    """Values (N, ...) of all poses with the leading shape of the keypoints, as a tensor where those are one."""
    if values is None:
        return None
    values = values.reshape((*np.shape(keypoints)[:-2], *values.shape[1:]))
    return torch.from_numpy(values).to(keypoints.device) if isinstance(keypoints, Tensor) else values
