"""The two BLEU variants of the field's tables: smoothed sentence BLEU-4 and corpus BLEU.

No option of sacrebleu gives either: its sentence BLEU has another brevity penalty and scores an empty
prediction 0, and its `add-k` smoothing leaves unigrams alone.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

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
    total = _add_sentence_scores(0.0, predictions, references)
    return total * 100.0 / len(predictions)


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
    return _corpus_score(*_corpus_counts(predictions, references))


def _count_ngrams(words: Sequence[str]) -> Counter[tuple[str, ...]]:
    """Count the n-grams of orders 1 to `MAX_ORDER`; an n-gram is a tuple of n words."""
    counts: Counter[tuple[str, ...]] = Counter()
    for order in range(1, MAX_ORDER + 1):
        counts.update(zip(*(words[start:] for start in range(order)), strict=False))
    return counts


def count_matches(hypothesis: Sequence[str], reference: Sequence[str]) -> list[int]:
    """Count the hypothesis' n-grams found in the reference, clipped, by order.

    Args:
        hypothesis: Words.
        reference: Words.

    Returns:
        `MAX_ORDER` counts, unigrams first; the same with the arguments swapped.

    >>> count_matches(["a", "b", "a"], ["a", "b"])
    [2, 1, 0, 0]
    """
    matches = [0] * MAX_ORDER
    reference_counts = _count_ngrams(reference)
    for ngram, count in _count_ngrams(hypothesis).items():
        if found := reference_counts.get(ngram):
            matches[len(ngram) - 1] += min(count, found)
    return matches


def _num_ngrams(num_words: int, order: int) -> int:
    return max(num_words - order + 1, 0)


def _sentence_score(hypothesis: Sequence[str], reference: Sequence[str]) -> float:
    """Return one record's smoothed sentence BLEU, 0 to 1."""
    brevity = min(0.0, 1 - (len(reference) + 1) / (len(hypothesis) + 1))
    if not hypothesis:
        return math.exp(brevity)
    matches = count_matches(hypothesis, reference)
    if matches[0] == 0:
        return 0.0
    log_precision = math.log(matches[0]) - math.log(len(hypothesis))
    for order in range(2, MAX_ORDER + 1):
        log_precision += math.log(matches[order - 1] + 1) - math.log(_num_ngrams(len(hypothesis), order) + 1)
    return math.exp(log_precision / MAX_ORDER + brevity)


def _add_sentence_scores(total: float, predictions: Sequence[str], references: Sequence[str]) -> float:
    """Add records' scores to `total`, one by one: the sum is then the same however batches fall."""
    for prediction, reference in zip(predictions, references, strict=True):
        hypothesis_words = _SMOOTHED_BLEU_TOKEN.findall(prediction.lower())
        reference_words = _SMOOTHED_BLEU_TOKEN.findall(reference.lower())
        total += _sentence_score(hypothesis_words, reference_words)
    return total


def _corpus_counts(
    predictions: Sequence[str], references: Sequence[str]
) -> tuple[list[int], list[int], int, int]:
    """Return matched and possible n-grams by order, and the words of all predictions and references."""
    matches, possible = [0] * MAX_ORDER, [0] * MAX_ORDER
    hypothesis_length = reference_length = 0
    for prediction, reference in zip(predictions, references, strict=True):
        hypothesis_words, reference_words = prediction.split(), reference.split()
        hypothesis_length += len(hypothesis_words)
        reference_length += len(reference_words)
        for index, count in enumerate(count_matches(hypothesis_words, reference_words)):
            matches[index] += count
            possible[index] += _num_ngrams(len(hypothesis_words), index + 1)
    return matches, possible, hypothesis_length, reference_length


def _corpus_score(
    matches: Sequence[int], possible: Sequence[int], hypothesis_length: int, reference_length: int
) -> float:
    """Return the corpus BLEU, 0 to 100, that summed counts amount to."""
    if hypothesis_length == 0 and reference_length > 0:
        return 0.0
    log_precisions = [math.log((m + 1) / (p + 1)) for m, p in zip(matches, possible, strict=True)]
    brevity = 0.0
    if hypothesis_length < reference_length:
        brevity = 1 - reference_length / hypothesis_length
    return 100.0 * math.exp(sum(log_precisions) / MAX_ORDER + brevity)


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
        total = _add_sentence_scores(self.total.item(), predictions, references)
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

    matches: Tensor
    possible: Tensor
    lengths: Tensor

    def __init__(self) -> None:
        super().__init__()
        for state, size in (("matches", MAX_ORDER), ("possible", MAX_ORDER), ("lengths", 2)):
            self.add_state(state, default=torch.zeros(size, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        matches, possible, *lengths = _corpus_counts(predictions, references)
        self.matches += torch.tensor(matches, device=self.matches.device)
        self.possible += torch.tensor(possible, device=self.possible.device)
        self.lengths += torch.tensor(lengths, device=self.lengths.device)

    def score(self) -> float:
        """Return the corpus BLEU of all counts."""
        hypothesis_length, reference_length = self.lengths.tolist()
        return _corpus_score(
            self.matches.tolist(), self.possible.tolist(), hypothesis_length, reference_length
        )
