"""What codeft scores predictions by: pure functions, and a `torchmetrics.Metric` each."""

from codeft.metrics.bleu import CorpusBleu, SmoothedBleu, corpus_bleu, smoothed_bleu
from codeft.metrics.exact_match import ExactMatch, ExactMatchSplit, exact_match, exact_match_split
from codeft.metrics.text_metric import AbstractTextMetric

__all__ = [
    "AbstractTextMetric",
    "CorpusBleu",
    "ExactMatch",
    "ExactMatchSplit",
    "SmoothedBleu",
    "corpus_bleu",
    "exact_match",
    "exact_match_split",
    "smoothed_bleu",
]
