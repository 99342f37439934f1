"""Scores of yes-or-no tasks: accuracy, F1, precision and recall at a threshold, and what needs no model.

A prediction is the probability of class 1 as text ("0.83"), or a label: "0" and "1" are probabilities, too.
References are "0" and "1".
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from codeft.metrics.bootstrap import Combine, share_of
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs
from codeft.types import CodeftError

THRESHOLD = 0.5
_NUMBER = re.compile(r"(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
"""As numbers are written in files: Python's `float` would take `0_1` and other scripts' digits, too."""

LABELS = ("0", "1")
TUNED_NAMES = ("f1", "precision", "recall")
"""What is scored at a tuned threshold, too."""


FORMULAS: Mapping[str, Combine] = {
    "accuracy": lambda n: 100 * (n[..., 0] + n[..., 3]) / n.sum(axis=-1),
    "f1": lambda n: share_of(2 * n[..., 0], 2 * n[..., 0] + n[..., 1] + n[..., 2]),
    "precision": lambda n: share_of(n[..., 0], n[..., 0] + n[..., 1]),
    "recall": lambda n: share_of(n[..., 0], n[..., 0] + n[..., 2]),
}
"""Each score of float64 [..., 4], numbers of (TP, FP, FN, TN): [...]; a share of nothing is 0."""


def accuracy(predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD) -> float:
    """Share of predictions that fall on their reference's side of the threshold.

    Args:
        predictions: Probabilities of class 1, or labels.
        references: Labels in the same order.
        threshold: Above which probability the prediction is 1.

    Returns:
        Per cent, 0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, there are none, or one isn't in the task's set.

    >>> accuracy(["0.9", "0.2", "1"], ["1", "1", "1"])
    66.66666666666667
    """
    return _score("accuracy", predictions, references, threshold=threshold)


def majority_accuracy(references: Sequence[str]) -> float:
    """Accuracy of always saying the references' more frequent label; stands beside every accuracy.

    Args:
        references: Labels.

    Returns:
        Per cent, 50 to 100.

    Raises:
        CodeftError: There are none, or one isn't in the task's set.

    >>> majority_accuracy(["0", "0", "1", "0"])
    75.0
    """
    labels = _labels(references)
    check_pairs(references, references)
    return 100.0 * max(float(labels.mean()), 1 - float(labels.mean()))


def precision(
    predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD
) -> float:
    """Share of the rows predicted 1 that are 1; 0 where none is predicted. See `f1`."""
    return _score("precision", predictions, references, threshold=threshold)


def recall(predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD) -> float:
    """Share of the rows that are 1 which are predicted 1; 0 where none is. See `f1`."""
    return _score("recall", predictions, references, threshold=threshold)


def f1(predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD) -> float:
    """Binary F1 of class 1: 2 TP / (2 TP + FP + FN), and 0 where nothing is found.

    Source: CodeXGLUE's evaluator of BigCloneBench (scikit-learn's binary average). Some fine-tuning scripts
    print the macro average instead, which is another number.

    Args:
        predictions: Probabilities of class 1, or labels.
        references: Labels in the same order.
        threshold: Above which probability the prediction is 1.

    Returns:
        0 to 1.

    Raises:
        CodeftError: The numbers of rows differ, there are none, or one isn't in the task's set.

    >>> f1(["0.9", "0.2", "0.7"], ["1", "1", "0"])
    0.5
    """
    return _score("f1", predictions, references, threshold=threshold)


def best_threshold(predictions: Sequence[str], references: Sequence[str]) -> float:
    """Return the threshold with the highest F1, found on validation data and never on what is tested.

    0 and the predictions themselves are tried; of equally good ones it is the highest.

    Args:
        predictions: Probabilities of class 1.
        references: Labels in the same order.

    Returns:
        0 to 1. Scores with it are named `f1_tuned`, `precision_tuned` and `recall_tuned`.

    Raises:
        CodeftError: As `f1`.

    >>> best_threshold(["0.9", "0.4", "0.3", "0.1"], ["1", "1", "0", "0"])
    0.3
    """
    check_pairs(predictions, references)
    scores, labels = probabilities(predictions), _labels(references)
    order = np.argsort(-scores, kind="stable")
    scores, found = scores[order], labels[order].cumsum()
    # With the n highest predicted 1: 2 TP + FP + FN = n + all that are 1.
    values = 2 * found / (np.arange(1, len(scores) + 1) + labels.sum())
    below = np.append(scores[1:], 0.0)  # the threshold that keeps the n highest, unless it cuts equals
    values[below == scores] = -1
    return float(below[np.argmax(values)]) if values.max() > 0 else THRESHOLD


def confusion_counts(
    predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD
) -> tuple[int, int, int, int]:
    """Return true positives, false positives, false negatives and true negatives.

    Raises:
        CodeftError: The numbers of rows differ, there are none, or one isn't in the task's set.
    """
    check_pairs(predictions, references)
    tp, fp, fn, tn = confusion_rows(predictions, references, threshold=threshold).sum(0).tolist()
    return tp, fp, fn, tn


def confusion_rows(
    predictions: Sequence[str], references: Sequence[str], *, threshold: float = THRESHOLD
) -> np.ndarray:
    """Return int64 [N, 4]: a 1 in the column (TP, FP, FN, TN) that each row falls into."""
    said, true = probabilities(predictions) > threshold, _labels(references)
    return np.stack([said & true, said & ~true, ~said & true, ~said & ~true], axis=1).astype(np.int64)


def probabilities(predictions: Sequence[str]) -> np.ndarray:
    """Return predictions as float64 [N].

    Raises:
        CodeftError: One is no number from 0 to 1; the message names its row.
    """
    values = []
    for row, prediction in enumerate(predictions, start=1):
        value = float(prediction) if _NUMBER.fullmatch(prediction) else math.nan
        if not 0 <= value <= 1:
            raise CodeftError(f"row {row}: expected a label or a probability from 0 to 1, got {prediction!r}")
        values.append(value)
    return np.asarray(values, dtype=np.float64)


def _labels(references: Sequence[str]) -> np.ndarray:
    """Return references as bool [N]."""
    for row, reference in enumerate(references, start=1):
        if reference not in LABELS:
            raise CodeftError(f"row {row}: expected a label out of {', '.join(LABELS)}, got {reference!r}")
    return np.asarray([reference == LABELS[1] for reference in references], dtype=bool)


def _score(name: str, predictions: Sequence[str], references: Sequence[str], *, threshold: float) -> float:
    return _combine(name, confusion_counts(predictions, references, threshold=threshold))


def _combine(name: str, counts: Sequence[int]) -> float:
    return float(FORMULAS[name](np.asarray(counts, dtype=np.float64)))


def confusion_names(name: str, *, threshold: float | None = None) -> tuple[str, str]:
    """Return a score's name and signature.

    >>> confusion_names("f1", threshold=0.37)
    ('f1_tuned', 'f1_tuned|class:1|threshold:>0.37(dev-tuned)|range:0-1|v:1')
    """
    kind, scale = ("all", "0-100") if name == "accuracy" else ("1", "0-1")
    cut = f">{THRESHOLD}" if threshold is None else f">{threshold:g}(dev-tuned)"
    name = name if threshold is None else f"{name}_tuned"
    return name, f"{name}|class:{kind}|threshold:{cut}|range:{scale}|v:1"


def tuned_scores(
    predictions: Sequence[str], references: Sequence[str], *, threshold: float
) -> dict[str, tuple[float, str]]:
    """Return F1, precision and recall at a threshold that was tuned on other rows.

    Args:
        predictions: Probabilities of class 1.
        references: Labels in the same order.
        threshold: As `best_threshold` gave it for validation rows.

    Returns:
        Value and signature by name.

    Raises:
        CodeftError: As `f1`.

    >>> tuned_scores(["0.4", "0.2"], ["1", "0"], threshold=0.3)["f1_tuned"][0]
    1.0
    """
    counts = confusion_counts(predictions, references, threshold=threshold)
    scores = {}
    for name in TUNED_NAMES:
        tuned, signature = confusion_names(name, threshold=threshold)
        scores[tuned] = (_combine(name, counts), signature)
    return scores


class _AbstractConfusionMetric(AbstractTextMetric):
    """Counts true and false positives and negatives.

    Args:
        threshold: Above which probability the prediction is 1; None is 0.5. A threshold tuned on validation
            data gives the score another name and stands in its signature.

    Raises:
        CodeftError: The threshold isn't from 0 to 1.

    Attributes:
        formula: Which of `FORMULAS` is computed.
    """

    formula: ClassVar[str]
    counts: Tensor

    def __init__(self, *, threshold: float | None = None) -> None:
        super().__init__()
        self.threshold = THRESHOLD if threshold is None else threshold
        if not 0 <= self.threshold <= 1:
            raise CodeftError(f"expected a threshold from 0 to 1, got {threshold}")
        self.name, self.signature = confusion_names(self.formula, threshold=threshold)  # type: ignore[misc]
        self.add_state("counts", default=torch.zeros(4, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add the batch's counts."""
        counts = confusion_counts(predictions, references, threshold=self.threshold)
        self.counts += torch.tensor(counts, device=self.counts.device)

    def score(self) -> float:
        """Return what the formula makes of all rows' counts."""
        return _combine(self.formula, self.counts.tolist())


class Accuracy(_AbstractConfusionMetric):
    """`accuracy` over batches and processes."""

    formula = "accuracy"
    name, signature = confusion_names(formula)


class Precision(_AbstractConfusionMetric):
    """`precision` over batches and processes."""

    formula = "precision"
    name, signature = confusion_names(formula)


class Recall(_AbstractConfusionMetric):
    """`recall` over batches and processes."""

    formula = "recall"
    name, signature = confusion_names(formula)


class F1(_AbstractConfusionMetric):
    """`f1` over batches and processes."""

    formula = "f1"
    name, signature = confusion_names(formula)
