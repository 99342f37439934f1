"""The leaf of each sub-token in one pass over the tree: `parse` and `align` together, and faster."""

from __future__ import annotations

from bisect import bisect_right
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
    leaf = _align(leaves.starts, leaves.ends, offsets, length=len(source))
    return TokenLeaves(
        np.array(leaf, dtype=np.int32),
        np.array(leaves.depths, dtype=np.int32),
        np.array(leaves.lca_depths, dtype=np.int32),
        has_errors=False,
    )


def _align(starts: list[int], ends: list[int], offsets: np.ndarray, *, length: int) -> list[int]:
    """Return for each span the leaf that covers most of it, of equals the first; -1 for none."""
    found, num_leaves = [], len(starts)
    for start, end in offsets.tolist():
        best, most = -1, 0
        start, end = max(start, 0), min(end, length)
        leaf = bisect_right(ends, start)
        while leaf < num_leaves and (begin := starts[leaf]) < end:
            covered = min(end, ends[leaf]) - max(start, begin)
            if covered > most:
                best, most = leaf, covered
            leaf += 1
        found.append(best)
    return found
