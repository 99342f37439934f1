"""What each task's stored predictions are scored by: the one table."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from pathlib import Path

from codeft.metrics.coco import CIDEr, RougeL
from codeft.metrics.codebleu import codebleu_signature, codebleu_statistics
from codeft.metrics.scoring import COMPLETION_SCORERS, TEXT_SCORERS
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.labels import StoredLabels
from codeft.stored.rankings import StoredRetrieval, StoredSearch
from codeft.stored.ranks import StoredHits, StoredRanks
from codeft.stored.texts import StoredTexts
from codeft.syntax import LANGUAGES, language_name
from codeft.types import CodeftError


def code_scores(predictions: Sequence[str], references: Sequence[str], *, lang: str) -> dict[str, Score]:
    """Return the scores that parse code: CodeBLEU with its parts, in the modes `fixed` and `reference`.

    Args:
        predictions: Code that a model made, one text a record.
        references: Reference code in the same order.
        lang: What it is written in, as typed in `lang=`.

    Returns:
        By name; none where there is no grammar for the language.

    Raises:
        CodeftError: The language seems to be misspelt, or there is nothing to score.
    """
    target = language_name(lang.split("-")[-1])  # of a translation's pair
    if target not in LANGUAGES:
        return {}
    by_mode = codebleu_statistics(predictions, references, lang=target, modes=("fixed", "reference"))
    scores = {}
    for mode, by_name in by_mode.items():
        signature = codebleu_signature(target, mode=mode)
        for name, statistics in by_name.items():
            own = name if mode == "fixed" else name.replace("codebleu", f"codebleu_{mode}", 1)
            scores[own] = Score(statistics.value(), signature, statistics)
    return scores


_CLONES = [
    StoredHits(),
    StoredRetrieval(),
    StoredLabels(names=("f1", "precision", "recall", "accuracy")),
]

STORED_TASKS: Mapping[str, Sequence[AbstractStoredPredictions]] = {
    "summarization": [StoredTexts(TEXT_SCORERS, numbered=True, caption_names=(RougeL.name, CIDEr.name))],
    "translation": [StoredTexts(TEXT_SCORERS, copies=True, language_scores=code_scores)],
    "refinement": [StoredTexts(TEXT_SCORERS, copies=True, language_scores=code_scores)],
    "generation": [
        StoredTexts(TEXT_SCORERS, reference_fields=("reference", "code"), language_scores=code_scores)
    ],
    "completion": [StoredTexts(COMPLETION_SCORERS, reference_fields=("reference", "gt"))],
    "code_search": [StoredRanks(), StoredSearch(), StoredLabels()],
    "clone_detection": _CLONES,
    "clone_detection_poj104": _CLONES,
    "defect_detection": [StoredLabels()],
}
"""The layouts that a task's predictions may have, by the task's name; the first that fits is taken."""

ANY_TEXTS: Sequence[AbstractStoredPredictions] = [StoredTexts(TEXT_SCORERS, numbered=True)]
"""What is taken where no task is named."""


def score_own_predictions(path: Path, *, task: str, threshold: float | None = None) -> Scored:
    """Score what a run of codeft's wrote; which further scores there would be was said when it ended.

    Args:
        path: Its predictions.
        task: The task's name.
        threshold: What the run tuned, where its task tunes one.

    Raises:
        CodeftError: There is no such file, it can't be read, or the task has no scores of one.
    """
    if not path.is_file():
        raise CodeftError(f"there is no {path}")
    layout = next((layout for layout in STORED_TASKS.get(task, ()) if layout.fits(path)), None)
    if layout is None:
        raise CodeftError(f"task={task} has no scores of stored predictions")
    hints, level = logging.getLogger("codeft.stored"), logging.getLogger("codeft.stored").level
    hints.setLevel(logging.WARNING)
    try:
        return layout.score(Files(path, threshold=threshold if layout.takes_threshold else None))
    finally:
        hints.setLevel(level)
