from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codeft.data.data_flow_feature import KEYS, DataFlowFeature, sub_token_spans
from codeft.syntax import LANGUAGES
from codeft.types import CodeftError, Encoding, Example

PYTHON = "def f(a):\n    long = a + 1\n    return long"


def encoded(source, spans):
    offsets = np.array([(-1, -1), *spans, (-1, -1)], dtype=np.int32)
    return Encoding(np.zeros(len(offsets), dtype=np.int32), offsets)


def words(source, *, width):
    """Sub-tokens of at most `width` characters, none over white space."""
    spans, start = [], 0
    for i, letter in enumerate(source):
        if letter.isspace():
            start = i + 1
            continue
        if i - start == width or not letter.isalnum() or not source[i - 1 : i].isalnum():
            start = i
            spans.append((i, i + 1))
        else:
            spans[-1] = (start, i + 1)
    return spans


def test_nodes_and_edges_by_hand():
    """Sub-tokens: <s> def f ( a ) : lo ng = a + 1 return lo ng </s>."""
    encoding = encoded(PYTHON, words(PYTHON, width=2))
    texts = [PYTHON[a:b] for a, b in encoding.offsets]
    assert " ".join(texts[1:-1]) == "de f f ( a ) : lo ng = a + 1 re tu rn lo ng"
    arrays = DataFlowFeature().compute(Example("1", PYTHON, lang="python"), encoding)
    nodes = list(zip(arrays["flow_start"].tolist(), arrays["flow_end"].tolist(), strict=True))
    assert nodes == [(5, 6), (8, 10), (11, 12), (13, 14), (17, 19)]  # a, long, a, 1, long
    edges = list(zip(arrays["flow_target"].tolist(), arrays["flow_source"].tolist(), strict=True))
    assert edges == [(1, 2), (1, 3), (2, 0), (4, 1)]


def test_what_is_cut_off_or_too_much_is_left_out():
    whole = words(PYTHON, width=2)
    cut = DataFlowFeature().compute(Example("1", PYTHON, lang="python"), encoded(PYTHON, whole[:10]))
    assert cut["flow_start"].tolist() == [5, 8] and cut["flow_end"].tolist() == [6, 10]
    assert not cut["flow_target"].size
    few = DataFlowFeature(max_nodes=3).compute(Example("1", PYTHON, lang="python"), encoded(PYTHON, whole))
    assert few["flow_start"].tolist() == [5, 8, 11]
    assert list(zip(few["flow_target"], few["flow_source"], strict=True)) == [(1, 2), (2, 0)]


def test_a_batch_is_padded_and_never_empty():
    feature = DataFlowFeature()
    arrays = [
        feature.compute(Example("1", source, lang=lang), encoded(source, words(source, width=9)))
        for source, lang in ((PYTHON, "python"), ("a = b", "python"), ("what adds two", ""))
    ]
    batch = feature.collate(arrays, length=20)
    assert batch["flow_start"].shape == batch["flow_end"].shape == (3, 5)
    assert batch["flow_target"].shape == batch["flow_source"].shape == (3, 4)
    assert batch["flow_start"][2].tolist() == [-1] * 5
    assert feature.collate(arrays[2:], length=20)["flow_target"].tolist() == [[-1]]
    assert feature.note() == "0 of 2 sources have no data flow"
    assert "no text here is in a programming language" in DataFlowFeature().note()


@pytest.mark.parametrize("lang", LANGUAGES)
@given(source=st.text(max_size=60), width=st.integers(1, 9), cut=st.integers(0, 20))
def test_any_text_gives_a_graph_of_its_sub_tokens(lang, source, width, cut):
    encoding = encoded(source, words(source, width=width)[:cut])
    arrays = DataFlowFeature(max_nodes=4).compute(Example("1", source, lang=lang), encoding)
    start, end, target, from_ = (arrays[key] for key in KEYS)
    assert len(start) == len(end) <= 4 and len(target) == len(from_)
    assert ((start >= 1) & (start < end) & (end < len(encoding.offsets))).all()
    if len(target):
        assert max(target.max(), from_.max()) < len(start) and min(target.min(), from_.min()) >= 0


GAPS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), max_size=12)


@given(GAPS, st.integers(0, 40), st.integers(0, 9))
def test_spans_are_those_of_a_search_one_by_one(gaps, start, length):
    spans, at = [], 0
    for gap, width in gaps:
        spans.append((at + gap, at + gap + width))
        at += gap + width
    spans = [span for span in spans if span[1] > 0]
    offsets = np.array([(-1, -1), *spans, (-1, -1)])
    [[first, last]] = sub_token_spans([(start, start + length)], offsets).tolist()
    inside = {i for i, (a, b) in enumerate(offsets.tolist()) if b > start and 0 <= a < start + length}
    assert set(range(first, last)) == inside


def test_no_nodes_is_an_error():
    with pytest.raises(CodeftError, match=r"data_flow.max_nodes must be at least 1, not 0"):
        DataFlowFeature(max_nodes=0)
