"""Where each query's target stands among the candidates, block by block, so that memory stays flat."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from codeft.types import CodeftError

BATCH_CANDIDATES = 1000
"""Candidates that a query has under the protocol `distractors999`: its target and 999 others."""

TIE_TOLERANCE = 1e-6
"""Scores nearer than this times |query| |target| are ties: float32 says no more of them."""

_CHECKED = 4096
"""Vectors whose lengths are taken at a time."""


@dataclass(frozen=True, slots=True)
class Ranks:
    """Where the targets stand.

    Attributes:
        ranks: int64 [Q], from 1; the worst of its places for a target that ties with others.
        tied: bool [Q], whether the target ties with at least one other candidate.
        num_candidates: Candidates that each query had.
        num_left_out: Queries left out, because the last batch of `distractors999` wasn't full.
    """

    ranks: Tensor
    tied: Tensor
    num_candidates: int
    num_left_out: int = 0

    @property
    def num_ties(self) -> int:
        """Queries whose target ties."""
        return int(self.tied.sum())


def rank_targets(
    queries: Tensor,
    *,
    candidates: Tensor,
    targets: Tensor,
    query_block: int = 256,
    candidate_block: int = 8192,
) -> Ranks:
    """Rank each query's one target among all candidates by dot product.

    Ties are pessimistic: whatever scores no less than the target stands before it. Only one block of scores
    is in memory, on the queries' device; candidates may lie elsewhere.

    Args:
        queries: [Q, D] embeddings; normalised ones give cosine similarity.
        candidates: [C, D] embeddings, scored in float32 (float64 stays float64).
        targets: int64 [Q], the row in `candidates` of each query's target.
        query_block: Queries at a time.
        candidate_block: Candidates at a time.

    Raises:
        CodeftError: Shapes don't fit, there are no queries, a target isn't there, or a score or an
            embedding's length isn't finite.

    >>> codes = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    >>> rank_targets(codes[:2], candidates=codes, targets=torch.tensor([0, 1])).ranks
    tensor([2, 1])
    """
    _check(queries, candidates, targets)
    is_bounded = _is_bounded(queries, candidates)
    ranks, ties = [], []
    for start in range(0, len(queries), query_block):
        block = _widen(queries[start : start + query_block])  # [B, D]
        block_targets = targets[start : start + query_block].to(block.device)
        better, tied = _count_rivals(block, candidates, block_targets, candidate_block, is_bounded=is_bounded)
        ranks.append(1 + better + tied)
        ties.append(tied > 0)
    return Ranks(torch.cat(ranks).cpu(), torch.cat(ties).cpu(), num_candidates=len(candidates))


def rank_in_batches(queries: Tensor, *, candidates: Tensor, targets: Tensor) -> Ranks:
    """Rank each query's target among the targets of its batch of 1,000 queries (`distractors999`).

    Batches are consecutive queries; the last is left out unless it is full, as its queries would have fewer
    distractors.

    Source: Husain et al. (2019), "CodeSearchNet Challenge", section 4.

    Args:
        queries: [Q, D] embeddings.
        candidates: [C, D] embeddings.
        targets: int64 [Q], the row in `candidates` of each query's target.

    Raises:
        CodeftError: As `rank_targets`, or there are fewer than 1,000 queries.
    """
    _check(queries, candidates, targets)
    if len(queries) < BATCH_CANDIDATES:
        raise CodeftError(
            f"expected at least {BATCH_CANDIDATES:,} queries for the protocol distractors999, got "
            f"{len(queries):,}: choose the protocol full"
        )
    parts = [
        rank_targets(queries[rows], candidates=candidates[kept.to(candidates.device)], targets=places)
        for rows, kept, places in _full_batches(targets)
    ]
    return Ranks(
        torch.cat([part.ranks for part in parts]),
        torch.cat([part.tied for part in parts]),
        num_candidates=BATCH_CANDIDATES,
        num_left_out=len(queries) % BATCH_CANDIDATES,
    )


def find_nearest_in_batches(
    queries: Tensor, candidates: Tensor, *, targets: Tensor, k: int
) -> tuple[Tensor, Tensor]:
    """Find what `find_nearest` does, each query among the candidates that `rank_in_batches` gives it.

    Returns:
        int64 [Q', k] rows in `candidates`, and their scores, both on the CPU; Q' without the last batch
        unless it is full.
    """
    parts = []
    for rows, kept, _ in _full_batches(targets):
        found, scores = find_nearest(queries[rows], candidates[kept.to(candidates.device)], k=k)
        parts.append((kept.cpu()[found], scores))
    return torch.cat([found for found, _ in parts]), torch.cat([scores for _, scores in parts])


def _full_batches(targets: Tensor) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Yield each full batch's queries, its candidates, and the targets' places among these."""
    for start in range(0, len(targets) - BATCH_CANDIDATES + 1, BATCH_CANDIDATES):
        rows = slice(start, start + BATCH_CANDIDATES)
        yield rows, *targets[rows].unique(return_inverse=True)  # two queries may have one target


def find_nearest(
    queries: Tensor,
    candidates: Tensor,
    *,
    k: int = 1,
    own: Tensor | None = None,
    query_block: int = 1024,
    candidate_block: int = 8192,
) -> tuple[Tensor, Tensor]:
    """Find each query's candidates with the highest dot products, best first.

    Only one block of scores is in memory, on the queries' device.

    Args:
        queries: [Q, D] embeddings.
        candidates: [C, D] embeddings.
        k: How many; fewer where there are fewer candidates.
        own: int64 [Q], the candidate that is the query itself and isn't to be found; None where none is.
        query_block: Queries at a time.
        candidate_block: Candidates at a time.

    Returns:
        int64 [Q, k] rows in `candidates`, and their scores, both on the CPU.

    >>> find_nearest(torch.eye(2), torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 0.5]]), k=2)[0]
    tensor([[1, 2],
            [0, 2]])
    """
    found, scores = [], []
    for start in range(0, len(queries), query_block):
        block = _widen(queries[start : start + query_block])
        best = block.new_zeros(len(block), 0)
        rows = torch.zeros(len(block), 0, dtype=torch.int64, device=block.device)
        for first in range(0, len(candidates), candidate_block):
            table = block @ _widen(candidates[first : first + candidate_block].to(block.device)).T
            if own is not None:
                place = own[start : start + query_block].to(block.device) - first
                inside = (place >= 0) & (place < table.shape[1])
                table[inside, place[inside]] = -torch.inf
            new = torch.arange(first, first + table.shape[1], device=block.device).expand(len(block), -1)
            best, rows = torch.cat([best, table], 1), torch.cat([rows, new], 1)
            best, order = best.topk(min(k, best.shape[1]))
            rows = rows.gather(1, order)
        found.append(rows.cpu())
        scores.append(best.cpu())
    return torch.cat(found), torch.cat(scores)


def deduplicate(candidates: Sequence[Hashable]) -> tuple[Tensor, Tensor]:
    """Say which candidates to keep so that each stands once, the first of its kind.

    Args:
        candidates: What makes two candidates the same, such as their text.

    Returns:
        int64 [K], the rows kept, and int64 [C], each candidate's place among them: rank
        `candidates[kept]` with `places[targets]`.

    >>> deduplicate(["a", "b", "a"])
    (tensor([0, 1]), tensor([0, 1, 0]))
    """
    place: dict[Hashable, int] = {}
    kept: list[int] = []
    places: list[int] = []
    for row, candidate in enumerate(candidates):
        if candidate not in place:
            place[candidate] = len(place)
            kept.append(row)
        places.append(place[candidate])
    return torch.tensor(kept, dtype=torch.int64), torch.tensor(places, dtype=torch.int64)


def _widen(embeddings: Tensor) -> Tensor:
    return embeddings if embeddings.dtype == torch.float64 else embeddings.float()


@torch.no_grad()
def _count_rivals(
    queries: Tensor, candidates: Tensor, targets: Tensor, block_size: int, *, is_bounded: bool
) -> tuple[Tensor, Tensor]:
    """Count, for each query of a block, the candidates above its target and those level with it."""
    own = _widen(candidates[targets.to(candidates.device)].to(queries.device))  # [B, D]
    target_scores = (queries * own).sum(1, keepdim=True)  # [B, 1]
    tolerance = TIE_TOLERANCE * queries.norm(dim=1, keepdim=True) * own.norm(dim=1, keepdim=True)
    if not is_bounded and not torch.isfinite(tolerance).all():
        raise CodeftError("expected finite embeddings, got a length that is no number or beyond float32")
    upper, lower = target_scores + tolerance, target_scores - tolerance
    better = torch.zeros(len(queries), dtype=torch.int64, device=queries.device)
    level = torch.zeros_like(better)
    width = min(block_size, len(candidates))
    tables = queries.new_empty(2, len(queries), width)  # new ones each time would cost page faults
    for start in range(0, len(candidates), block_size):
        block = _widen(candidates[start : start + block_size].to(queries.device))
        scores, marks = tables[:, :, : len(block)]
        torch.mm(queries, block.T, out=scores)  # [B, C]
        if not is_bounded and not torch.isfinite(scores).all():
            raise CodeftError("expected finite embeddings, got a score that is no number or infinite")
        inside = (targets >= start) & (targets < start + len(block))
        # The target is no rival of itself.
        scores[inside, targets[inside] - start] = -torch.inf
        # Ones and noughts in the scores' own type are added many times as fast as booleans.
        above = torch.gt(scores, upper, out=marks).sum(1).long()
        better += above
        level += torch.ge(scores, lower, out=marks).sum(1).long() - above
    return better, level


def _is_bounded(queries: Tensor, candidates: Tensor) -> bool:
    """Return whether no product of lengths overflows, so that each score is finite."""
    longest = [
        torch.stack([_widen(part).norm(dim=1).max() for part in side.split(_CHECKED)]).max().item()
        for side in (queries, candidates)
    ]  # NaN where one is
    return longest[0] * longest[1] < torch.finfo(torch.float32).max


def _check(queries: Tensor, candidates: Tensor, targets: Tensor) -> None:
    if queries.ndim != 2 or candidates.ndim != 2 or queries.shape[1] != candidates.shape[1]:
        raise CodeftError(
            f"expected embeddings [Q, D] and [C, D], got {list(queries.shape)} and {list(candidates.shape)}"
        )
    if targets.shape != queries.shape[:1]:
        raise CodeftError(f"expected one target a query, got {len(targets)} for {len(queries)} queries")
    if len(queries) == 0:
        raise CodeftError("expected at least one query, got none: nothing to rank")
    if int(targets.min()) < 0 or int(targets.max()) >= len(candidates):
        raise CodeftError(
            f"expected targets out of {len(candidates)} candidates, got {int(targets.min())} to "
            f"{int(targets.max())}: a query's target isn't among them"
        )
