"""sacreBLEU and chrF, computed by the sacrebleu library under its own signatures."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from sacrebleu.metrics import BLEU
from sacrebleu.metrics import CHRF as LibraryCHRF
from torch import Tensor

from codeft.metrics.bootstrap import RowStatistics
from codeft.metrics.ngrams import match_characters, match_words, possible_ngrams
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs

# `force` only silences the library's remark about text that looks tokenized, as code and docstrings do.
_BLEU = BLEU(tokenize="13a", smooth_method="exp", force=True)
_CHRF = LibraryCHRF()


def sacrebleu_score(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 on 13a tokens, case kept, exponential smoothing, as sacrebleu defines it.

    Source: Post (2018), "A Call for Clarity in Reporting BLEU Scores".

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> round(sacrebleu_score(["returns the name of it"], ["returns the name of this"]), 4)
    66.874
    """
    check_pairs(predictions, references)
    return float(_BLEU.corpus_score(predictions, [references]).score)


def chrf(predictions: Sequence[str], references: Sequence[str]) -> float:
    """chrF2 on character 6-grams, as sacrebleu defines it.

    Source: Popović (2015), "chrF: character n-gram F-score for automatic MT evaluation".

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> round(chrf(["returns the name"], ["returns the name"]), 4)
    100.0
    """
    check_pairs(predictions, references)
    return float(_CHRF.corpus_score(predictions, [references]).score)


def sacrebleu_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `sacrebleu_score` needs of each row."""
    return _row_statistics(_BLEU, _bleu_counts(predictions, references))


def chrf_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `chrf` needs of each row."""
    return _row_statistics(_CHRF, _chrf_counts(predictions, references))


def _chrf_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Count as the library does, for each order: both sides' n-grams, and those that match."""
    order = _CHRF.char_order
    matches, *lengths = match_characters(predictions, references, max_order=order)
    possible, wanted = (possible_ngrams(side, max_order=order) for side in lengths)
    # The library doesn't count n-grams of an order that the reference has none of.
    by_order = np.stack([np.where(wanted > 0, possible, 0), wanted, matches], axis=2)  # [N, order, 3]
    return by_order.reshape(len(predictions), 3 * order)


def _bleu_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Count as the library does: both sides' words, matched n-grams by order, possible ones by order."""
    order = _BLEU.max_ngram_order
    found = match_words(predictions, references, max_order=order, split=_bleu_words)
    possible = possible_ngrams(found.lengths, max_order=order)
    return np.column_stack([found.lengths, found.reference_lengths, found.matches, possible])


def _bleu_words(text: str) -> list[str]:
    if "-\n" in text:  # joins two lines' words
        return str(_BLEU._preprocess_segment(text)).split()
    return [token for word in text.split() for token in _word_tokens(word)]


@functools.lru_cache(maxsize=2**16)
def _word_tokens(word: str) -> tuple[str, ...]:
    """Cut one word: 13a's rules look no further than the blanks around it, and code repeats its words."""
    return (word,) if word.isalnum() else tuple(str(_BLEU._preprocess_segment(word)).split())


def _row_statistics(metric: BLEU | LibraryCHRF, counts: np.ndarray) -> RowStatistics:
    # Counts of all rows at once take a tenth of the library's time; the score is its own.
    def combine(sums: np.ndarray) -> np.ndarray:
        flat = sums.reshape(-1, sums.shape[-1])
        scores = [metric._compute_score_from_stats(list(row)).score for row in flat]
        return np.asarray(scores).reshape(sums.shape[:-1])

    return RowStatistics(counts.astype(np.float64), combine)


def _library_signature(metric: BLEU | LibraryCHRF) -> str:
    # The library knows its signature, the number of references in it, only once it has scored something.
    metric.corpus_score(["a"], [["a"]])
    return str(metric.get_signature().format())


SACREBLEU_SIGNATURE = f"sacrebleu|{_library_signature(_BLEU)}"
CHRF_SIGNATURE = f"chrf|{_library_signature(_CHRF)}"


class SacreBLEU(AbstractTextMetric):
    """`sacrebleu_score` over batches and processes."""

    name: ClassVar[str] = "sacrebleu"
    signature: ClassVar[str] = SACREBLEU_SIGNATURE

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        # [2N + 2]: prediction and reference length, matched n-grams by order, possible n-grams by order.
        counts = torch.zeros(2 * _BLEU.max_ngram_order + 2, dtype=torch.int64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = _bleu_counts(predictions, references).sum(axis=0)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def score(self) -> float:
        """Return the library's score of all counts."""
        return float(_BLEU._compute_score_from_stats(self.counts.tolist()).score)


class CHRF(AbstractTextMetric):
    """`chrf` over batches and processes."""

    name: ClassVar[str] = "chrf"
    signature: ClassVar[str] = CHRF_SIGNATURE

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        counts = torch.zeros(3 * _CHRF.char_order, dtype=torch.int64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = _chrf_counts(predictions, references).sum(axis=0)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def score(self) -> float:
        """Return the library's score of all counts."""
        return float(_CHRF._compute_score_from_stats(self.counts.tolist()).score)
