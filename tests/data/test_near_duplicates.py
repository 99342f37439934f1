import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.data.near_duplicates import NearDuplicateIndex, contamination, jaccard, shingles

WORDS = [f"w{number}" for number in range(400)]


def set_of_shingles(text, size=5):
    tokens = text.lower().split()
    if not tokens:
        return set()
    size = min(size, len(tokens))
    return {tuple(tokens[place : place + size]) for place in range(len(tokens) - size + 1)}


def brute_jaccard(first, second):
    return set_jaccard(set_of_shingles(first), set_of_shingles(second))


def set_jaccard(a, b):
    return len(a & b) / len(a | b) if a | b else 1.0


def edited(words, random_numbers, num_edits):
    words = list(words)
    for _ in range(num_edits):
        words[random_numbers.randrange(len(words))] = random_numbers.choice(WORDS)
    return " ".join(words)


def families():
    """Texts, many of them edited copies of another one."""
    random_numbers = random.Random(0)
    texts = []
    for _ in range(24):
        words = random_numbers.choices(WORDS, k=random_numbers.randrange(6, 150))
        texts += [edited(words, random_numbers, num_edits) for num_edits in (0, 1, 2, 4, 8)]
    return texts


@given(st.lists(st.sampled_from("abc"), max_size=12), st.lists(st.sampled_from("abc"), max_size=12))
@settings(deadline=None)
def test_jaccard_equals_the_sets(first, second):
    first, second = " ".join(first), " ".join(second)
    assert jaccard(shingles(first), shingles(second)) == pytest.approx(brute_jaccard(first, second))


@given(st.text())
@settings(deadline=None)
def test_any_text_has_ascending_unique_shingles(text):
    hashes = shingles(text)
    assert hashes.dtype == np.uint64
    assert (hashes[1:] > hashes[:-1]).all()


def test_layout_and_case_do_not_count():
    assert jaccard(shingles("if (a == b) { return a; }"), shingles("IF(a==b){\n\treturn a;\n}")) == 1.0


@pytest.mark.parametrize("threshold", [0.75, 0.9])
def test_queries_equal_brute_force(threshold):
    texts = families()
    index = NearDuplicateIndex(threshold=threshold)
    for key, text in enumerate(texts):
        index.add(key, text)
    sets = [set_of_shingles(text) for text in texts]
    expected = found = 0
    for place, text in enumerate(texts):
        brute = {key for key, other in enumerate(sets) if set_jaccard(sets[place], other) >= threshold}
        matches = index.query(text)
        assert {match.key for match in matches} <= brute  # never a false one
        similarities = [match.similarity for match in matches]
        assert similarities == sorted(similarities, reverse=True)
        expected += len(brute)
        found += len(matches)
    assert found >= 0.995 * expected


def test_what_was_kept_has_no_near_duplicates():
    texts = families()
    index = NearDuplicateIndex(threshold=0.75)
    kept = [text for key, text in enumerate(texts) if index.add_unless_duplicate(key, text) is None]
    assert 0 < len(kept) < len(texts)
    assert len(index) == len(kept)
    sets = [set_of_shingles(text) for text in kept]
    pairs = [set_jaccard(a, b) for place, a in enumerate(sets) for b in sets[:place]]
    assert sum(similarity >= 0.75 for similarity in pairs) <= 1  # MinHash may miss a pair in hundreds


def test_two_runs_agree():
    texts = families()
    answers = []
    for _ in range(2):
        index = NearDuplicateIndex()
        answers.append([index.add_unless_duplicate(key, text) for key, text in enumerate(texts)])
    assert answers[0] == answers[1]


def test_empty_texts_resemble_nothing():
    index = NearDuplicateIndex()
    index.add("empty", " \n")
    assert len(index) == 0
    assert index.query("") == []
    assert index.add_unless_duplicate("x", "") is None


def test_contamination_names_the_nearest_row():
    body = "def f ( x ) : return g ( x ) + h ( x ) * 2 - k ( x )"
    found = contamination([body + " # a", "unrelated words here", body], evaluation=["other text", body])
    assert set(found) == {0, 2}
    assert found[2].key == 1 and found[2].similarity == 1.0


@pytest.mark.parametrize("threshold", [0, -1, 1.1])
def test_threshold_out_of_range(threshold):
    with pytest.raises(ValueError, match="threshold"):
        NearDuplicateIndex(threshold=threshold)
