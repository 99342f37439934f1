"""Losses that pull together what belongs together and push apart the rest of the batch."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def contrastive_loss(queries: Tensor, targets: Tensor, *, temperature: float) -> Tensor:
    """Return the cross-entropy of finding each query's own target among all targets, by cosine similarity.

    Source: InfoNCE (arXiv 1807.03748) with in-batch negatives, as UniXcoder (arXiv 2203.03850) fine-tunes
    code search; from queries to targets only.

    Args:
        queries: [B, D].
        targets: [C, D] with C at least B; row i belongs to query i, rows from B on to none.
        temperature: Divides the similarities, above 0.

    Returns:
        Scalar, the mean over queries, computed in float32 at least.

    >>> round(contrastive_loss(torch.eye(2), torch.eye(2), temperature=1.0).item(), 4)
    0.3133
    """
    scores = _unit(queries) @ _unit(targets).T / temperature  # [B, C]
    return functional.cross_entropy(scores, torch.arange(len(queries), device=scores.device))


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
        targets: [B, D], as many in each process.

    Returns:
        [world size * B, D].
    """
    if not (torch.distributed.is_available() and torch.distributed.is_initialized()):
        return targets
    from torch.distributed.nn.functional import all_gather  # not there where torch was built without

    parts = all_gather(targets)
    rank = torch.distributed.get_rank()
    return torch.cat([parts[rank], *(part for i, part in enumerate(parts) if i != rank)])


def _unit(vectors: Tensor) -> Tensor:
    wide = torch.promote_types(vectors.dtype, torch.float32)
    return functional.normalize(vectors.to(wide), dim=-1)
