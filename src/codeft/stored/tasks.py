"""What each task's stored predictions are scored by: the one table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from codeft.metrics.scoring import COMPLETION_SCORERS, TEXT_SCORERS, TextScorer
from codeft.stored.base import AbstractStoredPredictions
from codeft.stored.labels import StoredLabels
from codeft.stored.rankings import StoredRetrieval, StoredSearch
from codeft.stored.texts import StoredTexts


def code_scorers(lang: str) -> Mapping[str, TextScorer]:
    """Return the metrics that parse code, by name, for the language that predictions are written in.

    CodeBLEU belongs here: a `TextScorer` for each mode, its signature naming the grammar's version, with
    `statistics` if a paired bootstrap is wanted.

    Args:
        lang: As typed in `lang=`.
    """
    return {}


STORED_TASKS: Mapping[str, Sequence[AbstractStoredPredictions]] = {
    "summarization": [StoredTexts(TEXT_SCORERS, numbered=True)],
    "translation": [StoredTexts(TEXT_SCORERS, copies=True, language_scorers=code_scorers)],
    "refinement": [StoredTexts(TEXT_SCORERS, copies=True, language_scorers=code_scorers)],
    "generation": [
        StoredTexts(TEXT_SCORERS, reference_fields=("reference", "code"), language_scorers=code_scorers)
    ],
    "completion": [StoredTexts(COMPLETION_SCORERS, reference_fields=("reference", "gt"))],
    "code_search": [StoredSearch(), StoredLabels()],
    "clone_detection": [StoredRetrieval(), StoredLabels(names=("f1", "precision", "recall", "accuracy"))],
    "defect_detection": [StoredLabels()],
}
"""The layouts that a task's predictions may have, by the task's name; the first that fits is taken."""

ANY_TEXTS: Sequence[AbstractStoredPredictions] = [StoredTexts(TEXT_SCORERS)]
"""What is taken where no task is named."""
