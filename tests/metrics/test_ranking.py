"""Ranks by blocks against an obvious sort; protocols, ties and duplicates."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics.ranking import deduplicate, find_nearest, rank_in_batches, rank_targets
from codeft.types import CodeftError


def ranks_by_sorting(queries, candidates, targets):
    """The whole score matrix, sorted; among equal scores the target comes last."""
    scores = queries.double() @ candidates.double().T
    ranks = []
    for row, target in zip(scores.tolist(), targets.tolist(), strict=True):
        order = sorted(range(len(row)), key=lambda i: (-row[i], i == target))
        ranks.append(order.index(target) + 1)
    return ranks


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_any_blocks_give_the_sort_s_ranks(data):
    """Whole numbers as embeddings: many ties, and no rounding."""
    size, dim, queries = (data.draw(st.integers(1, n)) for n in (12, 3, 9))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    q, c = (torch.from_numpy(rng.integers(-2, 3, (n, dim))).float() for n in (queries, size))
    targets = torch.from_numpy(rng.integers(0, size, queries))
    found = rank_targets(
        q,
        candidates=c,
        targets=targets,
        query_block=data.draw(st.integers(1, 10)),
        candidate_block=data.draw(st.integers(1, 13)),
    )
    assert found.ranks.tolist() == ranks_by_sorting(q, c, targets)
    own = (q * c[targets]).sum(1, keepdim=True)
    assert found.num_ties == int((((q @ c.T) == own).sum(1) > 1).sum())
    assert found.num_candidates == size


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_real_embeddings(dtype):
    generator = torch.Generator().manual_seed(0)
    c = torch.nn.functional.normalize(torch.randn(500, 16, generator=generator), dim=1).to(dtype)
    q = (c[:100].float() + 0.5 * torch.randn(100, 16, generator=generator)).to(dtype)
    targets = torch.arange(100)
    found = rank_targets(q, candidates=c, targets=targets, query_block=7, candidate_block=64)
    assert found.ranks.tolist() == ranks_by_sorting(q, c, targets)
    assert found.num_ties == 0
    assert 1 < found.ranks.double().mean() < 100


def test_copies_tie_whatever_block_they_stand_in():
    """The same code scored in another block may differ in its last digit: still a tie, and pessimistic."""
    c = torch.randn(257, 64, generator=torch.Generator().manual_seed(1))
    c[256] = c[3] * (1 + 1e-7)
    found = rank_targets(c[3:4], candidates=c, targets=torch.tensor([3]), candidate_block=256)
    assert found.ranks.tolist() == [2]
    assert found.num_ties == 1


def test_batches_of_a_thousand():
    c = torch.randn(2100, 8, generator=torch.Generator().manual_seed(2))
    q = c + torch.randn(2100, 8, generator=torch.Generator().manual_seed(3))
    shuffled = torch.randperm(2100, generator=torch.Generator().manual_seed(4))
    places = shuffled.argsort()
    found = rank_in_batches(q, candidates=c[shuffled], targets=places)
    expected = [
        rank_targets(q[rows], candidates=c[rows], targets=torch.arange(1000)).ranks
        for rows in (slice(0, 1000), slice(1000, 2000))
    ]
    assert found.ranks.tolist() == torch.cat(expected).tolist()
    assert (found.num_candidates, found.num_left_out) == (1000, 100)
    with pytest.raises(CodeftError, match="at least 1,000 queries"):
        rank_in_batches(q[:999], candidates=c, targets=torch.arange(999))


def test_duplicates_may_be_taken_out():
    c = torch.tensor([[1.0, 0], [1.0, 0], [0, 1.0]])
    kept, places = deduplicate(["f", "f", "g"])
    targets = torch.tensor([1, 2])
    assert rank_targets(c[1:], candidates=c, targets=targets).ranks.tolist() == [2, 1]
    assert rank_targets(c[1:], candidates=c[kept], targets=places[targets]).ranks.tolist() == [1, 1]


@pytest.mark.parametrize(
    ("queries", "candidates", "targets", "expected"),
    [
        (torch.zeros(0, 2), torch.zeros(1, 2), torch.zeros(0, dtype=torch.int64), "at least one query"),
        (torch.zeros(1, 2), torch.zeros(1, 3), torch.zeros(1, dtype=torch.int64), "embeddings"),
        (torch.zeros(2, 2), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), "one target a query"),
        (torch.zeros(1, 2), torch.zeros(1, 2), torch.ones(1, dtype=torch.int64), "isn't among them"),
        (torch.full((1, 2), torch.nan), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), "finite"),
        (torch.full((1, 2), 1e20), torch.full((1, 2), 1e-5), torch.zeros(1, dtype=torch.int64), "length"),
        (torch.full((1, 2), 1e20), torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), "length"),
    ],
)
def test_errors(queries, candidates, targets, expected):
    with pytest.raises(CodeftError, match=expected):
        rank_targets(queries, candidates=candidates, targets=targets)


@pytest.mark.gpu
def test_a_gpu_gives_the_same_ranks():
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    c = torch.randint(-3, 4, (3000, 16), generator=torch.Generator().manual_seed(5)).float()
    targets = torch.arange(200)
    on_cpu = rank_targets(c[:200], candidates=c, targets=targets)
    for candidates in (c, c.cuda()):
        on_gpu = rank_targets(c[:200].cuda(), candidates=candidates, targets=targets, candidate_block=512)
        assert on_gpu.ranks.tolist() == on_cpu.ranks.tolist()
        assert on_gpu.num_ties == on_cpu.num_ties


@pytest.mark.parametrize("blocks", [{}, {"query_block": 2, "candidate_block": 3}])
@pytest.mark.parametrize("k", [1, 4, 20])
def test_the_nearest_are_those_of_a_full_sort(blocks, k):
    torch.manual_seed(0)
    queries, candidates = torch.randn(5, 6, dtype=torch.float64), torch.randn(11, 6, dtype=torch.float64)
    rows, scores = find_nearest(queries, candidates, k=k, **blocks)
    expected = (queries @ candidates.T).argsort(dim=1, descending=True)[:, :k]
    assert torch.equal(rows, expected)
    torch.testing.assert_close(scores, (queries @ candidates.T).gather(1, expected))


def test_a_query_does_not_find_itself():
    vectors = torch.eye(4, dtype=torch.float64) + 0.1
    rows, _ = find_nearest(vectors, vectors, own=torch.arange(4), candidate_block=3)
    assert (rows[:, 0] != torch.arange(4)).all()


def test_a_target_that_two_queries_share_is_no_rival_of_itself():
    vectors = torch.eye(1000, dtype=torch.float64)
    queries = vectors.clone()
    queries[1] = vectors[0]
    targets = torch.arange(1000)
    targets[1] = 0
    found = rank_in_batches(queries, candidates=vectors, targets=targets)
    assert found.ranks.eq(1).all() and found.num_ties == 0


@pytest.mark.parametrize("row", [0, 4500, 9999])
@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_one_number_that_is_none_is_found_among_many_candidates(row, value):
    candidates = torch.randn(10_000, 4, generator=torch.Generator().manual_seed(0))
    queries, targets = candidates[:3].clone(), torch.tensor([5, 6, 7])
    candidates[row, 2] = value
    with pytest.raises(CodeftError, match="finite"):
        rank_targets(queries, candidates=candidates, targets=targets)
