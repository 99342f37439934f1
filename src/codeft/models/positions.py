"""How many positions a padded batch takes, in networks where padding takes none (RoBERTa's)."""

from __future__ import annotations

from typing import TypeGuard

import torch
from torch import Tensor

_RESERVED = 2
"""Rows of a RoBERTa's table of positions that no sub-token takes: up to the padding's id, which is 1."""


def usable_positions(num_rows: int, *, pad_id: int) -> int:
    """Return how many sub-tokens a RoBERTa has positions for.

    They begin after the padding's, at pad_id + 1. Where that is less than the published 2, as many stay
    unused as there, so that an architecture has one number whatever its tokenizer.

    Args:
        num_rows: `max_position_embeddings`.
        pad_id: What pads.

    >>> usable_positions(1026, pad_id=1), usable_positions(1026, pad_id=0)
    (1024, 1024)
    """
    return num_rows - max(pad_id + 1, _RESERVED)


def is_count(value: object) -> TypeGuard[int]:
    """Return whether a config's value can be a number of positions, or an id.

    >>> is_count(514), is_count(None), is_count(True)
    (True, False, False)
    """
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def longest_row(*real: Tensor, limit: int) -> list[int]:
    """Return how many sub-tokens the longest row has in each of its parts.

    Where all columns fit, it is their numbers, padding included: to count would make a GPU wait.

    Args:
        *real: [B, S] each, parts of the same rows: positive for a sub-token, 0 or less for padding.
        limit: Positions there are.

    >>> source, target = torch.tensor([[1, 1, 1], [1, 0, 0]]), torch.tensor([[1, 0], [1, 1]])
    >>> longest_row(source, target, limit=4), longest_row(source, target, limit=5)
    ([3, 1], [3, 2])
    """
    columns = [part.shape[1] for part in real]
    if sum(columns) <= limit:
        return columns
    lengths = torch.stack([(part > 0).sum(dim=1) for part in real])  # [parts, B]
    return lengths[:, int(lengths.sum(dim=0).argmax())].tolist()
