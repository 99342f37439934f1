"""The tokens by which some models (PLBART) are told in which language a text is."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MARKS = {
    "": "__en_XX__",
    "java": "__java__",
    "python": "__python__",
    "javascript": "__javascript__",
    "php": "__php__",
    "ruby": "__ruby__",
    "go": "__go__",
}
"""By a language's canonical name; "" is prose. PLBART's base model knows the first three."""


def language_marks(tokenizer: PreTrainedTokenizerBase) -> dict[str, int]:
    """Return the id of each language's token.

    Args:
        tokenizer: The model's.

    Returns:
        By canonical name, "" for prose; empty where the tokenizer has no such tokens.
    """
    special = set(tokenizer.all_special_tokens)
    found = {lang: tokenizer.convert_tokens_to_ids(mark) for lang, mark in MARKS.items() if mark in special}
    return {lang: id_ for lang, id_ in found.items() if isinstance(id_, int)}


def mark_pairs(
    langs: list[str], target_lang: str, marks: dict[str, int]
) -> list[tuple[int | None, int | None]]:
    """Return the tokens of each example's source and target.

    Source: PLBART (arXiv 2103.06333) was fine-tuned with both tokens where it was pre-trained on both
    languages, and without any where one of them was new to it (Ruby to English, Java to C#).

    Args:
        langs: The sources' languages; "" is prose.
        target_lang: The targets'.
        marks: As `language_marks` gives them.

    >>> mark_pairs(["java", "csharp"], "", {"": 9, "java": 7})
    [(7, 9), (None, None)]
    """
    target = marks.get(target_lang)
    return [(marks[lang], target) if target is not None and lang in marks else (None, None) for lang in langs]
