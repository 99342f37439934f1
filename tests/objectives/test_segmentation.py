"""Cutting texts: the dynamic programme against trying everything."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from random_trees import random_tree

from codeft.objectives.segmentation import cut_costs, segments
from codeft.types import CodeftError


def slow_cost(tree, cut: int) -> int:
    """Count the nodes that a cut before a sub-token goes through."""
    return sum(start < cut < end for start, end in zip(tree.starts, tree.ends, strict=True))


def best_by_trying(tree, *, max_length: int, extra: int) -> list[tuple[int, int]]:
    """Try all ways to cut into so many pieces; of equals take that whose last cut, and so on, is earliest."""
    length = tree.num_tokens
    num_pieces = min(-(-length // max_length) + (extra if length > max_length else 0), length)
    ways = []
    for cuts in itertools.combinations(range(1, length), num_pieces - 1):
        pieces = list(zip([0, *cuts], [*cuts, length], strict=True))
        if all(end - start <= max_length for start, end in pieces):
            ways.append((sum(slow_cost(tree, cut) for cut in cuts), cuts[::-1], pieces))
    return min(ways)[2]


def test_the_dynamic_programme_finds_what_trying_finds():
    rng = np.random.default_rng(0)
    for _ in range(1_000):
        tree = random_tree(rng, int(rng.integers(1, 15)))
        max_length, extra = int(rng.integers(1, 9)), int(rng.integers(0, 3))
        expected = best_by_trying(tree, max_length=max_length, extra=extra)
        assert segments(tree, max_length=max_length, extra=extra) == expected


def test_costs_are_the_nodes_that_are_cut_through():
    rng = np.random.default_rng(1)
    for _ in range(100):
        tree = random_tree(rng, int(rng.integers(1, 40)))
        assert cut_costs(tree).tolist() == [slow_cost(tree, cut) for cut in range(tree.num_tokens + 1)]


@pytest.mark.parametrize("how", ["ast", "greedy"])
def test_pieces_cover_a_long_text_in_order(how):
    tree = random_tree(np.random.default_rng(2), 20_000)
    pieces = segments(tree, max_length=256, how=how)
    assert len(pieces) == -(-20_000 // 256)
    assert [start for start, _ in pieces] == [0, *(end for _, end in pieces[:-1])] and pieces[-1][1] == 20_000
    assert all(0 < end - start <= 256 for start, end in pieces)


def test_the_tree_is_cut_through_less_than_by_greedy_cuts():
    rng = np.random.default_rng(3)
    costs = {"ast": 0, "greedy": 0}
    for _ in range(20):
        tree = random_tree(rng, 1_000)
        for how in costs:
            costs[how] += sum(int(cut_costs(tree)[end]) for _, end in segments(tree, max_length=96, how=how))
    assert costs["ast"] < 0.9 * costs["greedy"]


def test_nothing_is_no_piece_and_a_short_text_is_one():
    empty, short = random_tree(np.random.default_rng(0), 0), random_tree(np.random.default_rng(0), 7)
    assert segments(empty, max_length=4) == [] and segments(short, max_length=7, extra=2) == [(0, 7)]


def test_a_key_out_of_range_is_told():
    tree = random_tree(np.random.default_rng(0), 7)
    with pytest.raises(CodeftError, match="at least 1"):
        segments(tree, max_length=0)
    with pytest.raises(CodeftError, match="ast or greedy"):
        segments(tree, max_length=3, how="neither")
