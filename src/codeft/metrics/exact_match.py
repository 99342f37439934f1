"""Exact match under the two rules of the field, each under its own name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from codeft.metrics.literals import LITERALS_SIGNATURE, restore_literals
from codeft.metrics.text_metric import AbstractTextMetric, check_pairs


def exact_match(predictions: Sequence[str], references: Sequence[str]) -> float:
    r"""Share of predictions that equal their reference once white space at both ends is stripped.

    Source: CodeXGLUE's evaluators of code-to-code-trans and code-refinement.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        Per cent, 0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> exact_match(["return x ;\n", "return  x ;"], ["return x ;", "return x ;"])
    50.0
    """
    check_pairs(predictions, references)
    return sum(equal_rows(predictions, references, rule=ExactMatch)) * 100.0 / len(predictions)


def exact_match_split(predictions: Sequence[str], references: Sequence[str]) -> float:
    r"""Share of predictions that equal their reference as lists of words; the width of white space is free.

    Source: CodeXGLUE's evaluators of text-to-code and code completion.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Returns:
        Per cent, 0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> exact_match_split(["return x ;\n", "return  x ;"], ["return x ;", "return x ;"])
    100.0
    """
    check_pairs(predictions, references)
    return sum(equal_rows(predictions, references, rule=ExactMatchSplit)) * 100.0 / len(predictions)


def completion_exact_match(predictions: Sequence[str], references: Sequence[str]) -> float:
    """`exact_match_split` once the normalised literals of both are restored.

    Source: CodeXGLUE's evaluator of line-level code completion.

    Args:
        predictions: Lines that a model made, one a record.
        references: Reference lines in the same order.

    Returns:
        Per cent, 0 to 100.

    Raises:
        CodeftError: The numbers of rows differ, or there are none.

    >>> completion_exact_match(["x = <NUM_LIT:0> ;"], ["x = <NUM_LIT> ;"])
    100.0
    """
    check_pairs(predictions, references)
    return sum(equal_rows(predictions, references, rule=CompletionExactMatch)) * 100.0 / len(predictions)


def _restored_words(text: str) -> list[str]:
    return restore_literals(text).split()


def equal_rows(
    predictions: Sequence[str], references: Sequence[str], *, rule: type[_AbstractExactMatch]
) -> list[bool]:
    """Return whether each prediction equals its reference under the rule of a metric's class."""
    pairs = zip(predictions, references, strict=True)
    return [rule.normalize(prediction) == rule.normalize(reference) for prediction, reference in pairs]


class _AbstractExactMatch(AbstractTextMetric):
    """Counts equal pairs under one rule."""

    normalize: ClassVar[Callable[[str], object]]
    matches: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("matches", default=torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Count the batch's matches."""
        self.matches += sum(equal_rows(predictions, references, rule=type(self)))

    def score(self) -> float:
        """Return the matches' share of the rows, in per cent."""
        return int(self.matches) * 100.0 / int(self.rows)


class ExactMatch(_AbstractExactMatch):
    """`exact_match` over batches and processes."""

    name: ClassVar[str] = "exact_match"
    signature: ClassVar[str] = "exact_match|compare:strip|case:mixed|v:1"
    normalize: ClassVar[Callable[[str], object]] = str.strip


class ExactMatchSplit(_AbstractExactMatch):
    """`exact_match_split` over batches and processes."""

    name: ClassVar[str] = "exact_match_split"
    signature: ClassVar[str] = "exact_match_split|compare:whitespace-split|case:mixed|v:1"
    normalize: ClassVar[Callable[[str], object]] = str.split


class CompletionExactMatch(_AbstractExactMatch):
    """`completion_exact_match` over batches and processes; tables name it `exact_match_split`."""

    name: ClassVar[str] = "exact_match_split"
    signature: ClassVar[str] = (
        f"exact_match_split|compare:whitespace-split|{LITERALS_SIGNATURE}|case:mixed|v:1"
    )
    normalize: ClassVar[Callable[[str], object]] = _restored_words
