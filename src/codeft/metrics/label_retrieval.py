"""Retrieval among rows that have a label: where the others of a row's own label stand (POJ-104)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from codeft.metrics.gathered_rows import first_of_each, joined
from codeft.metrics.ranking import TIE_TOLERANCE
from codeft.metrics.retrieval import map_at_r_signature
from codeft.types import CodeftError

_QUERY_BLOCK = 256


@dataclass(frozen=True, slots=True)
class RetrievalAnswer:
    """What one row found.

    Attributes:
        num_relevant: R, the other rows of its label.
        hits: Those of the first R places that such rows hold, from 1, ascending.
        nearest: Ids of the first rows, best first.
    """

    num_relevant: int
    hits: list[int]
    nearest: list[int]


@dataclass(frozen=True, slots=True)
class _Block:
    """Rankings of some rows; R is the largest number of relevant rows among them.

    Attributes:
        num_relevant: int64 [B].
        places: int64 [B, R], the place of each relevant row from 1, ascending; what stands beyond a row's
            own number says nothing, and a place beyond R may be a later one.
        relevant: int64 [B, R], the relevant rows in that order.
        others: int64 [B, K], the first other rows, best first.
    """

    num_relevant: Tensor
    places: Tensor
    relevant: Tensor
    others: Tensor

    def hits(self) -> Tensor:
        """Return which places count, bool [B, R]: those of relevant rows among the first of their number."""
        counted = torch.arange(self.places.shape[1], device=self.places.device) < self.num_relevant[:, None]
        return counted & (self.places <= self.num_relevant[:, None])


def map_at_r_of_labels(embeddings: Tensor, *, labels: Tensor, query_block: int = _QUERY_BLOCK) -> float:
    """MAP@R where each row is a query and all rows of its label are relevant (POJ-104).

    A query's own row is no candidate. Ties are pessimistic: other labels stand before its own. Scores nearer
    than 1e-6 of the vectors' lengths are ties.

    Args:
        embeddings: [N, D]; normalised ones give cosine similarity.
        labels: int64 [N].
        query_block: Queries at a time; memory is this times N.

    Returns:
        0 to 1. Rows that are the only one of their label have nothing to find and are left out.

    Raises:
        CodeftError: Shapes differ, a score isn't finite, or no label has two rows.
    """
    total, num_queries = 0.0, 0
    for block in _blocks(embeddings, labels, query_block=query_block, num_others=0):
        numbers = torch.arange(1, block.places.shape[1] + 1, device=block.places.device)
        precisions = torch.where(block.hits(), numbers / block.places.double(), 0.0).sum(1)
        has = block.num_relevant > 0
        total += float((precisions[has] / block.num_relevant[has]).sum())
        num_queries += int(has.sum())
    if num_queries == 0:
        raise CodeftError("expected at least two rows of one label, got none: nothing to find")
    return total / num_queries


def _blocks(embeddings: Tensor, labels: Tensor, *, query_block: int, num_others: int) -> Iterator[_Block]:
    """Yield the rankings of all rows, some at a time, with at least so many others where there are."""
    if labels.shape != embeddings.shape[:1]:
        raise CodeftError(f"expected one label a row, got {len(labels)} for {len(embeddings)} rows")
    labels = labels.to(embeddings.device)
    vectors = embeddings if embeddings.dtype == torch.float64 else embeddings.float()
    norms = vectors.norm(dim=1)
    for start in range(0, len(vectors), query_block):
        rows = torch.arange(start, min(start + query_block, len(vectors)), device=vectors.device)
        scores = vectors[rows] @ vectors.T  # [B, N]
        if not torch.isfinite(scores).all():
            raise CodeftError("expected finite embeddings, got a score that is no number or infinite")
        relevant = labels[rows, None] == labels  # [B, N]
        others = ~relevant
        relevant[torch.arange(len(rows), device=rows.device), rows] = False
        num_relevant = relevant.sum(1)
        longest = int(num_relevant.max())
        own_scores, own = scores.masked_fill(~relevant, -torch.inf).topk(longest)  # [B, R]
        depth = min(max(longest, num_others), len(vectors))
        other_scores, best = scores.masked_fill(~others, -torch.inf).topk(depth)  # [B, K]
        tolerance = TIE_TOLERANCE * norms[rows, None] * norms[own]
        # Rows of different lengths have different tolerances: none may overtake one that scores higher.
        lowest = (own_scores - tolerance).cummin(1).values
        before = depth - torch.searchsorted(other_scores.flip(1).contiguous(), lowest.contiguous())
        places = torch.arange(1, longest + 1, device=rows.device) + before
        yield _Block(num_relevant, places, own, best)


class MapAtR(Metric):
    """`map_at_r_of_labels` over batches and processes.

    Embeddings are kept until `compute`; a row that a distributed sampler hands out twice counts once, by
    its id.
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
        self._rows: tuple[Tensor, ...] | None = None
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
        self._rows = first_of_each(joined(self.ids), self.embeddings, self.labels)
        _, embeddings, labels = self._rows
        return torch.tensor(map_at_r_of_labels(embeddings, labels=labels), dtype=torch.float64)

    def answers(self, *, k: int) -> dict[int, RetrievalAnswer]:
        """Return what each row found, by its id; once computed, and before `reset`.

        Args:
            k: How many of the first rows to name.
        """
        assert self._rows is not None, "answers are of computed scores"
        ids, embeddings, labels = self._rows
        names, found = ids.tolist(), {}
        queries = iter(names)
        for block in _blocks(embeddings, labels, query_block=_QUERY_BLOCK, num_others=k):
            table = zip(
                block.num_relevant.tolist(), block.places.tolist(), block.relevant.tolist(),
                block.others.tolist(), strict=True,
            )  # fmt: skip
            for number, places, relevant, others in table:
                held = dict(zip(places[:number], relevant, strict=False))
                rest = iter(others)
                first = range(1, min(k, len(names) - 1) + 1)
                nearest = [names[held[place] if place in held else next(rest)] for place in first]
                hits = [place for place in places[:number] if place <= number]
                found[next(queries)] = RetrievalAnswer(number, hits, nearest)
        return found

    def reset(self) -> None:
        """Forget all rows."""
        super().reset()
        self._rows = None
