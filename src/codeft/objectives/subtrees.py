"""Masks that know the tree: whole subtrees, from one sub-token to whole bodies."""

from __future__ import annotations

import math
import operator
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from statistics import NormalDist

import numpy as np

from codeft.objectives.spans import mask_runs, uniforms
from codeft.syntax.token_tree import TokenTree

THRESHOLD = (5, 100)
"""The bounds of what a node's child must be asked to mask before it is entered for its own sake."""
MAX_EVENTS = 2_000
"""Enterings and leavings of nodes; a text with more is masked in runs, without the tree."""

_KNOTS = (0.5798, 0.8356, 0.9009)


def mask_subtrees(
    tree: TokenTree,
    budget: int,
    rng: np.random.Generator,
    *,
    masked: np.ndarray | None = None,
    as_published: bool = False,
) -> np.ndarray:
    """Mask subtrees until a number of sub-tokens is masked.

    The budget of a node is shared out among its children. A child that is to mask more than a random
    threshold is entered and shares its part out in turn. What the others are to mask is pooled and spent on
    few of them, which are then masked whole. A node whose children are all single sub-tokens is masked in
    runs.

    How the pool is spent is codeft's own by default: the others' sub-tokens are laid out on a circle, child
    by child in random order, and a window of the pool's length is masked from a random place on. Children
    inside are masked whole; the two at its ends are entered with their parts. So each sub-token is masked
    with one probability, exactly. A child is entered for its own sake if its *expected* share is above the
    threshold.

    Source: AST-T5 (arXiv 2401.03003), section 3.3, and its authors' code. `as_published` draws whole children
    one after another, by weights with which each sub-token is masked with about one probability (`_weights`);
    the first that is larger than what is left is entered with it; a child is entered where the share that it
    *drew* is above the threshold.

    Args:
        tree: The tree over the text's sub-tokens.
        budget: Sub-tokens to mask, at most as many as are free.
        rng: Draws.
        masked: bool [n], what is masked already; not changed.
        as_published: Whether the pool is spent as the authors do.

    Returns:
        bool [n], `budget` more of them True.
    """
    already = np.zeros(tree.num_tokens, dtype=bool) if masked is None else masked
    draws = uniforms(rng)
    if budget <= 0 or not len(tree) or 2 * len(tree) > MAX_EVENTS:
        hidden = bytearray(already.tobytes())
        mask_runs(hidden, 0, tree.num_tokens, budget, draws)
        return np.frombuffer(hidden, dtype=bool).copy()
    hidden = bytearray(already.tobytes())
    # No node is entered twice, so masking one doesn't change how many sub-tokens are free in another.
    free_before = np.concatenate(([0], np.cumsum(~already))).tolist()
    starts, ends = tree.starts.tolist(), tree.ends.tolist()
    spend = _spend_in_turn if as_published else _spend_on_a_circle
    entered: list[tuple[int, int]] = [(0, budget)]
    while entered:
        node, share = entered.pop()
        if node + 1 == len(starts) or starts[node + 1] >= ends[node]:
            mask_runs(hidden, starts[node], ends[node], share, draws)
            continue
        firsts, lasts, nodes = _children(node, starts=starts, ends=ends)
        sizes = [free_before[last] - free_before[first] for first, last in zip(firsts, lasts, strict=True)]
        parts, pool = _large(sizes, share, rng, threshold=_draw_threshold(draws), by_draw=as_published)
        if pool:
            others = [child for child, size in enumerate(sizes) if size and child not in parts]
            spent = spend([sizes[child] for child in others], pool, draws)
            parts |= {others[child]: part for child, part in spent}
        for child, part in parts.items():
            if part == sizes[child]:
                first, last = firsts[child], lasts[child]
                hidden[first:last] = b"\1" * (last - first)
            elif part:
                entered.append((nodes[child], part))
    return np.frombuffer(hidden, dtype=bool).copy()


def _draw_threshold(draws: Iterator[float]) -> int:
    low, high = THRESHOLD
    return low + int(next(draws) * (high - low + 1))


def _children(
    node: int, *, starts: Sequence[int], ends: Sequence[int]
) -> tuple[list[int], list[int], list[int]]:
    """Return first sub-token, last sub-token + 1 and node (-1 for a single sub-token) of each child."""
    firsts: list[int] = []
    lasts: list[int] = []
    nodes: list[int] = []
    place, end = starts[node], ends[node]
    child = node + 1
    while place < end:
        has_child = child < len(starts) and starts[child] < end
        first = starts[child] if has_child else end
        if place < first:
            firsts += range(place, first)
            lasts += range(place + 1, first + 1)
            nodes += [-1] * (first - place)
        place = first
        if has_child:
            place = ends[child]
            firsts.append(first)
            lasts.append(place)
            nodes.append(child)
            child = bisect_left(starts, place, child + 1)  # behind all that lies in it
    return firsts, lasts, nodes


