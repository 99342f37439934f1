"""Generation: its rows and what it is scored by."""

from __future__ import annotations

import pytest

from codeft.tasks.generation import GenerationTask
from codeft.types import CodeftError, Example

PLACE = {"where": "test.json:1", "input": "code"}


@pytest.mark.parametrize("names", [("nl", "code"), ("source", "target")])
def test_rows(names):
    fields = dict(zip(names, ("adds concode_field_sep int a", "int f ( ) { }"), strict=True))
    example = GenerationTask().read(fields, **PLACE, labelled=True)
    assert example == Example("test.json:1", "adds concode_field_sep int a", "int f ( ) { }")
    assert GenerationTask().read(fields, **PLACE, labelled=False).target is None


def test_code_is_no_description():
    with pytest.raises(CodeftError, match=r'test\.json:1: expected a field "nl" or "source"'):
        GenerationTask().read({"code": "int f ( ) { }"}, **PLACE, labelled=False)


def test_metrics_are_of_the_language():
    metrics = GenerationTask(lang="py").metrics()
    assert metrics.keys() == {"corpus_bleu", "exact_match_split", "codebleu"}
    assert "|lang:python|" in metrics["codebleu"].signature
    assert "|lang:java|" in GenerationTask().metrics()["codebleu"].signature
