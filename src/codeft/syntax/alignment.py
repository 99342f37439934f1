"""Which leaf of the tree each sub-token belongs to, by character offsets."""

from __future__ import annotations

import numpy as np

from codeft.syntax.tree import SyntaxTree


def align(tree: SyntaxTree, offsets: np.ndarray) -> np.ndarray:
    """Return the leaf of each sub-token.

    A sub-token over several leaves takes the one that most of its characters belong to, of equals the first.
    Which leaf a character belongs to is `SyntaxTree.owners`: white space and comments have none.

    Source:
        SAT (arXiv 2404.07471), section 3.1, which finds sub-tokens by substring search; offsets don't
        mistake an argument `i` for a part of `int`.

    Args:
        tree: The tree of the source that the sub-tokens were made from.
        offsets: int [S, 2], half-open character spans; empty or negative ones for special tokens.

    Returns:
        int32 [S], -1 for sub-tokens without a leaf.

    Examples:
        >>> from codeft.syntax.tree import parse
        >>> align(parse("x = 10", "python"), np.array([(-1, -1), (0, 1), (1, 3), (3, 5), (5, 6)]))
        array([-1,  0,  1,  2,  2], dtype=int32)
    """
    offsets = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    leaf_of_token = np.full(len(offsets), -1, dtype=np.int32)
    starts, ends = offsets.clip(0, len(tree.owners)).T
    lengths = np.maximum(ends - starts, 0)
    # One entry a character of each sub-token: which sub-token, which leaf.
    tokens = np.repeat(np.arange(len(offsets)), lengths)
    within = np.arange(len(tokens)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    leaves = tree.owners[np.repeat(starts, lengths) + within].astype(np.int64)
    tokens, leaves = tokens[leaves >= 0], leaves[leaves >= 0]
    if not len(tokens):
        return leaf_of_token
    pairs, counts = np.unique(tokens * len(tree) + leaves, return_counts=True)
    tokens, leaves = np.divmod(pairs, len(tree))
    order = np.lexsort((leaves, -counts, tokens))
    tokens, first = np.unique(tokens[order], return_index=True)
    leaf_of_token[tokens] = leaves[order][first]
    return leaf_of_token
