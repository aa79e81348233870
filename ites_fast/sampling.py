"""Which samples a training step sees: shuffled epochs, or draws by weight. Both can be stopped and continued."""

from typing import Protocol

import numpy as np
import torch
from torch import Tensor


class Sampler(Protocol):
    """Deals batches of indices."""

    batches_per_epoch: int

    def next_batch(self) -> Tensor:
        """Indices of the next batch (B,), on the CPU."""
        ...

    def state(self) -> tuple[Tensor, int]:
        """All that ``restore`` needs."""
        ...

    def restore(self, generator_state: Tensor, position: int) -> None:
        """Continue from a ``state``."""
        ...


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


class BalancedSampler:
    """Draws samples independently, with replacement, each with its own probability.

    Args:
        probability: of each sample (N,), on the CPU; need not sum to one.
        batch_size: samples in a batch.
        seed: of the draws.
    """

    def __init__(self, probability: Tensor, batch_size: int, seed: int) -> None:
        cumulative = probability.double().cumsum(0)
        self.cumulative = cumulative / cumulative[-1]
        self.batch_size = batch_size
        self.generator = torch.Generator().manual_seed(seed)

    @property
    def batches_per_epoch(self) -> int:
        return max(1, -(-len(self.cumulative) // self.batch_size))

    def next_batch(self) -> Tensor:
        """Indices of the next batch (B,), on the CPU."""
        draw = torch.rand(self.batch_size, generator=self.generator, dtype=torch.float64)
        return torch.searchsorted(self.cumulative, draw, right=True).clamp(max=len(self.cumulative) - 1)

    def state(self) -> tuple[Tensor, int]:
        """The generator's state; there is no position."""
        return self.generator.get_state(), 0

    def restore(self, generator_state: Tensor, position: int) -> None:
        """Continue from a ``state``."""
        self.generator.set_state(generator_state)


def sequence_probability(group: np.ndarray, power: float) -> Tensor:
    """Probability of each view when its sequence has n views: proportional to n ** -power.

    Args:
        group: the sequence of each view (N,), any integers.
        power: 0 treats all views alike, 1 all sequences.

    Returns:
        Probabilities (N,), float64, which sum to one.
    """
    _, index, count = np.unique(group, return_inverse=True, return_counts=True)
    weight = count[index].astype(np.float64) ** -power
    return torch.from_numpy(weight / weight.sum())
