"""Texts to sub-tokens; of a very long text only as much is read as can count."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Encoding
    from transformers import PreTrainedTokenizerBase

_CHARACTERS_A_TOKEN = 16
_FEWEST_CHARACTERS = 2**14
_GROWTH = 8


def encode_texts(
    texts: Sequence[str], tokenizer: PreTrainedTokenizerBase, *, max_length: int
) -> list[Encoding]:
    """Encode texts as the tokenizer does, cut to a number of sub-tokens.

    A tokenizer reads all of a text before it cuts, which for megabytes takes minutes. So a long text's head
    is encoded, and more of it where the sub-tokens that stay don't lie in the head's first half: how a text
    is split depends on what is near, and the other half, thousands of characters, is more than near.

    Args:
        texts: At least one.
        tokenizer: The model's, a fast one.
        max_length: Sub-tokens at most, special tokens included.

    Returns:
        One encoding a text, in their order; its `overflowing` isn't empty where the text was cut.
    """
    size = max(_FEWEST_CHARACTERS, _CHARACTERS_A_TOKEN * max_length)
    heads = [text[:size] for text in texts]
    while True:
        found = tokenizer(heads, truncation=True, max_length=max_length, split_special_tokens=True).encodings
        assert found is not None, "a fast tokenizer has them"
        unsure = [
            i
            for i, (head, text) in enumerate(zip(heads, texts, strict=True))
            if len(head) < len(text) and not _lies_in_first_half(found[i], len(head))
        ]
        if not unsure:
            return found
        size *= _GROWTH
        for i in unsure:
            heads[i] = texts[i][:size]


def _lies_in_first_half(encoding: Encoding, length: int) -> bool:
    return bool(encoding.overflowing) and 2 * max(end for _, end in encoding.offsets) <= length
