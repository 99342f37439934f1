"""What codeft scores predictions by: pure functions, and a `torchmetrics.Metric` each."""

from codeft.metrics.bleu import CorpusBLEU, SmoothedBLEU, corpus_bleu, smoothed_bleu
from codeft.metrics.codebleu import CodeBLEU, CodeBLEUScore, codebleu, codebleu_signature
from codeft.metrics.exact_match import ExactMatch, ExactMatchSplit, exact_match, exact_match_split
from codeft.metrics.sacrebleu_scores import SacreBLEU, chrf, sacrebleu_score
from codeft.metrics.scoring import TEXT_SCORERS, score_texts
from codeft.metrics.text_metric import AbstractTextMetric

__all__ = [
    "TEXT_SCORERS",
    "AbstractTextMetric",
    "CodeBLEU",
    "CodeBLEUScore",
    "CorpusBLEU",
    "ExactMatch",
    "ExactMatchSplit",
    "SacreBLEU",
    "SmoothedBLEU",
    "chrf",
    "codebleu",
    "codebleu_signature",
    "corpus_bleu",
    "exact_match",
    "exact_match_split",
    "sacrebleu_score",
    "score_texts",
    "smoothed_bleu",
]
