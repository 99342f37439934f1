"""The one LightningDataModule: any task's rows, read, encoded and batched."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pytorch_lightning as pl
import torch
from torch.utils.data import Dataset

from codeft.data.collate import Collator, Item
from codeft.data.features import AbstractFeature
from codeft.data.group_sampling import GroupSampler
from codeft.data.jsonl import Row, SkippedRow, SkippedRows
from codeft.data.node_sampling import NodeSampler, rows_by_node
from codeft.data.sampling import (
    AbstractBatchSampler,
    Key,
    LengthBucketSampler,
    ResumableDataLoader,
    check_one_budget,
)
from codeft.data.sources import AbstractReader
from codeft.data.splits import parse_splits
from codeft.data.streaming import PieceStream, StreamLoader, leave_signals_to_the_main_process
from codeft.data.unknown_tokens import UnknownTokens, warnings_of
from codeft.progress import track
from codeft.tasks.base import AbstractStreamedTask, AbstractTask
from codeft.types import CodeftError, Encoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

log = logging.getLogger(__name__)

Features = list[dict[str, dict[str, np.ndarray]]]
"""An example's: for each of its texts, each feature's arrays."""

_ENCODE_CHUNK = 512
_SPLITS_OF_STAGE = {"fit": ("train", "valid"), "validate": ("valid",), "test": ("test",), "predict": ()}


class EncodedDataset(Dataset[Item]):
    """A split as encodings; indexed by (epoch, index), so that its randomness is a function of both.

    Args:
        examples: The split's examples.
        encodings: One an example.
        features: The arrays by feature of each text of each example.
        task: Draws what training sees of an example, where `augment` is set.
        seed: Seeds that, together with epoch and index.
        fresh: Whether each epoch draws anew; else all see what the first one drew.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        *,
        encodings: Sequence[Encoding],
        features: Sequence[Features],
        task: AbstractTask,
        seed: int,
        fresh: bool,
    ) -> None:
        self.examples = examples
        self.encodings = encodings
        self.features = features
        self.task = task
        self.seed = seed
        self.fresh = fresh

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, key: Key) -> Item:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch if self.fresh else 0, index))
        encoding = self.task.augment(self.encodings[index], rng)
        return Item(index, encoding, self.features[index])

    def subset(self, rows: np.ndarray) -> EncodedDataset:
        """Return some of the examples, with what was encoded of them."""
        return EncodedDataset(
            [self.examples[row] for row in rows],
            encodings=[self.encodings[row] for row in rows],
            features=[self.features[row] for row in rows],
            task=self.task,
            seed=self.seed,
            fresh=self.fresh,
        )

    def lengths(self) -> np.ndarray:
        """Return each example's sub-tokens, of source and target, as training sees them: int64 [N, 2]."""
        pairs = [self.task.training_lengths(encoding) for encoding in self.encodings]
        return np.array(pairs, dtype=np.int64).reshape(-1, 2)


