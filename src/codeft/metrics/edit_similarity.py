"""Edit similarity of line completion, under both backends that published numbers come from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import SequenceMatcher
from importlib import metadata
from typing import ClassVar

import torch
from rapidfuzz.distance import Indel
from torch import Tensor

from codeft.metrics.literals import LITERALS_SIGNATURE, restore_literals
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs

_Ratio = Callable[[str, str], float]
"""From a prediction and its reference to 0 to 1."""


def edit_similarity(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Mean `fuzz.ratio` with the standard library's matcher: 200 M / (p + r), rounded for each record.

    M counts the characters in difflib's matching blocks, p and r those of prediction and reference. Blocks
    are found greedily, and in references of 200 characters or more difflib leaves out frequent characters,
    so that long texts score below `edit_similarity_indel`. Both ends are stripped and literals restored
    (`restore_literals`) first.

    Source: CodeXGLUE's evaluators of line completion and method generation, whose `fuzzywuzzy` uses difflib
    unless python-Levenshtein is installed. Their printed numbers are this backend's.

    Args:
        predictions: Lines that a model made, one a record.
        references: Reference lines in the same order.

    Returns:
        0 to 100; a record's ratio is a whole number. Two empty texts score 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> edit_similarity(["= string . length ( ) ;"], ["= <NUM_LIT:0> ;"])
    29.0
    """
    check_pairs(predictions, references)
    return sum(difflib_ratios(predictions, references)) / len(predictions)


def edit_similarity_indel(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Mean `fuzz.ratio` with a Levenshtein library: 100 (1 - d / (p + r)), rounded for each record.

    d is the least number of insertions and deletions between prediction and reference, p and r are their
    characters. Both ends are stripped and literals restored (`restore_literals`) first.

    Source: `fuzzywuzzy` where python-Levenshtein is installed, and `thefuzz`.

    Args:
        predictions: Lines that a model made, one a record.
        references: Reference lines in the same order.

    Returns:
        0 to 100; a record's ratio is a whole number. Two empty texts score 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> edit_similarity_indel(["return x ;", ""], ["return y ;", "x"])
    45.0
    """
    check_pairs(predictions, references)
    return sum(indel_ratios(predictions, references)) / len(predictions)


def difflib_ratios(predictions: Sequence[str], references: Sequence[str]) -> list[int]:
    """Return each record's ratio by difflib; see `edit_similarity`."""
    return _ratios(_difflib_ratio, predictions, references)


def indel_ratios(predictions: Sequence[str], references: Sequence[str]) -> list[int]:
    """Return each record's ratio by insertions and deletions; see `edit_similarity_indel`."""
    return _ratios(Indel.normalized_similarity, predictions, references)


def _difflib_ratio(prediction: str, reference: str) -> float:
    # fuzzywuzzy asks first whether they are equal; so does this, for most of a good model's lines are.
    return 1.0 if prediction == reference else SequenceMatcher(None, prediction, reference).ratio()


def _ratios(ratio: _Ratio, predictions: Sequence[str], references: Sequence[str]) -> list[int]:
    pairs = zip(map(_prepare, predictions), map(_prepare, references), strict=True)
    return [round(100 * ratio(prediction, reference)) for prediction, reference in pairs]


def _prepare(text: str) -> str:
    return restore_literals(text.strip())


class _AbstractEditSimilarity(AbstractTextMetric):
    """Sums whole-numbered ratios under one backend."""

    ratio: ClassVar[_Ratio]
    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's ratios."""
        self.total += sum(_ratios(type(self).ratio, predictions, references))

    def score(self) -> float:
        """Return the mean ratio."""
        return int(self.total) / int(self.rows)


class EditSimilarity(_AbstractEditSimilarity):
    """`edit_similarity` over batches and processes."""

    name: ClassVar[str] = "edit_similarity"
    signature: ClassVar[str] = (
        f"edit_similarity|fuzz.ratio|backend:difflib|round:record|{LITERALS_SIGNATURE}|case:mixed|v:1"
    )
    ratio: ClassVar[_Ratio] = _difflib_ratio


class EditSimilarityIndel(_AbstractEditSimilarity):
    """`edit_similarity_indel` over batches and processes."""

    name: ClassVar[str] = "edit_similarity_indel"
    signature: ClassVar[str] = (
        f"edit_similarity_indel|fuzz.ratio|backend:rapidfuzz-{metadata.version('rapidfuzz')}|round:record"
        f"|{LITERALS_SIGNATURE}|case:mixed|v:1"
    )
    ratio: ClassVar[_Ratio] = Indel.normalized_similarity
