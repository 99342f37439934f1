from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from codeft.metrics import ngrams
from codeft.metrics.ngrams import match_characters, match_words

texts = st.lists(st.sampled_from(["a", "b", "long", "\n", "\ud800"]), max_size=9).map(" ".join) | st.text()
pairs = st.lists(st.tuples(texts, texts), max_size=6)


def slow_matches(prediction, reference, max_order: int) -> list[int]:
    """Count by the standard library's multisets."""
    counts = []
    for order in range(1, max_order + 1):
        own, other = (
            Counter(tuple(units[i : i + order]) for i in range(len(units) - order + 1))
            for units in (prediction, reference)
        )
        counts.append((own & other).total())
    return counts


@given(pairs, st.sampled_from([1, 8, 1 << 18]), st.sampled_from([16, 62]))
def test_equal_multisets_however_blocks_and_numbers_fall(rows, block, bits) -> None:
    own, other = [prediction for prediction, _ in rows], [reference for _, reference in rows]
    before = ngrams._BLOCK, ngrams._KEY_BITS
    ngrams._BLOCK, ngrams._KEY_BITS = block, bits
    try:
        words, characters = match_words(own, other, max_order=4), match_characters(own, other, max_order=6)
    finally:
        ngrams._BLOCK, ngrams._KEY_BITS = before
    split = [(prediction.split(), reference.split()) for prediction, reference in rows]
    assert words.matches.tolist() == [slow_matches(*pair, max_order=4) for pair in split]
    assert words.lengths.tolist() == [len(prediction) for prediction, _ in split]
    assert words.reference_lengths.tolist() == [len(reference) for _, reference in split]
    joined = [("".join(prediction), "".join(reference)) for prediction, reference in split]
    assert characters.matches.tolist() == [slow_matches(*pair, max_order=6) for pair in joined]


def test_words_are_cut_as_asked() -> None:
    assert match_words(
        ["a.b"], ["b.c"], max_order=1, split=lambda text: text.split(".")
    ).matches.tolist() == [[1]]
