"""Batches: every sample once an epoch, in an order that the seed decides and a state can continue."""

import pytest
import torch

from ites_fast.sampling import EpochSampler


@pytest.mark.parametrize(("samples", "batch_size"), [(10, 3), (12, 3), (13, 3), (2, 128), (129, 128)])
def test_an_epoch_deals_every_sample_once_and_never_a_single_one(samples, batch_size):
    sampler = EpochSampler(samples, batch_size, seed=0)
    batches = [sampler.next_batch() for _ in range(sampler.batches_per_epoch)]
    assert torch.cat(batches).sort().values.tolist() == list(range(samples))
    assert all(len(batch) > 1 for batch in batches)


def test_epochs_differ_and_the_seed_decides_them():
    def epochs(seed):
        sampler = EpochSampler(20, 20, seed)
        return [sampler.next_batch().tolist() for _ in range(2)]

    first = epochs(seed=0)
    assert first[0] != first[1]
    assert first == epochs(seed=0)
    assert first != epochs(seed=1)


@pytest.mark.parametrize("batches", [0, 1, 3, 4, 9])
def test_a_restored_sampler_deals_the_same_batches(batches):
    sampler = EpochSampler(10, 3, seed=0)
    for _ in range(batches):
        sampler.next_batch()
    restored = EpochSampler(10, 3, seed=7)
    restored.restore(*sampler.state())
    assert [restored.next_batch().tolist() for _ in range(8)] == [sampler.next_batch().tolist() for _ in range(8)]
