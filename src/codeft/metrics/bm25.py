"""Search by words alone: what an index without a model finds."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Sequence

import numpy as np
import torch

from codeft.metrics.ranking import BATCH_CANDIDATES, Ranks
from codeft.types import CodeftError

K1, B = 1.5, 0.75
"""As bm25s has them; nothing is tuned."""

_SUB_WORD = re.compile(r"[A-Z]+(?![^\W\d_A-Z])|[A-Z]?[^\W\d_A-Z]+|[0-9]+")


def sub_words(text: str) -> list[str]:
    """Split prose or code into lower-cased words, identifiers at capitals, digits and underscores.

    >>> sub_words("parseHTTPHeader(raw_line, 2) # größer")
    ['parse', 'http', 'header', 'raw', 'line', '2', 'größer']
    """
    return [word.lower() for word in _SUB_WORD.findall(text)]


def rank_by_bm25(
    queries: Sequence[str], *, candidates: Sequence[str], targets: Sequence[int], in_batches: bool = False
) -> Ranks:
    """Rank each query's one target among the candidates by BM25 over `sub_words`.

    A candidate d scores the sum, over a query's words w with repeats, of

        log(1 + (N - n_w + 0.5) / (n_w + 0.5)) * f / (f + K1 (1 - B + B |d| / mean |d|))

    with f times w in d, n_w of N candidates that have w, and |d| words in d. Ties are pessimistic, as in
    `rank_targets`: where no word is found at all, the target is last.

    Source: Robertson et al. (1994), "Okapi at TREC-3", in Lucene's form; computed by bm25s (Lù, 2024, arXiv
    2407.03618), in float64.

    Args:
        queries: Sentences.
        candidates: Functions.
        targets: The row in `candidates` of each query's target.
        in_batches: Whether a query's candidates are the targets of its batch of 1,000 (`distractors999`);
            words are weighed by all candidates even so.

    Raises:
        CodeftError: There are no queries, or fewer than 1,000 in batches.
    """
    if not queries or (in_batches and len(queries) < BATCH_CANDIDATES):
        raise CodeftError(
            f"expected at least {BATCH_CANDIDATES if in_batches else 1:,} queries, got {len(queries):,}"
        )
    score = _scorer([sub_words(candidate) for candidate in candidates])
    num_full = len(queries) - (len(queries) % BATCH_CANDIDATES if in_batches else 0)
    ranks, ties = [], []
    for row in range(num_full):
        scores = score(sub_words(queries[row]))
        own = scores[targets[row]]
        if in_batches:
            first = row - row % BATCH_CANDIDATES
            scores = scores[np.unique(targets[first : first + BATCH_CANDIDATES])]
        ranks.append(int((scores >= own).sum()))
        ties.append(int((scores == own).sum()) > 1)
    return Ranks(
        torch.tensor(ranks),
        torch.tensor(ties),
        num_candidates=BATCH_CANDIDATES if in_batches else len(candidates),
        num_left_out=len(queries) - num_full,
    )


def _scorer(documents: Sequence[Sequence[str]]) -> Callable[[Sequence[str]], np.ndarray]:
    """Return what scores a query's words against all documents: float64 [N]."""
    import bm25s  # here: it loads scipy where that is installed

    logging.getLogger("bm25s").setLevel(logging.WARNING)  # it sets itself to tell all it does
    has_words = any(documents)  # else there is no mean length
    index = bm25s.BM25(k1=K1, b=B, method="lucene", dtype="float64")
    if has_words:
        index.index(documents, show_progress=False)

    def score(query: Sequence[str]) -> np.ndarray:
        known = [word for word in query if has_words and word in index.vocab_dict]
        return index.get_scores(known) if known else np.zeros(len(documents))

    return score
