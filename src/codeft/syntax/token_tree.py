"""The syntax tree over sub-tokens: which runs of sub-tokens are a node, and which are an identifier."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeft.syntax.tree import LeafRanges, leaf_ranges

_NO_NAMES = np.zeros((0, 3), dtype=np.int64)


@dataclass(frozen=True, slots=True)
class TokenTree:
    """A tree whose leaves are sub-tokens.

    A node is a run of two or more sub-tokens; nodes of one and the same run (a statement that is only a
    call, say) are one node. A sub-token that no child of a node covers (white space between statements) is
    a child of that node itself.

    Attributes:
        num_tokens: Sub-tokens of the text.
        starts: int64 [m], the first sub-token of each node, in pre-order; the root, if there is one, is all.
        ends: int64 [m], exclusive.
        names: int64 [o, 3], each occurrence of an identifier in order: the identifier's number, the first
            sub-token, and the one behind the last.
    """

    num_tokens: int
    starts: np.ndarray
    ends: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.starts)

    def piece(self, start: int, end: int) -> TokenTree:
        """Return the tree over some of the sub-tokens: nodes are cut to them, identifiers kept if whole."""
        starts, ends = _as_nodes(
            self.starts.clip(start, end) - start, self.ends.clip(start, end) - start, end - start
        )
        inside = (self.names[:, 1] >= start) & (self.names[:, 2] <= end)
        return TokenTree(end - start, starts, ends, self.names[inside] - [0, start, start])


def token_tree(source: str, lang: str, offsets: np.ndarray, *, with_names: bool = True) -> TokenTree:
    """Parse source text and lay its tree over sub-tokens; never raises on any text.

    A sub-token belongs to the leaf that most of its characters are of, of equals the first; comments are
    leaves. One that no leaf covers stands between its neighbours' leaves.

    Args:
        source: A file or a snippet, with its layout; "" as its language makes it a tree of one node.
        lang: Name or alias of the language, or "".
        offsets: int [S, 2], the character spans of the text's own sub-tokens, in order; no special tokens.
        with_names: Whether identifiers are asked for; else `names` is empty.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> offsets = np.array([(0, 1), (1, 3), (3, 5), (5, 6), (6, 8), (8, 9)])
        >>> tree = token_tree("x = f(10)", "python", offsets)
        >>> list(zip(tree.starts.tolist(), tree.ends.tolist()))  # the assignment, the call, its arguments
        [(0, 6), (2, 6), (3, 6)]
        >>> tree.names.tolist()  # x, f
        [[0, 0, 1], [1, 2, 3]]
    """
    num_tokens = len(offsets)
    if not lang or not num_tokens:
        nothing = np.zeros(0, dtype=np.int64)
        return TokenTree(num_tokens, *_as_nodes(nothing, nothing, num_tokens), _NO_NAMES)
    ranges = leaf_ranges(source, lang)
    places = _places(ranges, offsets, length=len(source))
    firsts = places.searchsorted(2 * ranges.firsts)
    lasts = places.searchsorted(2 * ranges.lasts - 1)
    leaves = np.arange(len(ranges.starts))
    leaf_firsts, leaf_lasts = places.searchsorted(2 * leaves), places.searchsorted(2 * leaves + 1)
    starts, ends = _as_nodes(
        np.concatenate((firsts, leaf_firsts)), np.concatenate((lasts, leaf_lasts)), num_tokens
    )
    names = _names(source, ranges, leaf_firsts, leaf_lasts) if with_names else _NO_NAMES
    return TokenTree(num_tokens, starts, ends, names)


def _places(ranges: LeafRanges, offsets: np.ndarray, *, length: int) -> np.ndarray:
    """Return each sub-token's place, int64 [S], rising: 2 i in leaf i, 2 i - 1 before it and in none."""
    first, last = offsets.clip(0, length).T
    never = np.array([length + 1])
    starts, ends = np.concatenate((ranges.starts, never)), np.concatenate((ranges.ends, never))
    leaf = np.minimum(ends.searchsorted(first, side="right"), len(starts) - 1)
    behind = starts.searchsorted(last)  # the first leaf that begins at the sub-token's end or later
    best, most = np.full(len(first), -1), np.zeros(len(first), dtype=np.int64)
    for _ in range(int((behind - leaf).max(initial=0))):
        covered = np.minimum(last, ends[leaf]) - np.maximum(first, starts[leaf])
        more = covered > most
        best, most = np.where(more, leaf, best), np.where(more, covered, most)
        leaf = np.minimum(leaf + 1, len(starts) - 1)
    return np.maximum.accumulate(np.where(best >= 0, 2 * best, 2 * behind - 1))


def _as_nodes(starts: np.ndarray, ends: np.ndarray, num_tokens: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the runs of two sub-tokens and more, each once, in pre-order, the whole text first."""
    if num_tokens < 2:
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    width = num_tokens + 1
    long = ends - starts > 1
    # One number for each run: by start, then the longer one first.
    keys = np.append(starts[long] * width + (num_tokens - ends[long]), 0)
    keys.sort()
    keys = keys[np.append(True, keys[1:] != keys[:-1])]
    firsts, rest = np.divmod(keys, width)
    return firsts, num_tokens - rest


def _names(source: str, ranges: LeafRanges, firsts: np.ndarray, lasts: np.ndarray) -> np.ndarray:
    named = np.flatnonzero(ranges.is_name & (lasts > firsts))
    numbers: dict[str, int] = {}
    spans = zip(ranges.starts[named].tolist(), ranges.ends[named].tolist(), strict=True)
    found = [numbers.setdefault(source[start:end], len(numbers)) for start, end in spans]
    return np.stack((np.array(found, dtype=np.int64), firsts[named], lasts[named]), axis=1)
