"""Batches of similar length, in an order that is a pure function of the seed and the epoch."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from torch.utils.data import DataLoader, Sampler

from codeft.types import CodeftError

Key = tuple[int, int]
"""(epoch, index): what the sampler hands to the data set, so that its randomness knows the epoch."""

POOL_BATCHES = 50
"""Batches' worth of examples that are sorted by length together."""


class AbstractBatchSampler(Sampler[list[Key]]):
    """Batches in an order that is a pure function of the epoch, from any of them on.

    Args:
        rank: This process's number.
        world_size: Number of processes.
    """

    def __init__(self, *, rank: int, world_size: int) -> None:
        self.rank = rank
        self.world_size = world_size
        self.epoch = 0
        self.skip = 0
        self.sampler = self  # Lightning calls set_epoch on a batch sampler's `sampler` only

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order the next iteration yields."""
        self.epoch = epoch

    @abstractmethod
    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return all ranks' batches of an epoch, each an array of indices."""

    def rank_batches(self, epoch: int) -> list[np.ndarray]:
        """Return this rank's batches of an epoch; their number is the same in every epoch."""
        return self.batches(epoch)[self.rank :: self.world_size]

    def __iter__(self) -> Iterator[list[Key]]:
        skip, self.skip = self.skip, 0
        for batch in self.rank_batches(self.epoch)[skip:]:
            yield [(self.epoch, int(index)) for index in batch]

    @abstractmethod
    def __len__(self) -> int: ...


