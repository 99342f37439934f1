"""Contrastive losses against the same by loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn.functional import cosine_similarity

from codeft.losses.contrastive import (
    contrastive_loss,
    gather_targets,
    right_targets,
    supervised_contrastive_loss,
)


def by_loops(queries, targets, temperature, no_negatives=frozenset()):
    total = 0.0
    for i, query in enumerate(queries):
        scores = [cosine_similarity(query, target, dim=0).item() / temperature for target in targets]
        counted = [score for j, score in enumerate(scores) if j == i or (i, j) not in no_negatives]
        total -= scores[i] - math.log(sum(math.exp(score) for score in counted))
    return total / len(queries)


def answers_by_loops(asked, functions, targets):
    """Pairs (query, target) where the target is the function of a row that asks the same."""
    return {
        (i, j)
        for i, query in enumerate(asked)
        for j, target in enumerate(targets)
        for k, other in enumerate(asked)
        if other == query and any(a == b for a, b in zip(functions[k], target, strict=True))
    }


@pytest.mark.parametrize("num_kinds", [1, 2, 3, 50])
@pytest.mark.parametrize("num_negatives", [0, 4])
def test_what_answers_a_query_is_no_negative_of_it(num_kinds, num_negatives):
    torch.manual_seed(num_kinds)
    for _ in range(10):
        asked, targets = torch.randint(num_kinds, (6,)), torch.randint(num_kinds, (6 + num_negatives, 2))
        right = right_targets(asked, targets[:6], all_queries=asked, targets=targets)
        pairs = answers_by_loops(asked.tolist(), targets[:6].tolist(), targets.tolist())
        assert {(i, j) for i, j in right.nonzero().tolist()} == pairs
        queries, vectors = torch.randn(6, 5), torch.randn(6 + num_negatives, 5)
        found = contrastive_loss(queries, vectors, temperature=0.3, right=right)
        assert found.item() == pytest.approx(by_loops(queries, vectors, 0.3, pairs), rel=1e-5, abs=1e-6)


def test_a_batch_without_any_negative_teaches_nothing():
    queries, targets = torch.randn(3, 4, requires_grad=True), torch.randn(5, 4, requires_grad=True)
    loss = contrastive_loss(queries, targets, temperature=0.05, right=torch.ones(3, 5, dtype=torch.bool))
    loss.backward()
    assert loss.item() == 0
    assert queries.grad.eq(0).all() and targets.grad.eq(0).all()


@pytest.mark.parametrize("num_negatives", [0, 3])
def test_in_batch_loss(num_negatives):
    torch.manual_seed(0)
    queries, targets = torch.randn(5, 7), torch.randn(5 + num_negatives, 7)
    found = contrastive_loss(queries, targets, temperature=0.3)
    assert found.item() == pytest.approx(by_loops(queries, targets, 0.3), rel=1e-5)


def test_supervised_loss():
    torch.manual_seed(0)
    vectors, labels = torch.randn(6, 4, dtype=torch.float64), torch.tensor([3, 5, 3, 5, 5, 8])
    expected = []
    for i in range(5):  # the last row is alone with its label
        others = [j for j in range(6) if j != i]
        scores = {j: cosine_similarity(vectors[i], vectors[j], dim=0).item() / 0.2 for j in others}
        total = math.log(sum(math.exp(score) for score in scores.values()))
        terms = [total - scores[j] for j in others if labels[j] == labels[i]]
        expected.append(sum(terms) / len(terms))
    found = supervised_contrastive_loss(vectors, labels, temperature=0.2)
    assert found.item() == pytest.approx(sum(expected) / 5, rel=1e-9)


def test_supervised_loss_has_finite_gradients():
    vectors = torch.randn(4, 3, requires_grad=True)
    supervised_contrastive_loss(vectors, torch.tensor([0, 0, 1, 2]), temperature=0.05).backward()
    assert vectors.grad.isfinite().all() and vectors.grad[:2].abs().sum() > 0
    alone = torch.randn(3, 3, requires_grad=True)
    supervised_contrastive_loss(alone, torch.arange(3), temperature=0.05).backward()
    assert alone.grad.eq(0).all()


def test_half_precision_is_computed_in_float32():
    vectors = torch.randn(4, 8).bfloat16()
    assert contrastive_loss(vectors, vectors, temperature=0.05).dtype == torch.float32


def test_alone_a_process_has_its_own_targets():
    targets = torch.randn(3, 2)
    assert gather_targets(targets) is targets
