"""What runs of search and retrieval store of their own rankings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from codeft.metrics.bootstrap import paired_bootstrap
from codeft.stored.base import Files
from codeft.stored.ranks import StoredHits, StoredRanks
from codeft.types import CodeftError


def write(path: Path, rows: list[dict]) -> Files:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return Files(path)


def found(rank: int, **fields) -> dict:
    """A query among 2,000 candidates whose target is `t`."""
    answers = [f"c{i}" for i in range(1, 11)]
    if rank <= 10:
        answers[rank - 1] = "t"
    row = {"id": f"q{rank}", "idx": "t", "answers": answers, "rank": rank, "tied": False, "candidates": 2000}
    return row | {"protocol": "full", "deduplicated": False} | fields


def values(scored) -> dict[str, float]:
    return {name: score.value for name, score in scored.scores.items()}


def test_ranks_give_every_score(tmp_path):
    files = write(tmp_path / "p.jsonl", [found(1), found(4, tied=True), found(1500), found(11)])
    assert StoredRanks().fits(files.predictions)
    scored = StoredRanks().score(files)
    assert values(scored) == pytest.approx(
        {
            "mrr": (1 + 1 / 4 + 1 / 1500 + 1 / 11) / 4,
            "mrr_cut1000": (1 + 1 / 4 + 1 / 11) / 4,
            "r_at_1": 1 / 4,
            "r_at_5": 2 / 4,
            "r_at_10": 2 / 4,
            "ties": 1,
        }
    )
    assert scored.scores["mrr"].signature == "mrr|protocol:full|ties:pessimistic|dedup:no|range:0-1|v:1"
    assert scored.references[1] == ("q4", "t")


def test_protocols_keep_their_names(tmp_path):
    """Ranks in batches say nothing of ranks among all."""
    own = {"protocol": "distractors999", "deduplicated": True, "candidates": 1000}
    scored = StoredRanks().score(write(tmp_path / "p.jsonl", [found(2, **own)]))
    names = {f"{name}_distractors999" for name in ("mrr", "r_at_1", "r_at_5", "r_at_10")}
    assert scored.scores.keys() == names | {"ties"}
    assert "|dedup:yes|" in scored.scores["mrr_distractors999"].signature
    scored = StoredRanks().score(write(tmp_path / "p.jsonl", [found(1500, protocol="cut1000")]))
    assert values(scored)["mrr_cut1000"] == 0 and values(scored)["mrr"] == 1 / 1500


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"rank": 0}, "'rank' to be at least 1"),
        ({"rank": 2001}, "at most 2000, got 2001"),
        ({"rank": True}, "'rank'"),
        ({"rank": None}, "'rank'"),
        ({"rank": 3}, "expected t at its rank 3, got c3 there"),
        ({"candidates": "many"}, "'candidates'"),
        ({"tied": 1}, "'tied' to be true or false"),
        ({"protocol": "mine"}, "'protocol' out of full, cut1000, distractors999, got 'mine'"),
        ({"protocol": "cut1000"}, "the other rows' protocol"),
        ({"deduplicated": True}, "the other rows' protocol"),
        ({"answers": None}, "list of ids in 'answers'"),
        ({"idx": None}, "a text or a number"),
        ({"id": None}, "a text or a number"),
    ],
)
def test_ranks_that_are_none(tmp_path, fields, said):
    files = write(tmp_path / "p.jsonl", [found(1), found(2) | fields])
    with pytest.raises(CodeftError) as caught:
        StoredRanks().score(files)
    assert f"{files.predictions}:2: " in str(caught.value) and said in str(caught.value)


def test_further_files_are_refused(tmp_path):
    files = write(tmp_path / "p.jsonl", [found(1)])
    for name in ("references", "sources"):
        with pytest.raises(CodeftError, match=f"leave {name}=.* away"):
            StoredRanks().score(Files(files.predictions, **{name: tmp_path / "r.jsonl"}))


def hit(places: list[int], relevant: int = 3, **fields) -> dict:
    return {"id": f"{places}", "reference": "7", "answers": [], "relevant": relevant, "hits": places} | fields


def test_hits_give_map_at_r(tmp_path):
    files = write(tmp_path / "p.jsonl", [hit([1, 3]), hit([]), hit([1, 2, 3]), hit([], relevant=0)])
    assert StoredHits().fits(files.predictions) and not StoredRanks().fits(files.predictions)
    scored = StoredHits().score(files)
    expected = {"map_at_r": ((1 + 2 / 3) / 3 + 0 + 1) / 3, "r_precision": (2 / 3 + 1) / 3}
    assert values(scored) == pytest.approx(expected)
    assert scored.scores["map_at_r"].signature == "map_at_r|R:relevant|ties:pessimistic|range:0-1|v:1"
    assert len(scored.references) == 3


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"hits": [2, 1]}, "ascending places from 1 to 3"),
        ({"hits": [1, 1]}, "ascending"),
        ({"hits": [4]}, "ascending"),
        ({"hits": [0]}, "ascending"),
        ({"hits": ["1"]}, "ascending"),
        ({"hits": [1.0]}, "ascending"),
        ({"hits": 1}, "ascending"),
        ({"relevant": -1}, "'relevant' to be at least 0"),
        ({"reference": None}, "a text or a number"),
    ],
)
def test_hits_that_are_none(tmp_path, fields, said):
    files = write(tmp_path / "p.jsonl", [hit([1]), hit([1]) | fields])
    with pytest.raises(CodeftError) as caught:
        StoredHits().score(files)
    assert f"{files.predictions}:2: " in str(caught.value) and said in str(caught.value)


def test_nothing_to_score(tmp_path):
    with pytest.raises(CodeftError, match="something relevant"):
        StoredHits().score(write(tmp_path / "p.jsonl", [hit([], relevant=0)]))


def test_two_runs_are_compared_query_by_query(tmp_path):
    first = StoredRanks().score(write(tmp_path / "a.jsonl", [found(4, id=str(i)) for i in range(40)]))
    second = StoredRanks().score(write(tmp_path / "b.jsonl", [found(2, id=str(i)) for i in range(40)]))
    assert first.references == second.references
    statistics = [
        {name: score.statistics for name, score in scored.scores.items() if score.statistics is not None}
        for scored in (first, second)
    ]
    differences = paired_bootstrap(*statistics)
    assert differences["mrr"].difference == pytest.approx(0.25)
    assert "ties" not in differences


@pytest.mark.parametrize(
    "fields",
    [
        {"rank": 10**30, "candidates": 10**31},
        {"answers": ["t"], "rank": 2},
        {"answers": ["t", "t"], "rank": 2},
        {"answers": ["t", "a", "b"], "rank": 1, "candidates": 2},
        {"answers": ["a", "b"], "rank": 1},
    ],
)
def test_answers_and_ranks_that_contradict_each_other(tmp_path, fields):
    with pytest.raises(CodeftError, match=r"p.jsonl:1: expected"):
        StoredRanks().score(write(tmp_path / "p.jsonl", [found(1) | fields]))
