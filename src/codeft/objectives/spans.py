"""Masks that know no tree: T5's spans, and short runs."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

MAX_RUN = 9
"""Sub-tokens of a run at most, where single sub-tokens are masked."""


def count_masked(length: int, *, density: float, mean_length: float, most: int) -> tuple[int, int]:
    """Return how many sub-tokens of a text are masked, and in how many spans.

    Args:
        length: Sub-tokens of the text.
        density: Share to mask.
        mean_length: Mean sub-tokens of a span.
        most: Spans at most, for there are only so many sentinels.

    Returns:
        (sub-tokens, spans); where there are two sub-tokens, at least one is masked and one kept.

    >>> count_masked(12, density=0.5, mean_length=3, most=99)
    (6, 2)
    """
    if length < 2:
        return 0, 0
    num_masked = min(max(round(length * density), 1), length - 1)
    return num_masked, min(max(round(num_masked / mean_length), 1), num_masked, length - num_masked, most)


def random_spans(
    length: int, *, density: float, mean_length: float, rng: np.random.Generator, most: int
) -> np.ndarray:
    """Draw which sub-tokens are masked.

    Kept and masked runs alternate; both are random compositions of their totals. The first and the last run
    are kept ones and may be empty, so that a span can stand anywhere.

    Source: T5 (Raffel et al. 2020, arXiv 1910.10683), section 3.1.4.

    Args:
        length: Sub-tokens of the text.
        density: Share to mask.
        mean_length: Mean sub-tokens of a masked run.
        rng: Draws.
        most: Runs at most, for there are only so many sentinels.

    Returns:
        bool [length]; as many masked, in as many runs, as `count_masked` says.

    >>> int(random_spans(12, density=0.25, mean_length=3, rng=np.random.default_rng(0), most=99).sum())
    3
    """
    num_masked, num_spans = count_masked(length, density=density, mean_length=mean_length, most=most)
    if num_spans == 0:
        return np.zeros(length, dtype=bool)
    runs = np.empty(2 * num_spans + 1, dtype=np.int64)
    runs[0::2] = _composition(length - num_masked + 2, num_spans + 1, rng)
    runs[[0, -1]] -= 1
    runs[1::2] = _composition(num_masked, num_spans, rng)
    return np.repeat(np.arange(len(runs)) % 2 == 1, runs)


def _composition(total: int, parts: int, rng: np.random.Generator) -> np.ndarray:
    """Split `total` into `parts` positive numbers, uniformly."""
    cuts = np.sort(rng.choice(total - 1, size=parts - 1, replace=False)) + 1
    return np.diff(np.concatenate([[0], cuts, [total]]))


def uniforms(rng: np.random.Generator) -> Iterator[float]:
    """Yield numbers uniform in [0, 1) without end; drawn one at a time they cost ten times as much."""
    while True:
        yield from rng.random(64).tolist()


def mask_runs(masked: bytearray, start: int, end: int, budget: int, draws: Iterator[float]) -> None:
    """Mask sub-tokens of a range in short runs, until as many as asked for are masked anew.

    A run begins at a random sub-token that isn't masked, is 1 to 9 long, wraps round at the range's end and
    passes over what is masked already.

    Args:
        masked: 1 for each sub-token that is, else 0; changed.
        start: The range's first sub-token.
        end: The one behind its last.
        budget: Sub-tokens to mask, at most as many as are free.
        draws: See `uniforms`.
    """
    free = [place for place in range(start, end) if not masked[place]]
    while budget > 0:
        place = free[int(next(draws) * len(free))]
        for _ in range(1 + int(next(draws) * MAX_RUN)):
            if not masked[place]:
                masked[place] = 1
                free.remove(place)
                budget -= 1
                if not budget:
                    return
            place = place + 1 if place + 1 < end else start
