"""Sub-tokens that stand for what a tokenizer doesn't know: how many, and of which characters."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from codeft.tasks.base import AbstractTask
from codeft.tasks.encoding import encode_texts
from codeft.types import Encoding, Example

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

MUCH = 0.001
"""Share of unknown sub-tokens above which training warns."""

_EXAMINED = 200
"""Texts of a side in which the unknown characters are looked up."""

_NAMED = 10
"""Characters that are named, the most frequent first."""

_SHOWN = 20
"""Characters of a piece that is unknown as a whole."""


class UnknownTokens:
    """Counts the unknown sub-tokens of examples: of sources, targets and queries apart, by language.

    A model can't read what is unknown in a source, and can't write what is unknown in a target.

    Args:
        task: Has encoded the examples.
        tokenizer: The model's.
    """

    def __init__(self, *, task: AbstractTask, tokenizer: PreTrainedTokenizerBase) -> None:
        self.task = task
        self.tokenizer = tokenizer
        self._id = unknown_id(tokenizer)
        self._special = np.array([id_ for id_ in tokenizer.all_special_ids if id_ != self._id])
        self._tokens: dict[str, Counter[str]] = {}
        self._unknown: dict[str, Counter[str]] = {}
        self._texts: dict[str, list[str]] = {}

    def add(self, examples: Sequence[Example], encodings: Sequence[Encoding]) -> None:
        """Count what was encoded of some examples."""
        groups: dict[tuple[str, str], list[tuple[str, np.ndarray]]] = {}
        for example, encoding in zip(examples, encodings, strict=True):
            for side, text, ids in encoded_texts(example, encoding, task=self.task):
                groups.setdefault((side, example.lang or "text"), []).append((text, ids))
        for (side, lang), group in groups.items():
            ids = np.concatenate([ids for _, ids in group])
            num_unknown = 0 if self._id is None else int((ids == self._id).sum())
            self._tokens.setdefault(side, Counter())[lang] += int((~np.isin(ids, self._special)).sum())
            self._unknown.setdefault(side, Counter())[lang] += num_unknown
            texts = self._texts.setdefault(side, [])
            if num_unknown and len(texts) < _EXAMINED:
                texts += [text for text, ids in group if self._id in ids][: _EXAMINED - len(texts)]

    def describe(self) -> dict[str, dict[str, Any]]:
        """Return what was counted, by side ("source", and "target" or "query" where there are some).

        Returns:
            `share` of the sub-tokens, special ones left aside, that are unknown; `languages`, the share by
            language; `characters`, how often the most frequent unknown ones stand in the first 200 texts that
            have any.
        """
        return {
            side: {
                "share": _share(self._unknown[side].total(), tokens.total()),
                "languages": {lang: _share(self._unknown[side][lang], n) for lang, n in tokens.items()},
                "characters": dict(self._characters(side).most_common(_NAMED)),
            }
            for side, tokens in self._tokens.items()
        }

    def _characters(self, side: str) -> Counter[str]:
        found: Counter[str] = Counter()
        if not self._texts[side]:
            return found
        limit = max(self.task.max_source_length, self.task.max_target_length)
        encoded = encode_texts(self._texts[side], self.tokenizer, max_length=limit)
        for text, encoding in zip(self._texts[side], encoded, strict=True):
            for start, end in encoding.offsets[encoding.ids == self._id]:
                piece = text[max(start, 0) : end].strip() or text[max(start, 0) : end]
                found[piece] += 1
        single: Counter[str] = Counter()
        known: dict[str, bool] = {}
        for piece, count in found.items():
            unknown = [character for character in piece if not self._knows(character, known)]
            for character in unknown or [piece[:_SHOWN]]:
                single[character] += count
        return single

    def _knows(self, character: str, known: dict[str, bool]) -> bool:
        if character not in known:
            [encoding] = encode_texts([character], self.tokenizer, max_length=_SHOWN, framed=False)
            known[character] = self._id not in encoding.ids
        return known[character]


def unknown_id(tokenizer: PreTrainedTokenizerBase) -> int | None:
    """Return the id of the unknown sub-token; None where there is none, or where it ends texts as well."""
    id_ = tokenizer.unk_token_id
    names = ("bos", "eos", "pad", "cls", "sep", "mask")
    others = {getattr(tokenizer, f"{name}_token_id") for name in names}
    return id_ if isinstance(id_, int) and id_ not in others else None


def encoded_texts(
    example: Example, encoding: Encoding, *, task: AbstractTask
) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield each of an example's texts: what it is to the task, the text and its sub-tokens.

    Args:
        example: The example.
        encoding: Its own.
        task: The task.

    Yields:
        "source", "target" or "query", the text, its ids; empty texts beside the source are passed over.
    """
    yield "source", example.source, encoding.input_ids
    for place, (other, encoded) in enumerate(zip(example.others, encoding.others, strict=False)):
        if other.source:
            yield "query" if task.has_queries and place == 0 else "source", other.source, encoded.input_ids
    if task.output == "text" and encoding.labels is not None:
        yield "target", example.target or "", encoding.labels


def warnings_of(described: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence for each side of which the tokenizer doesn't know much.

    Args:
        described: As `UnknownTokens.describe` returns it.
    """
    for side, found in described.items():
        if found["share"] > MUCH:
            worst = sorted(found["languages"].items(), key=lambda item: -item[1])
            langs = ", ".join(f"{share:.1%} in {lang}" for lang, share in worst if share)
            characters = " ".join(map(repr, found["characters"]))
            can = "write" if side == "target" else "read"
            sides = {"query": "queries"}.get(side, f"{side}s")
            yield (
                f"{found['share']:.1%} of the {sides}' sub-tokens are unknown to the tokenizer ({langs}), "
                f"most often {characters}: the model can't {can} them; choose another model= or "
                "model.tokenizer="
            )


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 0.0
