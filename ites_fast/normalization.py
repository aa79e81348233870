"""What turns image coordinates into the networks' input, and their output back into the camera's frame."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor

from ites_fast.chunks import CHUNK, chunks
from ites_fast.errors import InputError
from ites_fast.skeleton import Skeleton

View = Literal["camera", "root"]
InputScale = Literal["dataset", "pose"]
Missing = Literal["refuse", "allow"]

MIN_SIZE = 1e-6  # image coordinates; a thousandth of a pixel at a focal length of 1000
MIN_VISIBLE = 4  # joints; fewer say next to nothing about the size of a body and the way it faces


class NormalizedPoses(NamedTuple):
    """Network input and what is needed to turn the output back."""

    pose_2d: Tensor  # (N, J, 2) root-centred, scaled
    view_rotation: Tensor | None  # (N, 3, 3) camera to virtual view, None for the camera's own view
    scale: Tensor  # (N,) factor applied to the root-centred image coordinates
    visible: Tensor | None = None  # (N, J) bool, joints that were seen; None when all of them were


@dataclass(frozen=True)
class Normalization:
    """How image coordinates become network input. It is stored in every checkpoint.

    Args:
        view: "camera" keeps the camera's view; "root" turns a virtual camera to the root joint first, which is
            exact when the intrinsics are known and makes people at the border look like people in the centre.
        scale: "dataset" multiplies by one constant; "pose" gives each pose the same root mean square.
        constant: the factor ("dataset") or the root mean square over joints of the distance to the root ("pose").
        root: index of the root joint.
        head: index of the head joint.
        camera_depth: distance c between camera and root in body units; hip to head is 1 / c on average.
        hips: indices of the joints whose middle stands in for a root joint that was not seen.
    """

    view: View
    scale: InputScale
    constant: float
    root: int
    head: int
    camera_depth: float = 5.0
    hips: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "hips", tuple(self.hips))  # JSON has lists
        if self.view not in get_args(View):
            raise InputError(f"view must be one of {get_args(View)}, got {self.view!r}")
        if self.scale not in get_args(InputScale):
            raise InputError(f"scale must be one of {get_args(InputScale)}, got {self.scale!r}")

    @classmethod
    def fit(
        cls,
        image: Tensor,
        skeleton: Skeleton,
        view: View = "root",
        scale: InputScale = "pose",
        camera_depth: float = 5.0,
        *,
        source: str = "poses",
    ) -> "Normalization":
        """Choose the constant so that the mean distance from hip to head is ``1 / camera_depth``.

        Args:
            image: image coordinates of the training split, (u - c) / f, undistorted (N, J, 2).
            skeleton: joint convention of ``image``.
            view: see the class.
            scale: see the class.
            camera_depth: see the class.
            source: what error messages call the poses, for example the file's name.

        Raises:
            InputError: no poses, joints that are not finite, or a pose of zero size.
        """
        if len(image) == 0:
            raise InputError(f"{source}: no poses to fit the normalization to")
        unit = cls(view, scale, 1.0, skeleton.root, skeleton.head, camera_depth, skeleton.hips)
        total = 0.0
        for part in chunks(len(image), CHUNK):
            pose_2d = unit._apply_chunk(image[part], part.start, source).pose_2d
            total += pose_2d[:, skeleton.head].norm(dim=-1).sum(dtype=torch.float64).item()
        constant = len(image) / (camera_depth * total)
        return replace(unit, constant=constant)

    def apply(
        self, image: Tensor, *, source: str = "poses", first: int = 0, missing: Missing = "refuse"
    ) -> NormalizedPoses:
        """Normalise image coordinates (N, J, 2), on their device and in their dtype.

        With ``missing="allow"`` a joint with a coordinate that is NaN was not seen. Where that is the root, the middle
        of the ``hips`` that were seen takes its place, or else the middle of all joints that were seen; the size of a
        pose is the root mean square over the joints that were seen; the others lie in the origin of ``pose_2d``.

        Args:
            image: undistorted image coordinates, (u - c) / f.
            source: what error messages call the poses, for example the file's name.
            first: what error messages call the first sample.
            missing: whether joints may be missing.

        Raises:
            InputError: joints that are not finite (with "allow": that are infinite, or fewer than ``MIN_VISIBLE`` that
                are seen), a pose of zero size, or (view "root") a joint more than 90 degrees away from the root joint.
                The message names ``source`` and the sample.
        """
        pose_2d, scale = torch.empty_like(image), image.new_empty(len(image))
        rotation = image.new_empty(len(image), 3, 3) if self.view == "root" else None
        visible = None
        if missing == "allow" and image.isnan().any():
            visible = ~image.isnan().any(-1)
            enough = visible.sum(1) >= MIN_VISIBLE
            _require(enough, first, source, f"has fewer than {MIN_VISIBLE} joints that are not NaN")
        for part in chunks(len(image), CHUNK):
            chunk, start, seen = image[part], first + part.start, None
            if visible is not None:
                chunk, seen = fill_missing(chunk, self.root, self.hips), visible[part]
            pose_2d[part], chunk_rotation, scale[part], _ = self._apply_chunk(
                chunk, start, source, seen, whole=missing == "refuse"
            )
            if rotation is not None:
                rotation[part] = chunk_rotation
        return NormalizedPoses(pose_2d, rotation, scale, visible)

    def pose_2d(self, image: Tensor, *, source: str = "poses") -> Tensor:
        """The network's input alone (N, J, 2): what ``apply`` gives, without the rotations that turn poses back.

        Beside the result only one chunk of poses is in memory, so this is the way for a whole data set.

        Raises:
            InputError: as ``apply``.
        """
        pose_2d = torch.empty_like(image)
        for part in chunks(len(image), CHUNK):
            pose_2d[part] = self._apply_chunk(image[part], part.start, source).pose_2d
        return pose_2d

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Normalization":
        """Inverse of ``to_dict``."""
        try:
            return cls(**values)
        except TypeError as error:
            raise InputError(f"normalization has other fields than expected: {sorted(values)}") from error

    def _apply_chunk(
        self, image: Tensor, start: int, source: str, visible: Tensor | None = None, whole: bool = True
    ) -> NormalizedPoses:
        """Normalise some poses. Joints that are not ``visible`` lie where the root is; a ``whole`` body has a head."""
        # One plane a coordinate: torch is slow on tensors whose last dimension is 2 or 3.
        u, v = image.unbind(-1)  # (N, J) each
        _require((u + v).sum(1).isfinite(), start, source, "has joints that are NaN or infinite")
        rotation = None
        if self.view == "root":
            rotation = rotation_to_root(image[:, self.root])
            u, v, depth = (row[:, :1] * u + row[:, 1:2] * v + row[:, 2:] for row in rotation.unbind(1))
            _require(depth.amin(1) > 0, start, source, "has a joint more than 90 degrees away from the root joint")
            u, v = u / depth, v / depth
        u, v = u - u[:, self.root, None], v - v[:, self.root, None]
        squared = u * u + v * v
        size = (squared.mean(1) if visible is None else squared.sum(1) / visible.sum(1)).sqrt()
        if whole:
            has_size = torch.hypot(u[:, self.head], v[:, self.head]) > MIN_SIZE
            _require(has_size, start, source, "has zero size: hip and head coincide")
        else:
            _require(size > MIN_SIZE, start, source, "has zero size: all joints coincide")
        factor = self.constant / size if self.scale == "pose" else torch.full_like(size, self.constant)
        return NormalizedPoses(torch.stack([u, v], -1) * factor[:, None, None], rotation, factor)


def fill_missing(image: Tensor, root: int, hips: tuple[int, ...]) -> Tensor:
    """Put missing joints, the root among them, where the root is or would be.

    Args:
        image: image coordinates (N, J, 2), NaN where a joint is missing.
        root: index of the root joint.
        hips: joints whose middle stands in for a missing root; without them the middle of all joints does.

    Returns:
        Image coordinates (N, J, 2) without NaN, as long as a pose has a joint.
    """
    visible = ~image.isnan().any(-1)  # (N, J)
    is_root, is_hip = torch.zeros_like(visible), torch.zeros_like(visible)
    is_root[:, root] = visible[:, root]
    is_hip[:, list(hips)] = visible[:, list(hips)]
    chosen = torch.where(is_hip.any(1, keepdim=True), is_hip, visible)
    chosen = torch.where(is_root.any(1, keepdim=True), is_root, chosen)[..., None]
    middle = torch.where(chosen, image, 0).sum(1, keepdim=True) / chosen.sum(1, keepdim=True)
    return torch.where(visible[..., None], image, middle)


def rotation_to_root(root: Tensor) -> Tensor:
    """Rotation of the virtual camera that looks at a point: yaw about the camera's y axis, then pitch about x.

    There is no roll, so what is vertical in the camera stays in the vertical plane of the view.

    Args:
        root: image coordinates of the point (N, 2).

    Returns:
        Rotations (N, 3, 3), acting on column vectors: ``virtual = rotation @ camera``.
    """
    u, v = root.unbind(-1)
    zero = torch.zeros_like(u)
    across = (1 + u * u).sqrt()  # length of the ray's horizontal part
    ray = (across * across + v * v).sqrt()
    right = torch.stack([1 / across, zero, -u / across], -1)
    down = torch.stack([-u * v / across, across, -v / across], -1) / ray[:, None]
    forward = torch.stack([u, v, torch.ones_like(u)], -1) / ray[:, None]
    return torch.stack([right, down, forward], -2)


def turn_back(pose_3d: Tensor, view_rotation: Tensor | None) -> Tensor:
    """Poses (N, J, 3) of the virtual view in the true camera's frame; ``None`` leaves them as they are."""
    return pose_3d if view_rotation is None else pose_3d @ view_rotation


def _require(good: Tensor, start: int, source: str, problem: str) -> None:
    if not good.all():
        sample = start + int((~good).nonzero()[0])
        raise InputError(f"{source}: sample {sample} {problem}; remove it or give finite joints of a whole person")
