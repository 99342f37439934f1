"""A very long text's first sub-tokens are those of the whole text, and come soon."""

from __future__ import annotations

import random
import re

import pytest

from codeft.models.loading import load_tokenizer
from codeft.tasks import encoding
from codeft.tasks.encoding import encode_texts
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example


@pytest.fixture(scope="module")
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


def whole(text, tokenizer, max_length, side="right"):
    """Encode a text as the tokenizer does by itself."""
    tokenizer.truncation_side = side
    found = tokenizer(
        text, truncation=True, max_length=max_length, return_offsets_mapping=True, split_special_tokens=True
    )
    tokenizer.truncation_side = "right"
    special = found.encodings[0].special_tokens_mask
    offsets = [
        (-1, -1) if mask else span for span, mask in zip(found["offset_mapping"], special, strict=True)
    ]
    return found["input_ids"], offsets


def long_texts() -> list[str]:
    draw = random.Random(0)
    words = [
        "def",
        "run(x):",
        "\n    ",
        "return",
        "naïve",
        "日本",
        "e\u0301",
        "</s>",
        "====",
        " ",
        "_" * 30,
        "\t",
    ]
    return [
        "".join(draw.choice(words) + draw.choice([" ", "", "\n"]) for _ in range(30_000)),
        "return " * 20_000,
        "a" * 100_000,
        "ab" * 50_000,
        " " * 100_000 + "x = 1",
        "\n" * 60_000 + "y",
        "x = 1\n" + " " * 90_000,
        "日" * 60_000,
        "0123456789" * 10_000,
        "short",
        "",
    ]


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("max_length", [8, 2000])
def test_the_sub_tokens_that_stay_are_those_of_the_whole_text(tokenizer, max_length, side):
    texts = long_texts()
    if side == "left":  # where one word is thousands of characters long, its end may be split otherwise
        texts = [text for text in texts if max(map(len, re.findall(r"\w+|\s+", text)), default=0) < 1000]
        assert len(texts) >= 3
    encodings = encode_texts(texts, tokenizer, max_length=max_length, side=side)
    for found, text in zip(encodings, texts, strict=True):
        ids, offsets = whole(text, tokenizer, max_length, side)
        assert found.ids.tolist() == ids
        assert found.offsets.tolist() == [list(span) for span in offsets]
        full = tokenizer(text, split_special_tokens=True)["input_ids"]
        assert found.truncated == (len(full) > max_length)
    assert tokenizer.truncation_side == "right"


@pytest.mark.parametrize("side", ["right", "left"])
def test_a_part_that_is_too_short_grows(tokenizer, monkeypatch, side):
    monkeypatch.setattr(encoding, "_FEWEST_CHARACTERS", 1)
    monkeypatch.setattr(encoding, "_CHARACTERS_A_TOKEN", 1)
    test_the_sub_tokens_that_stay_are_those_of_the_whole_text(tokenizer, 8, side)


class Counting:
    """Passes texts on to a tokenizer and counts their characters."""

    truncation_side = "right"

    def __init__(self, tokenizer):
        self.tokenizer, self.characters = tokenizer, 0

    def __call__(self, texts, **settings):
        self.characters += sum(map(len, texts))
        return self.tokenizer(texts, **settings)


def test_megabytes_are_not_read_to_be_cut_off(tokenizer):
    text = "total = compute(value) + other[1] * 3  # step\n" * 200_000
    counting = Counting(tokenizer)
    [encoded] = SummarizationTask(max_source_length=64).encode([Example("a", text, text)], counting)
    assert encoded.truncated
    assert counting.characters < 100_000
    assert encoded.input_ids.tolist() == whole(text[:100_000], tokenizer, 64)[0]
