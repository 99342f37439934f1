"""Batches of similar length: each example once, the same in every process, gone on from anywhere."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import Dataset

from codeft.data.sampling import LengthBucketSampler, ResumableDataLoader
from codeft.types import CodeftError

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), min_size=4, max_size=300).map(
    lambda rows: np.array(rows, dtype=np.int64)
)
BUDGETS = st.one_of(
    st.builds(lambda n: {"batch_size": n}, st.integers(1, 9)),
    st.builds(lambda n: {"batch_tokens": n}, st.integers(60, 400)),
)


def epoch_of(sampler, epoch) -> list[list[int]]:
    sampler.set_epoch(epoch)
    batches = list(sampler)
    assert all(key_epoch == epoch for batch in batches for key_epoch, _ in batch)
    return [[index for _, index in batch] for batch in batches]


@settings(deadline=None, max_examples=60)
@given(LENGTHS, BUDGETS, st.booleans(), st.integers(0, 3))
def test_an_epoch_holds_each_example_once(lengths, budget, shuffle, epoch):
    sampler = LengthBucketSampler(lengths, **budget, shuffle=shuffle, seed=3)
    batches = epoch_of(sampler, epoch)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    assert len(batches) == len(sampler)
    for batch in batches:
        assert len(batch) <= budget.get("batch_size", len(batch))
        padded = len(batch) * lengths[batch].max(axis=0).sum()
        assert padded <= budget.get("batch_tokens", padded)


@settings(deadline=None, max_examples=60)
@given(LENGTHS, BUDGETS, st.integers(2, 4), st.integers(0, 3))
def test_ranks_share_an_epoch(lengths, budget, world_size, epoch):
    for shuffle in (True, False):
        ranks = [
            LengthBucketSampler(lengths, **budget, shuffle=shuffle, rank=rank, world_size=world_size)
            for rank in range(world_size)
        ]
        shares = [epoch_of(rank, epoch) for rank in ranks]
        assert [len(share) for share in shares] == [len(rank) for rank in ranks]
        seen = Counter(index for share in shares for batch in share for index in batch)
        assert set(seen) == set(range(len(lengths)))
        if shuffle:
            assert len({len(share) for share in shares}) == 1
        else:
            assert set(seen.values()) == {1}
            assert all(shares) or "batch_tokens" in budget


@given(LENGTHS, BUDGETS)
@settings(deadline=None, max_examples=20)
def test_the_order_is_a_pure_function_of_seed_and_epoch(lengths, budget):
    first, again = (LengthBucketSampler(lengths, **budget, seed=7) for _ in range(2))
    later = epoch_of(first, 5)
    np.random.seed(0)
    assert epoch_of(again, 5) == later
    assert epoch_of(first, 5) == later


def test_epochs_and_seeds_differ():
    lengths = np.arange(1, 401).reshape(200, 2)
    sampler = LengthBucketSampler(lengths, batch_size=4, seed=7)
    assert epoch_of(sampler, 0) != epoch_of(sampler, 1)
    assert epoch_of(LengthBucketSampler(lengths, batch_size=4, seed=8), 0) != epoch_of(sampler, 0)


def test_batches_are_of_similar_length():
    lengths = np.random.default_rng(0).integers(1, (200, 20), size=(2000, 2))
    for budget in ({"batch_size": 20}, {"batch_tokens": 3000}):
        batches = epoch_of(LengthBucketSampler(lengths, **budget), 0)
        padded = sum(len(batch) * lengths[batch].max(axis=0).sum() for batch in batches)
        unsorted = [range(i, i + 20) for i in range(0, 2000, 20)]
        assert padded < 0.7 * sum(len(batch) * lengths[batch].max(axis=0).sum() for batch in unsorted)


def test_without_shuffling_the_longest_comes_first():
    lengths = np.random.default_rng(0).integers(1, 200, size=(100, 2))
    totals = lengths.sum(axis=1)
    for budget in ({"batch_size": 8}, {"batch_tokens": 1000}):
        batches = epoch_of(LengthBucketSampler(lengths, **budget, shuffle=False), 0)
        longest = [totals[batch].max() for batch in batches]
        assert longest == sorted(longest, reverse=True) and longest[0] == totals.max()


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, "not both or none"),
        (
            {"batch_size": 1, "batch_tokens": 9},
            "not both or none: with data.batch_size=1 set data.batch_tokens=null",
        ),
        ({"batch_size": 0}, "at least 1, not 0"),
        ({"batch_tokens": 6}, "longest example of 7"),
        ({"batch_size": 1, "world_size": 3}, "2 rows can't be shared by 3 devices"),
    ],
)
def test_impossible_budgets_are_errors(settings, said):
    with pytest.raises(CodeftError, match=said):
        LengthBucketSampler(np.array([[3, 4], [2, 2]]), **settings)


class Keys(Dataset):
    def __getitem__(self, key):
        return key


def loader(**settings) -> ResumableDataLoader:
    sampler = LengthBucketSampler(np.arange(1, 41).reshape(20, 2), batch_size=3, seed=1)
    return ResumableDataLoader(Keys(), batch_sampler=sampler, collate_fn=list, **settings)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("consumed", [0, 1, 6, 7])
def test_a_loader_goes_on_behind_what_was_handed_out(workers, consumed):
    whole = loader()
    epochs = []
    for epoch in range(2):
        whole.batch_sampler.sampler.set_epoch(epoch)
        epochs.append(list(whole))
    cut = loader(num_workers=workers)
    iterator = iter(cut)
    assert [next(iterator) for _ in range(consumed)] == epochs[0][:consumed]
    state = cut.state_dict()
    assert state == {"epoch": 0, "consumed": consumed}
    resumed = loader(num_workers=workers)
    resumed.load_state_dict(state)
    finished = consumed == len(whole)
    resumed.batch_sampler.sampler.set_epoch(int(finished))
    assert list(resumed) == (epochs[1] if finished else epochs[0][consumed:])
    assert len(resumed) == 7
    if not finished:
        resumed.batch_sampler.sampler.set_epoch(1)
        assert list(resumed) == epochs[1]


def test_batches_by_chance_are_full_and_not_sorted():
    lengths = np.array([(n, 0) for n in range(1, 103)])
    sampler = LengthBucketSampler(lengths, batch_size=10, by_length=False, seed=1)
    batches = epoch_of(sampler, 0)
    assert [len(batch) for batch in batches] == [10] * 10 and len(sampler) == 10
    assert len({index for batch in batches for index in batch}) == 100
    spread = np.mean([np.ptp(lengths[batch, 0]) for batch in batches])
    assert spread > 60, "a batch sorted by length would span about ten"
    few = LengthBucketSampler(lengths[:4], batch_size=10, by_length=False, seed=1)
    assert [len(batch) for batch in epoch_of(few, 0)] == [4]


def test_batches_by_chance_need_a_number_of_examples():
    with pytest.raises(CodeftError, match=r"data\.batch_size"):
        LengthBucketSampler(np.ones((4, 2), dtype=np.int64), batch_tokens=50, by_length=False)
