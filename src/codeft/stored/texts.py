"""Stored texts: summaries, translations, repairs, generated functions and completed lines."""

from __future__ import annotations

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Protocol, final

from codeft.data.jsonl import is_rows
from codeft.metrics import coco
from codeft.metrics.floors import NAIVE_COPY
from codeft.metrics.scoring import COCO_SCORERS, TextScorer
from codeft.stored.base import AbstractStoredPredictions, Files, Score, Scored
from codeft.stored.pairs import check_rows, pairs_of, read_pairs, read_texts
from codeft.stored.reading import StoredRow, read_json_rows

log = logging.getLogger(__name__)


class LanguageScores(Protocol):
    """Scores of texts in a language."""

    def __call__(
        self, predictions: Sequence[str], references: Sequence[str], *, lang: str
    ) -> Mapping[str, Score]:
        """Return the scores by name."""


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
        language_scores: Further scores by name, of predictions and references in a language that was asked
            for.
        caption_names: The metrics of the extra `coco` that are scored wherever it is installed; all of them
            are scored where asked for.
    """

    extra_names: ClassVar[Collection[str]] = tuple(COCO_SCORERS)

    scorers: Mapping[str, TextScorer]
    reference_fields: Sequence[str] = ("reference",)
    source_fields: Sequence[str] = ("source",)
    numbered: bool = False
    copies: bool = False
    language_scores: LanguageScores | None = None
    caption_names: Collection[str] = ()

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
        floors = {}
        sources = self._sources(files, references, own=own)
        if sources is not None:
            copied = self._scores(sources, references, lang=files.lang)
            floors = {NAIVE_COPY: {name: score.value for name, score in copied.items()}}
        num_empty = sum(not text.strip() for text in texts)
        scores = self._scores(texts, references, lang=files.lang)
        scores |= _score(self._caption_scorers(files), texts, references)
        return Scored(scores, references, num_empty, floors)

    def _scores(
        self, texts: Sequence[str], references: Sequence[str], *, lang: str | None
    ) -> dict[str, Score]:
        scores = _score(self.scorers, texts, references)
        if lang is not None and self.language_scores is not None:
            scores |= self.language_scores(texts, references, lang=lang)
        return scores

    def _caption_scorers(self, files: Files) -> dict[str, TextScorer]:
        free = self.caption_names if coco.VERSION else ()
        missing = [name for name in self.caption_names if name not in {*free, *files.extra_metrics}]
        if missing:
            log.info("%s would be scored, too, after %s", " and ".join(missing), coco.INSTALL)
        elif self.caption_names and coco.METEOR.name not in files.extra_metrics:
            log.info("meteor would be scored, too, by Java: extra_metrics=[meteor]")
        asked = {*free, *files.extra_metrics}
        return {name: scorer for name, scorer in COCO_SCORERS.items() if name in asked}

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
