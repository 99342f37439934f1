"""Source and target together hold the text, in nine languages."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.models import loading
from codeft.objectives.sentinels import hide, put_back
from codeft.syntax import LANGUAGES
from codeft.tasks.pretraining import PretrainingTask
from codeft.types import Example
from syntax_snippets import SNIPPETS

LAYOUTS = st.sampled_from(["t5", "ast_t5"])
SENTINELS = list(range(1_000, 1_100))


@given(
    st.lists(st.integers(2, 9), max_size=60),
    st.randoms(use_true_random=False),
    st.sampled_from(["t5", "ast_t5"]),
)
def test_what_was_hidden_can_be_put_back(ids, draws, layout):
    masked = np.array([draws.random() < 0.4 for _ in ids], dtype=bool)
    kept = [i for i in range(1, len(ids)) if not masked[i - 1] and not masked[i]]
    gaps = draws.sample(kept, len(kept) // 3) if layout == "t5" else []
    hidden = hide(
        np.array(ids, dtype=int), masked, sentinels=SENTINELS, end=1, layout=layout, gaps=sorted(gaps)
    )
    assert put_back(hidden.source.tolist(), hidden.target.tolist(), sentinels=SENTINELS) == ids
    assert hidden.num_left_open == 0
    visible = [token for token in hidden.source.tolist() if token < 1_000]
    assert visible == [token for token, is_masked in zip(ids, masked, strict=True) if not is_masked]


def test_what_lacks_a_sentinel_stays_open():
    masked = np.arange(8) % 2 == 0
    hidden = hide(np.arange(8), masked, sentinels=[90, 91], end=99)
    assert hidden.source.tolist() == [90, 1, 91, 3, 4, 5, 6, 7] and hidden.target.tolist() == [
        90,
        0,
        91,
        2,
        99,
    ]
    assert hidden.num_left_open == 2


def test_equal_parts_share_a_sentinel_of_ast_t5():
    masked = np.array([1, 1, 0, 1, 0, 1, 1, 0], dtype=bool)
    hidden = hide(np.array([5, 6, 7, 8, 7, 5, 6, 7]), masked, sentinels=[90, 91, 92], end=1, layout="ast_t5")
    assert hidden.source.tolist() == [91, 7, 92, 7, 91, 7]
    assert hidden.target.tolist() == [90, 91, 5, 6, 92, 8, 90]


@pytest.fixture(scope="module")
def tokenizer():
    return loading.load_tokenizer(loading.find_folder("asset:mini"))


@pytest.mark.parametrize("lang", LANGUAGES)
@pytest.mark.parametrize("part", ["subtrees", "spans"])
def test_source_and_target_give_a_program_back(tokenizer, lang, part):
    sentinels = [tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>") for i in range(100)]

    @settings(max_examples=25, deadline=None)
    @given(
        st.integers(0, 2**32),
        st.integers(8, 60),
        st.sampled_from(["t5", "ast_t5"]),
        st.booleans(),
        st.text(max_size=9),
    )
    def check(seed, length, layout, as_published, more):
        text = SNIPPETS[lang] + more
        task = PretrainingTask(
            parts={part: 1},
            max_source_length=length,
            max_target_length=10 * length,
            layout=layout,
            as_published=as_published,
        )
        example = Example("x", text, None, lang)
        (pieces,) = task.pieces([example], tokenizer, rngs=[np.random.default_rng(seed)])
        ids = []
        for piece in pieces:
            assert len(piece.input_ids) <= length
            ids += put_back(piece.input_ids[:-1].tolist(), piece.labels.tolist(), sentinels=sentinels)
        assert tokenizer.decode(ids) == text

    check()
