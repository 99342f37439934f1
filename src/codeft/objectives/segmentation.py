"""Where a text that is too long is cut into pieces."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from codeft.syntax.token_tree import TokenTree
from codeft.types import CodeftError

Segmentation = Literal["ast", "greedy"]


def segments(
    tree: TokenTree, *, max_length: int, how: Segmentation = "ast", extra: int = 0
) -> list[tuple[int, int]]:
    """Cut a text into as few pieces as its length allows.

    `greedy` cuts off as many sub-tokens as fit, again and again. `ast` cuts where the fewest nodes of the
    tree are cut through, in all, by dynamic programming.

    Source: AST-T5 (arXiv 2401.03003), section 3.2. The paper leaves open, and codeft decides: of equally good
    cuts the earliest piece's is the earliest; nodes of one and the same run count once, and unnamed nodes
    count; an identifier of several sub-tokens is a node too.

    Args:
        tree: The tree over the text's sub-tokens.
        max_length: Sub-tokens of a piece at most.
        how: "ast" or "greedy".
        extra: Pieces more than needed; where a text fills its pieces to the last sub-token, one more leaves
            something to choose. Never more pieces than sub-tokens.

    Returns:
        Half-open ranges of sub-tokens, in order, that cover the text; none is empty.

    Raises:
        CodeftError: `max_length` or `extra` is out of range, or `how` is neither.

    Examples:
        >>> tree = TokenTree(5, np.array([0, 1]), np.array([5, 4]), np.zeros((0, 3), dtype=int))
        >>> segments(tree, max_length=4), segments(tree, max_length=4, how="greedy")
        ([(0, 1), (1, 5)], [(0, 4), (4, 5)])
    """
    if max_length < 1 or extra < 0:
        raise CodeftError(
            f"a piece needs at least 1 sub-token and extra pieces are 0 or more, not {max_length} and {extra}"
        )
    if how not in ("ast", "greedy"):
        raise CodeftError(f"segmentation must be ast or greedy, not {how!r}")
    length = tree.num_tokens
    num_pieces = min(-(-length // max_length) + (extra if length > max_length else 0), length)
    if how == "greedy" or num_pieces <= 1:
        starts = list(range(0, length, max_length))
        return [(start, min(start + max_length, length)) for start in starts]
    cuts = [0, *_best_cuts(cut_costs(tree), num_pieces=num_pieces, max_length=max_length), length]
    return list(itertools.pairwise(cuts))


def cut_costs(tree: TokenTree) -> np.ndarray:
    """Return how many nodes a cut goes through, int64 [n + 1], by the sub-token that it stands before.

    Both ends of the text cost nothing.
    """
    change = np.zeros(tree.num_tokens + 2, dtype=np.int64)
    np.add.at(change, tree.starts + 1, 1)
    np.add.at(change, tree.ends, -1)
    costs = np.cumsum(change)[: tree.num_tokens + 1]
    costs[[0, -1]] = 0
    return costs


def _best_cuts(costs: np.ndarray, *, num_pieces: int, max_length: int) -> list[int]:
    """Return the cuts before pieces 2, 3, … with the least costs in all.

    Best(k, i) = cost(i) + the least Best(k - 1, j) of i - max_length <= j < i. Only places from which the
    rest still fits are looked at, so that all rounds together take O(length log(max_length)).
    """
    length = len(costs) - 1
    lows, highs = [0], [0]  # where the k-th cut may stand
    for k in range(1, num_pieces + 1):
        lows.append(max(k, length - (num_pieces - k) * max_length))
        highs.append(min(k * max_length, length - (num_pieces - k)))
    best = np.zeros(1, dtype=np.int64)  # at lows[k - 1] … highs[k - 1]
    came_from: list[np.ndarray] = []
    for k in range(1, num_pieces + 1):
        places = np.arange(lows[k], highs[k] + 1)
        first = np.maximum(places - max_length, lows[k - 1]) - lows[k - 1]
        last = np.minimum(places - 1, highs[k - 1]) - lows[k - 1]
        # The place behind the value, so that one minimum gives both, and of equals the earliest.
        coded = best * (length + 1) + np.arange(lows[k - 1], highs[k - 1] + 1)
        least = _range_minima(coded, first, last)
        came_from.append(least % (length + 1))
        best = least // (length + 1) + costs[places]
    cuts, place = [], length
    for k in range(num_pieces, 1, -1):
        place = int(came_from[k - 1][place - lows[k]])
        cuts.append(place)
    return cuts[::-1]


def _range_minima(values: np.ndarray, first: np.ndarray, last: np.ndarray) -> np.ndarray:
    """Return the minimum of each range, both ends included, from minima over runs of 1, 2, 4, … values."""
    minima = [values]
    step = 1
    while 2 * step <= len(values):
        minima.append(np.minimum(minima[-1][:-step], minima[-1][step:]))
        step *= 2
    level = np.log2(last - first + 1).astype(np.int64)
    result = np.empty(len(first), dtype=np.int64)
    for power in np.unique(level):
        of = level == power
        runs = minima[power]
        result[of] = np.minimum(runs[first[of]], runs[last[of] - 2**power + 1])
    return result
