"""sacreBLEU and chrF, computed by the sacrebleu library under its own signatures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from sacrebleu.metrics import BLEU, CHRF
from torch import Tensor

from codeft.metrics.bootstrap import RowStatistics
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs

# `force` only silences the library's remark about text that looks tokenized, as code and docstrings do.
_BLEU = BLEU(tokenize="13a", smooth_method="exp", force=True)
_CHRF = CHRF()


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
    return _row_statistics(_BLEU, predictions, references)


def chrf_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    """Return what `chrf` needs of each row."""
    return _row_statistics(_CHRF, predictions, references)


def _row_statistics(
    metric: BLEU | CHRF, predictions: Sequence[str], references: Sequence[str]
) -> RowStatistics:
    # The library's own significance tests are built of the same two methods.
    rows = np.asarray(metric._extract_corpus_statistics(predictions, [references]), dtype=np.float64)

    def combine(sums: np.ndarray) -> np.ndarray:
        flat = sums.reshape(-1, sums.shape[-1])
        scores = [metric._compute_score_from_stats(list(row)).score for row in flat]
        return np.asarray(scores).reshape(sums.shape[:-1])

    return RowStatistics(rows, combine)


def _library_signature(metric: BLEU | CHRF) -> str:
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
        # [2N + 2]: matched n-grams by order, possible n-grams by order, prediction and reference length.
        counts = torch.zeros(2 * _BLEU.max_ngram_order + 2, dtype=torch.int64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        batch = _BLEU.corpus_score(predictions, [references])
        counts = [*batch.counts, *batch.totals, batch.sys_len, batch.ref_len]
        self.counts += torch.tensor(counts, device=self.counts.device)

    def score(self) -> float:
        """Return the library's score of all counts."""
        *ngrams, hypothesis_length, reference_length = self.counts.tolist()
        order = _BLEU.max_ngram_order
        score = BLEU.compute_bleu(
            correct=ngrams[:order],
            total=ngrams[order:],
            sys_len=hypothesis_length,
            ref_len=reference_length,
            smooth_method=_BLEU.smooth_method,
            smooth_value=_BLEU.smooth_value,
            effective_order=_BLEU.effective_order,
            max_ngram_order=order,
        )
        return float(score.score)
