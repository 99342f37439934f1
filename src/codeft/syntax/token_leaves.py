"""The leaf of each sub-token in one pass over the tree: `parse` and `align` together, and faster."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from codeft.syntax.alignment import align
from codeft.syntax.tree import parse, walk_leaves


@dataclass(frozen=True, slots=True)
class TokenLeaves:
    """Which leaf each sub-token belongs to, and the shape of the tree above the leaves.

    Attributes:
        leaf: int32 [S], -1 for a sub-token without a leaf.
        depths: int32 [n], see `SyntaxTree.depths`.
        lca_depths: int32 [max(n - 1, 0)], see `SyntaxTree.lca_depths`.
        has_errors: See `SyntaxTree.has_errors`.
    """

    leaf: np.ndarray
    depths: np.ndarray
    lca_depths: np.ndarray
    has_errors: bool


def token_leaves(source: str, lang: str, offsets: np.ndarray) -> TokenLeaves:
    """Parse source text and find each sub-token's leaf; never raises on any text.

    The same as `align(parse(source, lang), offsets)`. Where the source is ASCII, parses without an error and
    has no ink outside its leaves and comments, as most code, plain lists do instead of tables of all nodes.

    Args:
        source: A file or a snippet, with its layout.
        lang: Name or alias of the language.
        offsets: int [S, 2], half-open character spans; empty or negative ones for special tokens.

    Raises:
        CodeftError: The language is unknown.

    Examples:
        >>> found = token_leaves("x = 10", "python", np.array([(-1, -1), (0, 1), (1, 3), (3, 5), (5, 6)]))
        >>> found.leaf.tolist(), found.depths.tolist(), found.lca_depths.tolist()
        ([-1, 0, 1, 2, 2], [3, 3, 3], [2, 2])
    """
    leaves = walk_leaves(source, lang)
    if leaves is None:
        tree = parse(source, lang)
        return TokenLeaves(align(tree, offsets), tree.depths, tree.lca_depths, tree.has_errors)
    return TokenLeaves(
        _align(leaves.starts, leaves.ends, offsets, length=len(source)),
        np.array(leaves.depths, dtype=np.int32),
        np.array(leaves.lca_depths, dtype=np.int32),
        has_errors=False,
    )


def _align(starts: list[int], ends: list[int], offsets: np.ndarray, *, length: int) -> np.ndarray:
    """Return for each span the leaf that covers most of it, of equals the first; -1 for none."""
    first, last = np.asarray(offsets, dtype=np.int64).reshape(-1, 2).clip(0, length).T
    never = length + 1
    leaf_starts, leaf_ends = np.array([*starts, never, never]), np.array([*ends, never, never])
    leaf = leaf_ends.searchsorted(first, side="right").clip(max=len(starts))
    begins = leaf_starts[leaf]
    reaches = (begins < last) & (first < last)
    # Zero-width leaves cover nothing, and a span over several leaves has to choose.
    unsure = reaches & ((leaf_starts[leaf + 1] < last) | (leaf_ends[leaf] == begins))
    found = np.where(reaches, leaf, -1)
    for span in np.flatnonzero(unsure).tolist():
        found[span] = _most_covered(
            starts, ends, leaf=int(leaf[span]), start=int(first[span]), end=int(last[span])
        )
    return found.astype(np.int32)


def _most_covered(starts: list[int], ends: list[int], *, leaf: int, start: int, end: int) -> int:
    best, most = -1, 0
    while leaf < len(starts) and (begin := starts[leaf]) < end:
        covered = min(end, ends[leaf]) - max(start, begin)
        if covered > most:
            best, most = leaf, covered
        leaf += 1
    return best
