"""What a method may ask of an example: its tree, its data flow.

A method's YAML lists features under `data.features`; the datamodule computes each once an example and
`collate` pads them. A feature holds O(n) numbers an example, never a matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from codeft.types import Encoding, Example

if TYPE_CHECKING:
    from torch import Tensor


class AbstractFeature(ABC):
    """Arrays that an example carries into its batch.

    Attributes:
        model_input: The further input of the model that this is, one of `AbstractCodeModel.further_inputs`;
            such a feature is computed for validation, test and prediction, too. "" where only a method reads
            it, in training.
    """

    model_input: ClassVar[str] = ""

    @abstractmethod
    def compute(self, example: Example, encoding: Encoding) -> dict[str, np.ndarray]:
        """Return the arrays of one example; must not raise on source that doesn't parse."""

    def note(self) -> str:
        """Return what the log should say once a split is computed; nothing by default."""
        return ""

    @abstractmethod
    def collate(self, arrays: Sequence[dict[str, np.ndarray]], *, length: int) -> dict[str, Tensor]:
        """Pad and stack to batch tensors.

        Args:
            arrays: What `compute` returned, one an example.
            length: S, the padded number of source sub-tokens.
        """
