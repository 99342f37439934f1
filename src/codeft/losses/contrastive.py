"""Losses that pull together what belongs together and push apart the rest of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(
    queries: Tensor, targets: Tensor, *, temperature: float, right: Tensor | None = None
) -> Tensor:
    """Return the cross-entropy of finding each query's own target among all targets, by cosine similarity.

    Source: InfoNCE (arXiv 1807.03748) with in-batch negatives, as UniXcoder (arXiv 2203.03850) fine-tunes
    code search; from queries to targets only. Deviation: a target that answers a query as well as its own
    does is no negative of it.

    Args:
        queries: [B, D].
        targets: [C, D] with C at least B; row i belongs to query i, rows from B on to none.
        temperature: Divides the similarities, above 0.
        right: bool [B, C], the targets that answer each query, as `right_targets` finds them; None where each
            has its own alone.

    Returns:
        Scalar, the mean over queries, computed in float32 at least; 0 with a gradient of 0 of a query that is
        left without negatives.

    >>> round(contrastive_loss(torch.eye(2), torch.eye(2), temperature=1.0).item(), 4)
    0.3133
    """
    scores = _unit(queries) @ _unit(targets).T / temperature  # [B, C]
    if right is not None:
        own = torch.eye(*right.shape, dtype=torch.bool, device=right.device)
        scores = scores.masked_fill(right & ~own, -torch.inf)
    return functional.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


def right_targets(queries: Tensor, functions: Tensor, *, all_queries: Tensor, targets: Tensor) -> Tensor:
    """Return which targets answer each query: those that equal the function of a row with an equal query.

    So rows with an equal query, or an equal function, are no negatives of each other.

    Args:
        queries: int64 [B], numbers that stand for this process's queries.
        functions: int64 [R, K], K numbers of the function of each row; functions of which one is the same are
            equal.
        all_queries: int64 [R], the rows' queries, of all processes.
        targets: int64 [C, K], the numbers of all targets.

    Returns:
        bool [B, C].

    >>> answers = torch.tensor([[7], [8], [8]])
    >>> queries = torch.tensor([1, 1, 2])
    >>> right_targets(queries, answers, all_queries=queries, targets=answers).int().tolist()
    [[1, 1, 1], [1, 1, 1], [0, 1, 1]]
    """
    asks_the_same = queries[:, None] == all_queries  # [B, R]
    is_the_same = (functions[:, None] == targets).any(-1)  # [R, C]
    return asks_the_same.float() @ is_the_same.float() > 0


def supervised_contrastive_loss(embeddings: Tensor, labels: Tensor, *, temperature: float) -> Tensor:
    """Return the mean cross-entropy of finding the rows of one's own label among all other rows of the batch.

    Source: Khosla et al. (arXiv 2004.11362), equation 2, by cosine similarity; a row that is the only one
    of its label counts nothing.

    Args:
        embeddings: [B, D].
        labels: int64 [B].
        temperature: Divides the similarities, above 0.

    Returns:
        Scalar; 0, with a gradient of 0, where no label stands twice.

    >>> supervised_contrastive_loss(torch.eye(2), torch.tensor([0, 1]), temperature=1.0).item()
    0.0
    """
    vectors = _unit(embeddings)
    scores = vectors @ vectors.T / temperature  # [B, B]
    itself = torch.eye(len(labels), dtype=torch.bool, device=labels.device)
    others = scores.masked_fill(itself, -torch.inf).logsumexp(dim=1, keepdim=True)
    positive = (labels[:, None] == labels) & ~itself
    counts = positive.sum(1)
    terms = torch.where(positive, others - scores, 0.0).sum(1) / counts.clamp_min(1)
    has = counts > 0
    return terms[has].mean() if bool(has.any()) else 0.0 * embeddings.sum()


def gather_targets(targets: Tensor) -> Tensor:
    """Return the targets of all processes, this one's first; they are negatives of one another.

    Gradients flow back to the process that a target is of. So the mean over processes of `contrastive_loss`'
    gradients, which is what distributed training steps by, is the gradient of one process that has all their
    rows: were the others' targets constants, a target would never learn to keep away from their queries.

    Args:
        targets: [B, ...], as many in each process; whole numbers have no gradients and are gathered likewise.

    Returns:
        [world size * B, ...].
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return targets
    if targets.is_floating_point():
        from torch.distributed.nn.functional import all_gather  # not there where torch was built without

        parts = all_gather(targets)
    else:
        parts = [torch.empty_like(targets) for _ in range(torch.distributed.get_world_size())]
        torch.distributed.all_gather(parts, targets.contiguous())
    rank = torch.distributed.get_rank()
    return torch.cat([parts[rank], *(part for i, part in enumerate(parts) if i != rank)])


def _unit(vectors: Tensor) -> Tensor:
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return functional.normalize(vectors.to(wide), dim=-1)
