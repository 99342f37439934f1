"""Refinement: its rows and what it is scored by."""

from __future__ import annotations

import pytest

from codeft.metrics import codebleu
from codeft.tasks.refinement import RefinementTask
from codeft.types import CodeftError, Example

PLACE = {"where": "rows.jsonl:1", "input": "code"}


@pytest.mark.parametrize("names", [("buggy", "fixed"), ("source", "target")])
def test_rows(names):
    fields = dict(zip(names, ("int a ; ", "int b ; "), strict=True)) | {"id": 7}
    example = RefinementTask().read(fields, **PLACE, labelled=True)
    assert example == Example("7", "int a ; ", "int b ; ", "java")
    assert RefinementTask().read(fields, **PLACE, labelled=False).target is None
    with pytest.raises(CodeftError, match=r'rows\.jsonl:1: expected a field "fixed" or "target"'):
        RefinementTask().read({"buggy": "int a ;"}, **PLACE, labelled=True)


def test_the_naive_copy_stands_beside():
    sources, references = ["int a ;", "int f ( ) { return 1 ; }"], ["int a ;", "int f ( ) { return 2 ; }"]
    rows = zip("ab", sources, references, strict=True)
    copied = RefinementTask(lang="cs").floors([Example(*row) for row in rows])["naive_copy"]
    assert copied["exact_match"] == 50
    assert copied["codebleu"] == codebleu(sources, references, lang="csharp").codebleu
    assert copied["corpus_bleu"] > 70


def test_an_unknown_language_is_told():
    with pytest.raises(CodeftError, match="Did you mean 'java'"):
        RefinementTask(lang="jvaa")


def test_the_published_naive_copy(shared_data):
    folder = shared_data / "refinement" / "bugs2fix_small"
    lines = (
        (folder / f"test.buggy-fixed.{side}").read_text().rstrip("\n").split("\n")
        for side in ("buggy", "fixed")
    )
    task = RefinementTask()
    rows = [
        task.read({"buggy": buggy, "fixed": fixed}, **PLACE, labelled=True)
        for buggy, fixed in zip(*lines, strict=True)
    ]
    copied = task.floors(rows)["naive_copy"]
    assert round(copied["corpus_bleu"], 2) == 78.06
    assert copied["exact_match"] == 0
