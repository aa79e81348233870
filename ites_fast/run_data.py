"""What a run trains on and reports on: normalised training views, and the views that it never learns from."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ites_fast.baselines import MeanPose
from ites_fast.data import PoseDataset, load
from ites_fast.errors import InputError
from ites_fast.normalization import Normalization
from ites_fast.options import NormalizationOptions
from ites_fast.skeleton import Skeleton


@dataclass(frozen=True, eq=False)
class TrainingViews:
    """What is trained on. The 3D of the training split is left behind, but for a baseline of the report."""

    pose_2d: Tensor  # (N, J, 2) normalised, on the device that trains
    sequence: np.ndarray  # (N,) of each view
    skeleton: Skeleton
    normalization: Normalization
    mean_pose: MeanPose | None
    pose_3d: Tensor | None  # (N, J, 3) root-relative, in the virtual view, metres


def load_training_views(
    data: str,
    wanted: NormalizationOptions,
    device: torch.device,
    *,
    held_out: tuple[str, ...] = (),
    with_labels: bool = False,
) -> TrainingViews:
    """Read the training split and normalise it.

    Args:
        data: what ``data.load`` reads.
        wanted: how to normalise.
        device: that trains.
        held_out: subjects to leave out.
        with_labels: whether to keep the 3D poses as well, for a network that is trained with labels.

    Raises:
        InputError: the data cannot be read or used, has fewer than two views, no such subject, or no 3D for labels.
    """
    dataset = load(data, "train")
    if held_out:
        dataset = dataset.subset(~of_subjects(dataset, held_out, "--validation-subjects"))
    if len(dataset) < 2:
        raise InputError(f"{data}: the training split has {len(dataset)} view, expected at least 2")
    dataset.require_complete("training")
    if with_labels and dataset.pose_3d is None:
        raise InputError(f"{data}: has no 3D poses, and --lifter.supervised learns from them")
    skeleton, mean_pose = dataset.skeleton, MeanPose.fit(dataset) if dataset.pose_3d is not None else None
    sequence, labels = dataset.sequence, dataset.pose_3d if with_labels else None
    image = torch.from_numpy(dataset.image())
    del dataset  # the largest arrays of a run
    normalization = Normalization.fit(image, skeleton, wanted.view, wanted.scale, wanted.camera_depth, source=data)
    if labels is None:
        pose_2d, pose_3d = normalization.pose_2d(image, source=data), None
    else:
        normalized = normalization.apply(image, source=data)
        pose_2d, pose_3d = normalized.pose_2d, torch.from_numpy(labels - labels[:, skeleton.root, None])
        if normalized.view_rotation is not None:
            pose_3d = pose_3d @ normalized.view_rotation.mT
        pose_3d = pose_3d.to(device)
    return TrainingViews(pose_2d.to(device), sequence, skeleton, normalization, mean_pose, pose_3d)


def load_report_views(data: str, validation_subjects: tuple[str, ...] = ()) -> PoseDataset | None:
    """The views that a run reports on, or None with a line that says why there are none.

    They are the test split, or the ``validation_subjects`` of the training split.

    Raises:
        InputError: there is no such subject.
    """
    try:
        views = load(data, "train" if validation_subjects else "test")
        views.require_complete("this report")
    except InputError as error:
        print(f"not evaluated: {error}")
        return None
    if views.pose_3d is None:
        print(f"not evaluated: {data} has no 3D poses")
        return None
    if validation_subjects:
        views = views.subset(of_subjects(views, validation_subjects, "--validation-subjects"))
    return views


def of_subjects(dataset: PoseDataset, subjects: tuple[str, ...], option: str) -> np.ndarray:
    """Mask (N,) of the views of some subjects.

    Raises:
        InputError: the data has no views of one of them; names the ``option`` and the subjects that there are.
    """
    present = [str(dataset.subjects[index]) for index in np.unique(dataset.subject)]
    for subject in subjects:
        if subject not in present:
            raise InputError(f"{option} {subject}: not in {dataset.name}, which has {', '.join(present)}")
    numbers = [index for index, name in enumerate(dataset.subjects) if str(name) in subjects]
    return np.isin(dataset.subject, numbers)
