"""Every text metric by name: its pure function, its signature, and its statistics by row."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from codeft.error_text import nearest
from codeft.metrics.bleu import (
    CorpusBLEU,
    SmoothedBLEU,
    corpus_bleu,
    corpus_bleu_counts,
    corpus_bleu_of_counts,
    sentence_scores,
    smoothed_bleu,
)
from codeft.metrics.bootstrap import RowStatistics, mean_of_rows
from codeft.metrics.coco import (
    METEOR,
    CIDEr,
    RougeL,
    cider,
    cider_statistics,
    meteor,
    meteor_statistics,
    rouge_l,
    rouge_l_statistics,
)
from codeft.metrics.edit_similarity import (
    EditSimilarity,
    EditSimilarityIndel,
    difflib_ratios,
    edit_similarity,
    edit_similarity_indel,
    indel_ratios,
)
from codeft.metrics.exact_match import (
    CompletionExactMatch,
    ExactMatch,
    ExactMatchSplit,
    completion_exact_match,
    equal_rows,
    exact_match,
    exact_match_split,
)
from codeft.metrics.sacrebleu_scores import (
    CHRF,
    SacreBLEU,
    chrf,
    chrf_statistics,
    sacrebleu_score,
    sacrebleu_statistics,
)
from codeft.metrics.text_metric import check_pairs
from codeft.types import CodeftError


@dataclass(frozen=True, slots=True)
class TextScorer:
    """A metric as a pure function, beside the variant that it computes.

    Attributes:
        function: Takes predictions and references, returns the score.
        signature: Variant, tokenisation, smoothing, case and version.
        statistics: The same by row, for a paired bootstrap; None where the score isn't made of sums.
    """

    function: Callable[[Sequence[str], Sequence[str]], float]
    signature: str
    statistics: Callable[[Sequence[str], Sequence[str]], RowStatistics] | None = None


def _corpus_bleu_statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
    return RowStatistics(
        corpus_bleu_counts(predictions, references).astype(np.float64), corpus_bleu_of_counts
    )


def _mean_of(
    function: Callable[[Sequence[str], Sequence[str]], Sequence[float]], *, scale: float = 1
) -> Callable[[Sequence[str], Sequence[str]], RowStatistics]:
    def statistics(predictions: Sequence[str], references: Sequence[str]) -> RowStatistics:
        return mean_of_rows(np.asarray(function(predictions, references)), scale=scale)

    return statistics


TEXT_SCORERS: Mapping[str, TextScorer] = {
    SmoothedBLEU.name: TextScorer(
        smoothed_bleu, SmoothedBLEU.signature, _mean_of(sentence_scores, scale=100)
    ),
    CorpusBLEU.name: TextScorer(corpus_bleu, CorpusBLEU.signature, _corpus_bleu_statistics),
    SacreBLEU.name: TextScorer(sacrebleu_score, SacreBLEU.signature, sacrebleu_statistics),
    CHRF.name: TextScorer(chrf, CHRF.signature, chrf_statistics),
    ExactMatch.name: TextScorer(
        exact_match, ExactMatch.signature, _mean_of(partial(equal_rows, rule=ExactMatch), scale=100)
    ),
    ExactMatchSplit.name: TextScorer(
        exact_match_split,
        ExactMatchSplit.signature,
        _mean_of(partial(equal_rows, rule=ExactMatchSplit), scale=100),
    ),
}
"""Every metric of any text, by its name in `metrics.json`."""

COMPLETION_SCORERS: Mapping[str, TextScorer] = {
    CompletionExactMatch.name: TextScorer(
        completion_exact_match,
        CompletionExactMatch.signature,
        _mean_of(partial(equal_rows, rule=CompletionExactMatch), scale=100),
    ),
    EditSimilarity.name: TextScorer(edit_similarity, EditSimilarity.signature, _mean_of(difflib_ratios)),
    EditSimilarityIndel.name: TextScorer(
        edit_similarity_indel, EditSimilarityIndel.signature, _mean_of(indel_ratios)
    ),
}
"""The metrics of a completed line, by name; all of them restore normalised literals first."""

COCO_SCORERS: Mapping[str, TextScorer] = {
    RougeL.name: TextScorer(rouge_l, RougeL.signature, rouge_l_statistics),
    CIDEr.name: TextScorer(cider, CIDEr.signature, cider_statistics),
    METEOR.name: TextScorer(meteor, METEOR.signature, meteor_statistics),
}
"""The metrics of the extra `coco`, by name. `meteor` starts Java, and so is scored only where asked for."""


def score_texts(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    names: Sequence[str],
    sources: Sequence[str] | None = None,
) -> dict[str, Any]:
    """Score predictions by several metrics.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.
        names: Metrics to compute, out of `TEXT_SCORERS` and `COCO_SCORERS`.
        sources: What the model read, in the same order; the naive copy (the source as the prediction) is
            then scored too.

    Returns:
        What goes into `metrics.json`: `rows`, `empty_predictions` (nothing but white space), `values` and
        `signatures` by metric, and `naive_copy`, values by metric, where `sources` were given.

    Raises:
        CodeftError: A metric is unknown, the numbers of rows differ, or there are none.

    >>> result = score_texts(["a b", ""], ["a b", "c"], names=["exact_match"], sources=["a", "c"])
    >>> result["values"], result["naive_copy"], result["rows"], result["empty_predictions"]
    ({'exact_match': 50.0}, {'exact_match': 50.0}, 2, 1)
    """
    check_pairs(predictions, references)
    if sources is not None and len(sources) != len(references):
        raise CodeftError(
            f"expected one source for each reference, got {len(sources)} sources and "
            f"{len(references)} references: give both from the same rows, in the same order"
        )
    scorers = {name: _find_scorer(name) for name in names}
    result: dict[str, Any] = {
        "rows": len(predictions),
        "empty_predictions": sum(not prediction.strip() for prediction in predictions),
        "values": {name: scorer.function(predictions, references) for name, scorer in scorers.items()},
        "signatures": {name: scorer.signature for name, scorer in scorers.items()},
    }
    if sources is not None:
        result["naive_copy"] = {
            name: scorer.function(sources, references) for name, scorer in scorers.items()
        }
    return result


def _find_scorer(name: str) -> TextScorer:
    scorers = {**TEXT_SCORERS, **COCO_SCORERS}
    if name in scorers:
        return scorers[name]
    raise CodeftError(
        f"expected a text metric out of {', '.join(scorers)}, got {name!r}{nearest(name, scorers)}"
    )
