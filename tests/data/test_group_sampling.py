"""Batches in which no row is alone with its group."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.data.group_sampling import GroupSampler
from codeft.data.sampling import ResumableDataLoader
from codeft.types import CodeftError

GROUPS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=200).map(lambda rows: [*rows, *[0] * 8])


def num_pairs(groups) -> int:
    return sum(count // 2 for group, count in Counter(groups).items() if group is not None)


@settings(deadline=None, max_examples=100)
@given(GROUPS, st.integers(2, 17), st.integers(1, 4), st.integers(0, 3), st.integers(0, 2**20))
def test_every_group_of_a_batch_has_two_rows(groups, batch_size, world_size, epoch, seed):
    settings = {"batch_size": batch_size, "seed": seed, "world_size": world_size}
    ranks = [GroupSampler(groups, **settings, rank=rank) for rank in range(world_size)]
    shares = []
    for sampler in ranks:
        sampler.set_epoch(epoch)
        shares.append([[index for _, index in batch] for batch in sampler])
        assert len(shares[-1]) == len(sampler) == len(ranks[0]) > 0
    batches = [batch for share in shares for batch in share]
    assert len({len(batch) for batch in batches}) == 1 and len(batches[0]) <= batch_size
    for batch in batches:
        counts = Counter(groups[row] for row in batch)
        assert None not in counts and min(counts.values()) >= 2
    seen = Counter(row for batch in batches for row in batch)
    assert set(seen.values()) == {1}, "every row at most once"
    left = 2 * num_pairs(groups) - len(seen)
    assert left < len(batches[0]) * world_size, "what is left out fills no batch of every rank"


@settings(deadline=None, max_examples=30)
@given(GROUPS, st.integers(2, 9))
def test_the_order_is_a_pure_function_of_seed_and_epoch(groups, batch_size):
    first, again = (GroupSampler(groups, batch_size=batch_size, seed=7) for _ in range(2))
    first.set_epoch(0)
    list(first)
    np.random.seed(0)
    for sampler in (first, again):
        sampler.set_epoch(5)
    assert list(first) == list(again)


def test_epochs_pair_anew_and_leave_out_others():
    sampler = GroupSampler([0, 0, 0] * 20, batch_size=60)
    epochs = []
    for epoch in range(30):
        sampler.set_epoch(epoch)
        epochs.append({index for batch in sampler for _, index in batch})
    assert set.union(*epochs) == set(range(60))
    few = GroupSampler(["a", "b", "a", "c", "b", "a"], batch_size=4)
    pairs = set()
    for epoch in range(30):
        few.set_epoch(epoch)
        [batch] = list(few)
        pairs.add(frozenset(index for _, index in batch if index in (0, 2, 5)))
    assert pairs == {frozenset({0, 2}), frozenset({0, 5}), frozenset({2, 5})}


def test_a_batch_is_drawn_from_all_groups():
    """64 problems of 500 programs, 32 a batch: about 14 of the 16 pairs are of different problems."""
    groups = [row // 500 for row in range(32000)]
    sampler = GroupSampler(groups, batch_size=32, seed=1)
    batches = sampler.batches(0)
    assert len(batches) == 1000
    assert 13 < np.mean([len({groups[row] for row in batch}) for batch in batches]) < 15


@pytest.mark.parametrize("consumed", [0, 1, 4, 5])
def test_a_loader_goes_on_behind_what_was_handed_out(consumed):
    class Keys:
        def __getitem__(self, key):
            return key

        def __len__(self):
            return 20

    def loader():
        sampler = GroupSampler([row % 5 for row in range(20)], batch_size=4, seed=3)
        return ResumableDataLoader(Keys(), batch_sampler=sampler, collate_fn=list)

    whole = list(loader())
    assert len(whole) == 5
    cut = loader()
    iterator = iter(cut)
    assert [next(iterator) for _ in range(consumed)] == whole[:consumed]
    resumed = loader()
    resumed.load_state_dict(cut.state_dict())
    assert list(resumed) == (whole if consumed == 5 else whole[consumed:])


@pytest.mark.parametrize(
    ("groups", "settings", "said"),
    [
        ([1, 1], {"batch_size": 1}, r"data\.batch_size must be 2 or more, not 1"),
        ([1, 2, None, None], {"batch_size": 4}, "got 0 pairs among 4 rows"),
        ([1, 1, 2], {"batch_size": 4, "world_size": 2}, "each of 2 devices, got 1 pairs"),
    ],
)
def test_groups_that_give_no_batch(groups, settings, said):
    with pytest.raises(CodeftError, match=said):
        GroupSampler(groups, **settings)
