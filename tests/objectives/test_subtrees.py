"""Subtree masks: how many, what they are, and that each sub-token is as likely to be hidden."""

from __future__ import annotations

import numpy as np
import pytest
from random_trees import random_tree

from codeft.objectives import subtrees
from codeft.objectives.identifiers import mask_identifiers
from codeft.objectives.spans import MAX_RUN, mask_runs, uniforms
from codeft.objectives.subtrees import draw_budget, mask_subtrees
from codeft.syntax.token_tree import TokenTree

MODES = {"default": False, "as_published": True}


def token_depths(tree: TokenTree) -> np.ndarray:
    """Return how many nodes each sub-token lies in."""
    depths = np.zeros(tree.num_tokens, dtype=int)
    for start, end in zip(tree.starts, tree.ends, strict=True):
        depths[start:end] += 1
    return depths


@pytest.mark.parametrize("as_published", MODES.values(), ids=MODES)
def test_as_many_are_masked_as_asked_for_beside_what_was(as_published):
    rng = np.random.default_rng(0)
    for _ in range(300):
        tree = random_tree(rng, int(rng.integers(1, 200)))
        before = rng.random(tree.num_tokens) < 0.1
        budget = int(rng.integers(0, (~before).sum() + 1))
        masked = mask_subtrees(tree, budget, rng, masked=before, as_published=as_published)
        assert masked.sum() == before.sum() + budget
        assert masked[before].all()


def union_of_neighbours(tree: TokenTree, start: int, end: int) -> bool:
    """Return whether a run of sub-tokens is whole children, side by side, of one node."""
    for first, last in zip(tree.starts, tree.ends, strict=True):
        if not first <= start <= end <= last:
            continue
        children = [
            (a, b)
            for a, b in zip(tree.starts, tree.ends, strict=True)
            if first <= a and b <= last and (a, b) != (first, last)
        ]
        inside = [run for run in children if not (run[1] <= start or run[0] >= end)]
        outermost = [
            run for run in inside if not any(o != run and o[0] <= run[0] and run[1] <= o[1] for o in inside)
        ]
        if all(start <= a and b <= end for a, b in outermost) or (start, end) == (first, last):
            return True
    return False


