"""People gathered frame by frame from a detector's file, and made into tracks."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from ites_fast.detections.keypoint_rows import MAX_FRAMES, clean_keypoints
from ites_fast.detections.tracking import follow, merge_duplicates
from ites_fast.detections.tracks import Detections, Track
from ites_fast.errors import InputError
from ites_fast.skeleton import SKELETONS, Skeleton, get_skeleton

MAX_PEOPLE = 200  # in one frame: associating them takes time quadratic in their number
# Files that list only frames with people: numbers sparser than this are those of pictures, not of a video.
MAX_SPARSITY = 20
SAME_NAMES = 0.6  # of the joints
SKELETON_BY_COUNT = {17: "coco_17", 25: "body_25", 26: "halpe_26", 33: "mediapipe_33", 133: "coco_wholebody_133"}
# Orders of joints that the registry has not: where its joints are among theirs, by their number.
OPENPOSE_COCO_18 = (0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10)  # coco_17; the neck is left out
HALPE_BODY = tuple(range(26))  # halpe_26; hands and face of the larger sets are left out
SUBSETS: dict[int, tuple[str, tuple[int, ...]]] = {
    18: ("coco_17", OPENPOSE_COCO_18),
    68: ("halpe_26", HALPE_BODY),
    94: ("halpe_26", HALPE_BODY),
    136: ("halpe_26", HALPE_BODY),
}


def skeleton_by_names(names: Sequence[object]) -> Skeleton | None:
    """The registered skeleton with joints of these names in this order, or nearly: detectors spell some differently."""
    spelled = [str(name).lower().replace(" ", "_").replace("-", "_") for name in names]
    best, share = None, SAME_NAMES
    for skeleton in SKELETONS.values():
        if skeleton.num_joints == len(spelled):
            same = np.mean([a == b for a, b in zip(spelled, skeleton.joint_names, strict=True)])
            if same >= share:
                best, share = skeleton, same
    return best


class _Frame(NamedTuple):
    names: tuple[str | None, ...]
    keypoints: np.ndarray  # (P, J, 3)


class People:
    """Keypoints of the people of one file.

    Args:
        path: the file or folder, for messages.
        skeleton: what the user declared, or None.
    """

    def __init__(self, path: Path, skeleton: Skeleton | None) -> None:
        self.path = path
        self.declared = skeleton
        self.frames: dict[int, list[tuple[str | None, np.ndarray]]] = {}
        self.notes: list[str] = []
        self.unseen = 0  # people with no joint
        self.clipped = 0
        self.joints: int | None = None  # before a subset is taken

    def see(self, frame: int, where: str) -> None:
        """There is such a frame, possibly without people."""
        if frame < 0:
            raise InputError(f"{where}: the frame number {frame} is negative")
        if frame >= 2**62:
            raise InputError(f"{where}: the frame number is of {len(str(frame))} digits")
        self.frames.setdefault(frame, [])

    def add(self, frame: int, keypoints: np.ndarray, where: str, identity: str | None = None) -> None:
        """Add one person.

        Args:
            frame: as the file numbers it.
            keypoints: x, y, confidence (J, 3), finite or NaN.
            where: file, frame and person, for messages.
            identity: the detector's name of the person.
        """
        self.see(frame, where)
        if self.joints is None:
            self.joints = len(keypoints)
            self._check_count(where)
        if len(keypoints) != self.joints:
            raise InputError(f"{where}: {len(keypoints)} joints, expected {self.joints} as the people before have")
        self.clipped += bool((keypoints[:, 2] > 1).any())
        keypoints = clean_keypoints(keypoints, where)
        if not keypoints[:, 2].any():
            self.unseen += 1
            return
        people = self.frames[frame]
        if len(people) >= MAX_PEOPLE:
            raise InputError(f"{where}: more than {MAX_PEOPLE} people in one frame")
        people.append((identity, keypoints))

    def detections(
        self,
        skeleton: Skeleton | None = None,
        *,
        complete: bool,
        pictures: bool = False,
        fps: float | None = None,
        image_size: tuple[int, int] | None = None,
    ) -> Detections:
        """Tracks of all people: those that the detector names, or those that ``tracking.follow`` finds.

        Args:
            skeleton: what the file says; without it, it is chosen by the number of joints.
            complete: whether the file lists frames without people too, so that its first frame is the video's first.
            pictures: whether frames are numbered by the names of pictures, which may not be those of a video.
            fps: frames a second, if the file says it.
            image_size: width and height, if the file says it.

        Raises:
            InputError: nobody is seen, frames are numbered too far apart, the skeleton does not fit or is not known,
                or coordinates are not pixels.
        """
        self._check_somebody(any(self.frames.values()), len(self.frames))
        skeleton, kept = self._skeleton(skeleton)
        numbers, frames = self._number_frames(complete, pictures)
        people = self._stacked(kept)
        self._check_somebody(any(frame.names for frame in people), len(people))
        self._check_pixels(people)
        tracks = self._tracks(numbers, people)
        if self.unseen:
            self.notes.append(f"{self.unseen} people without a joint of confidence above 0 were left out")
        if self.clipped:
            self.notes.append(f"confidences above 1 of {self.clipped} people were set to 1")
        return Detections(
            source=str(self.path),
            skeleton=skeleton,
            tracks=tracks,
            frames=frames,
            fps=fps,
            image_size=image_size,
            notes=tuple(self.notes),
        )

    def _check_somebody(self, somebody: bool, frames: int) -> None:
        if not somebody:
            why = ": the confidence of all joints is zero" if self.unseen else ""
            raise InputError(f"{self.path}: nobody is seen in any of its {frames} frames{why}")

    def _check_count(self, where: str) -> None:
        """Fail at the first person, not at the end of a long file, where the declared skeleton cannot fit."""
        declared = self.declared
        if declared is None or declared.num_joints == self.joints:
            return
        name, _ = SUBSETS.get(self.joints, (None, ()))
        if declared.name != name:
            raise InputError(
                f"{where}: {self.joints} joints, expected {declared.num_joints} for the skeleton {declared.name}"
            )

    def _skeleton(self, named: Skeleton | None) -> tuple[Skeleton, Sequence[int]]:
        everything = range(self.joints)
        if self.declared is not None and self.declared.num_joints == self.joints:
            return self.declared, everything
        if named is not None and self.declared is None:
            return named, everything
        if self.joints in SUBSETS:
            name, kept = SUBSETS[self.joints]
            self.notes.append(f"of {self.joints} joints a person, the {len(kept)} of {name} were read")
            return get_skeleton(name), kept
        if self.joints in SKELETON_BY_COUNT:
            return get_skeleton(SKELETON_BY_COUNT[self.joints]), everything
        raise InputError(
            f"{self.path}: no skeleton is known by its {self.joints} joints; say which with --skeleton, "
            f"one of {', '.join(SKELETONS)} or a YAML file"
        )

    def _number_frames(self, complete: bool, pictures: bool) -> tuple[np.ndarray, int]:
        """Frame numbers of the sorted frames from 0, and how many frames the video has."""
        numbers = np.array(sorted(self.frames), dtype=np.int64)
        first, last = int(numbers[0]), int(numbers[-1])
        if pictures and last - first > MAX_SPARSITY * (len(numbers) + 1):
            self.notes.append(
                f"the {len(numbers)} frames are numbered {first} to {last}: read as pictures one after the other"
            )
            numbers = np.arange(len(numbers))
        elif complete:
            numbers = numbers - first
        elif first > MAX_SPARSITY * (len(numbers) + 1):
            self.notes.append(f"frames are numbered from {first} on: frame 0 is the first with people")
            numbers = numbers - first
        if numbers[-1] >= MAX_FRAMES:
            raise InputError(
                f"{self.path}: frames are numbered {first} to {last}, expected at most {MAX_FRAMES} frames"
            )
        return numbers, int(numbers[-1]) + 1

    def _stacked(self, kept: Sequence[int]) -> list[_Frame]:
        """People of the sorted frames. Takes them out of ``frames``, so that they are not held twice."""
        stacked, order = [], list(kept)
        for number in sorted(self.frames):
            people = [(name, points[order]) for name, points in self.frames.pop(number)]
            seen = [(name, points) for name, points in people if points[:, 2].any()]
            self.unseen += len(people) - len(seen)
            keypoints = np.array([points for _, points in seen], np.float32).reshape(len(seen), len(order), 3)
            stacked.append(_Frame(tuple(name for name, _ in seen), keypoints))
        return stacked

    def _check_pixels(self, people: list[_Frame]) -> None:
        largest = max(np.nanmax(np.abs(frame.keypoints[..., :2]), initial=0) for frame in people)
        if largest <= 2:
            raise InputError(
                f"{self.path}: no coordinate is beyond {largest:.3g}, expected pixels, not shares of the picture"
            )

    def _tracks(self, numbers: np.ndarray, people: list[_Frame]) -> tuple[Track, ...]:
        names = {name for frame in people for name in frame.names}
        if None not in names:
            return self._named_tracks(numbers, people)
        if len(names) > 1:
            self.notes.append("only some people have an id: ids were not used")
        merged = [merge_duplicates(frame.keypoints) for frame in people]
        twice = sum(len(frame.names) for frame in people) - sum(map(len, merged))
        if twice:
            self.notes.append(f"{twice} times two skeletons lay on one body and were made one")
        return follow(merged, numbers=numbers)

    def _named_tracks(self, numbers: np.ndarray, people: list[_Frame]) -> tuple[Track, ...]:
        gathered: dict[str, tuple[list[int], list[np.ndarray]]] = {}
        repeated = []
        for number, frame in zip(numbers.tolist(), people, strict=True):
            best: dict[str, np.ndarray] = {}
            for name, points in zip(frame.names, frame.keypoints, strict=True):
                if name in best:
                    repeated.append((name, number))
                if name not in best or points[:, 2].sum() > best[name][:, 2].sum():
                    best[name] = points
            for name, points in best.items():
                frames, keypoints = gathered.setdefault(name, ([], []))
                frames.append(number)
                keypoints.append(points)
        if repeated:
            name, number = repeated[0]
            self.notes.append(
                f"{len(repeated)} people have the id of another person in their frame, first {name} in frame {number}: "
                "the one with more confidence was kept"
            )
        return tuple(
            Track(name, np.array(frames, np.int64), np.stack(keypoints))
            for name, (frames, keypoints) in gathered.items()
        )
