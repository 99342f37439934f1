"""An empty field hides no full one, whatever the task."""

from __future__ import annotations

import pytest

from codeft.tasks.clone_detection import ClonePairsTask, CloneRetrievalTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.completion import CompletionTask
from codeft.tasks.defect_detection import DefectDetectionTask
from codeft.tasks.generation import GenerationTask
from codeft.tasks.pretraining import PretrainingTask
from codeft.tasks.refinement import RefinementTask
from codeft.tasks.summarization import SummarizationTask
from codeft.tasks.translation import TranslationTask
from codeft.types import CodeftError

PYTHON = {"language": "python"}
CODE = "def f(a):\n    return a"
EMPTY = ("", "  \n", None, [])
FULL = {  # task: what hides, what is hidden, what is read
    "docstring tokens": (
        SummarizationTask(),
        {"docstring_tokens"},
        {"docstring": "Adds one. \n\nMore.", "code": CODE, **PYTHON},
        (CODE, "Adds one ."),
    ),
    "both documentations": (
        SummarizationTask(),
        {"docstring_tokens", "docstring", "code"},
        {"target": "Adds one.", "source": CODE, **PYTHON},
        (CODE, "Adds one."),
    ),
    "only tokens": (
        SummarizationTask(),
        {"code", "source"},
        {"code_tokens": ["def", "f"], "docstring": "One.", **PYTHON},
        ("def f", "One ."),
    ),
    "translation": (
        TranslationTask(lang="java-cs"),
        {"java", "csharp"},
        {"source": "int a;", "cs": "var a;"},
        ("int a;", "var a;"),
    ),
    "refinement": (
        RefinementTask(),
        {"buggy", "fixed"},
        {"source": "int a;", "target": "int b;"},
        ("int a;", "int b;"),
    ),
    "generation": (GenerationTask(), {"nl", "code"}, {"source": "one", "target": "1"}, ("one", "1")),
    "completion": (
        CompletionTask(),
        {"input", "gt"},
        {"source": "<s> a <EOL>", "target": "b"},
        ("<s> a <EOL>", "b"),
    ),
    "search": (
        CodeSearchTask(),
        {"function", "query", "doc", "docstring_tokens"},
        {"code": CODE, "docstring": "One.", **PYTHON},
        (CODE, "One ."),
    ),
    "search by doc": (CodeSearchTask(), {"query"}, {"code": CODE, "doc": "one", **PYTHON}, (CODE, "one")),
    "defects": (DefectDetectionTask(), {"func", "target"}, {"code": "f", "label": 1}, ("f", "1")),
    "clone pairs": (ClonePairsTask(), {"label"}, {"code1": "f", "code2": "g", "target": 0}, ("f", "0")),
    "problems": (CloneRetrievalTask(), {"code"}, {"source": "f", "label": 3}, ("f", "3")),
    "pre-training": (
        PretrainingTask(parts={"spans": 1}),
        {"text", "docstring"},
        {"code": CODE, **PYTHON},
        (CODE, None),
    ),
    "pre-training with empty code": (
        PretrainingTask(parts={"docstring": 1}),
        {"code"},
        {"text": CODE, "docstring": "One.", **PYTHON},
        (CODE, None),
    ),
}


@pytest.mark.parametrize("empty", EMPTY, ids=repr)
@pytest.mark.parametrize(("task", "empties", "full", "read"), FULL.values(), ids=FULL)
def test_an_empty_field_hides_no_full_one(task, empties, full, read, empty):
    row = dict.fromkeys(empties, empty) | full
    example = task.read(row, where="rows.jsonl:3", input="code", labelled=True)
    assert (example.source, example.target) == read


def test_empty_tokens_are_made_of_the_code():
    row = {
        "code": 'def f(a):\n    """One."""\n    return a',
        "code_tokens": [],
        "docstring": "One.",
        **PYTHON,
    }
    example = SummarizationTask().read(row, where="r:1", input="code_tokens", labelled=True)
    assert example.source == "def f ( a ) : return a"
    with pytest.raises(CodeftError, match='"code_tokens" to be a list of texts, but found no such field'):
        SummarizationTask().read(
            {"code": CODE, "docstring": "One.", **PYTHON}, where="r:1", input="code_tokens", labelled=True
        )


@pytest.mark.parametrize("task", [SummarizationTask(lang="python"), CodeSearchTask(lang="python")])
def test_an_empty_language_is_the_one_that_was_typed(task):
    row = {"code": CODE, "docstring": "One.", "language": ""}
    assert task.read(row, where="r:1", input="code", labelled=True).lang == "python"


def test_an_empty_id_names_no_row():
    row = {"id": "", "idx": None, "index": 7, "func": "f", "target": 1}
    assert DefectDetectionTask().read(row, where="r:1", input="code", labelled=True).id == "7"
    row = {"id": None, "url": "", "code": CODE, "docstring": "One.", **PYTHON}
    assert SummarizationTask().read(row, where="r:1", input="code", labelled=True).id == "r:1"


@pytest.mark.parametrize("rows", [{"docstring": 5, "target": "x"}, {"docstring_tokens": 5, "docstring": "x"}])
def test_a_field_of_the_wrong_type_is_still_told(rows):
    with pytest.raises(CodeftError, match="r:1: expected"):
        SummarizationTask().read({"code": CODE, **PYTHON, **rows}, where="r:1", input="code", labelled=True)


def test_where_all_are_empty_the_text_is_empty():
    row = {"docstring_tokens": [], "docstring": "", "code": CODE, **PYTHON}
    assert SummarizationTask().read(row, where="r:1", input="code", labelled=True).target == ""
