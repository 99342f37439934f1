"""What scoring a file of stored predictions gives, whatever its layout."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

from codeft.metrics.bootstrap import RowStatistics
from codeft.metrics.floors import Floors


@dataclass(frozen=True, slots=True)
class Files:
    """The files of one re-scoring.

    Attributes:
        predictions: What a model said.
        references: What is right; None where `predictions` holds both.
        sources: What the model read, or the functions that ids name; None where there is no such file.
        lang: The language that was asked for.
        extra_metrics: Further metrics that were asked for by name.
        threshold: A threshold that was tuned on other rows; None where there is none.
    """

    predictions: Path
    references: Path | None = None
    sources: Path | None = None
    lang: str | None = None
    extra_metrics: Sequence[str] = ()
    threshold: float | None = None


@dataclass(frozen=True, slots=True)
class Score:
    """One score.

    Attributes:
        value: On the scale that the signature or the metric's definition names.
        signature: Which variant it is.
        statistics: The same by row; None where rows can't be resampled.
    """

    value: float
    signature: str
    statistics: RowStatistics | None = None


@dataclass(frozen=True, slots=True)
class Scored:
    """What one file of predictions amounts to.

    Attributes:
        scores: By name.
        references: What each row was compared with, in the rows' order: two files can be compared only
            where these are equal.
        num_empty: Predictions that say nothing.
        floors: What needs no model, scored on the same rows, as far as the files say.
    """

    scores: Mapping[str, Score]
    references: Sequence[object]
    num_empty: int = 0
    floors: Floors = field(default_factory=dict)


class AbstractStoredPredictions(ABC):
    """One layout of stored predictions: how files are read and paired, and the metrics that they allow.

    Attributes:
        extra_names: The metrics that are scored only where asked for.
        takes_threshold: Whether predictions may be probabilities, to be cut at a tuned threshold.
    """

    extra_names: ClassVar[Collection[str]] = ()
    takes_threshold: ClassVar[bool] = False

    @abstractmethod
    def fits(self, predictions: Path) -> bool:
        """Return whether a file looks to be of this layout, by its beginning."""

    @abstractmethod
    def score(self, files: Files) -> Scored:
        """Read, pair and score.

        Raises:
            CodeftError: A file can't be read, or its rows don't fit those of the others.
        """
