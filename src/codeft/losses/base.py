"""What a method adds to the loss of a training step."""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor, nn

from codeft.types import Batch, ModelOutput


class AbstractLossTerm(nn.Module, ABC):
    """A term of the training loss, beside the task's; a module, for it may learn parameters of its own.

    Attributes:
        name: Names the term in logs (`train/<name>_loss`); lower case.
        weight: Factor of the term in the sum, at least 0.
        learning_rate: Of the term's own parameters; None for the run's.
        counts_padding: Whether its value depends on what the model makes of padding.
    """

    name: str
    weight: float
    learning_rate: float | None
    counts_padding: bool = False

    @abstractmethod
    def forward(self, output: ModelOutput, batch: Batch) -> Tensor:
        """Return the unweighted scalar of one training batch."""
