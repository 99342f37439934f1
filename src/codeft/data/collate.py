"""From encoded examples to a padded batch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from codeft.data.features import AbstractFeature
from codeft.types import IGNORED_LABEL, OWN_START, Batch, Encoding


@dataclass(frozen=True, slots=True)
class Item:
    """One example on its way into a batch: its position, encoding and features.

    Attributes:
        index: Position in the split.
        encoding: The example's.
        features: Each text's arrays by feature, the source's first.
    """

    index: int
    encoding: Encoding
    features: Sequence[Mapping[str, dict[str, np.ndarray]]]

    @property
    def texts(self) -> tuple[Encoding, ...]:
        """The encodings of the example's texts, the source's first."""
        return (self.encoding, *self.encoding.others)


@dataclass(frozen=True, slots=True)
class Collator:
    """Pads items to the longest of their batch.

    Attributes:
        pad_id: Pads `input_ids`.
        features: The features by name; each pads its own arrays.
        pad_to: (source, target) lengths to pad to instead, as the published scripts do; None for the
            longest of the batch.
    """

    pad_id: int
    features: Mapping[str, AbstractFeature]
    pad_to: tuple[int, int] | None = None

    def __call__(self, items: Sequence[Item]) -> Batch:
        """Return the batch; see `codeft.types.Batch` for its keys."""
        num_texts = len(items[0].texts)
        ids = [item.texts[text].input_ids for text in range(num_texts) for item in items]
        length, target_length = self.pad_to or (None, None)
        input_ids = pad(ids, value=self.pad_id, length=length)  # [N, S]
        lengths = torch.tensor([len(row) for row in ids])
        batch = {
            "input_ids": input_ids,
            "attention_mask": (torch.arange(input_ids.shape[1]) < lengths[:, None]).long(),
            "index": torch.tensor([item.index for item in items]),
        }
        labels = [item.encoding.labels for item in items if item.encoding.labels is not None]
        if len(labels) == len(items):
            batch["labels"] = pad(labels, value=IGNORED_LABEL, length=target_length)
        keys = [item.encoding.keys for item in items if item.encoding.keys is not None]
        if keys:
            batch["keys"] = torch.from_numpy(np.stack(keys))
        starts = [item.encoding.start for item in items]
        if any(start is not None for start in starts):
            batch["start_ids"] = torch.tensor([OWN_START if start is None else start for start in starts])
        for name, feature in self.features.items():
            arrays = [item.features[text][name] for text in range(num_texts) for item in items]
            batch.update(feature.collate(arrays, length=input_ids.shape[1]))
        return batch


def pad(rows: Sequence[np.ndarray], *, value: int, length: int | None = None) -> Tensor:
    """Stack rows of different lengths, padded on the right.

    Args:
        rows: Integer arrays of one dimension.
        value: Fills the rest of a row.
        length: Columns of the result; None for the longest row's.

    Returns:
        int64 [len(rows), length].

    >>> pad([np.array([1, 2]), np.array([3])], value=0)
    tensor([[1, 2],
            [3, 0]])
    """
    columns = max([len(row) for row in rows] + [length or 1])
    table = np.full((len(rows), columns), value, dtype=np.int64)
    for i, row in enumerate(rows):
        table[i, : len(row)] = row
    return torch.from_numpy(table)
