"""How rows become sub-tokens: offsets behind a prefix, and what counts as cut."""

from __future__ import annotations

import pytest

from codeft.models.loading import load_tokenizer
from codeft.tasks.summarization import SummarizationTask
from codeft.tasks.translation import TranslationTask
from codeft.types import CodeftError, Example

SOURCE = "  naïve = '日本' # get\n"


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


@pytest.mark.parametrize("prefix", ["", "Summarize Python: ", "é"])
def test_offsets_point_into_the_source_whatever_the_prefix(tokenizer, prefix):
    task = SummarizationTask(prefix=prefix)
    (encoding,) = task.encode([Example("a", SOURCE, "x")], tokenizer)
    assert tokenizer.decode(encoding.input_ids, skip_special_tokens=True) == prefix + SOURCE
    covered = set()
    for start, end in encoding.offsets.tolist():
        assert (start, end) == (-1, -1) or 0 <= start < end <= len(SOURCE)
        covered |= set(range(start, end)) if start >= 0 else set()
    assert covered == set(range(len(SOURCE)))
    assert encoding.offsets[-1].tolist() == [-1, -1]  # the end mark
    assert not encoding.truncated


def test_only_what_was_cut_counts_as_cut(tokenizer):
    example = Example("a", "x = 1", "Find it")
    sizes = [len(tokenizer(text)["input_ids"]) for text in (example.source, example.target)]
    for less, cut in (((0, 0), False), ((1, 0), True), ((0, 1), True)):
        task = SummarizationTask(max_source_length=sizes[0] - less[0], max_target_length=sizes[1] - less[1])
        (encoding,) = task.encode([example], tokenizer)
        assert encoding.truncated is cut
        assert (len(encoding.input_ids), len(encoding.labels)) == (sizes[0] - less[0], sizes[1] - less[1])


def test_without_a_target_there_are_no_labels(tokenizer):
    (encoding,) = SummarizationTask().encode([Example("a", SOURCE)], tokenizer)
    assert encoding.labels is None
    assert SummarizationTask().encode([], tokenizer) == []


def test_the_docstring_is_the_reference_and_never_stands_in_the_source():
    code = 'def f(x):\n    """Return x.\n\n    More.\n    """\n    return x\n'
    row = {"code": code, "docstring": "Return x.\n\nMore.", "language": "Python"}
    example = SummarizationTask().read(row, where="a:1", input="code", labelled=True)
    assert (example.source, example.target, example.lang) == (
        "def f(x):\n    return x\n",
        "Return x .",
        "python",
    )
    assert SummarizationTask(lang="java").read(row, where="a:1", input="code", labelled=True) is None


@pytest.mark.parametrize("lang", ["java", "java-java", "java-cs-go", "java-pyhton", "c#-csharp"])
def test_a_pair_must_be_two_languages(lang):
    with pytest.raises(CodeftError, match=r"java-cs or cs-java|Did you mean 'python'"):
        TranslationTask(lang=lang)


def test_a_missing_field_is_told_with_its_place():
    with pytest.raises(CodeftError, match=r'rows\.jsonl:3: expected a field "java" or "source"'):
        TranslationTask().read({"cs": "int x;"}, where="rows.jsonl:3", input="code", labelled=True)
