"""Batches in which no row stands without another of its group."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from codeft.data.sampling import AbstractBatchSampler
from codeft.types import CodeftError


class GroupSampler(AbstractBatchSampler):
    """Yields batches that hold two rows, or a multiple of two, of each group that is in them.

    In every epoch the rows of each group are paired by chance, and batches are drawn from all pairs. So each
    row comes at most once an epoch. Left out are one row of a group of an odd number, another one each time;
    rows that are alone in their group; and the pairs that fill no batch of every rank. An odd `batch_size`
    gives batches of one row less.

    Args:
        groups: Each row's group; None for a row that belongs to none.
        batch_size: Rows a batch, at least 2; fewer where there aren't so many pairs.
        seed: Seeds the order, together with the epoch.
        rank: This process's number.
        world_size: Number of processes.

    Raises:
        CodeftError: A batch of fewer than two rows, or fewer pairs than processes.
    """

    def __init__(
        self,
        groups: Sequence[Hashable | None],
        *,
        batch_size: int,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        super().__init__(rank=rank, world_size=world_size)
        if batch_size < 2:
            raise CodeftError(
                f"this task learns from rows that belong together, two of them a batch at least: "
                f"data.batch_size must be 2 or more, not {batch_size}"
            )
        rows: dict[Hashable, list[int]] = {}
        for row, group in enumerate(groups):
            if group is not None:
                rows.setdefault(group, []).append(row)
        self.groups = [np.array(group) for group in rows.values() if len(group) > 1]
        num_pairs = sum(len(group) // 2 for group in self.groups)
        if num_pairs < world_size:
            raise CodeftError(
                f"expected rows that belong together, at least two for each of {world_size} devices, got "
                f"{num_pairs} pairs among {len(groups):,} rows"
            )
        self.seed = seed
        self.pairs_a_batch = min(batch_size // 2, num_pairs // world_size)
        self._num_batches = num_pairs // self.pairs_a_batch // world_size

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return all ranks' batches of an epoch, each an array of indices."""
        rng = np.random.default_rng((self.seed, epoch))
        shuffled = [rng.permutation(group)[: len(group) // 2 * 2].reshape(-1, 2) for group in self.groups]
        pairs = rng.permutation(np.concatenate(shuffled))  # [P, 2]
        num_batches = self._num_batches * self.world_size
        kept = pairs[: num_batches * self.pairs_a_batch]
        return list(kept.reshape(num_batches, 2 * self.pairs_a_batch))

    def __len__(self) -> int:
        return self._num_batches
