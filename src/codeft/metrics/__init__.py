"""What codeft scores predictions by: pure functions, and a `torchmetrics.Metric` each."""

from codeft.metrics.bleu import CorpusBLEU, SmoothedBLEU, corpus_bleu, smoothed_bleu
from codeft.metrics.bm25 import rank_by_bm25
from codeft.metrics.bootstrap import paired_bootstrap
from codeft.metrics.classification import (
    F1,
    Accuracy,
    Precision,
    Recall,
    accuracy,
    best_threshold,
    f1,
    majority_accuracy,
    precision,
    recall,
    tuned_scores,
)
from codeft.metrics.coco import METEOR, CIDEr, RougeL, cider, meteor, rouge_l
from codeft.metrics.codebleu import CodeBLEU, CodeBLEUScore, codebleu, codebleu_signature
from codeft.metrics.constant_texts import find_constants
from codeft.metrics.edit_similarity import (
    EditSimilarity,
    EditSimilarityIndel,
    edit_similarity,
    edit_similarity_indel,
)
from codeft.metrics.exact_match import (
    CompletionExactMatch,
    ExactMatch,
    ExactMatchSplit,
    completion_exact_match,
    exact_match,
    exact_match_split,
)
from codeft.metrics.floors import label_floors, retrieval_by_chance, search_by_chance
from codeft.metrics.label_retrieval import MapAtR, map_at_r_of_labels
from codeft.metrics.literals import restore_literals
from codeft.metrics.ranking import Ranks, deduplicate, rank_in_batches, rank_targets
from codeft.metrics.retrieval import map_at_r, mrr, r_at_k
from codeft.metrics.sacrebleu_scores import CHRF, SacreBLEU, chrf, sacrebleu_score
from codeft.metrics.scoring import COCO_SCORERS, COMPLETION_SCORERS, TEXT_SCORERS, score_texts
from codeft.metrics.search_scores import SearchScores
from codeft.metrics.text_metric import AbstractTextMetric, named_scores, signatures_of

__all__ = [
    "CHRF",
    "COCO_SCORERS",
    "COMPLETION_SCORERS",
    "F1",
    "METEOR",
    "TEXT_SCORERS",
    "AbstractTextMetric",
    "Accuracy",
    "CIDEr",
    "CodeBLEU",
    "CodeBLEUScore",
    "CompletionExactMatch",
    "CorpusBLEU",
    "EditSimilarity",
    "EditSimilarityIndel",
    "ExactMatch",
    "ExactMatchSplit",
    "MapAtR",
    "Precision",
    "Ranks",
    "Recall",
    "RougeL",
    "SacreBLEU",
    "SearchScores",
    "SmoothedBLEU",
    "accuracy",
    "best_threshold",
    "chrf",
    "cider",
    "codebleu",
    "codebleu_signature",
    "completion_exact_match",
    "corpus_bleu",
    "deduplicate",
    "edit_similarity",
    "edit_similarity_indel",
    "exact_match",
    "exact_match_split",
    "f1",
    "find_constants",
    "label_floors",
    "majority_accuracy",
    "map_at_r",
    "map_at_r_of_labels",
    "meteor",
    "mrr",
    "named_scores",
    "paired_bootstrap",
    "precision",
    "r_at_k",
    "rank_by_bm25",
    "rank_in_batches",
    "rank_targets",
    "recall",
    "restore_literals",
    "retrieval_by_chance",
    "rouge_l",
    "sacrebleu_score",
    "score_texts",
    "search_by_chance",
    "signatures_of",
    "smoothed_bleu",
    "tuned_scores",
]