@pytest.mark.parametrize("as_published", MODES.values(), ids=MODES)
def test_each_piece_is_neighbouring_subtrees_or_a_flat_run(monkeypatch, as_published):
    """Pieces are taken as they are masked, before they merge: flat runs are noted where they are drawn."""
    flat = []

    def noted(masked, start, end, budget, draws):
        before = bytes(masked)
        mask_runs(masked, start, end, budget, draws)
        flat.append([i for i in range(len(masked)) if masked[i] and not before[i]])
        assert all(start <= place < end for place in flat[-1])

    monkeypatch.setattr(subtrees, "mask_runs", noted)
    rng = np.random.default_rng(0)
    num_whole = 0
    for _ in range(200):
        flat.clear()
        tree = random_tree(rng, int(rng.integers(20, 120)))
        masked = mask_subtrees(tree, tree.num_tokens // 4, rng, as_published=as_published)
        rest = masked.copy()
        rest[[place for run in flat for place in run]] = False
        for place in np.flatnonzero(rest):  # each sub-token is of the largest all-masked node or single
            nodes = [
                (a, b)
                for a, b in zip(tree.starts, tree.ends, strict=True)
                if a <= place < b and masked[a:b].all()
            ]
            num_whole += bool(nodes)
            start, end = max(nodes, key=lambda run: run[1] - run[0], default=(place, place + 1))
            assert union_of_neighbours(tree, start, end)
    assert num_whole > 200


@pytest.mark.parametrize(("as_published", "sizes"), [(False, (60, 400)), (True, (60, 200))])
def test_each_depth_has_its_share(as_published, sizes):
    """Over many trees, a sub-token is masked a quarter of the time, however deep it lies."""
    rng = np.random.default_rng(4)
    shares: dict[int, list[float]] = {}
    for _ in range(60):
        tree = random_tree(rng, int(rng.integers(*sizes)))
        depths = token_depths(tree)
        drawn = np.array(
            [
                mask_subtrees(
                    tree, draw_budget(tree.num_tokens, share=0.25, rng=rng), rng, as_published=as_published
                )
                for _ in range(60)
            ]
        )
        for depth in np.unique(depths):
            shares.setdefault(min(int(depth), 6), []).append(float(drawn[:, depths == depth].mean()))
    for depth, means in shares.items():
        if as_published:  # about the same, says the paper
            assert abs(np.mean(means) - 0.25) < 0.08, depth
        else:
            error = np.std(means, ddof=1) / np.sqrt(len(means))
            assert abs(np.mean(means) - 0.25) < 3 * error, (depth, np.mean(means), error)


def test_by_default_each_subtoken_is_masked_alike():
    rng = np.random.default_rng(5)
    tree = random_tree(rng, 90)
    rounds = 4_000
    rate = np.mean([mask_subtrees(tree, 22, rng) for _ in range(rounds)], axis=0)
    assert np.abs(rate - 22 / 90).max() < 4.5 * np.sqrt(0.25 * 0.75 / rounds)


def test_drawing_by_size_alone_would_not_be_even(monkeypatch):
    """The test above can fail: with weights that are the sizes, deep sub-tokens are masked more often."""
    monkeypatch.setattr(subtrees, "_weights", lambda sizes, pool, draws: [float(size) for size in sizes])
    rng = np.random.default_rng(5)
    tree = random_tree(rng, 90)
    rate = np.mean([mask_subtrees(tree, 22, rng, as_published=True) for _ in range(2_000)], axis=0)
    assert np.abs(rate - 22 / 90).max() > 0.05


def test_runs_are_short_and_wrap_round():
    masked = bytearray(10)
    mask_runs(masked, 2, 8, 6, uniforms(np.random.default_rng(0)))
    assert list(masked) == [0] * 2 + [1] * 6 + [0] * 2
    lengths = set()
    for seed in range(300):
        masked = bytearray(400)
        mask_runs(masked, 0, 400, MAX_RUN, uniforms(np.random.default_rng(seed)))
        lengths |= {len(run) for run in bytes(masked).split(b"\0") if run}
    assert max(lengths) == MAX_RUN and min(lengths) == 1


def test_trees_with_too_many_nodes_are_masked_in_runs(monkeypatch):
    tree = random_tree(np.random.default_rng(0), 60)
    monkeypatch.setattr(subtrees, "MAX_EVENTS", 2 * len(tree) - 1)
    monkeypatch.setattr(subtrees, "_children", None)  # isn't asked
    assert mask_subtrees(tree, 15, np.random.default_rng(0)).sum() == 15


NAMES = np.array([[0, 0, 2], [1, 3, 4], [0, 5, 7], [2, 8, 12], [0, 13, 15]])


def test_identifiers_are_masked_wherever_they_occur():
    tree = TokenTree(16, np.array([0]), np.array([16]), NAMES)
    rng = np.random.default_rng(0)
    first = {0: 0, 1: 0, 2: 0}
    for _ in range(600):
        masked = mask_identifiers(tree, 7, rng)
        assert masked.sum() <= 7
        whole = [n for n in range(3) if all(masked[a:b].all() for m, a, b in NAMES if m == n)]
        for number, start, end in NAMES:
            assert masked[start:end].all() or not masked[start:end].any(), number
        assert whole
        first[whole[0]] += len(whole) == 1
    assert mask_identifiers(tree, 11, rng).sum() == 11


def test_the_likelier_identifier_is_the_one_with_more_subtokens():
    tree = TokenTree(16, np.array([0]), np.array([16]), NAMES[:3])
    rng = np.random.default_rng(0)
    times = sum(bool(mask_identifiers(tree, 1, rng)[3]) for _ in range(2_000))
    assert abs(times / 2_000 - 1 / 5) < 0.03


def test_of_the_last_identifier_consecutive_occurrences_are_masked():
    tree = TokenTree(16, np.array([0]), np.array([16]), NAMES[[0, 2, 4]])
    rng = np.random.default_rng(0)
    seen = {tuple(np.flatnonzero(mask_identifiers(tree, 5, rng)).tolist()) for _ in range(50)}
    assert seen == {(0, 1, 5, 6), (5, 6, 13, 14)}
