"""Padding: ids, masks, labels and what features bring along."""

from __future__ import annotations

import dataclasses

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from codeft.data.collate import Collator, Item, pad
from codeft.types import IGNORED_LABEL, Encoding


class CountFeature:
    """Stands for a method's feature: one number an example, and the padded length it was told."""

    def compute(self, example, encoding):
        return {"count": np.array([len(encoding.input_ids)])}

    def collate(self, arrays, *, length):
        return {"count": torch.tensor([int(a["count"][0]) for a in arrays]), "told": torch.tensor(length)}


def item(index: int, size: int, labels: int | None, features=()) -> Item:
    ids = np.arange(5, 5 + size, dtype=np.int32)
    target = None if labels is None else np.arange(7, 7 + labels, dtype=np.int32)
    encoding = Encoding(ids, np.zeros((size, 2), dtype=np.int32), target)
    return Item(index, encoding, [{name: feature.compute(None, encoding) for name, feature in features}])


@given(
    st.lists(st.lists(st.integers(0, 9), max_size=6), min_size=1, max_size=5), st.none() | st.integers(1, 9)
)
def test_pad_keeps_rows_and_fills_the_rest(rows, length):
    padded = pad([np.array(row, dtype=np.int32) for row in rows], value=-7, length=length)
    assert padded.dtype == torch.int64
    assert padded.shape == (len(rows), max([len(row) for row in rows] + [length or 1]))
    for row, filled in zip(rows, padded.tolist(), strict=True):
        assert filled[: len(row)] == row and set(filled[len(row) :]) <= {-7}


def test_a_batch_is_as_wide_as_its_longest_example():
    batch = Collator(pad_id=0, features={})([item(4, 3, 2), item(9, 5, 4)])
    assert batch["input_ids"].tolist() == [[5, 6, 7, 0, 0], [5, 6, 7, 8, 9]]
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 0, 0], [1] * 5]
    assert batch["labels"].tolist() == [[7, 8, IGNORED_LABEL, IGNORED_LABEL], [7, 8, 9, 10]]
    assert batch["index"].tolist() == [4, 9]


def test_the_mask_counts_length_not_ids():
    batch = Collator(pad_id=5, features={})([item(0, 3, None), item(1, 1, None)])  # 5 is also a real id
    assert batch["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]]
    assert "labels" not in batch


def test_published_scripts_pad_to_the_maximum():
    batch = Collator(pad_id=0, features={}, pad_to=(8, 6))([item(0, 3, 2)])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (1, 8)
    assert batch["labels"].shape == (1, 6)


def test_features_are_told_the_padded_length():
    features = {"count": CountFeature()}
    items = [item(0, 3, 1, features.items()), item(1, 5, 1, features.items())]
    batch = Collator(pad_id=0, features=features)(items)
    assert batch["count"].tolist() == [3, 5] and batch["told"] == 5


def test_the_texts_of_a_pair_follow_one_another_text_by_text():
    feature = CountFeature()

    def pair(index, first, second):
        texts = [Encoding(np.full(n, 5), np.zeros((n, 2))) for n in (first, second)]
        encoding = dataclasses.replace(texts[0], labels=np.array([1]), others=(texts[1],))
        return Item(index, encoding, [{"count": feature.compute(None, text)} for text in texts])

    batch = Collator(pad_id=0, features={"count": feature})([pair(3, 2, 4), pair(7, 1, 3)])
    assert batch["attention_mask"].sum(1).tolist() == [2, 1, 4, 3]
    assert batch["count"].tolist() == [2, 1, 4, 3]
    assert batch["index"].tolist() == [3, 7] and batch["labels"].tolist() == [[1], [1]]
