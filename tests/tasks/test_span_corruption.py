"""What pre-training masks can be put back from its target."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models
from transformers import PreTrainedTokenizerFast

from codeft.models.loading import load_tokenizer
from codeft.tasks.span_corruption import SpanCorruptionTask, count_masked, random_spans
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
    assert len(seen) > 10


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


NOISE = {
    "length": st.integers(0, 400),
    "density": st.floats(0.01, 0.99),
    "mean_length": st.floats(1, 10),
    "most": st.integers(1, 100),
}


@settings(deadline=None)
@given(**NOISE, seed=st.integers(0, 9))
def test_random_spans(length, density, mean_length, most, seed):
    noise = {"density": density, "mean_length": mean_length, "most": most}
    masked = random_spans(length, **noise, rng=np.random.default_rng(seed))
    num_masked, num_spans = count_masked(length, **noise)
    starts = np.diff(masked.astype(int), prepend=0) == 1  # adjacent spans would count as one
    assert (len(masked), masked.sum(), starts.sum()) == (length, num_masked, num_spans)
    if length < 2:
        assert num_masked == 0
    else:
        assert num_masked == min(max(round(length * density), 1), length - 1)
        assert 1 <= num_spans <= most


@pytest.mark.parametrize(("length", "density"), [(2, 0.5), (9, 0.15), (20, 0.5), (20, 0.9)])
def test_any_sub_token_can_be_masked_and_any_kept(length, density):
    draws = [
        random_spans(length, density=density, mean_length=3, rng=np.random.default_rng(seed))
        for seed in range(300)
    ]
    assert np.any(draws, axis=0).all()
    assert not np.all(draws, axis=0).any()


@settings(deadline=None, max_examples=50)
@given(
    lines=st.integers(0, 6),
    density=st.floats(0.01, 0.99),
    mean_length=st.floats(1, 10),
    longest=st.integers(2, 40),
    seed=st.integers(0, 9),
)
def test_lengths_after_masking_are_known_before(tokenizer, lines, density, mean_length, longest, seed):
    task = SpanCorruptionTask(
        noise_density=density, mean_span_length=mean_length, max_source_length=48, max_target_length=longest
    )
    examples = [Example("a", "x = 1\n" * lines, None), Example("b", "x = 1", "Set x.")]
    for encoding in task.encode(examples, tokenizer):
        masked = task.augment(encoding, np.random.default_rng(seed))
        assert task.training_lengths(encoding) == (len(masked.input_ids), len(masked.labels))


def test_what_was_cut_is_counted_and_an_exact_fit_is_not(tokenizer):
    length, target_length = (len(tokenizer(text)["input_ids"]) for text in (TEXT, "Find the apple."))
    examples = [Example("a", TEXT, None), Example("b", "x", "Find the apple.")]
    for shorter, cut in ((0, False), (1, True)):
        task = SpanCorruptionTask(
            max_source_length=length - shorter, max_target_length=target_length - shorter
        )
        assert [encoding.truncated for encoding in task.encode(examples, tokenizer)] == [cut, cut]


def test_a_tokenizer_without_sentinels_is_an_error(tokenizer):
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "</s>": 1, "x": 2}, unk_token="<unk>"))
    plain = PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>", eos_token="</s>")
    with pytest.raises(CodeftError, match=r"needs a tokenizer with sentinels <extra_id_0> to <extra_id_99>"):
        SpanCorruptionTask().encode([Example("a", "x", None)], plain)


@pytest.mark.parametrize(
    "values",
    [{"noise_density": 0.0}, {"noise_density": 1.0}, {"mean_span_length": 0.5}, {"docstring_share": 2}],
)
def test_values_out_of_range_are_refused(values):
    with pytest.raises(CodeftError, match=next(iter(values))):
        SpanCorruptionTask(**values)
