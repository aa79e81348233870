"""Batches: every sample once an epoch, or each by its own chance; the seed decides them and a state can continue."""

import numpy as np
import pytest
import torch

from ites_fast.sampling import BalancedSampler, EpochSampler, sequence_probability


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


def weighted(probability, batch_size=1000, seed=0):
    return BalancedSampler(torch.as_tensor(probability, dtype=torch.float64), batch_size, seed)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_sequences_are_drawn_by_a_power_of_their_length(power):
    """A view of a sequence of n views has a chance like n ** -power, so the sequence has one like n ** (1 - power)."""
    group = np.repeat([7, -2, 40], [10, 40, 160])
    np.random.default_rng(0).shuffle(group)
    probability = sequence_probability(group, power)
    assert probability.sum().item() == pytest.approx(1)
    sampler = weighted(probability, batch_size=50_000)
    drawn = np.bincount(sampler.next_batch(), minlength=len(group)) / 50_000
    length = np.array([10, 40, 160])
    expected = length ** (1 - power) / (length ** (1 - power)).sum()
    shares = [drawn[group == name].sum() for name in (7, -2, 40)]
    np.testing.assert_allclose(shares, expected, atol=0.01)
    # within a sequence all views are alike
    np.testing.assert_allclose(drawn[group == 7], shares[0] / 10, rtol=0.2)


def test_samples_without_a_chance_are_never_drawn_and_chances_need_not_sum_to_one():
    drawn = np.bincount(weighted([0, 30, 0, 10, 0], batch_size=20_000).next_batch(), minlength=5)
    assert drawn[[0, 2, 4]].tolist() == [0, 0, 0]
    assert drawn[1] / drawn[3] == pytest.approx(3, rel=0.1)


@pytest.mark.parametrize(("draw", "sample"), [(0.0, 1), (1 - 2**-53, 100_002)])
def test_the_ends_of_the_interval_belong_to_the_first_and_last_sample_with_a_chance(monkeypatch, draw, sample):
    """Also where so many chances were added up that their sum is only nearly what it should be."""
    probability = torch.full((100_005,), 0.1)
    probability[[0, -2, -1]] = 0
    sampler = weighted(probability, batch_size=4)
    monkeypatch.setattr(torch, "rand", lambda count, **_: torch.full((count,), draw, dtype=torch.float64))
    assert sampler.next_batch().tolist() == [sample] * 4


def test_batches_have_one_size_and_an_epoch_is_as_many_as_the_samples_need():
    sampler = weighted([1.0] * 10, batch_size=3)
    assert sampler.batches_per_epoch == 4
    assert [len(sampler.next_batch()) for _ in range(9)] == [3] * 9


@pytest.mark.parametrize("batches", [0, 1, 5])
def test_a_restored_balanced_sampler_draws_the_same_batches(batches):
    sampler = weighted([1.0, 2.0, 3.0, 4.0] * 10, batch_size=6)
    for _ in range(batches):
        sampler.next_batch()
    state = sampler.state()
    after = [sampler.next_batch().tolist() for _ in range(4)]
    restored = weighted([1.0, 2.0, 3.0, 4.0] * 10, batch_size=6, seed=7)
    restored.restore(*state)
    assert [restored.next_batch().tolist() for _ in range(4)] == after
    assert len({tuple(batch) for batch in after}) == 4
