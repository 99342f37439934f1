"""What every text metric shares: checked pairs, a name, a signature and states that may be summed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from typing import ClassVar, Protocol, runtime_checkable

import torch
from torch import Tensor
from torchmetrics import Metric

from codeft.types import CodeftError


def check_pairs(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Refuse what can't be scored row by row.

    Args:
        predictions: Texts that a model made, one a record.
        references: Reference texts in the same order.

    Raises:
        CodeftError: A single string came instead of a list, the numbers of rows differ, or there are none.
    """
    if isinstance(predictions, str) or isinstance(references, str):
        raise CodeftError("expected lists of texts, got a single text: put it into a list")
    if len(predictions) != len(references):
        raise CodeftError(
            f"expected one reference for each prediction, got {len(predictions)} predictions and "
            f"{len(references)} references: give both from the same rows, in the same order"
        )
    if not predictions:
        raise CodeftError("expected at least one prediction with its reference, got none: nothing to score")


class AbstractTextMetric(Metric, ABC):
    """Scores predicted texts against references, batch by batch and over any number of processes.

    All states are sums, so that the processes of a distributed run add theirs up and batches may fall as
    they like. States are float64 or int64: a float32 count stops growing at 2**24.

    Attributes:
        name: The metric's name in tables, logs and `metrics.json`.
        signature: Which variant of the metric this is; stands beside every value.
        higher_is_better: Whether a larger value means a better model.
    """

    name: ClassVar[str]
    signature: ClassVar[str]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    rows: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.add_state("rows", default=torch.tensor(0, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add a batch of records.

        Args:
            predictions: Texts that a model made; an empty batch is allowed.
            references: Reference texts in the same order.

        Raises:
            CodeftError: The numbers of predictions and references differ.
        """
        if len(predictions) == len(references) == 0:
            return
        check_pairs(predictions, references)
        self.add(predictions, references)
        self.rows += len(predictions)

    def compute(self) -> Tensor:
        """Return the score of all records so far, a float64 scalar.

        Raises:
            CodeftError: There were no records.
        """
        if self.rows == 0:
            raise CodeftError(f"expected at least one record before {self.name} is computed, got none")
        return torch.tensor(self.score(), dtype=torch.float64, device=self.rows.device)

    @abstractmethod
    def add(self, predictions: Sequence[str], references: Sequence[str]) -> None:
        """Add a batch that has been checked to the states."""

    @abstractmethod
    def score(self) -> float:
        """Return the score that the states amount to."""


@runtime_checkable
class HasSignatures(Protocol):
    """A metric that gives several numbers of different kinds."""

    signatures: Mapping[str, str]


def signatures_of(metric: Metric, *, names: Iterable[str]) -> dict[str, str]:
    """Return the signature of each number that a metric gives.

    Args:
        metric: With a `signature`, or with `signatures` by name.
        names: The numbers' names.
    """
    if isinstance(metric, HasSignatures):
        return {name: metric.signatures[name] for name in names}
    return dict.fromkeys(names, str(metric.signature))


def named_scores(name: str, metric: Metric) -> dict[str, float]:
    """Compute a metric that gives one number, or several by name.

    Args:
        name: What the number is called, if it is one.
        metric: Has seen at least one record.
    """
    computed = metric.compute()
    if isinstance(computed, Mapping):
        return {part: float(value) for part, value in computed.items()}
    return {name: float(computed)}
