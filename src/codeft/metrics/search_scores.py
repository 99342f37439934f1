"""Search over batches and processes: embeddings are gathered, then ranked block by block."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torchmetrics import Metric

from codeft.metrics.gathered_rows import first_of_each, joined
from codeft.metrics.ranking import (
    Ranks,
    find_nearest,
    find_nearest_in_batches,
    rank_in_batches,
    rank_targets,
)
from codeft.metrics.retrieval import (
    RECALL_AT,
    TIES_SIGNATURE,
    check_protocol,
    mrr,
    protocol_name,
    r_at_k,
    search_signature,
)
from codeft.types import CodeftError

_IN_BATCHES = "distractors999"


@dataclass(frozen=True, slots=True)
class SearchAnswer:
    """What one query found.

    Attributes:
        target: The id of the candidate that answers it.
        rank: The target's rank, from 1; the worst of its places where it ties.
        tied: Whether it ties.
        num_candidates: Candidates that the query had.
        nearest: Ids of the first candidates, best first, the target at its rank.
    """

    target: int
    rank: int
    tied: bool
    num_candidates: int
    nearest: list[int]


@dataclass(frozen=True, slots=True)
class _Ranked:
    """What `compute` has put together: ids are sorted, `targets` are rows of `candidates`."""

    query_ids: Tensor
    queries: Tensor
    targets: Tensor
    ids: Tensor
    candidates: Tensor
    ranks: Ranks


class SearchScores(Metric):
    """MRR and R@1, 5, 10 of a split's embeddings, over batches and processes.

    Queries, targets and candidates are kept until `compute`, for a target's rank depends on all candidates.
    A query or candidate that a distributed sampler hands out twice counts once, by its id.

    Args:
        protocol: One of `PROTOCOLS`.
        deduplicated: Whether the caller gives equal candidates one id; stands in the signatures.

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
        } | {"ties": TIES_SIGNATURE}
        self._ranked: _Ranked | None = None
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
        self._ranked = self._rank()
        ranks = self._ranked.ranks
        scores = {"mrr": mrr(ranks.ranks, protocol=self.protocol)}
        scores |= {f"r_at_{k}": r_at_k(ranks.ranks, k=k) for k in RECALL_AT}
        named = {protocol_name(name, protocol=self.protocol): value for name, value in scores.items()}
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in named.items()} | {
            "ties": torch.tensor(ranks.num_ties, dtype=torch.float64)
        }

    def _rank(self) -> _Ranked:
        query_ids, queries, target_ids = first_of_each(joined(self.query_ids), self.queries, self.target_ids)
        ids, candidates = first_of_each(joined(self.candidate_ids), self.candidates)
        targets = torch.searchsorted(ids, target_ids)
        missing = (targets == len(ids)) | (ids[targets.clamp(max=len(ids) - 1)] != target_ids)
        if bool(missing.any()):
            raise CodeftError(
                f"expected every query's target among the candidates, got {int(missing.sum())} that aren't, "
                f"candidate {int(target_ids[missing][0])} the first"
            )
        rank = rank_in_batches if self.protocol == _IN_BATCHES else rank_targets
        ranks = rank(queries, candidates=candidates, targets=targets)
        return _Ranked(query_ids, queries, targets, ids, candidates, ranks)

    def answers(self, *, k: int) -> dict[int, SearchAnswer]:
        """Return what each query found, by the query's id; once computed, and before `reset`.

        It takes several times as long as the scores, so it is asked for where it is written.

        Args:
            k: How many of the first candidates to name.

        Returns:
            Without the queries that the protocol leaves out.
        """
        found = self._ranked
        assert found is not None, "answers are of computed scores"
        if self.protocol == _IN_BATCHES:
            rows, _ = find_nearest_in_batches(found.queries, found.candidates, targets=found.targets, k=k + 1)
        else:
            rows, _ = find_nearest(found.queries, found.candidates, k=k + 1)
        ids = found.ids.cpu()
        table = zip(
            found.query_ids.tolist(), ids[found.targets.cpu()].tolist(), found.ranks.ranks.tolist(),
            found.ranks.tied.tolist(), ids[rows].tolist(), strict=False,
        )  # fmt: skip
        return {
            query: SearchAnswer(
                target, rank, tied, found.ranks.num_candidates, _placed(nearest, target, rank=rank)[:k]
            )
            for query, target, rank, tied, nearest in table
        }

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        self._ranked = None


def _placed(nearest: list[int], target: int, *, rank: int) -> list[int]:
    """Put the target where its rank says, behind what it ties with.

    >>> _placed([7, 8, 9], 7, rank=2)
    [8, 7, 9]
    """
    others = [candidate for candidate in nearest if candidate != target]
    return [*others[: rank - 1], target, *others[rank - 1 :]] if rank <= len(nearest) else others