class LengthBucketSampler(AbstractBatchSampler):
    """Yields batches of examples of similar length, so that little is spent on padding.

    With `batch_size`, an epoch's random order is cut into pools of `POOL_BATCHES` batches, each pool is
    sorted by length and cut into batches; not `by_length`, the random order is cut as it is, and a last batch
    that isn't full is left out if there is a full one. With `batch_tokens`, the whole split is sorted by
    length with random ties, so that the cuts, and with them the number of batches, are the same in every
    epoch. In both cases the batches are then shuffled. Without `shuffle` the longest batches come first, so
    that memory runs out at once or never.

    In training each rank gets as many batches, some of them twice where the number doesn't divide, for
    ranks wait for one another. Without `shuffle` each example comes exactly once, and each rank gets at
    least one batch.

    Args:
        lengths: int [N, 2], sub-tokens of each example's source and target; they are padded apart.
        batch_size: Examples a batch.
        batch_tokens: Sub-tokens a batch at most, padding included; one of the two must be given.
        shuffle: Whether the order is random.
        by_length: Whether a training batch's examples are of similar length.
        seed: Seeds the order, together with the epoch.
        rank: This process's number.
        world_size: Number of processes.

    Raises:
        CodeftError: Not exactly one of `batch_size` and `batch_tokens`, or one that's too small; or fewer
            examples than processes.
    """

    def __init__(
        self,
        lengths: np.ndarray,
        *,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        shuffle: bool = True,
        by_length: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        check_one_budget(batch_size=batch_size, batch_tokens=batch_tokens)
        if batch_size is not None and batch_size < 1:
            raise CodeftError(f"data.batch_size must be at least 1, not {batch_size}")
        if batch_tokens is not None and not by_length:
            raise CodeftError(
                "this task learns from whom an example shares its batch with, so each needs as many: give "
                "data.batch_size, and data.batch_tokens=null"
            )
        totals = lengths.sum(axis=1)
        longest = int(totals.max(initial=0))
        if batch_tokens is not None and batch_tokens < longest:
            raise CodeftError(
                f"data.batch_tokens={batch_tokens} doesn't hold the longest example of {longest} sub-tokens"
            )
        if len(lengths) < world_size:
            raise CodeftError(
                f"{len(lengths)} rows can't be shared by {world_size} devices; lower trainer.devices"
            )
        if batch_size is not None and not (shuffle and by_length):
            batch_size = min(batch_size, max(1, len(lengths) // world_size))
        self.lengths = lengths
        self.totals = totals
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.shuffle = shuffle
        self.by_length = by_length
        self.seed = seed
        super().__init__(rank=rank, world_size=world_size)
        self._num_batches = len(self.rank_batches(0))

    def batches(self, epoch: int) -> list[np.ndarray]:
        """Return all ranks' batches of an epoch, each an array of indices."""
        rng = np.random.default_rng((self.seed, epoch))
        if self.batch_tokens is not None:
            batches = self._cut_by_tokens(rng)
        elif self.shuffle:
            batches = self._cut_pools(rng)
        else:
            order = np.argsort(-self.totals, kind="stable")
            batches = _chunks(order, self.batch_size or 1)
        if self.shuffle:
            batches = [batches[i] for i in rng.permutation(len(batches))]
        return batches

    def _cut_pools(self, rng: np.random.Generator) -> list[np.ndarray]:
        assert self.batch_size is not None
        order = rng.permutation(len(self.lengths))
        if not self.by_length:
            batches = _chunks(order, self.batch_size)
            return batches[:-1] if len(batches) > 1 and len(batches[-1]) < self.batch_size else batches
        batches = []
        for pool in _chunks(order, self.batch_size * POOL_BATCHES):
            pool = pool[np.argsort(self.totals[pool], kind="stable")]
            batches += _chunks(pool, self.batch_size)
        return batches

    def _cut_by_tokens(self, rng: np.random.Generator) -> list[np.ndarray]:
        assert self.batch_tokens is not None
        ties = rng.permutation(len(self.lengths)) if self.shuffle else np.arange(len(self.lengths))
        order = np.lexsort((ties, -self.lengths[:, 0], -self.totals))  # ties: equal sources and targets
        batches, start = [], 0
        longest = np.zeros(2, dtype=np.int64)
        for end, both in enumerate(self.lengths[order]):
            wider = np.maximum(longest, both)
            if end > start and (end - start + 1) * wider.sum() > self.batch_tokens:
                batches.append(order[start:end])
                start, wider = end, both
            longest = wider
        return [*batches, order[start:]] if start < len(order) else batches

    def rank_batches(self, epoch: int) -> list[np.ndarray]:
        """Return this rank's batches of an epoch."""
        batches = self.batches(epoch)
        if self.shuffle and batches:  # training steps wait for one another, so each rank needs as many
            missing = -len(batches) % self.world_size
            batches = batches + [batches[i % len(batches)] for i in range(missing)]
        return batches[self.rank :: self.world_size]

    def __len__(self) -> int:
        return self._num_batches


def check_one_budget(*, batch_size: int | None, batch_tokens: int | None) -> None:
    """Raise unless a batch is measured in one way.

    Args:
        batch_size: Examples a batch, or None.
        batch_tokens: Sub-tokens a batch, or None.

    Raises:
        CodeftError: Both are given, or neither.
    """
    if (batch_size is None) == (batch_tokens is None):
        both = (
            f": with data.batch_size={batch_size} set data.batch_tokens=null, or with "
            f"data.batch_tokens={batch_tokens} data.batch_size=null"
        )
        raise CodeftError(
            "give one of data.batch_size (examples) and data.batch_tokens, not both or none"
            + ("" if batch_size is None else both)
        )


def _chunks(array: np.ndarray, size: int) -> list[np.ndarray]:
    return [array[i : i + size] for i in range(0, len(array), size)]


class ResumableDataLoader(DataLoader[Any]):
    """A loader over an `AbstractBatchSampler` that goes on in mid-epoch.

    Lightning saves and restores its state by itself. Counted are the batches handed out, not those that
    workers prefetched. The state of a finished epoch means the beginning of the next one.
    """

    batch_sampler: AbstractBatchSampler
    _consumed = 0
    _restored = False

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]  # torch names its private class
        if not self._restored:
            self._consumed = 0
        self._restored = False
        self.batch_sampler.skip = self._consumed
        for batch in super().__iter__():
            self._consumed += 1
            yield batch

    def state_dict(self) -> dict[str, int]:
        """Return the epoch and the number of its batches that were handed out."""
        return {"epoch": self.batch_sampler.epoch, "consumed": self._consumed}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Have the next iteration go on behind the batches that the state counts."""
        finished = state["consumed"] >= len(self.batch_sampler)
        self._consumed = 0 if finished else state["consumed"]
        self._restored = True
