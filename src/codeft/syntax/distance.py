"""How far apart the leaves of a syntax tree stand."""

from __future__ import annotations

import itertools

import numpy as np

from codeft.syntax.tree import SyntaxTree

_IDENTIFIERS = ("identifier", "name", "constant", "variable")
"""How the types of leaves that name something end, in the nine grammars."""


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


def sast_distances(tree: SyntaxTree, source: str) -> np.ndarray:
    """Return leaf distances in the tree with shortcuts.

    An edge is added between neighbouring leaves and between consecutive occurrences of the same identifier;
    the distance is then that of a graph.

    Source:
        SAT (arXiv 2404.07471): the authors' option `sast`, off by default there.

    Args:
        tree: A tree with n leaves.
        source: The text that the tree was parsed from.

    Returns:
        int32 [n, n], symmetric, zero on the diagonal, nowhere above `leaf_distances`.

    Examples:
        >>> from codeft.syntax.tree import parse
        >>> source = "x = f(x)"
        >>> sast_distances(parse(source, "python"), source)[0].tolist()
        [0, 1, 2, 2, 1, 2]
    """
    if not len(tree):
        return np.zeros((0, 0), dtype=np.int32)
    leaves, edges = _rebuild(tree)
    edges += itertools.pairwise(leaves)
    links = identifier_links(tree, source)
    edges += [(leaves[links[leaf]], leaves[leaf]) for leaf in np.flatnonzero(links >= 0)]
    return _breadth_first(np.array(leaves), np.array(edges, dtype=np.int64).reshape(-1, 2))


def identifier_links(tree: SyntaxTree, source: str) -> np.ndarray:
    """Return the leaf where each identifier stood last.

    Args:
        tree: Of `source`.
        source: The text that was parsed.

    Returns:
        int32 [n], an earlier leaf; -1 for an identifier's first occurrence and for other leaves.

    Examples:
        >>> from codeft.syntax.tree import parse
        >>> source = "x = f(x)"
        >>> identifier_links(parse(source, "python"), source).tolist()
        [-1, -1, -1, -1, 0, -1]
    """
    links = np.full(len(tree), -1, dtype=np.int32)
    last: dict[str, int] = {}
    for leaf, kind in enumerate(tree.types):
        text = source[tree.starts[leaf] : tree.ends[leaf]]
        if text and kind.endswith(_IDENTIFIERS):
            links[leaf] = last.get(text, -1)
            last[text] = leaf
    return links


def _rebuild(tree: SyntaxTree) -> tuple[list[int], list[tuple[int, int]]]:
    """Number the nodes above and between the leaves; return the leaves' numbers, and the tree's edges."""
    top = min(tree.lca_depths.tolist(), default=int(tree.depths[0]))
    path = [0]  # the nodes from the topmost ancestor that matters down to the latest leaf
    leaves: list[int] = []
    edges: list[tuple[int, int]] = []
    for depth, shared in zip(tree.depths.tolist(), [top, *tree.lca_depths.tolist()], strict=True):
        del path[shared - top + 1 :]
        while len(path) < depth - top + 1:
            path.append(len(edges) + 1)  # each edge brings one node
            edges.append((path[-2], path[-1]))
        leaves.append(path[-1])
    return leaves, edges


def _breadth_first(leaves: np.ndarray, edges: np.ndarray) -> np.ndarray:
    num_nodes = int(max(leaves.max(), edges.max(initial=0))) + 1
    adjacency = np.zeros((num_nodes, num_nodes), dtype=np.float32)
    adjacency[edges[:, 0], edges[:, 1]] = adjacency[edges[:, 1], edges[:, 0]] = 1
    frontier = np.zeros((len(leaves), num_nodes), dtype=bool)  # one search a leaf, all at once
    frontier[np.arange(len(leaves)), leaves] = True
    distances = np.full(frontier.shape, -1, dtype=np.int32)
    step = 0
    while frontier.any():
        distances[frontier] = step
        step += 1
        frontier = (frontier.astype(np.float32) @ adjacency > 0) & (distances < 0)
    return distances[:, leaves]
