"""Scores that the published evaluators printed on files of their own, to every digit they printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from codeft.metrics import (
    completion_exact_match,
    corpus_bleu,
    edit_similarity,
    edit_similarity_indel,
    exact_match,
    exact_match_split,
    smoothed_bleu,
)
from codeft.stored.base import Files, Scored
from codeft.stored.pairs import read_pairs, read_texts
from codeft.stored.reading import read_lines
from codeft.stored.tasks import STORED_TASKS


@pytest.mark.parametrize(
    ("predictions", "references", "bleu", "matches"),
    [
        ("translation/predictions.txt", "translation/references.txt", 61.08, 50.0),
        ("translation/java-cs-model1.output", "translation/java-cs-model1.gold", 77.46, 56.1),
        ("translation/cs-java-model1.output", "translation/cs-java-model1.gold", 71.99, 57.9),
        ("refinement/predictions.txt", "refinement/references.txt", 79.03, 40.0),
        ("refinement/small-model.output", "refinement/small-model.gold", 77.42, 16.4),
        ("refinement/medium-model.output", "refinement/medium-model.gold", 91.07, 5.16),
    ],
)
def test_translation_and_refinement(
    shared_data: Path, predictions: str, references: str, bleu: float, matches: float
) -> None:
    folder = shared_data / "golden" / "codexglue"
    pairs = read_pairs(folder / predictions, folder / references)
    assert round(corpus_bleu(*pairs), 2) == bleu
    assert round(exact_match(*pairs), 2) == matches


@pytest.mark.parametrize("name", ["test_0", "test_1", "no_postprocess/test_0", "no_postprocess/test_1"])
def test_graphcodebert_translation(shared_data: Path, name: str) -> None:
    folder = shared_data / "golden" / "graphcodebert_translation"
    printed = dict(re.findall(r"^(\w+): ([\d.]+)$", (folder / f"{name}_all_metrics.txt").read_text(), re.M))
    pairs = read_pairs(folder / f"{name}.output", folder / f"{name}.gold")
    assert f"{corpus_bleu(*pairs):.2f}" == printed["BLEU"]
    assert f"{exact_match(*pairs):.2f}" == printed["EM"]


def test_summarization(shared_data: Path) -> None:
    folder = shared_data / "golden" / "codexglue" / "code_to_text"
    pairs = read_pairs(folder / "predictions.txt", folder / "reference.txt", numbered=True)
    assert smoothed_bleu(*pairs) == pytest.approx(9.554726113590661, rel=1e-15)


def test_text_to_code(shared_data: Path) -> None:
    folder = shared_data / "golden" / "codexglue" / "text_to_code"
    pairs = read_pairs(folder / "predictions.txt", folder / "answers.json", reference_fields=("code",))
    assert round(corpus_bleu(*pairs), 2) == 16.68
    assert exact_match_split(*pairs) == 17.0


def test_method_generation(shared_data: Path) -> None:
    folder = shared_data / "golden" / "codexglue" / "method_generation"
    pairs = read_pairs(folder / "predictions.txt", folder / "answers.txt")
    assert round(corpus_bleu(*pairs), 2) == 1.97
    assert round(edit_similarity(*pairs), 2) == 27.98
    assert round(edit_similarity_indel(*pairs), 2) == 37.53  # what tells the two backends apart


@pytest.mark.parametrize(
    ("sources", "references", "bleu"),
    [
        (
            "refinement/bugs2fix_small/test.buggy-fixed.buggy",
            "refinement/bugs2fix_small/test.buggy-fixed.fixed",
            78.06,
        ),
        ("translation/test.java-cs.txt.java", "translation/test.java-cs.txt.cs", 18.69),
    ],
)
def test_naive_copy(shared_data: Path, sources: str, references: str, bleu: float) -> None:
    copies = read_lines(shared_data / sources)
    targets = read_texts(shared_data / references, fields=("reference",))
    assert round(corpus_bleu(copies, targets), 2) == bleu
    assert exact_match(copies, targets) == 0


def test_completion(shared_data: Path) -> None:
    folder = shared_data / "golden" / "codexglue" / "completion_line"
    pairs = read_pairs(folder / "predictions.txt", folder / "answers.json", reference_fields=("gt",))
    assert round(edit_similarity(*pairs), 2) == round(edit_similarity_indel(*pairs), 2) == 43.8
    assert completion_exact_match(*pairs) == 0


def rescore(folder: Path, task: str, predictions: str, references: str) -> Scored:
    """Score two files as `codeft.evaluate task=` does."""
    files = Files(folder / predictions, folder / references)
    return next(layout for layout in STORED_TASKS[task] if layout.fits(files.predictions)).score(files)


@pytest.mark.parametrize(
    ("task", "predictions", "references", "printed"),
    [
        ("code_search", "advtest/predictions.jsonl", "advtest/test.jsonl", {"mrr": "0.4233"}),
        (
            "code_search",
            "webquery/webquery_predictions.txt",
            "webquery/webquery_answers.txt",
            {"accuracy": "40"},
        ),
        ("clone_detection", "poj104/predictions.jsonl", "poj104/answers.jsonl", {"map_at_r": "0.5833"}),
        ("clone_detection", "poj104/predictions.jsonl", "poj104/test.jsonl", {"map_at_r": "0.5833"}),
        ("defect_detection", "defect/predictions.txt", "defect/test.jsonl", {"accuracy": "60"}),
        (
            "completion",
            "completion_line/predictions.txt",
            "completion_line/answers.json",
            {"edit_similarity": "43.80", "exact_match_split": "0.00"},
        ),
        (
            "generation",
            "text_to_code/predictions.txt",
            "text_to_code/answers.json",
            {"corpus_bleu": "16.68", "exact_match_split": "17.0"},
        ),
        (
            "refinement",
            "refinement/predictions.txt",
            "refinement/references.txt",
            {"corpus_bleu": "79.03", "exact_match": "40.00"},
        ),
        (
            "refinement",
            "refinement/small-model.output",
            "refinement/small-model.gold",
            {"corpus_bleu": "77.42", "exact_match": "16.40"},
        ),
        (
            "refinement",
            "refinement/medium-model.output",
            "refinement/medium-model.gold",
            {"corpus_bleu": "91.07", "exact_match": "5.16"},
        ),
        (
            "translation",
            "translation/predictions.txt",
            "translation/references.txt",
            {"corpus_bleu": "61.08", "exact_match": "50.00"},
        ),
        (
            "translation",
            "translation/java-cs-model1.output",
            "translation/java-cs-model1.gold",
            {"corpus_bleu": "77.46", "exact_match": "56.10"},
        ),
        (
            "translation",
            "translation/cs-java-model1.output",
            "translation/cs-java-model1.gold",
            {"corpus_bleu": "71.99", "exact_match": "57.90"},
        ),
        (
            "summarization",
            "code_to_text/predictions.txt",
            "code_to_text/reference.txt",
            {"smoothed_bleu": "9.55472611359066"},
        ),
    ],
)
def test_rescored(
    shared_data: Path, task: str, predictions: str, references: str, printed: dict[str, str]
) -> None:
    scores = rescore(shared_data / "golden" / "codexglue", task, predictions, references).scores
    found = {name: f"{scores[name].value:.{len(text.partition('.')[2])}f}" for name, text in printed.items()}
    assert found == printed


def test_naive_copy_stands_beside_refinement(shared_data: Path) -> None:
    folder = shared_data / "refinement" / "bugs2fix_small"
    buggy, fixed = folder / "test.buggy-fixed.buggy", folder / "test.buggy-fixed.fixed"
    gold = shared_data / "golden" / "codexglue" / "refinement" / "small-model.gold"
    assert [line.strip() for line in read_lines(gold)] == [line.strip() for line in read_lines(fixed)]
    (layout,) = STORED_TASKS["refinement"]
    scored = layout.score(Files(gold.with_suffix(".output"), gold, buggy))
    assert round(scored.scores["corpus_bleu"].value, 2) == 77.42
    assert round(scored.floors["naive_copy"]["corpus_bleu"], 2) == 78.06
