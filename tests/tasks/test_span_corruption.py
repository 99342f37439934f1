"""What pre-training masks can be put back from its target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codeft.models.loading import load_tokenizer
from codeft.tasks.span_corruption import SpanCorruptionTask, random_spans
from codeft.types import CodeftError, Example

TEXT = "def find_apple(apple):\n    apple_0 = apple.get(1)\n    return apple_0\n"


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


def put_back(source: list[int], target: list[int], *, sentinels: set[int]) -> list[int]:
    """Replace each sentinel of the source by what follows it in the target; both end with an end mark."""
    spans: dict[int, list[int]] = {}
    for token in target[:-1]:
        if token in sentinels:
            current = spans.setdefault(token, [])
        else:
            current.append(token)
    return [token for place in source for token in spans.pop(place, [place])]


@pytest.mark.parametrize("density", [0.01, 0.15, 0.5, 0.9])
def test_masked_spans_can_be_put_back(tokenizer, density):
    task = SpanCorruptionTask(noise_density=density, max_target_length=200)
    (encoding,) = task.encode([Example("a", TEXT, None, "python")], tokenizer)
    sentinels = set(tokenizer.convert_tokens_to_ids([f"<extra_id_{i}>" for i in range(100)]))
    seen = set()
    for seed in range(20):
        masked = task.augment(encoding, np.random.default_rng(seed))
        assert masked.input_ids[-1] == masked.labels[-1] == tokenizer.eos_token_id
        source, target = masked.input_ids.tolist(), masked.labels.tolist()
        assert [t for t in source if t in sentinels] == [t for t in target if t in sentinels]
        assert put_back(source, target, sentinels=sentinels) == encoding.input_ids.tolist()
        seen.add(tuple(source))
    assert len(seen) > 10 or density == 0.01  # a single span always stands at the end


def test_a_documented_function_keeps_its_docstring_as_target(tokenizer):
    task = SpanCorruptionTask(docstring_share=1.0)
    row = {"text": '"Doc."\n' + TEXT, "code": TEXT, "docstring": "Find the apple.", "language": "py"}
    documented = task.read(row, where="a:1", input="code", labelled=True)
    assert (documented.source, documented.target, documented.lang) == (TEXT, "Find the apple.", "python")
    plain = task.read({"text": TEXT, "language": "py"}, where="a:2", input="code", labelled=True)
    encodings = task.encode([plain, documented, plain], tokenizer)  # one chunk holds both kinds
    assert [encoding.labels is None for encoding in encodings] == [True, False, True]
    assert tokenizer.decode(encodings[1].labels, skip_special_tokens=True) == "Find the apple."
    assert task.augment(encodings[1], np.random.default_rng(0)) is encodings[1]


def test_a_share_of_0_masks_all(tokenizer):
    row = {"text": TEXT, "code": TEXT, "docstring": "Find the apple.", "language": "python"}
    task = SpanCorruptionTask(docstring_share=0.0)
    assert task.read(row, where="a:1", input="code", labelled=True).target is None


@settings(deadline=None)
@given(
    length=st.integers(0, 400),
    density=st.floats(0.01, 0.99),
    mean_length=st.floats(1, 10),
    seed=st.integers(0, 9),
)
def test_random_spans(length, density, mean_length, seed):
    masked = random_spans(length, density=density, mean_length=mean_length, rng=np.random.default_rng(seed))
    assert len(masked) == length
    if length < 2:
        assert not masked.any()
        return
    assert not masked[0] and masked.sum() == min(max(round(length * density), 1), length - 1)
    assert (np.diff(masked.astype(int)) == 1).sum() <= 100  # there are only so many sentinels


@pytest.mark.parametrize(
    "values",
    [{"noise_density": 0.0}, {"noise_density": 1.0}, {"mean_span_length": 0.5}, {"docstring_share": 2}],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(CodeftError, match=next(iter(values))):
        SpanCorruptionTask(**values)
