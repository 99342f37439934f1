"""Search over batches and processes: embeddings are gathered, then ranked block by block."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from codeft.metrics.ranking import Ranks, find_nearest, rank_in_batches, rank_targets
from codeft.metrics.retrieval import (
    RECALL_AT,
    check_protocol,
    map_at_r_of_labels,
    map_at_r_signature,
    mrr,
    protocol_name,
    r_at_k,
    search_signature,
)
from codeft.types import CodeftError


class SearchScores(Metric):
    """MRR and R@1, 5, 10 of a split's embeddings, over batches and processes.

    Queries, targets and candidates are kept until `compute`, for a target's rank depends on all candidates.
    A query or candidate that a distributed sampler hands out twice counts once, by its id.

    Args:
        protocol: One of `PROTOCOLS`.
        deduplicated: Whether the caller gives equal candidates one id; stands in the signatures.

    Attributes:
        nearest: Once computed, the best candidate's id by the query's.

    Raises:
        CodeftError: The protocol is unknown.
    """

    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    queries: list[Tensor]
    query_ids: list[Tensor]
    target_ids: list[Tensor]
    candidates: list[Tensor]
    candidate_ids: list[Tensor]

    def __init__(self, *, protocol: str = "full", deduplicated: bool = False) -> None:
        super().__init__()
        check_protocol(protocol)
        self.protocol = protocol
        names = ("mrr", *(f"r_at_{k}" for k in RECALL_AT))
        self.signatures = {
            protocol_name(name, protocol=protocol): search_signature(
                name, protocol=protocol, deduplicated=deduplicated
            )
            for name in names
        } | {"ties": "ties|queries whose target ties|v:1"}
        self.nearest: dict[int, int] = {}
        for state in ("queries", "query_ids", "target_ids", "candidates", "candidate_ids"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(
        self,
        queries: Tensor,
        query_ids: Tensor,
        target_ids: Tensor,
        candidates: Tensor,
        candidate_ids: Tensor,
    ) -> None:
        """Add a batch of queries and a batch of candidates; where both have their own loaders, one is empty.

        Args:
            queries: [B, D] embeddings.
            query_ids: int64 [B], each query's own number.
            target_ids: int64 [B], the id of the candidate that answers each query.
            candidates: [C, D] embeddings.
            candidate_ids: int64 [C].
        """
        self.queries.append(queries.detach())
        self.query_ids.append(query_ids)
        self.target_ids.append(target_ids)
        self.candidates.append(candidates.detach())
        self.candidate_ids.append(candidate_ids)

    def compute(self) -> dict[str, Tensor]:
        """Return float64 scalars by name, the number of `ties` among them.

        Raises:
            CodeftError: There are no queries, or a query's target isn't among the candidates.
        """
        ranks = self.rank()
        scores = {"mrr": mrr(ranks.ranks, protocol=self.protocol)}
        scores |= {f"r_at_{k}": r_at_k(ranks.ranks, k=k) for k in RECALL_AT}
        named = {protocol_name(name, protocol=self.protocol): value for name, value in scores.items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in named.items()} | {
            "ties": torch.tensor(ranks.num_ties, dtype=torch.float64)
        }

    def rank(self) -> Ranks:
        """Return where the targets stand, in the order of the queries' ids; note the nearest ones."""
        query_ids, queries, target_ids = _first_of_each(
            _joined(self.query_ids), self.queries, self.target_ids
        )
        ids, candidates = _first_of_each(_joined(self.candidate_ids), self.candidates)
        targets = torch.searchsorted(ids, target_ids)
        missing = (targets == len(ids)) | (ids[targets.clamp(max=len(ids) - 1)] != target_ids)
        if bool(missing.any()):
            raise CodeftError(
                f"expected every query's target among the candidates, got {int(missing.sum())} that aren't, "
                f"candidate {int(target_ids[missing][0])} the first"
            )
        best, _ = find_nearest(queries, candidates)
        self.nearest = dict(zip(query_ids.tolist(), ids[best[:, 0].to(ids.device)].tolist(), strict=True))
        rank = rank_in_batches if self.protocol == "distractors999" else rank_targets
        return rank(queries, candidates=candidates, targets=targets)


class MapAtR(Metric):
    """`map_at_r_of_labels` over batches and processes.

    Embeddings are kept until `compute`; a row that a distributed sampler hands out twice counts once, by
    its id.

    Attributes:
        nearest: Once computed, the id of the row nearest to each row, by its id.
    """

    name: ClassVar[str] = "map_at_r"
    signature: ClassVar[str] = map_at_r_signature(ties="pessimistic")
    higher_is_better = True
    is_differentiable = False
    full_state_update = False

    embeddings: list[Tensor]
    labels: list[Tensor]
    ids: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        self.nearest: dict[int, int] = {}
        for state in ("embeddings", "labels", "ids"):
            self.add_state(state, default=[], dist_reduce_fx="cat")

    def update(self, embeddings: Tensor, labels: Tensor, ids: Tensor) -> None:
        """Add a batch.

        Args:
            embeddings: [B, D].
            labels: int64 [B], the problem that each row solves.
            ids: int64 [B], each row's own number.
        """
        self.embeddings.append(embeddings.detach())
        self.labels.append(labels)
        self.ids.append(ids)

    def compute(self) -> Tensor:
        """Return MAP@R, a float64 scalar.

        Raises:
            CodeftError: No label has two rows.
        """
        ids, embeddings, labels = _first_of_each(_joined(self.ids), self.embeddings, self.labels)
        if len(ids) > 1:
            best, _ = find_nearest(embeddings, embeddings, own=torch.arange(len(ids), device=ids.device))
            self.nearest = dict(zip(ids.tolist(), ids[best[:, 0].to(ids.device)].tolist(), strict=True))
        return torch.tensor(map_at_r_of_labels(embeddings, labels=labels), dtype=torch.float64)


def _joined(parts: list[Tensor] | Tensor) -> Tensor:
    # Processes that have met hold one tensor, a single one its list of batches.
    joined = parts if isinstance(parts, Tensor) else torch.cat(parts) if parts else torch.zeros(0)
    if len(joined) == 0:
        raise CodeftError("expected rows before search is scored, got none: nothing to rank")
    return joined


def _first_of_each(ids: Tensor, *values: list[Tensor] | Tensor) -> tuple[Tensor, ...]:
    """Return the distinct ids in order and what each came with first."""
    order = ids.argsort(stable=True)
    ordered = ids[order]
    first = torch.ones_like(ordered, dtype=torch.bool)
    first[1:] = ordered[1:] != ordered[:-1]
    return ordered[first], *(_joined(value)[order[first]] for value in values)
