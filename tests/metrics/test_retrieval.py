from __future__ import annotations

import pytest
import torch
from torchmetrics.functional.retrieval import retrieval_reciprocal_rank

from codeft.metrics import MapAtR, SearchScores, map_at_r, map_at_r_of_labels, mrr, r_at_k, rank_targets
from codeft.types import CodeftError


def test_mrr_is_torchmetrics_where_nothing_ties():
    q, c = (torch.randn(30, 4, generator=torch.Generator().manual_seed(seed)) for seed in (0, 1))
    scores = q @ c.T
    scores = scores - scores.min() + 1  # the library takes a target of score 0 or less for not found
    expected = [retrieval_reciprocal_rank(scores[i], torch.arange(30) == i).item() for i in range(30)]
    found = rank_targets(q, candidates=c, targets=torch.arange(30))
    assert mrr(found.ranks) == pytest.approx(sum(expected) / 30)
    assert r_at_k(found.ranks, k=5) == sum(value >= 0.2 - 1e-6 for value in expected) / 30


def test_protocols_cut():
    ranks = [1, 1000, 1001, 0]
    assert mrr(ranks) == pytest.approx((1 + 1 / 1000 + 1 / 1001) / 4)
    assert mrr(ranks, protocol="cut1000") == pytest.approx((1 + 1 / 1000) / 4)
    assert r_at_k(ranks, k=10) == 0.25
    with pytest.raises(CodeftError, match="full, cut1000, distractors999"):
        mrr(ranks, protocol="cut")
    with pytest.raises(CodeftError, match="nothing to score"):
        mrr([])


def test_map_at_r_by_hand():
    # Of R = 3, places 1 and 3 are right: (1 + 2/3) / 3. What comes after the third place doesn't count.
    assert map_at_r([["a", "x", "b", "c"]], [["a", "b", "c"]]) == pytest.approx((1 + 2 / 3) / 3)
    assert map_at_r([[]], [["a"]]) == 0
    with pytest.raises(CodeftError, match="twice"):
        map_at_r([["a", "a"]], [["a"]])
    with pytest.raises(CodeftError, match="nothing relevant"):
        map_at_r([["a"]], [[]])
    with pytest.raises(CodeftError, match="1 rankings for 2"):
        map_at_r([["a"]], [["a"], ["b"]])


@pytest.mark.parametrize("block", [1, 7, 100])
def test_map_at_r_of_labels_against_sorting(block):
    generator = torch.Generator().manual_seed(0)
    x = torch.randint(-2, 3, (60, 3), generator=generator).float()  # many ties
    labels = torch.randint(0, 7, (60,), generator=generator)
    labels[0] = 99  # alone with its label
    scores = x @ x.T
    rankings, relevant = [], []
    for i in range(1, 60):
        others = [j for j in range(60) if j != i]
        rankings.append(sorted(others, key=lambda j: (-scores[i, j].item(), labels[j] == labels[i])))
        relevant.append([j for j in others if labels[j] == labels[i]])
    found = map_at_r_of_labels(x, labels=labels, query_block=block)
    assert found == pytest.approx(map_at_r(rankings, relevant), abs=1e-12)


def test_map_at_r_of_labels_refuses():
    with pytest.raises(CodeftError, match="nothing to find"):
        map_at_r_of_labels(torch.eye(3), labels=torch.arange(3))
    with pytest.raises(CodeftError, match="2 for 3 rows"):
        map_at_r_of_labels(torch.eye(3), labels=torch.arange(2))


def rows(seed: int, count: int) -> tuple[torch.Tensor, torch.Tensor]:
    c = torch.randn(count, 8, generator=torch.Generator().manual_seed(seed))
    return c + torch.randn(count, 8, generator=torch.Generator().manual_seed(seed + 1)), c


def test_processes_and_batches_give_the_whole():
    q, c = rows(0, 20)
    ids = torch.arange(20)
    expected = rank_targets(q, candidates=c, targets=ids)
    first, second = SearchScores(), SearchScores()
    for part in (ids[::2].split(3), torch.tensor([1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 0]).split(4)):
        metric = first if part[0][0] == 0 else second
        for batch in part:  # the second hands row 0 out again, as a distributed sampler does
            metric.update(q[batch], batch, batch, c[batch], batch)
    first.merge_state(second)
    scores = first.compute()
    assert scores["mrr"].item() == pytest.approx(mrr(expected.ranks))
    assert scores["r_at_5"].item() == r_at_k(expected.ranks, k=5)
    assert scores["ties"] == 0
    assert {reduce.__name__ for reduce in first._reductions.values()} == {"dim_zero_cat"}
    assert scores.keys() == first.signatures.keys()


def test_candidates_may_come_alone():
    q, c = rows(2, 6)
    none, no_ids = torch.zeros(0, 8), torch.zeros(0, dtype=torch.int64)
    metric = SearchScores(protocol="cut1000", deduplicated=True)
    metric.update(none, no_ids, no_ids, c, torch.arange(6) + 10)
    metric.update(q[:2], torch.tensor([0, 1]), torch.tensor([15, 10]), none, no_ids)
    expected = rank_targets(q[:2], candidates=c, targets=torch.tensor([5, 0]))
    assert metric.compute()["mrr_cut1000"].item() == pytest.approx(mrr(expected.ranks))
    assert "|protocol:cut1000|ties:pessimistic|dedup:yes|" in metric.signatures["mrr_cut1000"]
    metric.update(q[2:3], torch.tensor([2]), torch.tensor([3]), none, no_ids)
    with pytest.raises(CodeftError, match="candidate 3 the first"):
        metric.compute()


def test_map_at_r_over_processes():
    x = torch.randn(24, 4, generator=torch.Generator().manual_seed(0))
    ids, labels = torch.arange(24), torch.arange(24) % 5
    first, second = MapAtR(), MapAtR()
    for batch in ids[:10].split(4):
        first.update(x[batch], labels[batch], batch)
    second.update(x[8:], labels[8:], ids[8:])  # two rows once more
    first.merge_state(second)
    assert first.compute().item() == pytest.approx(map_at_r_of_labels(x, labels=labels), abs=1e-12)
    with pytest.warns(UserWarning, match="before"), pytest.raises(CodeftError, match="got none"):
        MapAtR().compute()
