"""Masks of identifiers: all occurrences of one are hidden at once."""

from __future__ import annotations

import numpy as np

from codeft.syntax.token_tree import TokenTree


def mask_identifiers(tree: TokenTree, budget: int, rng: np.random.Generator) -> np.ndarray:
    """Mask identifiers, each wherever it occurs, until a number of sub-tokens is masked.

    Distinct identifiers are drawn one after another, the likelier the more sub-tokens all their occurrences
    have. Of the one that no longer fits, a random run of consecutive occurrences that does is masked, and
    that is the last.

    Source: AST-T5 (arXiv 2401.03003), its authors' code; after DOBF (arXiv 2102.07492).

    Args:
        tree: The tree over the text's sub-tokens.
        budget: Sub-tokens to mask at most.
        rng: Draws.

    Returns:
        bool [n].
    """
    masked = np.zeros(tree.num_tokens, dtype=bool)
    if budget <= 0 or not len(tree.names):
        return masked
    numbers, starts, ends = tree.names.T
    lengths = ends - starts
    totals = np.bincount(numbers, weights=lengths)
    drawable = np.flatnonzero(totals)
    order = drawable[np.argsort(rng.exponential(size=len(drawable)) / totals[drawable])]
    for number in order.tolist():
        of = np.flatnonzero(numbers == number)
        fits = totals[number] <= budget
        if not fits:
            of = _run_that_fits(of, lengths[of], budget, rng)
        for occurrence in of.tolist():
            masked[starts[occurrence] : ends[occurrence]] = True
        if not fits:
            return masked
        budget -= int(totals[number])
    return masked


def _run_that_fits(
    occurrences: np.ndarray, lengths: np.ndarray, budget: int, rng: np.random.Generator
) -> np.ndarray:
    """Return consecutive occurrences that fit: as many as fit at once, from a random place on."""
    num = budget // int(lengths[0])  # occurrences of one identifier are nearly always of one length
    while num and (sums := np.convolve(lengths, np.ones(num, dtype=np.int64), "valid")).min() > budget:
        num -= 1
    if not num:
        return occurrences[:0]
    places = np.flatnonzero(sums <= budget)
    place = int(places[int(rng.integers(len(places)))])
    return occurrences[place : place + num]
