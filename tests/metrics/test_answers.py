"""What queries found: the first candidates and the ranks that scores are made of, as the scores see them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics import MapAtR, SearchScores, mrr
from codeft.metrics.retrieval import average_precisions


def whole_numbers(rows: int, seed: int) -> torch.Tensor:
    """Vectors whose dot products tie often and exactly."""
    return torch.randint(-2, 3, (rows, 3), generator=torch.Generator().manual_seed(seed)).float()


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 12), st.integers(1, 9), st.integers(1, 15), st.integers(0, 2**20))
def test_answers_of_search_are_a_pessimistic_sort_s(num_candidates, num_queries, k, seed):
    candidates, queries = whole_numbers(num_candidates, seed), whole_numbers(num_queries, seed + 1)
    targets = torch.randint(num_candidates, (num_queries,), generator=torch.Generator().manual_seed(seed))
    metric = SearchScores()
    ids = torch.arange(num_candidates) + 100
    metric.update(queries, torch.arange(num_queries), targets + 100, candidates, ids)
    scores = metric.compute()
    answers = metric.answers(k=k)
    table = (queries @ candidates.T).tolist()
    for query, answer in answers.items():
        own = table[query]
        target = answer.target - 100
        order = sorted(range(num_candidates), key=lambda i: (-own[i], i == target))
        assert target == targets[query] and answer.rank == order.index(target) + 1
        assert answer.tied == (own.count(own[target]) > 1)
        found = [id_ - 100 for id_ in answer.nearest]
        assert [own[i] for i in found] == [own[i] for i in order[:k]]  # those that tie may stand in any order
        assert (found.index(target) + 1 == answer.rank) if target in found else answer.rank > k
        assert len(set(found)) == len(found)
    assert scores["mrr"].item() == pytest.approx(mrr([answer.rank for answer in answers.values()]))
    assert scores["ties"] == sum(answer.tied for answer in answers.values())


@settings(deadline=None, max_examples=60)
@given(st.integers(2, 14), st.integers(1, 4), st.integers(1, 15), st.integers(0, 2**20))
def test_answers_of_retrieval_are_a_pessimistic_sort_s(num_rows, num_labels, k, seed):
    vectors = whole_numbers(num_rows, seed)
    labels = torch.randint(num_labels, (num_rows,), generator=torch.Generator().manual_seed(seed))
    labels[:2] = 0
    metric = MapAtR()
    metric.update(vectors, labels, torch.arange(num_rows) + 100)
    score = metric.compute().item()
    answers = metric.answers(k=k)
    table, rankings, relevant = (vectors @ vectors.T).tolist(), [], []
    for row in range(num_rows):
        own, answer = table[row], answers[row + 100]
        others = [i for i in range(num_rows) if i != row]
        mates = [i for i in others if labels[i] == labels[row]]
        order = sorted(others, key=lambda i: (-own[i], i in mates))
        assert answer.num_relevant == len(mates)
        assert answer.hits == [i + 1 for i, other in enumerate(order[: len(mates)]) if other in mates]
        found = [id_ - 100 for id_ in answer.nearest]
        assert [(own[i], i in mates) for i in found] == [(own[i], i in mates) for i in order[:k]]
        assert len(set(found)) == len(found)
        if mates:
            rankings.append(order)
            relevant.append(mates)
    assert score == pytest.approx(sum(average_precisions(rankings, relevant)) / len(rankings), abs=1e-12)


def test_answers_in_batches_are_out_of_a_query_s_own_batch():
    codes = torch.randn(2100, 8, generator=torch.Generator().manual_seed(0))
    queries = codes + torch.randn(2100, 8, generator=torch.Generator().manual_seed(1))
    metric = SearchScores(protocol="distractors999")
    for rows in torch.arange(2100).split(500):
        metric.update(queries[rows], rows, rows, codes[rows], rows)
    scores = metric.compute()
    answers = metric.answers(k=10)
    assert len(answers) == 2000, "a last batch that isn't full isn't ranked"
    for query, answer in answers.items():
        start = query // 1000 * 1000
        assert all(start <= id_ < start + 1000 for id_ in answer.nearest)
        expected = (queries[query] @ codes[start : start + 1000].T).argsort(descending=True)[:10] + start
        assert answer.nearest == expected.tolist()
    ranks = [answer.rank for answer in answers.values()]
    assert scores["mrr_distractors999"].item() == pytest.approx(mrr(ranks))


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_vectors_that_all_but_agree_find_nothing(scale):
    """A model that says one vector of everything differs in the last digit only: no luck in that."""
    generator = torch.Generator().manual_seed(0)
    vectors = scale * (torch.ones(40, 64) + 1e-8 * torch.randn(40, 64, generator=generator))
    metric = MapAtR()
    metric.update(vectors, torch.arange(40) % 4, torch.arange(40))
    assert metric.compute() == 0
    assert metric.answers(k=10)[0].hits == []


def test_answers_of_processes_are_of_all_rows():
    vectors = torch.randn(10, 4, generator=torch.Generator().manual_seed(0))
    rows = torch.arange(10)
    whole, first, second = MapAtR(), MapAtR(), MapAtR()
    whole.update(vectors, rows % 2, rows)
    first.update(vectors[::2], rows[::2] % 2, rows[::2])
    second.update(vectors[1::2], rows[1::2] % 2, rows[1::2])
    first.merge_state(second)
    assert whole.compute() == first.compute()
    assert whole.answers(k=3) == first.answers(k=3)
