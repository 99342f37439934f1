"""Floors: what needs no model, scored on the same rows. A score no higher shows nothing that was learnt."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from codeft.metrics.classification import FORMULAS, LABELS, TUNED_NAMES, confusion_rows
from codeft.metrics.retrieval import (
    CUT,
    RECALL_AT,
    mrr,
    protocol_name,
    r_at_k,
)
from codeft.types import CodeftError

Floors = Mapping[str, Mapping[str, float]]
"""By what was done instead of a model, the scores that it came to by name."""

CHANCE, BM25, MAJORITY, NAIVE_COPY = "chance", "bm25", "majority", "naive_copy"
ALWAYS_1 = "always_1"

_OF_LABELS = ("accuracy", "f1")
_EULER = 0.5772156649015329
"""What harmonic numbers and logarithms differ by in the end."""


def search_floor(ranks: Tensor, *, protocol: str) -> dict[str, float]:
    """Return the search scores of some ranks, by name.

    Args:
        ranks: int64 [Q], from 1.
        protocol: One of `PROTOCOLS`.
    """
    scores = {"mrr": mrr(ranks, protocol=protocol)} | {f"r_at_{k}": r_at_k(ranks, k=k) for k in RECALL_AT}
    return {protocol_name(name, protocol=protocol): value for name, value in scores.items()}


def search_by_chance(
    num_candidates: Sequence[int], *, protocol: str, depth: float = math.inf
) -> dict[str, float]:
    """Return the search scores that a random order is expected to have.

    A target is at each rank with the same probability, so that of C candidates the MRR is
    (1 + 1/2 + ... + 1/C) / C, and R@k is k / C.

    Args:
        num_candidates: How many each query has.
        protocol: One of `PROTOCOLS`.
        depth: The last rank that counts, beside the protocol's.

    Raises:
        CodeftError: There are no queries, or one has no candidates.

    >>> round(search_by_chance([3], protocol="full")["mrr"], 4)
    0.6111
    """
    if min(num_candidates, default=0) < 1:
        raise CodeftError(f"expected queries with a candidate or more each, got {list(num_candidates)!r:.60}")
    counts = torch.as_tensor(num_candidates, dtype=torch.float64)
    last = min(depth, CUT) if protocol == "cut1000" else depth
    scores = {"mrr": _harmonic(counts.clamp(max=last)) / counts}
    scores |= {f"r_at_{k}": counts.clamp(max=k) / counts for k in RECALL_AT}
    return {protocol_name(name, protocol=protocol): float(each.mean()) for name, each in scores.items()}


def retrieval_by_chance(num_relevant: Sequence[int], *, num_others: int) -> dict[str, float]:
    """Return MAP@R and R-precision that a random order of a query's candidates is expected to have.

    With R of n candidates relevant, place i holds a relevant one with probability R/n, and then i - 1 places
    before it hold (i - 1)(R - 1)/(n - 1) on average. So MAP@R is

        1/n times the sum over i = 1..R of (1 + (i - 1) (R - 1)/(n - 1)) / i

    and R-precision is R/n.

    Args:
        num_relevant: R of each query; queries with 0 don't count.
        num_others: n, the candidates that each query has.

    Raises:
        CodeftError: No query has anything relevant, or one has more than there are candidates.

    >>> round(retrieval_by_chance([1, 1], num_others=4)["map_at_r"], 4)
    0.25
    """
    if not 1 <= max(num_relevant, default=0) <= num_others:
        most = max(num_relevant, default=0)
        raise CodeftError(
            f"expected 1 to {num_others} relevant of {num_others} candidates, got {most} at most"
        )
    counts = torch.tensor([count for count in num_relevant if count], dtype=torch.float64)
    harmonic, share = _harmonic(counts), (counts - 1) / max(num_others - 1, 1)
    scores = {
        "map_at_r": (harmonic + share * (counts - harmonic)) / num_others,
        "r_precision": counts / num_others,
    }
    return {name: float(each.mean()) for name, each in scores.items()}


def _harmonic(counts: Tensor) -> Tensor:
    """Return 1 + 1/2 + ... + 1/n, in one step however large n is: files may say anything."""
    return torch.digamma(counts + 1) + _EULER


def label_floors(references: Sequence[str]) -> dict[str, dict[str, float]]:
    """Return the scores of giving every row one label: the more frequent one, and 1 if that is 0.

    `f1` is of class 1, so that always saying 1 may score more than the majority. A label is on the same side
    of every threshold, so `f1_tuned` has the same floor. Precision and recall have none of their own: always
    saying 1 finds all.

    Args:
        references: Labels, at least one.

    Raises:
        CodeftError: There are none.

    >>> label_floors(["0", "0", "1", "0"])["majority"]["accuracy"]
    75.0
    >>> round(label_floors(["0", "0", "1", "0"])["always_1"]["f1"], 2)
    0.4
    """
    if not references:
        raise CodeftError("expected one label or more, got none")
    majority = max(LABELS, key=list(references).count)
    said = {MAJORITY: majority} | ({ALWAYS_1: LABELS[1]} if majority != LABELS[1] else {})
    return {floor: _scores_of_label(label, references) for floor, label in said.items()}


def _scores_of_label(label: str, references: Sequence[str]) -> dict[str, float]:
    counts = confusion_rows([label] * len(references), references).sum(axis=0).astype(float)
    scores = {name: float(FORMULAS[name](counts)) for name in _OF_LABELS}
    return scores | {f"{name}_tuned": scores[name] for name in _OF_LABELS if name in TUNED_NAMES}
