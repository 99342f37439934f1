"""Scores that the published evaluators printed on files of their own, to every digit they printed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from codeft.metrics import corpus_bleu, exact_match, exact_match_split, smoothed_bleu
from codeft.stored.pairs import read_pairs, read_texts
from codeft.stored.reading import read_lines


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
    assert round(corpus_bleu(*read_pairs(folder / "predictions.txt", folder / "answers.txt")), 2) == 1.97


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
