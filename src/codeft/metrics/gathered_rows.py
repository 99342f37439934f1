"""Rows that a metric has kept over batches and processes, put together again."""

from __future__ import annotations

import torch
from torch import Tensor

from codeft.types import CodeftError


def joined(parts: list[Tensor] | Tensor) -> Tensor:
    """Return a metric's state as one tensor: processes that have met hold one, a single one its batches.

    Raises:
        CodeftError: There are no rows.
    """
    rows = parts if isinstance(parts, Tensor) else torch.cat(parts) if parts else torch.zeros(0)
    if len(rows) == 0:
        raise CodeftError("expected rows before search is scored, got none: nothing to rank")
    return rows


def first_of_each(ids: Tensor, *values: list[Tensor] | Tensor) -> tuple[Tensor, ...]:
    """Return the distinct ids in order and what each came with first.

    >>> first_of_each(torch.tensor([4, 2, 4]), torch.tensor([10, 11, 12]))
    (tensor([2, 4]), tensor([11, 10]))
    """
    order = ids.argsort(stable=True)
    ordered = ids[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], *(joined(value)[order[first]] for value in values)
