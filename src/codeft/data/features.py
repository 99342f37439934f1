"""What a method may ask of an example: its tree, later its data flow.

A method's YAML lists features under `data.features`; the datamodule computes each once an example and
`collate` pads them. A feature holds O(n) numbers an example, never a matrix.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from codeft.types import Encoding, Example

if TYPE_CHECKING:
    from torch import Tensor


class AbstractFeature(ABC):
    """Arrays that an example carries into its batch."""

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
