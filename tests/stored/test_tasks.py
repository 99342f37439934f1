"""The table of tasks: what each one's stored predictions are scored by."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

import codeft
from codeft.metrics import codebleu, codebleu_signature
from codeft.stored.base import Files, Score
from codeft.stored.tasks import ANY_TEXTS, STORED_TASKS
from codeft.stored.texts import StoredTexts

DOCUMENT = Path(codeft.__file__).parents[2] / "docs" / "metrics.md"


@pytest.fixture
def files(tmp_path: Path) -> Files:
    for name, text in {"p": "a b\n\n", "r": "a b\nc\n", "s": "a b\nc\n"}.items():
        (tmp_path / name).write_text(text)
    return Files(tmp_path / "p", tmp_path / "r", tmp_path / "s")


TEXTS = {name: layouts[0] for name, layouts in STORED_TASKS.items() if isinstance(layouts[0], StoredTexts)}


@pytest.mark.parametrize("task", TEXTS)
def test_every_score_has_a_documented_signature_and_statistics(task, files):
    scored = TEXTS[task].score(dataclasses.replace(files, sources=None))
    text = DOCUMENT.read_text(encoding="utf-8")
    for name, score in scored.scores.items():
        assert score.signature.startswith(f"{name}|")
        assert f"`{score.signature}`" in text
        assert score.statistics is not None
    assert scored.num_empty == 1
    assert scored.references == ["a b", "c"]
    assert scored.floors == {}


@pytest.mark.parametrize("task", ["translation", "refinement"])
def test_the_naive_copy_stands_beside(task, files):
    copied = TEXTS[task].score(files).floors["naive_copy"]
    assert copied["exact_match"] == 100
    assert "corpus_bleu" in copied


def test_a_language_brings_its_own_scores(files):
    asked = []

    def of_language(predictions, references, *, lang):
        asked.append(lang)
        return {"parsed": Score(float(predictions == references), "parsed|v:1")}

    layout = dataclasses.replace(TEXTS["generation"], language_scores=of_language)
    assert "parsed" not in layout.score(files).scores
    scored = layout.score(dataclasses.replace(files, lang="java"))
    assert asked == ["java", "java"]
    assert (scored.scores["parsed"].value, scored.scores["parsed"].statistics) == (0, None)
    assert scored.floors["naive_copy"]["parsed"] == 1


@pytest.mark.parametrize("task", ["translation", "refinement", "generation"])
@pytest.mark.parametrize("lang", ["cs", "java-cs"])
def test_code_is_scored_by_codebleu_in_two_modes(task, lang, tmp_path):
    (tmp_path / "p").write_text("int F(int b) { return b; }\n\n")
    (tmp_path / "r").write_text("int F(int a) { return a; }\nint x = y;\n")
    layout = TEXTS[task]
    scored = layout.score(Files(tmp_path / "p", tmp_path / "r", tmp_path / "r", lang))
    for prefix, mode in (("codebleu", "fixed"), ("codebleu_reference", "reference")):
        score = codebleu(["int F(int b) { return b; }", ""], scored.references, lang="csharp", mode=mode)
        parts = {"": score.codebleu, "_ngram": score.ngram, "_weighted_ngram": score.weighted_ngram}
        parts |= {"_ast": score.ast, "_dataflow": score.dataflow}
        for part, value in parts.items():
            found = scored.scores[prefix + part]
            assert found.value == pytest.approx(value)
            assert found.signature == codebleu_signature("csharp", mode=mode)
            assert found.statistics is not None
        assert scored.floors["naive_copy"][prefix] == pytest.approx(100)


def test_the_last_layout_takes_any_file(files):
    for layouts in (*STORED_TASKS.values(), ANY_TEXTS):
        assert layouts[-1].fits(files.predictions)
