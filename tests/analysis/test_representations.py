"""Similarities of representations against the slow formulas on whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codeft.analysis import representations
from codeft.analysis.representations import (
    compare,
    debiased_linear_cka,
    linear_cka,
    similarity_correlation,
)
from codeft.types import CodeftError


def slow_correlation(first, second, *, diagonal):
    upper = np.triu_indices(len(first), k=0 if diagonal else 1)
    cosines = []
    for table in (first, second):
        unit = table.astype(np.float64) / np.linalg.norm(table.astype(np.float64), axis=1, keepdims=True)
        cosines.append((unit @ unit.T)[upper])
    return np.corrcoef(*cosines)[0, 1]


def slow_cka(first, second):
    n = len(first)
    centre = np.eye(n) - 1 / n
    a, b = (centre @ (t.astype(np.float64) @ t.astype(np.float64).T) @ centre for t in (first, second))
    return np.trace(a @ b) / np.sqrt(np.trace(a @ a) * np.trace(b @ b))


def slow_unbiased_hsic(a, b):
    """Song et al. (2012), equation 5, on matrices without their diagonals."""
    n, ones = len(a), np.ones(len(a))
    a, b = a - np.diag(np.diag(a)), b - np.diag(np.diag(b))
    sums = (ones @ a @ ones) * (ones @ b @ ones) / ((n - 1) * (n - 2)) - 2 / (n - 2) * (ones @ a @ b @ ones)
    return (np.trace(a @ b) + sums) / (n * (n - 3))


def slow_debiased_cka(first, second):
    """Without the tables' offsets, which don't count and would leave few digits of the sums."""
    a, b = (near_zero(t) @ near_zero(t).T for t in (first, second))
    own, other = slow_unbiased_hsic(a, a), slow_unbiased_hsic(b, b)
    # Of few texts the estimate of a table with itself may be about 0, and the quotient anything.
    assume(all(found > 1e-6 * slow_hsic(table) for found, table in ((own, first), (other, second))))
    return slow_unbiased_hsic(a, b) / np.sqrt(own * other)


def near_zero(table):
    return table.astype(np.float64) - np.round(table.mean())  # exact


def slow_hsic(table):
    centred = table - table.mean(axis=0, dtype=np.float64)
    return np.sum((centred @ centred.T) ** 2) / len(table) ** 2


@st.composite
def two_tables(draw):
    """Vectors of two widths, more or less alike and more or less in one direction."""
    rng = np.random.default_rng(draw(st.integers(0, 10**6)))
    n, widths = draw(st.integers(5, 60)), draw(st.tuples(st.integers(2, 20), st.integers(2, 20)))
    shared = rng.normal(size=(n, draw(st.integers(1, 4))))
    offset = draw(st.sampled_from([0.0, 1.0, 30.0]))
    tables = []
    for width in widths:
        mixed = shared @ rng.normal(size=(shared.shape[1], width))
        noise = draw(st.sampled_from([0.1, 1.0]))
        tables.append((mixed + noise * rng.normal(size=(n, width)) + offset).astype(np.float32))
    return tables


@settings(deadline=None, max_examples=200)
@given(tables=two_tables(), diagonal=st.booleans(), rows=st.sampled_from([3, 4096]))
def test_equals_the_formulas_on_whole_matrices(tables, diagonal, rows):
    first, second = tables
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(representations, "_ROWS", rows)
        found = compare(first, second, diagonal=diagonal)
    assert found.pearson == pytest.approx(slow_correlation(first, second, diagonal=diagonal), abs=1e-6)
    assert found.cka == pytest.approx(slow_cka(first, second), abs=1e-9)
    assert found.cka_debiased == pytest.approx(slow_debiased_cka(first, second), rel=1e-6, abs=1e-6)


def test_the_diagonal_pulls_towards_1():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 30, 64))
    without, within = (similarity_correlation(first, second, diagonal=d) for d in (False, True))
    assert abs(without) < 0.2 < 0.6 < within


def test_few_texts_look_alike_to_the_biased_alignment_alone():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 40, 400))
    assert linear_cka(first, second) > 0.8
    assert abs(debiased_linear_cka(first, second)) < 0.2


def test_neither_a_turn_nor_a_scale_counts():
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(30, 6)) + 1
    turn = np.linalg.qr(rng.normal(size=(6, 6)))[0]
    found = compare(vectors, 5 * vectors @ turn)
    assert (found.pearson, found.cka, found.cka_debiased) == pytest.approx((1, 1, 1))


@pytest.mark.parametrize("value", [0.0, 0.1, 1e-20, 1e20])
def test_texts_that_a_model_doesn_t_tell_apart(value):
    rng = np.random.default_rng(0)
    same = np.full((17, 7), value, dtype=np.float32)
    for pair in ((rng.normal(size=(17, 5)), same), (same, same)):
        assert compare(*pair) == representations.Similarity(None, None, None)


def test_a_text_of_no_length():
    rng = np.random.default_rng(0)
    first, second = rng.normal(size=(2, 9, 4))
    first[3] = 0
    assert -1 <= compare(first, second).pearson <= 1


def test_what_can_t_be_compared():
    vectors = np.ones((5, 2))
    with pytest.raises(CodeftError, match="the same texts, got 5 and 4"):
        compare(vectors, vectors[:4])
    with pytest.raises(CodeftError, match="at least 4 texts to compare by, got 3"):
        compare(vectors[:3], vectors[:3])
    for value in (np.nan, np.inf):
        with pytest.raises(CodeftError, match="second model's hidden states hold values that aren't finite"):
            compare(vectors, np.where(np.eye(5)[:, :2] > 0, value, vectors))
