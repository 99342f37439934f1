"""Training over several nodes: each keeps to rows of its own, and finds again what it has kept of them."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence

import numpy as np

from codeft.data.sampling import AbstractBatchSampler
from codeft.types import CodeftError


class NodeSampler(AbstractBatchSampler):
    """Yields this node's batches, made of its own rows in every epoch.

    Each node's rows are batched as those of one node are. Where nodes have unequally many batches, the others
    repeat some, for ranks wait for one another.

    Args:
        rows: Each node's, int64 [N] each.
        make: Makes the sampler of some rows for this rank of its node; it numbers them from 0.
        node: This node's number.
    """

    def __init__(
        self, rows: Sequence[np.ndarray], *, make: Callable[[np.ndarray], AbstractBatchSampler], node: int
    ) -> None:
        samplers = [make(own) for own in rows]
        self._rows, self._own = rows[node], samplers[node]
        self._num_batches = max(len(sampler) for sampler in samplers)
        super().__init__(rank=self._own.rank, world_size=self._own.world_size)

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return an epoch's batches of all ranks of this node."""
        return [self._rows[batch] for batch in self._own.batches(epoch)]

    def rank_batches(self, epoch: int) -> list[np.ndarray]:
        """Return this rank's batches of an epoch."""
        own = self._own.rank_batches(epoch)
        return [self._rows[own[i % len(own)]] for i in range(self._num_batches)]

    def __len__(self) -> int:
        return self._num_batches


def rows_by_node(groups: Sequence[Hashable | None], *, num_nodes: int, seed: int) -> list[np.ndarray]:
    """Deal rows out to nodes by chance, once and for all epochs.

    Rows that belong together are dealt out two by two, so that each finds another of its group on its node;
    in a small group always the same.

    Args:
        groups: Each row's group; None for a row that belongs to none.
        num_nodes: How many nodes there are.
        seed: Equal seeds give equal rows.

    Returns:
        Each node's rows in an order by chance, so that equal places of two nodes have nothing in common:
        int64 [N] each. They have equally many, but for one; in groups, pairs.

    Raises:
        CodeftError: There are fewer than nodes.
    """
    order = np.random.default_rng((seed, num_nodes)).permutation(len(groups))
    if all(group is None for group in groups):
        dealt = [order[node::num_nodes].tolist() for node in range(num_nodes)]
    else:
        dealt = _deal_pairs(groups, order, num_nodes=num_nodes)
    if not all(dealt):
        raise CodeftError(f"{len(groups)} rows can't be shared by {num_nodes} nodes; lower trainer.num_nodes")
    return [np.array(rows, dtype=np.int64) for rows in dealt]


def _deal_pairs(groups: Sequence[Hashable | None], order: np.ndarray, *, num_nodes: int) -> list[list[int]]:
    members: dict[Hashable, list[int]] = {}
    for row in order.tolist():
        if groups[row] is not None:
            members.setdefault(groups[row], []).append(row)
    dealt: list[list[int]] = [[] for _ in range(num_nodes)]
    node = 0
    for rows in members.values():
        for start in range(0, len(rows) - 1, 2):
            last = start + 3 == len(rows)  # one is left over
            dealt[node] += rows[start : start + (3 if last else 2)]
            node = (node + 1) % num_nodes
    return dealt
