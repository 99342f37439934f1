"""The best constant text: fast scores against the metrics themselves, searches against brute force."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from codeft.metrics import corpus_bleu, edit_similarity, edit_similarity_indel, smoothed_bleu
from codeft.metrics.constant_texts import (
    BEST_TARGET,
    CONSTANT_SEARCHES,
    GROWN_WORDS,
    MOST_ROWS,
    CorpusBLEUSearch,
    EditSimilaritySearch,
    SmoothedBLEUSearch,
    best_target,
    find_constants,
    grow_words,
)

REFERENCES = [
    "Returns the name .",
    "returns the size of it, it's 2",
    "",
    "a a b",
    "x",
    "close the file the file .",
]
CODE = ["return x ;", "int f ( ) { return x ; }", "", "x", "return return x ;", "<NUM_LIT:1> + <STR_LIT>"]
SEARCHES = [
    (SmoothedBLEUSearch, smoothed_bleu, REFERENCES),
    (CorpusBLEUSearch, corpus_bleu, CODE),
    (EditSimilaritySearch, edit_similarity_indel, CODE),
]


@pytest.mark.parametrize(("kind", "metric", "references"), SEARCHES)
def test_a_constant_scores_as_the_metric_says(kind, metric, references):
    search = kind(references)
    texts = ["", "the", "the the the", *references, "returns the name of it . x ;", "nothing of that"]
    words = [search.split(text) for text in texts]
    expected = [metric([" ".join(each)] * len(references), references) for each in words]
    np.testing.assert_allclose(search.scores(words), expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize(("kind", "metric", "references"), SEARCHES)
def test_the_best_target_is_the_best_of_all(kind, metric, references):
    targets = [*references, "returns the file .", "return x ;", "x ;", "x"]
    scores = [metric([text] * len(references), references) for text in targets]
    assert (
        best_target(targets, kind(references))
        == targets[int(np.argmax(np.array(scores) > max(scores) - 1e-9))]
    )


@pytest.mark.parametrize(("kind", "metric", "references"), SEARCHES)
def test_each_step_is_the_best_insertion(kind, metric, references):
    """Brute force: all words at all places, scored by the metric itself, until none helps."""
    search = kind(references)
    vocabulary = list(dict.fromkeys(word for reference in references for word in search.split(reference)))
    vocabulary.sort(key=lambda word: -sum(word in search.split(reference) for reference in references))

    def score(words):
        return metric([" ".join(words)] * len(references), references)

    words: list[str] = []
    while True:
        longer = [[*words[:i], word, *words[i:]] for word, i in product(vocabulary, range(len(words) + 1))]
        best = max(map(score, longer))
        if best <= score(words) + 1e-9:
            break
        words = next(each for each in longer if score(each) > best - 1e-9)
    assert grow_words(search) == words


def test_a_worked_example():
    """One of two rows is hit whole: (1 + score of "b c" against "a b") / 2, by hand."""
    search = SmoothedBLEUSearch(["a b", "b c"])
    half = (1 / 2 * 1 / 2 * 1 * 1) ** 0.25  # one of two words, no pair of one: (0 + 1)/(1 + 1)
    assert search.scores([["a", "b"]])[0] == pytest.approx(50 * (1 + half))
    assert grow_words(search, most=2) == ["a", "b"]


def test_promising_targets_stand_for_all_where_there_are_many():
    references = [f"returns the {word} of the row ." for word in ("name", "size", "path", "key")] * 5
    targets = [f"w{i} v{i} u{i}" for i in range(SmoothedBLEUSearch.most_targets)] + [
        "returns the name of it ."
    ]
    assert best_target(targets, SmoothedBLEUSearch(references)) == "returns the name of it ."


def test_growth_ends_once_enough_was_tried(monkeypatch):
    references = ["a b c d e f g h", "a b c d e f g h"]
    whole = grow_words(SmoothedBLEUSearch(references))
    monkeypatch.setattr(SmoothedBLEUSearch, "most_words", 20)
    assert whole == references[0].split() and len(grow_words(SmoothedBLEUSearch(references))) == 2


def test_equal_rows_give_equal_constants_and_equal_scores_the_first():
    first = find_constants(["b", "a"], ["a", "b"], metric="smoothed_bleu")
    assert first[BEST_TARGET] == "b" and first == find_constants(
        ["b", "a"], ["a", "b"], metric="smoothed_bleu"
    )


def test_many_rows_are_thinned_evenly():
    references = ["a b c d"] * MOST_ROWS + ["x y"] * MOST_ROWS * 2
    assert find_constants(["a b c d", "x y"], references, metric="smoothed_bleu")[BEST_TARGET] == "x y"


@pytest.mark.parametrize("metric", [*CONSTANT_SEARCHES, "a metric of one's own"])
def test_nothing_comes_of_nothing(metric):
    assert find_constants([], ["a"], metric=metric) == find_constants(["a"], [], metric=metric) == {}
    assert find_constants(["", " "], ["", ""], metric=metric).keys() == {BEST_TARGET, GROWN_WORDS}


def test_indel_stands_in_for_difflib():
    references = ["( self ) :", "( self , x ) :", "return x"]
    found = find_constants(references, references, metric="edit_similarity")
    assert found[BEST_TARGET] == max(references, key=lambda text: edit_similarity([text] * 3, references))


def test_what_scores_every_published_summary_of_ruby(shared_data):
    """A sentence picked on 200 validation rows is worth 9.05 on all 1,261 test rows; frequent words 9.72."""
    import json

    folder = shared_data / "summarization" / "csn_ruby"
    valid, test = (
        [
            " ".join(" ".join(json.loads(line)["docstring_tokens"]).split())
            for line in (folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
        ]
        for split in ("valid", "test")
    )
    found = find_constants(valid[200:], valid[:200], metric="smoothed_bleu")
    scores = {name: round(smoothed_bleu([text] * len(test), test), 2) for name, text in found.items()}
    assert found[BEST_TARGET] == "Returns the object as a hash ."
    assert scores == {BEST_TARGET: 9.05, GROWN_WORDS: 9.72}
