"""How alike two models hold the same texts: from two tables of vectors to a number."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from codeft.types import CodeftError

_ROWS = 4096
"""Rows that are turned into float64 at once."""

_NOISE = 1e-9
"""Cosines of vectors in float32 that spread by less are all the same."""

FEWEST_TEXTS = 4
"""The debiased alignment divides by n - 3."""


@dataclass(frozen=True, slots=True)
class Similarity:
    """How alike two models hold the same texts; each is None where it isn't defined.

    Attributes:
        pearson: Pearson's r between the cosines of all pairs of texts, -1 to 1.
        cka: Linear centred kernel alignment, 0 to 1; with few texts it is near 1 for any two models.
        cka_debiased: The same without that bias; 0 is expected of unrelated models, and it may be below.
    """

    pearson: float | None
    cka: float | None
    cka_debiased: float | None


@dataclass(frozen=True, slots=True)
class _Moments:
    """Sums over two tables Z and W of centred vectors.

    Attributes:
        gram: Squared Frobenius norms of Z'Z, Z'W and W'W: sums over all pairs of rows of products of inner
            products.
        lengths: [2, n] squared lengths of the rows.
        along: [2, n] inner products of the rows with the mean that was taken off.
    """

    gram: tuple[float, float, float]
    lengths: np.ndarray
    along: np.ndarray


def compare(first: np.ndarray, second: np.ndarray, *, diagonal: bool = False) -> Similarity:
    """Compare two models' vectors of the same texts.

    Args:
        first: [n, D], a row a text; n is at least `FEWEST_TEXTS`.
        second: [n, E], the same texts in the same order.
        diagonal: See `similarity_correlation`.

    Raises:
        CodeftError: The numbers of rows differ or are too small, or a value isn't finite.

    >>> rng = np.random.default_rng(0)
    >>> vectors = rng.normal(size=(50, 8))
    >>> same = compare(vectors, 3 * vectors)
    >>> round(same.pearson, 9), round(same.cka, 9), round(same.cka_debiased, 9)
    (1.0, 1.0, 1.0)
    """
    check_vectors(first, second)
    raw = _moments(first, second, normalize=False)
    return Similarity(
        similarity_correlation(first, second, diagonal=diagonal), _alignment(raw), _debiased_alignment(raw)
    )


def check_vectors(first: np.ndarray, second: np.ndarray) -> None:
    """Check that two tables of vectors can be compared.

    Raises:
        CodeftError: See `compare`.
    """
    if len(first) != len(second):
        raise CodeftError(
            f"expected two models' vectors of the same texts, got {len(first)} and {len(second)}"
        )
    if len(first) < FEWEST_TEXTS:
        raise CodeftError(f"expected at least {FEWEST_TEXTS} texts to compare by, got {len(first)}")
    for name, vectors in (("first", first), ("second", second)):
        if not all(np.isfinite(block).all() for block in _blocks(vectors)):
            raise CodeftError(f"the {name} model's hidden states hold values that aren't finite")


def similarity_correlation(first: np.ndarray, second: np.ndarray, *, diagonal: bool = False) -> float | None:
    """Return Pearson's r between two models' cosines of all pairs of texts.

    Neither matrix of cosines is ever made. With unit vectors x_i = m + z_i around their mean m, a cosine is
    |m|^2 + m.z_i + m.z_j + z_i.z_j; the z_i sum to 0, so the mean of all is |m|^2, and the sum of products
    of two models' deviations is 2n sum_i (m.z_i)(l.w_i) + |Z'W|^2: n D E operations and no cancellation. The
    diagonal is then taken off, and what is left counts each pair twice.

    Source: Telly (arXiv 2304.05216), RQ2, after Kriegeskorte et al. (2008), "Representational similarity
    analysis". The published numbers have the diagonal in; codeft's default hasn't: it is 1 in both models.

    Args:
        first: [n, D].
        second: [n, E].
        diagonal: Whether the n cosines of texts with themselves count, too, each once.

    Returns:
        -1 to 1; None where all of a model's cosines are the same.
    """
    moments = _moments(first, second, normalize=True)
    n, (u, v) = len(first), moments.along
    e, f = 2 * u + moments.lengths[0], 2 * v + moments.lengths[1]  # deviations on the diagonal
    sign = 1 if diagonal else -1
    count = n * (n + sign) / 2
    products = [
        (2 * n * float(a @ b) + gram + sign * float(c @ d)) / 2
        for gram, (a, b), (c, d) in zip(
            moments.gram, ((u, u), (u, v), (v, v)), ((e, e), (e, f), (f, f)), strict=True
        )
    ]
    sums = sign * float(e.sum()) / 2, sign * float(f.sum()) / 2
    own, shared, other = (
        product / count - a * b / count**2
        for product, (a, b) in zip(products, ((sums[0], sums[0]), sums, (sums[1], sums[1])), strict=True)
    )
    if min(own, other) <= _NOISE**2:
        return None
    return _clip(shared / math.sqrt(own * other), low=-1.0)


def linear_cka(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return linear centred kernel alignment, |X'Y|^2 / (|X'X| |Y'Y|) of centred tables, 0 to 1.

    Source: Kornblith et al. (2019), "Similarity of Neural Network Representations Revisited" (arXiv
    1905.00414), with the biased HSIC.

    Args:
        first: [n, D].
        second: [n, E].

    Returns:
        None where all rows of a table are the same.
    """
    return _alignment(_moments(first, second, normalize=False))


