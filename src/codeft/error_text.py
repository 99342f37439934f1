"""What an error says, in one line of a length to read, and which word may have been meant."""

from __future__ import annotations

from collections.abc import Iterable

_LONGEST = 400
"""Characters of what a library says that are passed on."""

_FEWEST_LETTERS = 3
"""Of a word that may be near to another."""


def one_line(error: BaseException) -> str:
    r"""Return what an error says, in one line; its type's name where it says nothing.

    >>> one_line(ValueError("not a size:\n    x"))
    'not a size: x'
    """
    said = " ".join(str(error).split()) or type(error).__name__
    return said if len(said) <= _LONGEST else f"{said[:_LONGEST]}…"


def nearest(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean …?" where a known word is near, else a full stop.

    >>> nearest("tely", ["telly", "sat"]), nearest("kotlin", ["go", "golang"])
    ("; did you mean 'telly'?", '.')
    """
    found = nearest_word(word, known)
    return "." if found is None else f"; did you mean {found!r}?"


def nearest_word(word: str, known: Iterable[str]) -> str | None:
    """Return the known word that a mistyped one stands for; None where each would be far-fetched.

    A word is near where the typed one is a part of it, or where both begin with the same letter and at most
    a third of the letters, three at most, are to be added, left out, changed or swapped with their
    neighbour. Words of one or two letters are near to nothing: any would do.

    Args:
        word: As typed.
        known: What there is; of equally near words the first is taken.

    >>> nearest_word("pyhton", ["ruby", "python"]), nearest_word("typescript", ["javascript"])
    ('python', None)
    """
    most = min(max(1, len(word) // 3), 3)
    near: dict[str, int] = {}
    for candidate in known:
        if min(len(word), len(candidate)) < _FEWEST_LETTERS:
            continue
        if word[0] == candidate[0] and abs(len(word) - len(candidate)) <= most:
            edits = count_edits(word, candidate)
            if edits <= most:
                near[candidate] = edits
        if word in candidate:
            near.setdefault(candidate, len(candidate))  # behind all that are near by edits
    return min(near, key=near.__getitem__, default=None)


def count_edits(word: str, other: str) -> int:
    """Return how many letters are to be added, left out, changed or swapped with a neighbour.

    Source: the optimal string alignment distance (Damerau 1964, Levenshtein 1966).

    >>> count_edits("alhpa", "alpha"), count_edits("kotlin", "golang")
    (1, 4)
    """
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(word):
        above = row
        row = [i + 1]
        for j, other_letter in enumerate(other):
            edits = min(above[j] + (letter != other_letter), above[j + 1] + 1, row[j] + 1)
            if i and j and letter == other[j - 1] and word[i - 1] == other_letter:
                edits = min(edits, before[j - 1] + 1)
            row.append(edits)
        before = above
    return row[-1]
