from __future__ import annotations

import random
from difflib import SequenceMatcher

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.metrics.edit_similarity import (
    difflib_ratios,
    edit_similarity,
    edit_similarity_indel,
    indel_ratios,
)
from codeft.metrics.exact_match import completion_exact_match, exact_match_split
from codeft.metrics.literals import restore_literals
from codeft.types import CodeftError

texts = st.text(st.sampled_from("ab (;\u00e9\x00\ud800"), max_size=12)


def fewest_edits(a: str, b: str) -> int:
    """Insertions and deletions by the textbook's table."""
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, start=1):
        row, above = [i], row
        for j, y in enumerate(b, start=1):
            row.append(above[j - 1] if x == y else 1 + min(above[j], row[j - 1]))
    return row[-1]


@settings(deadline=None)
@given(texts, texts)
def test_indel_is_the_table_s(a, b):
    a, b = a.strip(), b.strip()
    expected = 1 - fewest_edits(a, b) / (len(a) + len(b)) if a or b else 1
    assert indel_ratios([a], [b]) == [round(100 * expected)]


@settings(deadline=None)
@given(texts, texts)
def test_difflib_never_finds_more(a, b):
    (ratio,) = difflib_ratios([a], [b])
    assert 0 <= ratio <= indel_ratios([a], [b])[0] <= 100
    assert ratio == 100 or a.strip() != b.strip()


@pytest.mark.parametrize(
    ("prediction", "reference", "difflib", "indel"),
    [
        ("", "", 100, 100),
        ("", "x", 0, 0),
        (" x ;\r\n", "x ;", 100, 100),
        ("a" * 300, "a" * 300, 100, 100),
        ("x" + "a" * 299, "a" * 299, 0, 100),  # difflib leaves out what is frequent in a long reference
        ("abcd", "bcda", 75, 75),
        ("x = '<STR_LIT:a>'", "x = 'a'", 100, 100),
    ],
)
def test_by_hand(prediction, reference, difflib, indel):
    assert edit_similarity([prediction], [reference]) == difflib
    assert edit_similarity_indel([prediction], [reference]) == indel


def test_halves_are_rounded_as_python_rounds():
    pairs = [("a" * i, "a" * i + "b" * j) for i in range(1, 40) for j in range(40)]
    expected = [round(100 * SequenceMatcher(None, a, b).ratio()) for a, b in pairs]
    assert difflib_ratios(*zip(*pairs, strict=True)) == expected == indel_ratios(*zip(*pairs, strict=True))


@pytest.mark.parametrize(
    ("text", "restored"),
    [
        ("<NUM_LIT> <STR_LIT> <CHAR_LIT>", "0  "),
        ('"<STR_LIT:a\nb>" <CHAR_LIT:c> <NUM_LIT:1.5>', '"a\nb" c 1.5'),
        ("<STR_LIT:a<NUM_LIT>b>", "a0b"),
        ("<STR_LIT:> <EOL> <s> a < b > c", " <EOL> <s> a < b > c"),
        ("<STR_LIT:unclosed", "<STR_LIT:unclosed"),
    ],
)
def test_literals(text, restored):
    assert restore_literals(text) == restored


def test_literals_count_as_what_they_stand_for():
    assert exact_match_split(["<NUM_LIT:0>"], ["<NUM_LIT>"]) == 0
    assert completion_exact_match(["<NUM_LIT:0>"], ["<NUM_LIT>"]) == 100


@pytest.mark.parametrize("metric", [edit_similarity, edit_similarity_indel, completion_exact_match])
def test_refuses_unequal_numbers(metric):
    with pytest.raises(CodeftError, match="1 predictions and 2 references"):
        metric(["a"], ["a", "b"])
    with pytest.raises(CodeftError, match="nothing to score"):
        metric([], [])


def test_every_record_counts_the_same():
    rng = random.Random(0)
    pairs = [("".join(rng.choices("ab;", k=5)), "".join(rng.choices("ab;", k=5))) for _ in range(20)]
    one_by_one = [edit_similarity([a], [b]) for a, b in pairs]
    assert edit_similarity(*zip(*pairs, strict=True)) == sum(one_by_one) / 20
