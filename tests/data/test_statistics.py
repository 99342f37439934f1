"""Lengths, parse failures and duplicates of a data set."""

from __future__ import annotations

import numpy as np
import pytest

from codeft.data.statistics import describe_lengths, describe_split, duplicates_across
from codeft.models.loading import load_tokenizer
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


@pytest.fixture
def task():
    return SummarizationTask(max_source_length=16, max_target_length=6, prefix="Say: ")


def test_lengths_are_those_of_the_uncut_text(task, tokenizer):
    examples = [
        Example("a", "x = 1", "one"),
        Example("b", "def f():\n" + "    y = 2\n" * 50, "a very long " * 9),
    ]
    described = describe_split(examples, task=task, tokenizer=tokenizer, name="train")
    sources = [len(tokenizer(task.prefix + example.source)["input_ids"]) for example in examples]
    targets = [len(tokenizer(example.target)["input_ids"]) for example in examples]
    for side, lengths in (("source", sources), ("target", targets)):
        found = described[f"{side}_tokens"]
        assert (found["median"], found["max"]) == (min(lengths), max(lengths))
    assert (task.max_source_length, task.max_target_length) == (16, 6)
    truncated = [encoding.truncated for encoding in task.encode(examples, tokenizer)]
    assert (
        truncated == [False, True] == [bool(s > 16 or t > 6) for s, t in zip(sources, targets, strict=True)]
    )


def test_a_split(task, tokenizer):
    examples = [
        Example("a", "def f(): return 1", "one", "python"),
        Example("b", "def f(: return )", " ", "python"),
        Example("c", "", "three", "java"),
    ]
    described = describe_split(examples, task=task, tokenizer=tokenizer, name="train")
    assert described["rows"] == 3
    assert described["languages"] == {"python": 2, "java": 1}
    assert (described["parse_failures"], described["empty_sources"], described["empty_targets"]) == (1, 1, 1)
    assert described["source_tokens"]["limit"] == 16


def test_describe_lengths():
    lengths = np.arange(1, 101)
    assert describe_lengths(lengths, limit=95) == {
        "median": 50,
        "p90": 90,
        "max": 100,
        "limit": 95,
        "truncated": 5,
    }
    assert describe_lengths(np.array([], dtype=int), limit=5)["max"] == 0


def test_duplicates_count_rows_of_the_later_split():
    text = " ".join(f"word{i}" for i in range(60))
    splits = {
        "train": [Example("t0", text), Example("t1", text), Example("t2", "something else that is here")],
        "valid": [Example("v0", text + " more"), Example("v1", "nothing of the kind stands there")],
        "test": [
            Example("s0", text),
            Example("s1", text + " more"),
            Example("s2", "a third one that is new"),
        ],
    }
    found = duplicates_across(splits)
    assert {pair: (d["exact"], d["near"]) for pair, d in found.items()} == {
        "valid in train": (0, 1),
        "test in train": (1, 2),
        "test in valid": (1, 2),
    }
    assert [pair[0] for pair in found["test in train"]["pairs"]] == ["s0", "s1"]
    assert found["test in valid"]["pairs"][1] == ["s1", "v0", 1.0]
