"""The two BLEU variants of the field's tables: smoothed sentence BLEU-4 and corpus BLEU.

No option of sacrebleu gives either: its sentence BLEU has another brevity penalty and scores an empty
prediction 0, and its `add-k` smoothing leaves unigrams alone.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from codeft.metrics.ngrams import match_words, possible_ngrams
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs

MAX_ORDER = 4

# The published scorer first sets every punctuation mark apart from runs of word characters and then
# applies mteval-v11a. After the first step the second finds no XML entity and nothing left to cut but the
# underscore, so that one pattern says both.
_SMOOTHED_BLEU_TOKEN = re.compile(r"[^\W_]+|_|[^\s\w]")


def smoothed_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Mean smoothed sentence BLEU-4 of natural-language texts.

    Texts are lower-cased and split into runs of letters and digits and single other characters. With m_n
    n-grams of the prediction matched (clipped) of t_n, c tokens in the prediction and r in the reference,
    a record scores

        exp(1/4 [log(m_1/t_1) + sum over n=2..4 of log((m_n + 1)/(t_n + 1))] + min(0, 1 - (r + 1)/(c + 1)))

    and 0 where no token matches. An empty prediction scores exp(-r), not 0.

    Source: CodeXGLUE's evaluator of code-to-text, whose number CodeBERT, CodeT5, SAT and Telly report;
    smoothing after Lin and Och (2004), "ORANGE". Deviation: records are pairs of texts, so a tab or a line
    break inside a prediction cuts nothing off.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> smoothed_bleu(["Returns the name."], ["returns the name ."])
    100.0
    >>> round(smoothed_bleu(["return the size", ""], ["returns the size of it", "no"]), 4)
    39.2158
    """
    check_pairs(predictions, references)
    return _total(0.0, sentence_scores(predictions, references)) * 100.0 / len(predictions)


def corpus_bleu(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Corpus BLEU-4 of code as translation, refinement and generation report it.

    Texts are split at white space, case kept. With m_n n-grams matched (clipped by record) of t_n over all
    records, c words in the predictions and r in the references, the score is

        exp(1/4 sum over n=1..4 of log((m_n + 1)/(t_n + 1))) * min(1, exp(1 - r/c))

    and 0 where all predictions are empty but the references are not.

    Source: `bleu.py` of the GNMT tutorial with `smooth=True`, as CodeXGLUE's evaluators of translation,
    refinement and text-to-code use it. Deviation: records are pairs of texts, so a line break inside a
    prediction doesn't shift the pairs after it.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> corpus_bleu(["return x ;"], ["return x ;"])
    100.0
    >>> round(corpus_bleu(["return x ;"], ["return y ;"]), 4)
    59.4604
    """
    check_pairs(predictions, references)
    return float(corpus_bleu_of_counts(corpus_bleu_counts(predictions, references).sum(axis=0)))


def _sentence_score(matches: Sequence[int], *, length: int, reference_length: int) -> float:
    """Return one record's smoothed sentence BLEU, 0 to 1, from its matches by order and its words."""
    brevity = min(0.0, 1 - (reference_length + 1) / (length + 1))
    if not length:
        return math.exp(brevity)
    if matches[0] == 0:
        return 0.0
    log_precision = math.log(matches[0]) - math.log(length)
    for order in range(1, MAX_ORDER):
        log_precision += math.log(matches[order] + 1) - math.log(max(length - order, 0) + 1)
    return math.exp(log_precision / MAX_ORDER + brevity)


def _total(total: float, scores: Sequence[float]) -> float:
    """Add scores to a total one by one: the sum is then the same however batches fall."""
    for score in scores:
        total += score
    return total


def sentence_scores(predictions: Sequence[str], references: Sequence[str]) -> list[float]:
    """Return each record's smoothed sentence BLEU, 0 to 1; see `smoothed_bleu`."""
    found = match_words(predictions, references, max_order=MAX_ORDER, split=smoothed_bleu_words)
    return [
        _sentence_score(matches, length=length, reference_length=reference_length)
        for matches, length, reference_length in zip(*(part.tolist() for part in found), strict=True)
    ]


def smoothed_bleu_words(text: str) -> list[str]:
    """Return what smoothed BLEU counts, in lower case: runs of letters and digits, and other characters."""
    return _SMOOTHED_BLEU_TOKEN.findall(text.lower())


def corpus_bleu_counts(predictions: Sequence[str], references: Sequence[str]) -> np.ndarray:
    """Return what corpus BLEU counts in each record.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        int64 [N, 10]: matched n-grams by order, possible ones by order, the prediction's and the
        reference's words. Any rows' sum goes into `corpus_bleu_of_counts`.
    """
    matches, lengths, reference_lengths = match_words(predictions, references, max_order=MAX_ORDER)
    possible = possible_ngrams(lengths, max_order=MAX_ORDER)
    return np.column_stack([matches, possible, lengths, reference_lengths])


def corpus_bleu_of_counts(counts: np.ndarray) -> np.ndarray:
    """Return the corpus BLEU that summed counts amount to.

    Args:
        counts: [..., 10], sums of rows that `corpus_bleu_counts` gave.

    Returns:
        float64 [...], 0 to 100.
    """
    matches, possible = counts[..., :MAX_ORDER], counts[..., MAX_ORDER : 2 * MAX_ORDER]
    hypothesis_length, reference_length = counts[..., -2], counts[..., -1]
    log_precision = np.log((matches + 1) / (possible + 1)).sum(axis=-1) / MAX_ORDER
    brevity = np.minimum(0.0, 1 - reference_length / np.maximum(hypothesis_length, 1))
    nothing_said = (hypothesis_length == 0) & (reference_length > 0)
    # Nothing said where nothing was expected has no brevity to be punished.
    brevity = np.where((hypothesis_length == 0) & (reference_length == 0), 0.0, brevity)
    return np.where(nothing_said, 0.0, 100.0 * np.exp(log_precision + brevity))


class SmoothedBLEU(AbstractTextMetric):
    """`smoothed_bleu` over batches and processes."""

    name: ClassVar[str] = "smoothed_bleu"
    signature: ClassVar[str] = (
        "smoothed_bleu|level:sentence|n:4|tok:punct+mteval-v11a|case:lc|smooth:+1(n>=2)"
        "|bp:(ref+1)/(hyp+1)|v:1"
    )

    total: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("total", default=torch.tensor(0.0, dtype=torch.float64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's sentence scores."""
        total = _total(self.total.item(), sentence_scores(predictions, references))
        self.total = torch.full_like(self.total, total)

    def score(self) -> float:
        """Return the mean sentence score."""
        return self.total.item() * 100.0 / int(self.rows)


class CorpusBLEU(AbstractTextMetric):
    """`corpus_bleu` over batches and processes."""

    name: ClassVar[str] = "corpus_bleu"
    signature: ClassVar[str] = (
        "corpus_bleu|level:corpus|n:4|tok:whitespace|case:mixed|smooth:+1(n>=1)|bp:ref/hyp|v:1"
    )

    counts: Tensor

    def __init__(self) -> None:
        super().__init__()
        counts = torch.zeros(2 * MAX_ORDER + 2, dtype=torch.int64)
        self.add_state("counts", default=counts, dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = corpus_bleu_counts(predictions, references).sum(axis=0)
        self.counts += torch.from_numpy(counts).to(self.counts.device)

    def score(self) -> float:
        """Return the corpus BLEU of all counts."""
        return float(corpus_bleu_of_counts(self.counts.cpu().numpy()))