class CodeDataModule(pl.LightningDataModule):
    """Reads a task's rows, encodes them once and serves them in batches of similar length.

    Args:
        task: Reads and encodes rows.
        tokenizer: The model's tokenizer.
        reader: Yields the rows of a split.
        features: What the method asks of an example, by name.
        splits: Which rows stand for a split ("valid[500:]" for train, say); a split not named, for itself.
        batch_size: Examples a training batch on each device; or
        batch_tokens: source and target sub-tokens a training batch, padding included.
        eval_batch_size: Examples a batch of validation, test and prediction.
        input: Which field the model reads, "code" or "code_tokens".
        on_bad_row: "error", or "skip" to leave a malformed row out and list it in the log.
        pad_to_max: Pad every batch to the task's maximum lengths, as the published scripts do.
        train_fraction: Share of the training rows to take, drawn by `seed`.
        train_limit: Training rows at most, drawn by `seed`; None for all.
        val_limit: Validation rows at most, the first ones; None for all. In code search it limits the
            queries; of clone retrieval's rows it takes some from everywhere.
        test_limit: Test rows at most, taken as those; None for all.
        num_workers: Processes that make batches; 0 makes them in the training process.
        seed: Seeds order, fraction and augmentation.

    Attributes:
        longest_first: Set for a dry run: the first training batch is the one that needs most.
        datasets: The splits read so far.
        streamed: The training rows of a task that makes its examples as they are asked for.
        skipped: The rows left out, each with its place and the reason.
    """

    def __init__(
        self,
        *,
        task: AbstractTask,
        tokenizer: PreTrainedTokenizerBase,
        reader: AbstractReader,
        features: Mapping[str, AbstractFeature] | None = None,
        splits: Mapping[str, str] | None = None,
        batch_size: int | None = None,
        batch_tokens: int | None = None,
        eval_batch_size: int = 32,
        input: str = "code",
        on_bad_row: str = "error",
        pad_to_max: bool = False,
        train_fraction: float = 1.0,
        train_limit: int | None = None,
        val_limit: int | None = None,
        test_limit: int | None = None,
        num_workers: int = 0,
        seed: int = 1234,
    ) -> None:
        super().__init__()
        check_one_budget(batch_size=batch_size, batch_tokens=batch_tokens)
        if not 0 < train_fraction <= 1:
            raise CodeftError(f"data.train_fraction must be above 0 and at most 1, not {train_fraction}")
        if on_bad_row not in ("error", "skip"):
            raise CodeftError(f"data.on_bad_row must be error or skip, not {on_bad_row!r}")
        numbers = {"batch_size": batch_size, "batch_tokens": batch_tokens, "eval_batch_size": eval_batch_size}
        numbers |= {"train_limit": train_limit, "val_limit": val_limit, "test_limit": test_limit}
        for key, value in numbers.items():
            if value is not None and value < 1:
                raise CodeftError(f"data.{key} must be at least 1, not {value}")
        if num_workers < 0:
            raise CodeftError(f"data.num_workers must be 0 or more, not {num_workers}")
        self.task = task
        self.tokenizer = tokenizer
        self.reader = reader
        self.features = dict(features or {})
        self.splits = parse_splits(splits or {})
        self.batch_size = batch_size
        self.batch_tokens = batch_tokens
        self.eval_batch_size = eval_batch_size
        self.input = input
        self.on_bad_row = on_bad_row
        self.pad_to_max = pad_to_max
        self.train_fraction = train_fraction
        self.limits = {"train": train_limit, "valid": val_limit, "test": test_limit}
        self.num_workers = num_workers
        self.seed = seed
        self.longest_first = False
        self.datasets: dict[str, EncodedDataset] = {}
        self.streamed: list[Example] = []
        self.skipped: SkippedRows = []

    def setup(self, stage: str) -> None:
        """Read and encode the splits of a stage, each once; what streams is read alone."""
        for split in _SPLITS_OF_STAGE[stage]:
            if split == "train" and isinstance(self.task, AbstractStreamedTask):
                if not self.streamed:
                    self.streamed = self.read(split)
                    self.task.measure(self.streamed)
            elif split not in self.datasets:
                self.datasets[split] = self.encode(self.read(split), training=split == "train", name=split)

    def read(self, split: str) -> list[Example]:
        """Read a split's examples.

        Raises:
            CodeftError: A row is malformed and `on_bad_row` is "error", no row is left, or the task can do
                nothing with those that are.
        """
        part, task, lang = self.splits[split], self.task.name, self.task.lang
        skipped_before = len(self.skipped)
        rows = islice(self.reader.rows(part.split, task=task, lang=lang), part.start, part.stop)
        examples = self._examples(rows, labelled=True, split=split)
        kept = self._limit(examples, split)
        if self.task.has_queries and split != "train":  # a limit is one of queries, not of what is searched
            kept += [self.task.without_query(example) for example in examples[len(kept) :]]
            further = self.reader.candidates(part.split, task=task, lang=lang)
            kept += self._examples(further, labelled=False, split=split, needed=False)
        for skipped in self.skipped[skipped_before:]:
            log.warning("skipped row %s: %s", skipped.where, skipped.reason)
        self.task.check(kept, split=split)
        return kept

    def _examples(
        self, rows: Iterable[Row], *, labelled: bool, split: str, needed: bool = True
    ) -> list[Example]:
        examples: list[Example] = []
        num_rows, num_skipped = 0, len(self.skipped)
        others: set[str] = set()
        for row in rows:
            num_rows += 1
            try:
                example = self.task.read(row.fields, where=row.where, input=self.input, labelled=labelled)
            except CodeftError as error:
                if self.on_bad_row == "error":
                    raise CodeftError(f"{error} (data.on_bad_row=skip leaves such rows out)") from None
                self.skipped.append(SkippedRow.because(error, where=row.where))
                continue
            if example is None:
                others.add(str(row.fields.get("language")))
            else:
                examples.append(example.named(self.reader.name(row), instead_of=row.where))
        self.skipped += self.reader.skipped
        self.reader.skipped.clear()
        if not examples and needed:
            asked = f" for lang={self.task.lang}" if self.task.lang else ""
            there = f"; they are in {', '.join(sorted(others))}" if others else ""
            left_out = self.skipped[num_skipped:]
            first = f"; the first left out is {left_out[0].where}: {left_out[0].reason}" if left_out else ""
            raise CodeftError(
                f"the {split} split is empty{asked}: {num_rows} rows were read, none is left{there}{first}"
            )
        return examples

    def _limit(self, examples: list[Example], split: str) -> list[Example]:
        limit = self.limits[split]
        limit = len(examples) if limit is None else limit
        if split == "train":
            limit = min(limit, max(1, round(self.train_fraction * len(examples))))
            order = np.random.default_rng(self.seed).permutation(len(examples))[:limit]
            return [examples[i] for i in sorted(order)]
        if self.task.output == "embedding" and not self.task.has_queries:  # files are sorted by what is alike
            return [
                examples[i] for i in np.linspace(0, len(examples) - 1, min(limit, len(examples)), dtype=int)
            ]
        return examples[:limit]

    def encode(
        self, examples: Sequence[Example], *, training: bool = False, name: str = ""
    ) -> EncodedDataset:
        """Encode examples and compute their features."""
        wanted = self.wanted_features(training=training)
        encodings: list[Encoding] = []
        features: list[Features] = []
        unknown = UnknownTokens(task=self.task, tokenizer=self.tokenizer)
        starts = range(0, len(examples), _ENCODE_CHUNK)
        for start in track(starts, description=f"encoding {name}", quiet_below=8):
            chunk = examples[start : start + _ENCODE_CHUNK]
            encoded = self.task.encode(chunk, self.tokenizer)
            encodings += encoded
            unknown.add(chunk, encoded)
            for example, encoding in zip(chunk, encoded, strict=True):
                features.append(compute_features(wanted, example, encoding))
        truncated = sum(encoding.truncated for encoding in encodings)
        langs = Counter(example.lang or "text" for example in examples)
        log.info(
            "%s: %d rows (%s), %d cut to the maximum length",
            name or "input",
            len(examples),
            ", ".join(f"{n} {lang}" for lang, n in langs.most_common()),
            truncated,
        )
        notes = [feature.note() for feature in wanted.values()]
        for note in filter(None, [*notes, self.task.note(examples) if training else ""]):
            log.info("%s: %s", name, note)
        for warning in warnings_of(unknown.describe()):
            log.warning("%s: %s", name or "input", warning)
        return EncodedDataset(
            examples, encodings=encodings, features=features, task=self.task, seed=self.seed, fresh=training
        )

    def wanted_features(self, *, training: bool) -> dict[str, AbstractFeature]:
        """Return the features by name: all for training; elsewhere what the model's input needs."""
        return {name: feature for name, feature in self.features.items() if training or feature.model_input}

    def loader(self, dataset: EncodedDataset, *, train: bool) -> ResumableDataLoader:
        """Return the batches of a data set, this rank's share of them."""
        return ResumableDataLoader(
            dataset,
            batch_sampler=self._sampler(dataset, train=train),
            collate_fn=Collator(
                self.tokenizer.pad_token_id, self.wanted_features(training=train), self._pad_to()
            ),
            num_workers=self.num_workers,
            worker_init_fn=leave_signals_to_the_main_process,
            persistent_workers=False,
            pin_memory=torch.cuda.is_available(),
            # Of its own, or every epoch would draw from the global state.
            generator=torch.Generator().manual_seed(self.seed),
        )

    def _stream(self, task: AbstractStreamedTask) -> StreamLoader:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        stream = PieceStream(
            self.streamed,
            task=task,
            tokenizer=self.tokenizer,
            batch_tokens=self.batch_tokens,
            seed=self.seed,
            rank=rank,
            world_size=world_size,
        )
        steps = trainer.max_steps * trainer.accumulate_grad_batches if trainer else 0
        return StreamLoader(stream, num_batches=max(1, steps), num_workers=self.num_workers)

    def _sampler(self, dataset: EncodedDataset, *, train: bool) -> AbstractBatchSampler:
        trainer = self.trainer
        rank, world_size = (trainer.global_rank, trainer.world_size) if trainer else (0, 1)
        shuffle = train and not self.longest_first
        groups = [self.task.group(example) if shuffle else None for example in dataset.examples]
        lengths = dataset.lengths()
        if not (shuffle and trainer and trainer.num_nodes > 1):
            make = self._sampler_of(
                groups, lengths, train=train, shuffle=shuffle, rank=rank, world_size=world_size
            )
            return make(np.arange(len(dataset)))
        make = self._sampler_of(
            groups,
            lengths,
            train=True,
            shuffle=True,
            rank=trainer.local_rank,
            world_size=trainer.num_devices,
        )
        rows = rows_by_node(groups, num_nodes=trainer.num_nodes, seed=self.seed)
        return NodeSampler(rows, make=make, node=trainer.node_rank)

    def _sampler_of(
        self,
        groups: Sequence[Hashable | None],
        lengths: np.ndarray,
        *,
        train: bool,
        shuffle: bool,
        rank: int,
        world_size: int,
    ) -> Callable[[np.ndarray], AbstractBatchSampler]:
        """Return what makes a sampler of some rows."""

        def make(rows: np.ndarray) -> AbstractBatchSampler:
            own = [groups[row] for row in rows]
            if self.batch_size is not None and any(group is not None for group in own):
                return GroupSampler(
                    own, batch_size=self.batch_size, seed=self.seed, rank=rank, world_size=world_size
                )
            return LengthBucketSampler(
                lengths[rows],
                batch_size=self.batch_size if train else self.eval_batch_size,
                batch_tokens=self.batch_tokens if train else None,
                shuffle=shuffle,
                by_length=self.task.batches_by_length,
                seed=self.seed,
                rank=rank,
                world_size=world_size,
            )

        return make

    def _pad_to(self) -> tuple[int, int] | None:
        if not self.pad_to_max:
            return None
        return self.task.max_source_length, self.task.max_target_length

    def train_dataloader(self) -> ResumableDataLoader | StreamLoader:
        """Return the training batches."""
        if isinstance(self.task, AbstractStreamedTask):
            return self._stream(self.task)
        return self.loader(self.datasets["train"], train=True)

    def val_dataloader(self) -> ResumableDataLoader:
        """Return the validation batches, the longest first."""
        return self.loader(self.datasets["valid"], train=False)

    def test_dataloader(self) -> ResumableDataLoader:
        """Return the test batches, the longest first."""
        return self.loader(self.datasets["test"], train=False)

    def count_rows(self, examples: Sequence[Example]) -> int:
        """Return how many examples are scored: of search the queries, for its candidates aren't."""
        if not self.task.has_queries:
            return len(examples)
        return sum(example.target is not None for example in examples)

    def num_rows(self) -> dict[str, int]:
        """Return the rows of each split read so far, of search its queries, and the rows left out."""
        counts = {name: self.count_rows(data.examples) for name, data in self.datasets.items()}
        if self.streamed:
            counts = {"train": len(self.streamed)} | counts
        return counts | {"skipped": len(self.skipped)}


def compute_features(
    wanted: Mapping[str, AbstractFeature], example: Example, encoding: Encoding
) -> list[dict[str, dict[str, np.ndarray]]]:
    """Return an example's features: for each of its texts that is encoded, each feature's arrays.

    Args:
        wanted: The features by name.
        example: The example.
        encoding: Its encoding; one without its other texts is of the source alone.
    """
    texts = zip((example, *example.others), (encoding, *encoding.others), strict=False)
    return [{name: feature.compute(*text) for name, feature in wanted.items()} for text in texts]
