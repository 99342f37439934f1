"""Training batches without end, made of rows as they are asked for: tokenised, parsed and masked."""

from __future__ import annotations

import signal
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import distributed
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from codeft.data.collate import Collator, Item
from codeft.tasks.base import AbstractStreamedTask
from codeft.types import Batch, CodeftError, Encoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

POOL_ROWS = 1_024
"""Rows whose pieces are sorted by length together."""

Position = tuple[int, int, int]
"""Where a stream stands: the epoch, the pool of rows in it, the pool's batch."""

_START: Position = (0, 0, 0)


@dataclass(frozen=True, slots=True)
class StreamedBatch:
    """A batch, and where its stream stands behind it.

    Attributes:
        batch: See `codeft.types.Batch`.
        behind: Where the stream goes on.
        counts: What the task counted while it made the batch's pool, with the pool's first batch.
    """

    batch: Batch
    behind: Position
    counts: dict[str, int]


class PieceStream(IterableDataset[StreamedBatch]):
    """Yields batches of pieces of similar length, again and again over the rows.

    Each process that makes batches (a rank's worker) has a stream of its own: every n-th row of an order that
    is a pure function of seed and epoch. A stream takes `POOL_ROWS` rows at a time, sorts their pieces by
    length, cuts them into batches and shuffles those. What is drawn for a row is a function of seed, epoch
    and row.

    Args:
        examples: The rows.
        task: Makes pieces of them.
        tokenizer: The model's.
        batch_tokens: Source and target sub-tokens a batch at most, padding included.
        pool_rows: See `POOL_ROWS`.
        seed: Seeds order and draws.
        rank: This process's number.
        world_size: Number of processes that train.

    Attributes:
        starts: Where each worker's stream begins.
        first_worker: The worker that makes the first batch, so that a resumed loader hands out batches of the
            streams in the same turn.

    Raises:
        CodeftError: `batch_tokens` isn't given, or there are fewer rows than processes.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        task: AbstractStreamedTask,
        tokenizer: PreTrainedTokenizerBase,
        batch_tokens: int | None,
        pool_rows: int = POOL_ROWS,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        if batch_tokens is None:
            raise CodeftError(
                "this task needs data.batch_tokens (sub-tokens a batch), and data.batch_size=null"
            )
        if len(examples) < world_size:
            raise CodeftError(
                f"{len(examples)} rows can't be shared by {world_size} devices; lower trainer.devices"
            )
        self.examples = examples
        self.task = task
        self.tokenizer = tokenizer
        self.batch_tokens = batch_tokens
        self.pool_rows = pool_rows
        self.seed = seed
        self.rank = rank
        self.world_size = world_size
        self.starts: list[Position] = []
        self.first_worker = 0

    def __iter__(self) -> Iterator[StreamedBatch]:
        info = get_worker_info()
        worker, num_workers = (0, 1) if info is None else (info.id, info.num_workers)
        worker = (worker + self.first_worker) % num_workers
        epoch, pool, skip = self.starts[worker] if self.starts else _START
        stream, num_streams = self.rank * num_workers + worker, self.world_size * num_workers
        collate = Collator(self.tokenizer.pad_token_id or 0, {})
        while True:
            is_barren = True
            rows = self._rows(epoch, stream, num_streams)
            num_pools = -(-len(rows) // self.pool_rows)
            for number in range(pool, num_pools):
                chosen = rows[number * self.pool_rows : (number + 1) * self.pool_rows]
                counts_before = self.task.counts.copy()
                batches = self._batches(chosen, epoch, order=(self.seed, epoch, stream, number))
                counts = dict(self.task.counts - counts_before)
                is_barren = is_barren and not batches
                for i in range(skip, len(batches)):
                    last = i + 1 == len(batches)
                    behind = (epoch, number + 1, 0) if last else (epoch, number, i + 1)
                    yield StreamedBatch(collate(batches[i]), behind, {} if i else counts)
                skip = 0
            if is_barren and not pool:
                raise CodeftError(
                    f"none of {len(rows)} training rows makes an example: give other rows or task.parts"
                )
            epoch, pool = epoch + 1, 0

    def _rows(self, epoch: int, stream: int, num_streams: int) -> np.ndarray:
        order = np.random.default_rng((self.seed, epoch)).permutation(len(self.examples))
        own = order[stream::num_streams]
        return own if len(own) else order[stream % len(order) :][:1]  # more workers than rows

    def _batches(self, rows: np.ndarray, epoch: int, *, order: tuple[int, ...]) -> list[list[Item]]:
        """Return the items of a pool's batches; padded they would take many times the memory."""
        examples = [self.examples[row] for row in rows]
        rngs = [np.random.default_rng((self.seed, epoch, row)) for row in rows]
        made = self.task.pieces(examples, self.tokenizer, rngs=rngs)
        pieces = [
            (int(row), encoding) for row, encodings in zip(rows, made, strict=True) for encoding in encodings
        ]
        rng = np.random.default_rng(order)
        batches = _cut_by_tokens([encoding for _, encoding in pieces], self.batch_tokens, rng)
        return [
            [Item(*pieces[place], [{}] * len(pieces[place][1].others)) for place in batches[i]]
            for i in rng.permutation(len(batches))
        ]


