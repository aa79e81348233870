"""Which samples a training step sees: shuffled epochs that can be stopped and continued."""

import torch
from torch import Tensor


class EpochSampler:
    """Shuffles the samples once an epoch and deals them in batches.

    The last batch of an epoch may be smaller, but never a single sample, which batch norm cannot use: that one joins
    the batch before it.

    Args:
        samples: number of samples N.
        batch_size: samples in a batch.
        seed: of the shuffles.
    """

    def __init__(self, samples: int, batch_size: int, seed: int) -> None:
        self.samples = samples
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)
        self._shuffle()

    @property
    def batches_per_epoch(self) -> int:
        return max(1, -(-(self.samples - 1) // self.batch_size))

    def next_batch(self) -> Tensor:
        """Indices of the next batch (B,), on the CPU."""
        if self.position >= self.samples:
            self._shuffle()
        start, end = self.position, self.position + self.batch_size
        if self.samples - end == 1:
            end = self.samples
        self.position = end
        return self.order[start:end]

    def state(self) -> tuple[Tensor, int]:
        """The generator's state before this epoch's shuffle, and the position in it."""
        return self.epoch_state, self.position

    def restore(self, epoch_state: Tensor, position: int) -> None:
        """Continue from a ``state``."""
        self.generator.set_state(epoch_state)
        self._shuffle()
        self.position = position

    def _shuffle(self) -> None:
        self.epoch_state = self.generator.get_state()
        self.order = torch.randperm(self.samples, generator=self.generator)
        self.position = 0
