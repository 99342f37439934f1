"""Clipped n-gram matches of many pairs at once: whole numbers are sorted, nothing is counted in Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np

_BLOCK = 1 << 18
"""Characters of both sides that are looked at together, unless one pair has more: what the caches hold."""
_KEY_BITS = 62

Units = Callable[[Sequence[str]], tuple[np.ndarray, np.ndarray]]
"""From texts to the numbers of all their units, one text after the other, and how many each has."""


class NgramMatches(NamedTuple):
    """What n-gram scores count in each pair.

    Attributes:
        matches: int64 [N, max_order], the prediction's n-grams that its reference has too, clipped.
        lengths: int64 [N], the prediction's units.
        reference_lengths: int64 [N], the reference's.
    """

    matches: np.ndarray
    lengths: np.ndarray
    reference_lengths: np.ndarray


def match_words(
    predictions: Sequence[str],
    references: Sequence[str],
    *,
    max_order: int,
    split: Callable[[str], Sequence[str]] = str.split,
) -> NgramMatches:
    """Match n-grams of words.

    Args:
        predictions: Texts.
        references: Texts in the same order.
        max_order: n goes from 1 to this.
        split: Cuts a text into words.

    >>> match_words(["a b a", ""], ["a b", "a"], max_order=2).matches.tolist()
    [[2, 1], [0, 0]]
    """

    def word_numbers() -> Units:
        numbers: dict[str, int] = {}

        def units(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
            rows = [split(text) for text in texts]
            found = [numbers.setdefault(word, len(numbers)) for row in rows for word in row]
            return np.asarray(found, dtype=np.int64), np.asarray([*map(len, rows)], dtype=np.int64)

        return units

    return _match(predictions, references, max_order=max_order, units=word_numbers)


def match_characters(
    predictions: Sequence[str], references: Sequence[str], *, max_order: int
) -> NgramMatches:
    """Match n-grams of characters, white space left out.

    Args:
        predictions: Texts.
        references: Texts in the same order.
        max_order: n goes from 1 to this.

    >>> match_characters(["a b a"], ["ab"], max_order=2).matches.tolist()
    [[2, 1]]
    """

    def units(texts: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        rows = ["".join(text.split()) for text in texts]
        codes = np.frombuffer("".join(rows).encode("utf-32-le", "surrogatepass"), dtype="<u4")
        return codes.astype(np.int64), np.asarray([*map(len, rows)], dtype=np.int64)

    return _match(predictions, references, max_order=max_order, units=lambda: units)


def possible_ngrams(lengths: np.ndarray, *, max_order: int) -> np.ndarray:
    """Return how many n-grams texts of these lengths have.

    Args:
        lengths: int64 [N].
        max_order: n goes from 1 to this.

    Returns:
        int64 [N, max_order].

    >>> possible_ngrams(np.array([3, 0]), max_order=2).tolist()
    [[3, 2], [0, 0]]
    """
    return np.maximum(lengths[:, None] - np.arange(max_order), 0)


def _match(
    predictions: Sequence[str], references: Sequence[str], *, max_order: int, units: Callable[[], Units]
) -> NgramMatches:
    """Match block by block; `units` begins to number anew."""
    matches = np.zeros((len(predictions), max_order), dtype=np.int64)
    lengths = np.zeros((2, len(predictions)), dtype=np.int64)
    for rows in _blocks(predictions, references):
        numbered = units()
        made, lengths[0, rows] = numbered(predictions[rows])
        wanted, lengths[1, rows] = numbered(references[rows])
        sizes = lengths[:, rows].ravel()
        matches[rows] = _match_block(np.concatenate([made, wanted]), sizes, max_order=max_order)
    return NgramMatches(matches, *lengths)


def _blocks(predictions: Sequence[str], references: Sequence[str]) -> Iterator[slice]:
    """Yield slices of rows that have about `_BLOCK` characters together."""
    ends = np.cumsum([len(own) + len(other) for own, other in zip(predictions, references, strict=True)])
    first = 0
    while first < len(ends):
        seen = ends[first - 1] if first else 0
        last = max(first + 1, int(np.searchsorted(ends, seen + _BLOCK, side="right")))
        yield slice(first, last)
        first = last


def _match_block(units: np.ndarray, sizes: np.ndarray, *, max_order: int) -> np.ndarray:
    """Match the first half of texts with the second.

    An n-gram is a number: that of its first n - 1 units, and its last unit. Numbers that would grow beyond
    an int64 are given anew.
    """
    num_rows = len(sizes) // 2
    texts = np.repeat(np.arange(len(sizes)), sizes)
    is_reference = texts >= num_rows
    rows = texts - num_rows * is_reference
    left = np.repeat(np.cumsum(sizes), sizes) - np.arange(len(units))  # units from here to the text's end
    units, num_units = _renumber(units)
    grams, num_grams = units, num_units
    matches = np.zeros((num_rows, max_order), dtype=np.int64)
    for order in range(max_order):
        starts = (left > order).nonzero()[0]
        if not len(starts):
            break
        if order:
            if (num_grams * num_units * num_rows).bit_length() > _KEY_BITS:
                grams, num_grams = _renumber(grams)
            # Where a text ends too early the number is nothing's, and `starts` leaves it out.
            grams = grams * num_units + np.append(units[order:], np.zeros(order, dtype=np.int64))
            num_grams *= num_units
        keys, times = _shared(rows[starts] * num_grams + grams[starts], is_reference[starts])
        matches[:, order] = np.bincount(keys // num_grams, weights=times, minlength=num_rows)
    return matches


def _shared(keys: np.ndarray, is_reference: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys, at least one, and how often the side with fewer has each."""
    marked = np.sort(keys * 2 + is_reference)
    keys = marked >> 1
    firsts = np.append(True, keys[1:] != keys[:-1]).nonzero()[0]
    in_reference = np.add.reduceat(marked & 1, firsts)
    times = np.minimum(in_reference, np.diff(np.append(firsts, len(keys))) - in_reference)
    return keys[firsts], times


def _renumber(values: np.ndarray) -> tuple[np.ndarray, int]:
    """Number values from 0 without gaps."""
    distinct, numbers = np.unique(values, return_inverse=True)
    return numbers, max(len(distinct), 1)