def _cut_by_tokens(
    pieces: Sequence[Encoding], batch_tokens: int, rng: np.random.Generator
) -> list[list[int]]:
    """Cut pieces, sorted by number of texts and by length, into batches that fit, padding included."""
    shapes = np.array(
        [
            (
                1 + len(piece.others),
                max(len(text.input_ids) for text in (piece, *piece.others)),
                0 if piece.labels is None else len(piece.labels),
            )
            for piece in pieces
        ],
        dtype=np.int64,
    ).reshape(-1, 3)
    batches: list[list[int]] = []
    current: list[int] = []
    source = target = num_texts = 0
    for place in np.lexsort(
        (rng.permutation(len(pieces)), shapes[:, 2], shapes[:, 1], shapes[:, 0])
    ).tolist():
        texts, length, labels = shapes[place].tolist()
        wider, longer = max(source, length), max(target, labels)
        if current and (texts != num_texts or (len(current) + 1) * (texts * wider + longer) > batch_tokens):
            batches.append(current)
            current, wider, longer = [], length, labels
        current.append(place)
        num_texts, source, target = texts, wider, longer
    return [*batches, current] if current else batches


class StreamLoader:
    """Batches of a `PieceStream`, from where a checkpoint's batches ended on each rank.

    Its state counts what was handed out, not what workers prefetched. It can be read with as many workers and
    devices as wrote it; with others, all streams begin their current epoch again. It is no `DataLoader` of
    torch's but makes one: of those that read a stream, Lightning fetches a batch more than it trains on.

    Args:
        stream: What it reads.
        num_batches: What Lightning is told for an epoch's length; the stream itself has no end.
        num_workers: Processes that make batches; 0 makes them in the training process.

    Attributes:
        counts: What the task counted so far, of all pools that were begun, on this rank.
    """

    def __init__(self, stream: PieceStream, *, num_batches: int, num_workers: int = 0) -> None:
        self.stream = stream
        self.num_batches = num_batches
        self.num_workers = num_workers
        self.counts: Counter[str] = Counter()
        self._positions = [_START] * max(1, num_workers)
        self._next = 0

    def __len__(self) -> int:
        return self.num_batches

    def __iter__(self) -> Iterator[Batch]:
        self.stream.starts, self.stream.first_worker = list(self._positions), self._next
        loader: DataLoader[Any] = DataLoader(
            self.stream,
            batch_size=None,
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_the_main_process,
            pin_memory=torch.cuda.is_available(),
            # Of its own, or it would draw from the global state.
            generator=torch.Generator().manual_seed(self.stream.seed),
        )
        for made in loader:
            self._positions[self._next] = made.behind
            self._next = (self._next + 1) % len(self._positions)
            self.counts.update(made.counts)
            yield made.batch

    def state_dict(self) -> dict[str, Any]:
        """Return each rank's positions, as plain lists; every rank must call it, as Lightning does."""
        own = {
            "positions": [list(p) for p in self._positions],
            "next": self._next,
            "counts": dict(self.counts),
        }
        if not (distributed.is_available() and distributed.is_initialized()):
            return {"ranks": [own]}
        gathered: list[Any] = [None] * distributed.get_world_size()
        distributed.all_gather_object(gathered, own)
        return {"ranks": gathered}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Have the next iteration go on behind the batches that the state counts."""
        ranks = state["ranks"]
        own = ranks[self.stream.rank % len(ranks)]
        self.counts = Counter(own["counts"])
        if len(ranks) == self.stream.world_size and len(own["positions"]) == len(self._positions):
            self._positions = [(int(e), int(p), int(b)) for e, p, b in own["positions"]]
            self._next = int(own["next"])
        else:
            epoch = min(int(position[0]) for rank in ranks for position in rank["positions"])
            self._positions, self._next = [(epoch, 0, 0)] * len(self._positions), 0


def leave_signals_to_the_main_process(worker: int) -> None:
    """Keep a worker alive on Ctrl-C, which a terminal sends it too, and let it end on SIGTERM."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
