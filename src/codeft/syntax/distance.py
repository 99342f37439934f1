"""How far apart the leaves of a syntax tree stand."""

from __future__ import annotations

import numpy as np

from codeft.syntax.tree import SyntaxTree


def leaf_distances(tree: SyntaxTree) -> np.ndarray:
    """Return the number of edges on the path between every two leaves.

    With leaves in pre-order, the lowest common ancestor of leaves i < j is the highest of those between
    neighbours, so dist(i, j) = d_i + d_j - 2 min(l_i, …, l_{j-1}): a running minimum, no graph.

    Source:
        SAT (arXiv 2404.07471), section 3.1: the structural knowledge matrix.

    Args:
        tree: A tree with n leaves.

    Returns:
        int32 [n, n], symmetric, zero on the diagonal.

    Examples:
        >>> from codeft.syntax.tree import parse
        >>> leaf_distances(parse("x = f()", "python"))
        array([[0, 2, 3, 4, 4],
               [2, 0, 3, 4, 4],
               [3, 3, 0, 3, 3],
               [4, 4, 3, 0, 2],
               [4, 4, 3, 2, 0]], dtype=int32)
    """
    num_leaves = len(tree)
    lowest = np.full((num_leaves, num_leaves), np.iinfo(np.int32).max, dtype=np.int32)
    for row in range(num_leaves - 1):
        np.minimum.accumulate(tree.lca_depths[row:], out=lowest[row, row + 1 :])
    lowest = np.minimum(lowest, lowest.T)
    np.fill_diagonal(lowest, tree.depths)
    return tree.depths[:, None] + tree.depths[None, :] - 2 * lowest