def _large(
    sizes: Sequence[int], budget: int, rng: np.random.Generator, *, threshold: int, by_draw: bool
) -> tuple[dict[int, int], int]:
    """Return what each child above the threshold masks, and what is left for the others.

    Args:
        sizes: Free sub-tokens of each child.
        budget: To be shared out by the multivariate hypergeometric law of the sizes.
        rng: Draws.
        threshold: In sub-tokens.
        by_draw: Whether the drawn share is held against it, and not the expected one.
    """
    total = sum(sizes)
    if budget <= threshold:
        return {}, budget
    if by_draw:
        drawn = rng.multivariate_hypergeometric(sizes, budget, method="marginals").tolist()
        parts = {child: share for child, share in enumerate(drawn) if share > threshold}
        return parts, budget - sum(parts.values())
    parts = {}
    least = threshold * total / budget
    left = budget
    for child, size in enumerate(sizes):
        if size > least:
            parts[child] = int(rng.hypergeometric(size, total - size, left))
            left -= parts[child]
            total -= size
    return parts, left


def _spend_on_a_circle(sizes: Sequence[int], pool: int, draws: Iterator[float]) -> list[tuple[int, int]]:
    """Mask a window of a circle on which the children lie in random order; each place is equally likely."""
    place = int(next(draws) * sum(sizes))
    start = 0
    while place >= sizes[start]:
        place -= sizes[start]
        start += 1
    part = min(pool, sizes[start] - place)
    parts = [(start, part)]
    pool -= part
    others = [child for child in range(len(sizes)) if child != start]
    while pool and others:
        at = int(next(draws) * len(others))
        child, others[at] = others[at], others[-1]
        others.pop()
        part = min(pool, sizes[child])
        parts.append((child, part))
        pool -= part
    if pool:  # once round, and on from the first child's beginning
        parts[0] = (start, parts[0][1] + pool)
    return parts


def _spend_in_turn(sizes: Sequence[int], pool: int, draws: Iterator[float]) -> list[tuple[int, int]]:
    """Mask whole children in a random order, and of the first that is too large what is left."""
    weights = _weights(sizes, pool, draws)
    # Successive draws without replacement by weight: the order of exponential waiting times.
    order = sorted(
        range(len(sizes)), key=[-math.log(1 - next(draws)) / weight for weight in weights].__getitem__
    )
    parts = []
    for child in order:
        part = min(sizes[child], pool)
        parts.append((child, part))
        pool -= part
        if not pool:
            break
    return parts


def _weights(sizes: Sequence[int], pool: int, draws: Iterator[float]) -> list[float]:
    """Return weights for successive draws with which each sub-token is masked with about one probability.

    Source: AST-T5's code; the first four cases are exact by algebra, the last is a fit.
    """
    count, total, smallest, largest = len(sizes), sum(sizes), min(sizes), max(sizes)
    at = sizes.index(largest)
    weights = [1.0] * count
    if pool <= smallest:
        return [float(size) for size in sizes]
    if total - largest <= pool <= largest:
        weights[at] = max(total / pool - 1, 1e-9)  # 0 where all is masked
        return weights
    if count == 2:
        weights[at] = (total - largest) / largest
        return weights
    if count == 3 and sum(size >= pool for size in sizes) == 2:
        weights = [(total / pool - 1) * size / (total - smallest) for size in sizes]
        weights[sizes.index(smallest)] = 1.0
        return weights
    return [_log_normal_weight(size / total, draws) for size in sizes]


def _log_normal_weight(share: float, draws: Iterator[float]) -> float:
    above = [max(share - knot, 0.0) for knot in _KNOTS]
    mean = -0.2818 + 2.3998 * share - sum(map(operator.mul, (0.3208, 0.3138, 0.3137), above))
    log_deviation = -2.4113 - 0.3009 * share - sum(map(operator.mul, (0.2920, 0.2793, 0.2814), above))
    normal = NormalDist().inv_cdf(max(next(draws), 1e-12))
    return math.exp(mean + normal * math.exp(log_deviation))


def draw_budget(length: int, *, share: float, rng: np.random.Generator) -> int:
    """Return how many sub-tokens to mask: a share of them, rounded at random so that its mean is exact.

    >>> draw_budget(8, share=0.25, rng=np.random.default_rng(0))
    2
    """
    return min(math.floor(share * length + rng.random()), length)
