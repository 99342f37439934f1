"""BM25 against its formula, written out slowly."""

from __future__ import annotations

import json
import logging
import math
from random import Random

import pytest

from codeft.metrics import mrr
from codeft.metrics.bm25 import K1, B, rank_by_bm25, sub_words
from codeft.metrics.ranking import BATCH_CANDIDATES
from codeft.types import CodeftError


def slow_rank(
    query: str, candidates: list[str], target: int, among: list[int] | None = None
) -> tuple[int, bool]:
    documents = [sub_words(candidate) for candidate in candidates]
    mean = sum(map(len, documents)) / len(documents)

    def score(document: list[str]) -> float:
        total = 0.0
        for word in sub_words(query):
            having, times = sum(word in other for other in documents), document.count(word)
            weight = math.log(1 + (len(documents) - having + 0.5) / (having + 0.5))
            total += weight * times / (times + K1 * (1 - B + B * len(document) / mean))
        return total

    scores = {i: score(documents[i]) for i in (range(len(documents)) if among is None else among)}
    rivals = [value for i, value in scores.items() if i != target]
    level = sum(math.isclose(value, scores[target], abs_tol=1e-12) for value in rivals)
    above = sum(value > scores[target] + 1e-12 for value in rivals)
    return 1 + above + level, level > 0


def random_texts(count: int, rng: Random, *, words: int) -> list[str]:
    return [" ".join(f"w{rng.randrange(words)}_x" for _ in range(rng.randrange(1, 8))) for _ in range(count)]


def test_ranks_equal_the_formula_s():
    rng = Random(1)
    queries, candidates = random_texts(40, rng, words=12), random_texts(25, rng, words=12)
    targets = [rng.randrange(25) for _ in queries]
    found = rank_by_bm25(queries, candidates=candidates, targets=targets)
    expected = [slow_rank(query, candidates, target) for query, target in zip(queries, targets, strict=True)]
    assert list(zip(found.ranks.tolist(), found.tied.tolist(), strict=True)) == expected
    assert found.num_candidates == 25


def test_batches_have_their_own_targets_as_candidates():
    rng = Random(2)
    candidates = random_texts(60, rng, words=30)
    queries = random_texts(BATCH_CANDIDATES + 3, rng, words=30)
    targets = [rng.randrange(50) for _ in queries]  # ten are nobody's
    found = rank_by_bm25(queries, candidates=candidates, targets=targets, in_batches=True)
    among = sorted(set(targets[:BATCH_CANDIDATES]))
    for row in range(0, BATCH_CANDIDATES, 100):
        rank, tied = slow_rank(queries[row], candidates, targets[row], among)
        assert (int(found.ranks[row]), bool(found.tied[row])) == (rank, tied)
    assert (len(found.ranks), found.num_left_out) == (BATCH_CANDIDATES, 3)
    with pytest.raises(CodeftError, match="at least 1,000 queries, got 2"):
        rank_by_bm25(["a", "b"], candidates=["a", "b"], targets=[0, 1], in_batches=True)


def test_what_has_no_word_in_common_is_last():
    found = rank_by_bm25(["größe", "", "?"], candidates=["getGröße()", "b", "c"], targets=[0, 1, 2])
    assert found.ranks.tolist() == [1, 3, 3] and found.tied.tolist() == [False, True, True]
    assert rank_by_bm25(["a"], candidates=["", "{}"], targets=[0]).ranks.tolist() == [2]
    with pytest.raises(CodeftError, match="at least 1 queries, got 0"):
        rank_by_bm25([], candidates=["a"], targets=[])


def test_equal_functions_tie():
    assert rank_by_bm25(["a"], candidates=["a b", "a b", "c"], targets=[0]).ranks.tolist() == [2]


def test_ruby_by_words_alone(shared_data):
    from codeft.tasks.code_search import CodeSearchTask

    task = CodeSearchTask(lang="ruby")
    lines = (
        (shared_data / "summarization" / "csn_ruby" / "test.jsonl").read_text(encoding="utf-8").splitlines()
    )
    rows = [task.read(json.loads(line), where="r", input="code", labelled=True) for line in lines]
    found = rank_by_bm25(
        [row.others[0].source for row in rows],
        candidates=[row.source for row in rows],
        targets=list(range(len(rows))),
    )
    assert round(mrr(found.ranks), 3) == 0.481


def test_the_library_says_nothing_of_what_it_does(caplog):
    with caplog.at_level(logging.DEBUG):
        rank_by_bm25(["open file"], candidates=["open_file", "sort"], targets=[0])
    assert not caplog.records
