"""The yardstick: what it hides, and that it counts the likelihood of hidden text alone."""

from __future__ import annotations

import gzip
import json
import math
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

from codeft.models.encoder_decoder import EncoderDecoderModel
from rows import function_rows

RECIPES = Path(__file__).parents[2] / "recipes" / "mini"


@pytest.fixture(scope="module")
def yardstick():
    sys.path.insert(0, str(RECIPES))
    try:
        import yardstick

        yield yardstick
    finally:
        sys.path.remove(str(RECIPES))


@pytest.fixture(scope="module")
def rows(yardstick, tmp_path_factory):
    path = tmp_path_factory.mktemp("held") / "held_out.jsonl.gz"
    with gzip.open(path, "wt", encoding="utf-8") as file:
        for i, row in enumerate(function_rows(0, 12)):
            text = row["code"] * (3 + i)
            file.write(
                json.dumps({"text": text, "language": "python", "repo": "a/b", "licence": "MIT"}) + "\n"
            )
    return yardstick.make(path)


def test_texts_are_cut_at_lines_and_spans_keep_apart(yardstick, rows):
    assert rows
    for row in rows:
        assert yardstick.MIN_CHARACTERS <= len(row["text"]) <= yardstick.MAX_CHARACTERS
        assert row["text"].endswith("\n") and row["licence"] == "MIT"
        edges = [place for span in row["hidden"] for place in span]
        assert edges == sorted(set(edges)) and edges[-1] <= len(row["text"])
        share = sum(stop - start for start, stop in row["hidden"]) / len(row["text"])
        assert 0.14 < share < 0.15 + 20 / len(row["text"])


@torch.no_grad()
def test_bits_are_those_of_the_hidden_text(yardstick, rows, tiny_tokenizer):
    sizes = {"vocab_size": 400, "d_model": 32, "d_kv": 8, "num_heads": 4, "d_ff": 64, "num_layers": 2}
    torch.manual_seed(0)
    model = EncoderDecoderModel(
        weights="random", tokenizer=str(tiny_tokenizer), architecture={**sizes, "num_decoder_layers": 1}
    )
    found = yardstick.measure(model, rows, layout="t5")
    for row, (bits, size) in zip(rows[:4], found, strict=False):
        hidden = [row["text"][start:stop] for start, stop in row["hidden"]]
        assert size == sum(len(text.encode()) for text in hidden)
        source, labels, counted, place = [], [], [], 0
        for i, ((start, stop), text) in enumerate(zip(row["hidden"], hidden, strict=True)):
            mark = model.tokenizer.convert_tokens_to_ids(f"<extra_id_{i}>")
            ids = model.tokenizer(text)["input_ids"][:-1]
            source += [*model.tokenizer(row["text"][place:start])["input_ids"][:-1], mark]
            labels += [mark, *ids]
            counted += [False, *[True] * len(ids)]
            place = stop
        source += model.tokenizer(row["text"][place:])["input_ids"]
        labels.append(model.tokenizer.eos_token_id)
        batch = {"input_ids": torch.tensor([source]), "labels": torch.tensor([labels])}
        batch["attention_mask"] = torch.ones_like(batch["input_ids"])
        nats = functional.cross_entropy(model(batch).logits[0], batch["labels"][0], reduction="none")
        expected = nats[:-1][torch.tensor(counted)].sum().item() / math.log(2)
        assert bits == pytest.approx(expected, rel=1e-4)


def test_the_summary_weighs_bytes(yardstick):
    rows = [{"language": "go"}, {"language": "go"}, {"language": "c"}]
    found = yardstick.summary(np.array([[10.0, 5.0], [2.0, 1.0], [9.0, 3.0]]), rows)
    assert found["bits_per_byte"] == round(21 / 9, 4)
    assert found["by_language"] == {"c": 3.0, "go": 2.0}
    assert found["interval"][0] <= found["bits_per_byte"] <= found["interval"][1]
