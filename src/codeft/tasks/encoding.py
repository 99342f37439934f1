"""Texts to sub-tokens; of a very long text only as much is read as can count."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

_CHARACTERS_A_TOKEN = 16
_FEWEST_CHARACTERS = 2**14
_GROWTH = 8
_SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class EncodedText:
    """A text's sub-tokens.

    Attributes:
        ids: int32 [S], special tokens included.
        offsets: int32 [S, 2], the half-open character span of each in the text; (-1, -1) for special tokens.
        truncated: Whether the text was cut.
    """

    ids: np.ndarray
    offsets: np.ndarray
    truncated: bool


def encode_texts(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    max_length: int,
    side: Literal["left", "right"] = "right",
    framed: bool = True,
) -> list[EncodedText]:
    """Encode texts as the tokenizer does, cut to a number of sub-tokens.

    A tokenizer reads all of a text before it cuts, which for megabytes takes minutes. So a long text's near
    end is encoded, and more of it where the sub-tokens that stay don't lie in the near half of that: how a
    text is split depends on what is near, and the other half, thousands of characters, is more than near.
    (Only a single word of thousands of characters, cut at the left, may be split otherwise.)

    Args:
        texts: Any number.
        tokenizer: The model's, a fast one.
        max_length: Sub-tokens at most, special tokens included.
        side: Where a text that is too long is cut; "left" keeps its end.
        framed: Whether the tokenizer's special tokens stand around each text.
    """
    if not texts:
        return []
    size = max(_FEWEST_CHARACTERS, _CHARACTERS_A_TOKEN * max_length)
    starts = [max(0, len(text) - size) if side == "left" else 0 for text in texts]
    parts = [text[start : start + size] for text, start in zip(texts, starts, strict=True)]
    while True:
        with _cutting_at(tokenizer, side):
            found = tokenizer(
                parts,
                truncation=True,
                max_length=max_length,
                split_special_tokens=True,
                add_special_tokens=framed,
            ).encodings
        assert found is not None, "a fast tokenizer has them"
        unsure = [
            i
            for i, (part, text) in enumerate(zip(parts, texts, strict=True))
            if len(part) < len(text) and not _lies_in_near_half(found[i], len(part), side=side)
        ]
        if not unsure:
            return [_encoded(encoding, start) for encoding, start in zip(found, starts, strict=True)]
        size *= _GROWTH
        for i in unsure:
            starts[i] = max(0, len(texts[i]) - size) if side == "left" else 0
            parts[i] = texts[i][starts[i] : starts[i] + size]


def encode_targets(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> list[EncodedText]:
    """Encode texts that a model is to write, cut to a number of sub-tokens; each ends with the end token.

    They look as sources do where the tokenizer only says where a text begins and ends. Where it says more of
    a source (in which mode it is read) or less (a prompt has no end), a target is bare but for its end.

    Args:
        texts: Any number.
        tokenizer: The model's, a fast one.
        max_length: Sub-tokens at most, special tokens included.
    """
    frame, end = tokenizer("")["input_ids"], tokenizer.eos_token_id
    if len(frame) <= 2 and frame[-1:] == [end]:
        return encode_texts(texts, tokenizer, max_length=max_length)
    bare = encode_texts(texts, tokenizer, max_length=max_length - 1, framed=False)
    no_span = np.full((1, 2), -1, dtype=np.int32)
    return [
        EncodedText(
            np.append(text.ids, np.int32(end)), np.concatenate([text.offsets, no_span]), text.truncated
        )
        for text in bare
    ]


def encode_marked(
    texts: Sequence[str],
    tokenizer: PreTrainedTokenizerBase,
    *,
    marks: Sequence[int | None],
    max_length: int,
    side: Literal["left", "right"] = "right",
) -> list[EncodedText]:
    """Encode texts as `encode_texts` does, and put each one's mark behind it, at the cost of a sub-token.

    Args:
        texts: Any number.
        tokenizer: The model's, a fast one.
        marks: One a text, None where it has none; or nothing at all.
        max_length: Sub-tokens at most, special tokens and mark included; 1 leaves no room for a mark.
        side: See `encode_texts`.
    """
    marked = {i: mark for i, mark in enumerate(marks) if mark is not None and max_length > 1}
    if not marked:
        return encode_texts(texts, tokenizer, max_length=max_length, side=side)
    plain = [i for i in range(len(texts)) if i not in marked]
    found = dict(
        zip(
            (*marked, *plain),
            encode_texts([texts[i] for i in marked], tokenizer, max_length=max_length - 1, side=side)
            + encode_texts([texts[i] for i in plain], tokenizer, max_length=max_length, side=side),
            strict=True,
        )
    )
    for i, mark in marked.items():
        ids = np.append(found[i].ids, np.int32(mark))
        offsets = np.concatenate([found[i].offsets, np.full((1, 2), -1, dtype=np.int32)])
        found[i] = EncodedText(ids, offsets, found[i].truncated)
    return [found[i] for i in range(len(texts))]


def _encoded(encoding: Encoding, start: int) -> EncodedText:
    offsets = np.asarray(encoding.offsets, dtype=np.int32).reshape(-1, 2) + start
    offsets[np.asarray(encoding.special_tokens_mask, dtype=bool)] = -1
    return EncodedText(np.asarray(encoding.ids, dtype=np.int32), offsets, bool(encoding.overflowing))


def _lies_in_near_half(encoding: Encoding, length: int, *, side: str) -> bool:
    if not encoding.overflowing:
        return False
    own = [
        span for span, mask in zip(encoding.offsets, encoding.special_tokens_mask, strict=True) if not mask
    ]
    if side == "left":
        return 2 * min((start for start, _ in own), default=length) >= length
    return 2 * max((end for _, end in own), default=0) <= length


@contextmanager
def _cutting_at(tokenizer: PreTrainedTokenizerBase, side: str) -> Iterator[None]:
    """Have a tokenizer cut long texts at a side; it is the model's, and goes back as it was."""
    before = tokenizer.truncation_side
    tokenizer.truncation_side = side
    try:
        yield
    finally:
        tokenizer.truncation_side = before


@dataclass(frozen=True, slots=True)
class PlainEncoding:
    """A whole text's own sub-tokens.

    Attributes:
        ids: int32 [S], no special tokens.
        offsets: int64 [S, 2], the half-open character span of each.
    """

    ids: np.ndarray
    offsets: np.ndarray


def encode_plain(texts: Sequence[str], tokenizer: PreTrainedTokenizerBase) -> list[PlainEncoding]:
    """Encode whole texts, however long, without special tokens; text that reads like one is plain text.

    Args:
        texts: Any number.
        tokenizer: The model's, a fast one.
    """
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    before, backend.encode_special_tokens = backend.encode_special_tokens, True
    try:
        plain = [_SURROGATE.sub("\ufffd", text) for text in texts]  # one for one: offsets stay right
        encodings = backend.encode_batch(plain, add_special_tokens=False)
    finally:
        backend.encode_special_tokens = before
    return [
        PlainEncoding(
            np.array(encoding.ids, dtype=np.int32),
            np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2),
        )
        for encoding in encodings
    ]
