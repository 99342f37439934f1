"""Languages that there is no grammar for are text, or an error that says how they become it."""

from __future__ import annotations

import pytest

from codeft.tasks.clone_detection import ClonePairsTask
from codeft.tasks.code_search import CodeSearchTask
from codeft.tasks.completion import CompletionTask
from codeft.tasks.defect_detection import DefectDetectionTask
from codeft.tasks.generation import GenerationTask
from codeft.tasks.marks import MARKS
from codeft.tasks.refinement import RefinementTask
from codeft.tasks.summarization import SummarizationTask
from codeft.tasks.translation import TranslationTask
from codeft.types import CodeftError

KOTLIN = "fun f(a: Int) = a + 1"


def read(task, fields):
    return task.read(fields, where="rows.jsonl:3", input="code", labelled=True)


@pytest.mark.parametrize("task", [SummarizationTask(), CodeSearchTask()])
@pytest.mark.parametrize("language", ["kotlin", "Rust", "typescript", "sql"])
def test_code_that_nothing_can_be_cut_out_of_is_told_how_to_become_text(task, language):
    with pytest.raises(CodeftError) as error:
        read(task, {"code": KOTLIN, "docstring": "Adds one.", "language": language})
    said = str(error.value)
    assert said.startswith("rows.jsonl:3: ") and repr(language.lower()) in said
    assert '"source" and "target"' in said and "no tree" in said and "no CodeBLEU" in said
    assert "mean" not in said
    with pytest.raises(CodeftError, match=r'expected a field "language".*"source" and "target"'):
        read(task, {"code": KOTLIN, "docstring": "Adds one."})


@pytest.mark.parametrize("task", [SummarizationTask(), CodeSearchTask()])
def test_source_and_target_are_taken_as_they_are(task):
    for language in ({}, {"language": "kotlin"}):
        example = read(task, {"source": KOTLIN, "target": "Adds one.", **language})
        assert (example.source, example.target, example.lang) == (KOTLIN, "Adds one.", "")


def test_rows_are_chosen_by_a_language_without_a_grammar():
    task = SummarizationTask(lang="Kotlin")
    row = {"source": KOTLIN, "target": "Adds one."}
    assert read(task, {**row, "language": "kotlin"}) is not None is not read(task, row)
    assert read(task, {**row, "language": "java"}) is None


@pytest.mark.parametrize(
    ("task", "fields"),
    [
        (TranslationTask(lang="java-kotlin"), {"java": "int a;", "kotlin": KOTLIN}),
        (TranslationTask(lang="java-Kotlin"), {"source": "int a;", "target": KOTLIN}),
        (GenerationTask(lang="sql"), {"nl": "all rows", "code": "SELECT *"}),
        (RefinementTask(lang="rust"), {"buggy": "fn f()", "fixed": "fn g()"}),
        (CompletionTask(lang="kotlin"), {"input": "fun", "gt": "f()"}),
    ],
)
def test_text_tasks_are_scored_without_a_grammar(task, fields, caplog):
    example = read(task, fields)
    assert example.lang in ("", "java")
    metrics = task.metrics()
    assert metrics and "codebleu" not in metrics
    floors = task.floors([example], constants={"best_target": "x"})
    assert floors and all("codebleu" not in scores for scores in floors.values())
    type(task)(lang=task.lang)
    assert "no grammar for" in caplog.text and "CodeBLEU" in caplog.text


@pytest.mark.parametrize("pair", ["kotlin-java", "java-kotlin", "kotlin-rust"])
def test_only_text_in_known_languages_is_marked(pair, tiny_tokenizer):
    from codeft.models.loading import load_tokenizer

    tokenizer = load_tokenizer(tiny_tokenizer)
    tokenizer.add_special_tokens({"extra_special_tokens": list(MARKS.values())})
    task = TranslationTask(lang=pair)
    [encoding] = task.encode([read(task, {"source": "a", "target": "b"})], tokenizer)
    assert encoding.start is None
    assert not set(encoding.input_ids) & set(tokenizer.convert_tokens_to_ids(list(MARKS.values())))


@pytest.mark.parametrize("task", [DefectDetectionTask, ClonePairsTask])
def test_labels_need_no_grammar(task):
    row = {"func": KOTLIN, "code1": KOTLIN, "code2": KOTLIN, "target": 1, "label": 1}
    assert read(task(lang="kotlin"), row).lang == ""


def test_a_pair_of_one_unknown_language_is_none():
    with pytest.raises(CodeftError, match="java-cs"):
        TranslationTask(lang="kotlin-Kotlin")
