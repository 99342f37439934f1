from __future__ import annotations

import math
import re
import sys
from xml.sax.saxutils import unescape

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics.bleu import corpus_bleu, smoothed_bleu
from codeft.types import CodeftError

words = st.sampled_from(
    ["the", "The", "a", "b", "get_id", "x;", "don't", "3.14", "&lt;", "ß", "\x00", "\ud800", "\n"]
)
sentences = st.one_of(st.lists(words, max_size=12).map(" ".join), st.text(max_size=30))
pairs = st.lists(st.tuples(sentences, sentences), min_size=1, max_size=8)


def published_words(text: str) -> list[str]:
    """The published scorer's two steps, one after the other: words from punctuation, then mteval-v11a."""
    text = " ".join(re.findall(r"\w+|[^\s\w]", text.strip().lower()))
    text = re.sub(r"\n", " ", re.sub(r"-\n", "", text.replace("<skipped>", "")))
    text = f" {unescape(text, {'&quot;': chr(34)})} ".lower()
    text = re.sub(r"([{-~[-` -&(-+:-@/])", r" \1 ", text)
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def slow_counts(hypothesis: list[str], reference: list[str], n: int) -> tuple[int, int]:
    """Matched and possible n-grams, by crossing each match off a list."""
    left = [reference[i : i + n] for i in range(len(reference) - n + 1)]
    matched = possible = 0
    for i in range(len(hypothesis) - n + 1):
        possible += 1
        if hypothesis[i : i + n] in left:
            left.remove(hypothesis[i : i + n])
            matched += 1
    return matched, possible


def slow_smoothed_bleu(predictions: list[str], references: list[str]) -> float:
    tiny = sys.float_info.min
    scores = []
    for prediction, reference in zip(predictions, references, strict=True):
        hypothesis, gold = published_words(prediction), published_words(reference)
        logs = 0.0
        for n in range(1, 5):
            matched, possible = slow_counts(hypothesis, gold, n)
            plus = 0 if n == 1 else 1
            logs += math.log(matched + plus + tiny) - math.log(possible + plus + tiny)
        scores.append(math.exp(logs / 4 + min(0, 1 - (len(gold) + 1) / (len(hypothesis) + 1))))
    return 100 * sum(scores) / len(scores)


def slow_corpus_bleu(predictions: list[str], references: list[str]) -> float:
    rows = [(p.split(), r.split()) for p, r in zip(predictions, references, strict=True)]
    precision = 1.0
    for n in range(1, 5):
        counts = [slow_counts(hypothesis, gold, n) for hypothesis, gold in rows]
        precision *= (sum(m for m, _ in counts) + 1) / (sum(p for _, p in counts) + 1)
    made, wanted = sum(len(h) for h, _ in rows), sum(len(g) for _, g in rows)
    if made < wanted:
        precision *= math.exp(1 - wanted / made) ** 4 if made else 0.0
    return 100 * precision**0.25


@pytest.mark.parametrize(
    ("prediction", "reference", "expected"),
    [
        (
            "return the size",
            "returns the size of it",
            100 * (2 / 3 * 2 / 3 * 1 / 2) ** 0.25 * math.exp(1 - 6 / 4),
        ),
        ("the the the", "the cat", 100 * (1 / 3 * 1 / 3 * 1 / 2) ** 0.25),  # clipped: "the" counts once
        (
            "a longer text than that",
            "a",
            100 * (1 / 5 * 1 / 5 * 1 / 4 * 1 / 3) ** 0.25,
        ),  # length isn't punished
        ("GET_ID", "get _ id", 100.0),  # case, and the underscore is a token of its own
        ("&lt;b&gt;", "& lt ; b & gt ;", 100.0),  # entities are cut before they could be unescaped
        ("don't", "don ' t", 100.0),
        ("nothing", "shared", 0.0),
        ("", "one two", 100 * math.exp(-2)),
        (" \n", "one two", 100 * math.exp(-2)),
        ("", "", 100.0),
        ("word", "", 0.0),
    ],
)
def test_smoothed_bleu_by_hand(prediction: str, reference: str, expected: float) -> None:
    assert smoothed_bleu([prediction], [reference]) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize(
    ("predictions", "references", "expected"),
    [
        # unigrams 2/3, bigrams 0/2, trigrams 0/1, none of four, each with 1 added above and below
        (["return x ;"], ["return y ;"], 100 * (3 / 4 * 1 / 3 * 1 / 2 * 1 / 1) ** 0.25),
        # counts add up over records, and so do lengths
        (["a b", "c"], ["a b", "c d"], 100 * (4 / 4 * 2 / 2) ** 0.25 * math.exp(1 - 4 / 3)),
        (["A"], ["a"], 100 * (1 / 2) ** 0.25),  # case counts
        (["a\tb\u2003c"], ["a b c"], 100.0),  # any white space splits
        (["a ;"], ["a;"], 100 * (1 / 3 * 1 / 2) ** 0.25),  # and nothing else does
        ([""], ["a b"], 0.0),
        (["", ""], ["", ""], 100.0),
        (["a"], [""], 100 * (1 / 2) ** 0.25),
    ],
)
def test_corpus_bleu_by_hand(predictions: list[str], references: list[str], expected: float) -> None:
    assert corpus_bleu(predictions, references) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None)
@given(pairs)
def test_equal_a_slow_implementation(rows: list[tuple[str, str]]) -> None:
    predictions, references = [p for p, _ in rows], [r for _, r in rows]
    assert smoothed_bleu(predictions, references) == pytest.approx(
        slow_smoothed_bleu(predictions, references), abs=1e-9
    )
    assert corpus_bleu(predictions, references) == pytest.approx(
        slow_corpus_bleu(predictions, references), abs=1e-9
    )


@settings(deadline=None)
@given(pairs, st.randoms(use_true_random=False))
@pytest.mark.parametrize("metric", [smoothed_bleu, corpus_bleu])
def test_order_of_rows_is_free(metric, rows, random) -> None:
    shuffled = rows.copy()
    random.shuffle(shuffled)
    score = metric(*map(list, zip(*rows, strict=True)))
    assert metric(*map(list, zip(*shuffled, strict=True))) == pytest.approx(score, abs=1e-9)
    assert 0 <= score <= 100 + 1e-9


@settings(deadline=None)
@given(st.lists(sentences, min_size=1, max_size=8))
@pytest.mark.parametrize("metric", [smoothed_bleu, corpus_bleu])
def test_identity_scores_100(metric, texts: list[str]) -> None:
    assert metric(texts, texts) == pytest.approx(100, abs=1e-9)


def test_a_line_break_shifts_no_pair() -> None:
    predictions, references = ["a\nb\r\nc", "d e"], ["a b c", "d e"]
    assert corpus_bleu(predictions, references) == smoothed_bleu(predictions, references) == 100


@pytest.mark.parametrize("metric", [smoothed_bleu, corpus_bleu])
def test_refuses_what_has_no_pairs(metric) -> None:
    with pytest.raises(CodeftError, match="2 predictions and 1 references"):
        metric(["a", "b"], ["a"])
    with pytest.raises(CodeftError, match="nothing to score"):
        metric([], [])
    with pytest.raises(CodeftError, match="single text"):
        metric("a", "a")
