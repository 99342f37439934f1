"""Stored texts: summaries, translations, repairs, generated functions and completed lines."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from codeft.data.jsonl import is_rows
from codeft.metrics.scoring import TextScorer
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.pairs import check_rows, pairs_of, read_pairs, read_texts
from codeft.stored.reading import StoredRow, read_json_rows


@final
@dataclass(frozen=True)
class StoredTexts(AbstractStoredPredictions):
    """One text a record, in line files or JSON Lines.

    Where there are sources, the naive copy (the source as the prediction) is scored beside the predictions.

    Attributes:
        scorers: The metrics by name.
        reference_fields: Where a JSON row holds its reference; the first that it has.
        source_fields: Where a JSON row holds its source; the first that it has.
        numbered: Whether lines may begin with a number and a tab.
        copies: Whether the naive copy is scored even where no sources were given but a run's own
            predictions hold them.
        copy_names: The metrics that the naive copy is scored by, and the language's own.
        language_scorers: Further metrics for a language that was asked for, by name.
    """

    scorers: Mapping[str, TextScorer]
    reference_fields: Sequence[str] = ("reference",)
    source_fields: Sequence[str] = ("source",)
    numbered: bool = False
    copies: bool = False
    copy_names: Collection[str] = ("corpus_bleu", "exact_match", "exact_match_split")
    language_scorers: Callable[[str], Mapping[str, TextScorer]] | None = None

    def fits(self, predictions: Path) -> bool:
        """Return True: any file holds texts."""
        return True

    def score(self, files: Files) -> Scored:
        """Read, pair and score."""
        path = files.predictions
        own = read_json_rows(path) if files.references is None and is_rows(path) else None
        if own is None:
            texts, references = read_pairs(
                path, files.references, reference_fields=self.reference_fields, numbered=self.numbered
            )
        else:
            texts, references = pairs_of(own, path=path, reference_fields=self.reference_fields)
        of_language: Mapping[str, TextScorer] = {}
        if files.lang is not None and self.language_scorers is not None:
            of_language = self.language_scorers(files.lang)
        baselines = {}
        sources = self._sources(files, references, own=own)
        if sources is not None:
            chosen = {name: scorer for name, scorer in self.scorers.items() if name in self.copy_names}
            copied = _score({**chosen, **of_language}, sources, references)
            baselines = {f"naive_copy_{name}": score.value for name, score in copied.items()}
        num_empty = sum(not text.strip() for text in texts)
        scores = _score({**self.scorers, **of_language}, texts, references)
        return Scored(scores, references, num_empty, baselines)

    def _sources(
        self, files: Files, references: Sequence[str], *, own: Sequence[StoredRow] | None
    ) -> list[str] | None:
        """Return what the model read; `own` are the predictions' rows where they hold all there is."""
        if files.sources is not None:
            sources = read_texts(files.sources, fields=self.source_fields)
            path = files.references or files.predictions
            check_rows(sources, references, predictions=files.sources, references=path)
            return sources
        if not self.copies or own is None:
            return None
        texts = [source for row in own if isinstance(source := row.fields.get("source"), str)]
        return texts if len(texts) == len(own) else None


def _score(
    scorers: Mapping[str, TextScorer], texts: Sequence[str], references: Sequence[str]
) -> dict[str, Score]:
    scores = {}
    for name, scorer in scorers.items():
        if scorer.statistics is None:
            scores[name] = Score(scorer.function(texts, references), scorer.signature)
        else:
            statistics = scorer.statistics(texts, references)
            scores[name] = Score(statistics.value(), scorer.signature, statistics)
    return scores
