"""Streams of training batches: every row in each epoch, and on from any batch as if never stopped."""

from __future__ import annotations

import itertools
import json
import signal
from collections import Counter

import numpy as np
import pytest
import torch

from codeft.data.streaming import PieceStream, StreamLoader
from codeft.models.loading import load_tokenizer
from codeft.tasks.base import AbstractStreamedTask
from codeft.tasks.pretraining import PARTS, PretrainingTask
from codeft.types import CodeftError, Example
from rows import function_rows


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


@pytest.fixture(scope="module")
def examples():
    rows = function_rows(0, 53)
    return [
        Example(
            str(i), row["code"], None, "python", {k: row[k] for k in ("code", "docstring")} if i % 2 else {}
        )
        for i, row in enumerate(rows)
    ]


@pytest.fixture
def loader(tokenizer, examples):
    def make(*, num_workers=0, rank=0, world_size=1, batch_tokens=400, num_rows=53):
        task = PretrainingTask(parts=dict.fromkeys(PARTS, 1), max_source_length=48, max_target_length=32)
        task.documented_share = 0.5
        stream = PieceStream(
            examples[:num_rows],
            task=task,
            tokenizer=tokenizer,
            batch_tokens=batch_tokens,
            pool_rows=8,
            seed=3,
            rank=rank,
            world_size=world_size,
        )
        return StreamLoader(stream, num_batches=100, num_workers=num_workers)

    return make


def same(first, second) -> bool:
    return first.keys() == second.keys() and all(torch.equal(first[key], second[key]) for key in first)


def test_each_row_comes_once_an_epoch_and_differs_the_next_time(loader):
    made = loader()
    seen: dict[int, list] = {0: [], 1: []}
    for batch in made:
        epoch = made._positions[0][0]
        if epoch == 2:
            break
        for row in set(batch["index"].tolist()):
            seen[min(epoch, 1)].append(row)
    counts = Counter(itertools.chain(*seen.values()))
    assert set(counts) == set(range(53)) and min(counts.values()) >= 2
    assert sum(made.counts[part] for part in PARTS) >= 2 * 53


def test_batches_fit_and_hold_one_kind(loader):
    kinds = set()
    for batch in itertools.islice(loader(), 60):
        texts = len(batch["input_ids"]) // len(batch["labels"])
        kinds.add(texts)
        assert batch["input_ids"].numel() + batch["labels"].numel() <= 400 or len(batch["labels"]) == 1
    assert kinds == {1, 2}


@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("stop", [1, 7, 30])
def test_a_loader_goes_on_where_another_stopped(loader, num_workers, stop):
    whole = list(itertools.islice(loader(num_workers=num_workers), 40))
    first = loader(num_workers=num_workers)
    begun = list(itertools.islice(first, stop))
    second = loader(num_workers=num_workers)
    second.load_state_dict(json.loads(json.dumps(first.state_dict())))
    rest = list(itertools.islice(second, 40 - stop))
    assert all(map(same, [*begun, *rest], whole))
    assert second.state_dict()["ranks"][0]["next"] == (40 % 2 if num_workers else 0)


def test_ranks_and_workers_share_the_rows(loader):
    seen: Counter[int] = Counter()
    for rank in range(2):
        made = loader(rank=rank, world_size=2)
        for batch in made:
            seen.update(set(batch["index"].tolist()))
            if made._positions[0][0] == 1:
                break
    assert set(seen) == set(range(53))
    first, second = (set(next(iter(loader(rank=rank, world_size=2)))["index"].tolist()) for rank in range(2))
    assert not first & second


def test_other_ranks_or_workers_begin_the_epoch_again(loader):
    first = loader()
    list(itertools.islice(first, 30))
    second = loader(num_workers=2)
    second.load_state_dict(first.state_dict())
    assert second._positions == [(first._positions[0][0], 0, 0)] * 2


def test_a_row_for_each_device_and_a_size_are_needed(loader):
    with pytest.raises(CodeftError, match="can't be shared by 3 devices"):
        loader(num_rows=2, world_size=3)
    with pytest.raises(CodeftError, match="batch_tokens"):
        loader(batch_tokens=None)


def test_more_workers_than_rows_still_have_one_each(loader):
    stream = loader(num_rows=2).stream
    assert [len(stream._rows(0, worker, 3)) for worker in range(3)] == [1, 1, 1]


@pytest.mark.parametrize("num_workers", [0, 1])
def test_rows_that_make_no_example_are_an_error_and_not_a_wait_without_end(tokenizer, num_workers):
    empty = [Example(str(i), "", None, "python") for i in range(3)]
    task = PretrainingTask(parts={"spans": 1})
    stream = PieceStream(empty, task=task, tokenizer=tokenizer, batch_tokens=400)
    with pytest.raises(CodeftError, match="none of 3 training rows makes an example"):
        next(iter(StreamLoader(stream, num_batches=1, num_workers=num_workers)))
    stream.examples = [*empty, Example("3", "x = 1", None, "python")]
    stream.pool_rows = 1
    assert len(list(itertools.islice(StreamLoader(stream, num_batches=1), 4))) == 4


def test_workers_leave_signals_to_the_main_process(loader, monkeypatch):
    """A trainer's handlers, which a forked worker inherits, would keep it from ending."""
    monkeypatch.setattr(PieceStream, "__iter__", lambda self: iter([_Handlers()]))
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        (found,) = itertools.islice(loader(num_workers=1), 1)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert found == [int(signal.SIG_IGN), int(signal.SIG_DFL)]


class _Handlers:
    """Made in a worker: its handlers, in the place of a batch."""

    behind, counts = (0, 0, 0), {}

    def __init__(self):
        self.batch = [int(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)]


def test_a_task_says_what_it_makes():
    assert {"pieces", "measure"} <= AbstractStreamedTask.__abstractmethods__
    assert np.isclose(sum(PretrainingTask(parts={"spans": 2, "body": 2}).parts.values()), 1)
