"""Chance and single labels against enumeration."""

from __future__ import annotations

from itertools import permutations
from statistics import fmean

import pytest
import torch

from codeft.metrics import f1, map_at_r, mrr, r_at_k
from codeft.metrics.floors import label_floors, retrieval_by_chance, search_by_chance, search_floor
from codeft.types import CodeftError


@pytest.mark.parametrize("count", [1, 2, 5, 6])
def test_search_by_chance_is_the_mean_of_all_orders(count):
    ranks = [order.index(0) + 1 for order in permutations(range(count))]
    found = search_by_chance([count], protocol="full")
    assert found["mrr"] == pytest.approx(mrr(ranks))
    for k in (1, 5, 10):
        assert found[f"r_at_{k}"] == pytest.approx(r_at_k(ranks, k=k))


def test_protocols_and_depths_cut_chance_too():
    ranks = range(1, 3001)
    assert search_by_chance([3000], protocol="cut1000")["mrr_cut1000"] == pytest.approx(
        mrr(list(ranks), protocol="cut1000")
    )
    found = [rank if rank <= 7 else 0 for rank in ranks]  # a file names seven answers a query
    assert search_by_chance([3000], protocol="full", depth=7)["mrr"] == pytest.approx(mrr(found))
    assert search_by_chance([1000], protocol="distractors999").keys() == {
        f"{name}_distractors999" for name in ("mrr", "r_at_1", "r_at_5", "r_at_10")
    }
    assert search_by_chance([2, 4], protocol="full")["r_at_1"] == pytest.approx((1 / 2 + 1 / 4) / 2)
    assert 0 < search_by_chance([2**53], protocol="full")["mrr"] < 1e-13  # files may say anything


@pytest.mark.parametrize(("relevant", "others"), [(1, 4), (2, 5), (3, 5), (4, 4)])
def test_retrieval_by_chance_is_the_mean_of_all_orders(relevant, others):
    wanted = list(range(relevant))
    orders = list(permutations(range(others)))
    found = retrieval_by_chance([relevant, 0], num_others=others)  # the 0 has nothing to find
    assert found["map_at_r"] == pytest.approx(map_at_r(orders, [wanted] * len(orders)))
    shares = [len(set(order[:relevant]) & set(wanted)) / relevant for order in orders]
    assert found["r_precision"] == pytest.approx(fmean(shares))


def test_search_floor_has_the_protocol_s_names():
    assert search_floor(torch.tensor([1, 2]), protocol="cut1000")["mrr_cut1000"] == 0.75


def test_one_label_for_all():
    references = ["0", "0", "0", "1"]
    found = label_floors(references)
    assert found["majority"] == {"accuracy": 75.0, "f1": 0.0, "f1_tuned": 0.0}
    always = pytest.approx(f1(["1"] * 4, references))
    assert found["always_1"] == {"accuracy": 25.0, "f1": always, "f1_tuned": always}
    assert label_floors(["1", "1", "0"]).keys() == {"majority"}  # which is always 1


def test_a_score_at_a_tuned_threshold_has_the_floor_of_always_saying_1():
    """Tuning can always find that threshold, so `f1_tuned` no higher than that shows nothing."""
    floors = label_floors(["0", "0", "1", "0"])
    assert floors["always_1"]["f1_tuned"] == floors["always_1"]["f1"] == pytest.approx(0.4)
    assert floors["majority"]["f1_tuned"] == 0.0


@pytest.mark.parametrize(
    "floor",
    [
        lambda: retrieval_by_chance([0, 0], num_others=3),
        lambda: retrieval_by_chance([1], num_others=0),
        lambda: search_by_chance([], protocol="full"),
        lambda: search_by_chance([3, 0], protocol="full"),
        lambda: label_floors([]),
    ],
)
def test_nothing_to_score_is_no_floor(floor):
    """As the metrics themselves do: neither nan nor inf stands beside a score."""
    with pytest.raises(CodeftError, match="expected"):
        floor()
