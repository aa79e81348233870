"""Which views follow each other: the clips of a data set."""

from itertools import pairwise

import numpy as np

from ites_fast.data.dataset import PoseDataset

LARGEST_GAP = 2.5  # usual steps between two frames; after a longer one a new clip begins


def clip_numbers(dataset: PoseDataset) -> np.ndarray:
    """The clip of each view (N,), int64, numbered from 0 in the order of the views.

    A clip is one person in one sequence of one camera, without gaps: recordings of other rates and single frames that
    were left out do not end it.
    """
    identity = np.stack([dataset.sequence, dataset.camera, dataset.subject]).astype(np.int64)
    begins = np.ones(len(dataset), bool)
    begins[1:] = (np.diff(identity) != 0).any(0)
    for start, end in pairwise([*np.flatnonzero(begins).tolist(), len(dataset)]):
        step = np.diff(dataset.frame[start:end].astype(np.int64))
        if len(step):
            begins[start + 1 : end] = (step > LARGEST_GAP * np.median(step)) | (step <= 0)
    return begins.cumsum() - 1
