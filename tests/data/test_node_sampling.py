"""Batches of several nodes: each of its own rows in all epochs, together all, and as many of each."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.data.group_sampling import GroupSampler
from codeft.data.node_sampling import NodeSampler, rows_by_node
from codeft.data.sampling import LengthBucketSampler
from codeft.types import CodeftError

LENGTHS = st.lists(st.tuples(st.integers(1, 40), st.integers(0, 20)), min_size=12, max_size=200).map(
    lambda rows: np.array(rows, dtype=np.int64)
)
BUDGETS = st.one_of(
    st.builds(lambda n: {"batch_size": n}, st.integers(1, 9)),
    st.builds(lambda n: {"batch_tokens": n}, st.integers(60, 400)),
)
GROUPS = st.lists(st.one_of(st.none(), st.integers(0, 9)), max_size=200).map(lambda rows: [*rows, *[0] * 12])


def epoch_of(sampler, epoch):
    sampler.set_epoch(epoch)
    return [[index for _, index in batch] for batch in sampler]


def rows_of(batches):
    return {row for batch in batches for row in batch}


@settings(deadline=None, max_examples=60)
@given(LENGTHS, BUDGETS, st.integers(2, 3), st.integers(1, 3), st.integers(0, 2**20))
def test_an_example_stays_with_its_node(lengths, budget, num_nodes, ranks_a_node, seed):
    rows = rows_by_node([None] * len(lengths), num_nodes=num_nodes, seed=seed)

    def of_rank(node, rank):
        def make(own):
            return LengthBucketSampler(lengths[own], **budget, seed=seed, rank=rank, world_size=ranks_a_node)

        return NodeSampler(rows, make=make, node=node)

    samplers = {(n, r): of_rank(n, r) for n in range(num_nodes) for r in range(ranks_a_node)}
    for epoch in (0, 1, 5):
        batches = {place: epoch_of(sampler, epoch) for place, sampler in samplers.items()}
        assert {len(own) for own in batches.values()} == {len(sampler) for sampler in samplers.values()}
        assert len({len(own) for own in batches.values()}) == 1, "ranks wait for one another"
        for node in range(num_nodes):
            of_node = [batches[node, rank] for rank in range(ranks_a_node)]
            assert set().union(*map(rows_of, of_node)) == set(rows[node].tolist())
        for batch in (batch for own in batches.values() for batch in own):
            assert len(batch) <= budget.get("batch_size", len(batch))
            assert len(batch) * lengths[batch].max(axis=0).sum() <= budget.get("batch_tokens", np.inf)


@settings(deadline=None, max_examples=60)
@given(st.one_of(GROUPS, st.integers(3, 100).map(lambda n: [None] * n)), st.integers(1, 3), st.integers(0, 9))
def test_rows_are_dealt_out_evenly(groups, num_nodes, seed):
    rows = rows_by_node(groups, num_nodes=num_nodes, seed=seed)
    assert [own.tolist() for own in rows_by_node(groups, num_nodes=num_nodes, seed=seed)] == [
        own.tolist() for own in rows
    ]
    counts = Counter(row for own in rows for row in own.tolist())
    assert set(counts.values()) == {1}
    members = Counter(groups)
    grouped = any(group is not None for group in groups)
    if grouped:
        expected = {row for row, group in enumerate(groups) if group is not None and members[group] > 1}
        shares = [sum(n // 2 for n in Counter(groups[row] for row in own).values()) for own in rows]
    else:
        expected, shares = set(range(len(groups))), [len(own) for own in rows]
    assert set(counts) == expected
    assert max(shares) - min(shares) <= 1


@settings(deadline=None, max_examples=40)
@given(GROUPS, st.integers(2, 9), st.integers(2, 3), st.integers(0, 9))
def test_rows_that_belong_together_do_so_on_their_node(groups, batch_size, num_nodes, seed):
    rows = rows_by_node(groups, num_nodes=num_nodes, seed=seed)

    def make(own):
        return GroupSampler([groups[row] for row in own], batch_size=batch_size, seed=seed)

    nodes = [NodeSampler(rows, make=make, node=node) for node in range(num_nodes)]
    shares = [epoch_of(node, 2) for node in nodes]
    assert len({len(share) for share in shares}) == 1
    for share, own in zip(shares, rows, strict=True):
        assert rows_of(share) <= set(own.tolist())
        for batch in share:
            assert min(Counter(groups[row] for row in batch).values()) >= 2


def test_equal_places_of_two_nodes_are_unrelated_rows():
    """Files are sorted by what is alike, and ranks compare rows with one another's."""
    first, second = rows_by_node([None] * 4000, num_nodes=2, seed=1)
    assert np.median(np.abs(first - second)) > 800  # of 4,000; by chance 1,172


def test_an_epoch_goes_on_in_its_middle():
    rows = rows_by_node([None] * 21, num_nodes=2, seed=1)

    def make(own):
        return LengthBucketSampler(np.ones((len(own), 2), dtype=int), batch_size=3)

    sampler = NodeSampler(rows, make=make, node=1)
    whole = epoch_of(sampler, 4)
    sampler.skip = 2
    assert epoch_of(sampler, 4) == whole[2:]


@pytest.mark.parametrize("groups", [[None, None], ["a", "a", "b", None]])
def test_fewer_rows_than_nodes(groups):
    with pytest.raises(CodeftError, match=r"can't be shared by 3 nodes; lower trainer\.num_nodes"):
        rows_by_node(groups, num_nodes=3, seed=0)