def debiased_linear_cka(first: np.ndarray, second: np.ndarray) -> float | None:
    """Return linear centred kernel alignment with the unbiased HSIC in each of its three places.

    Source: Nguyen, Raghu and Kornblith (2021), "Do Wide and Deep Networks Learn the Same Things?" (arXiv
    2010.15327), on all rows at once; the estimator is Song et al.'s (2012), "Feature Selection via Dependence
    Maximization". It doesn't change where a table is shifted, so centred tables stand in, whose matrices of
    inner products have rows that sum to 0.

    Args:
        first: [n, D], n at least 4.
        second: [n, E].

    Returns:
        About -1 to 1; None where a table's own estimate isn't above 0.
    """
    return _debiased_alignment(_moments(first, second, normalize=False))


def _alignment(moments: _Moments) -> float | None:
    own, shared, other = moments.gram
    if min(own, other) <= 0 or _is_constant(moments):
        return None
    return _clip(shared / math.sqrt(own * other), low=0.0)


def _debiased_alignment(moments: _Moments) -> float | None:
    a, b = moments.lengths  # the diagonals of both matrices of inner products
    n = len(a)
    own, shared, other = (
        gram + float(c.sum()) * float(d.sum()) / ((n - 1) * (n - 2)) - float(c @ d) * (1 + 2 / (n - 2))
        for gram, (c, d) in zip(moments.gram, ((a, a), (a, b), (b, b)), strict=True)
    )
    # As small a part of what it is the difference of is rounding.
    if own <= 1e-12 * moments.gram[0] or other <= 1e-12 * moments.gram[2] or _is_constant(moments):
        return None
    return shared / math.sqrt(own * other)


def _is_constant(moments: _Moments) -> bool:
    """Return whether a table's rows differ by rounding alone; the tables aren't of unit length here."""
    return any(not lengths.max() > 0 for lengths in moments.lengths)


def _clip(value: float, *, low: float) -> float:
    return min(1.0, max(low, value))


def _moments(first: np.ndarray, second: np.ndarray, *, normalize: bool) -> _Moments:
    """Sum in float64 over blocks of rows, centred; normalised rows of no length stay 0."""
    tables = (first, second)
    means = [sum(b.sum(axis=0) for b in _blocks(t, normalize=normalize)) / len(t) for t in tables]
    scales = [max(float(np.abs(mean).max(initial=0.0)), 1e-300) for mean in means]
    widths = first.shape[1], second.shape[1]
    own, shared, other = np.zeros((widths[0],) * 2), np.zeros(widths), np.zeros((widths[1],) * 2)
    lengths, along, start = np.empty((2, len(first))), np.empty((2, len(first))), 0
    for blocks in zip(*(_blocks(table, normalize=normalize) for table in tables), strict=True):
        z, w = (block - mean for block, mean in zip(blocks, means, strict=True))
        for centred, scale in zip((z, w), scales, strict=True):
            centred[np.abs(centred) < 1e-14 * scale] = 0  # equal rows, but for their mean's rounding
        stop = start + len(z)
        own += z.T @ z
        shared += z.T @ w
        other += w.T @ w
        for i, centred in enumerate((z, w)):
            lengths[i, start:stop] = np.einsum("nd,nd->n", centred, centred)
            along[i, start:stop] = centred @ means[i]
        start = stop
    gram = tuple(float(np.einsum("de,de->", table, table)) for table in (own, shared, other))
    return _Moments((gram[0], gram[1], gram[2]), lengths, along)


def _blocks(table: np.ndarray, *, normalize: bool = False) -> Iterator[np.ndarray]:
    for start in range(0, len(table), _ROWS):
        block = np.asarray(table[start : start + _ROWS], dtype=np.float64)
        if normalize:
            lengths = np.linalg.norm(block, axis=1, keepdims=True)
            block = np.divide(block, lengths, out=np.zeros_like(block), where=lengths > 0)
        yield block
