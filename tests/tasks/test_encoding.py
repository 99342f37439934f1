"""A very long text's first sub-tokens are those of the whole text, and come soon."""

from __future__ import annotations

import random
import re

import numpy as np
import pytest
from tokenizers import processors

from codeft.models.loading import load_tokenizer
from codeft.tasks import encoding
from codeft.tasks.encoding import encode_targets, encode_texts
from codeft.tasks.summarization import SummarizationTask
from codeft.types import Example


@pytest.fixture
def tokenizer(tiny_tokenizer):
    return load_tokenizer(tiny_tokenizer)


def with_frame(tokenizer, frame):
    """Have the tokenizer put these around a text."""
    ids = {"<s>": 5, "</s>": tokenizer.eos_token_id, "<unk>": tokenizer.unk_token_id}
    special = [(token, ids[token]) for token in dict.fromkeys(frame) if token != "$A"]
    tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=frame, special_tokens=special
    )


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
        self.tokenizer, self.characters, self.eos_token_id = tokenizer, 0, tokenizer.eos_token_id
        self.all_special_tokens = tokenizer.all_special_tokens

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


@pytest.mark.parametrize("frame", [["$A", "</s>"], ["<s>", "$A", "</s>"]])
def test_targets_look_like_sources(tokenizer, frame):
    texts = ["return x", ""]
    with_frame(tokenizer, frame)
    for target, source in zip(
        encode_targets(texts, tokenizer, max_length=8),
        encode_texts(texts, tokenizer, max_length=8),
        strict=True,
    ):
        assert np.array_equal(target.ids, source.ids) and np.array_equal(target.offsets, source.offsets)


@pytest.mark.parametrize("frame", [["<s>", "<unk>", "</s>", "$A", "</s>"], ["<s>", "$A"], ["$A"]])
def test_targets_of_a_prompt_are_bare_but_for_their_end(tokenizer, frame):
    with_frame(tokenizer, ["$A"])
    bare = tokenizer("return x")["input_ids"]
    with_frame(tokenizer, frame)
    whole, cut, empty = (
        encode_targets([text], tokenizer, max_length=length)[0]
        for text, length in (("return x", 20), ("return x", 3), ("", 1))
    )
    end = tokenizer.eos_token_id
    assert whole.ids.tolist() == [*bare, end] and not whole.truncated
    assert whole.offsets[0].tolist() == [0, 1] and whole.offsets[-1].tolist() == [-1, -1]
    assert cut.ids.tolist() == [*bare[:2], end] and cut.truncated
    assert empty.ids.tolist() == [end] and empty.ids.dtype == np.int32
