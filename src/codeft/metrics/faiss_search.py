"""Nearest vectors by FAISS, the extra `codeft[faiss]`: exact, as the built-in search is."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import util
from typing import Protocol

import torch
from torch import Tensor

from codeft.metrics.ranking import find_nearest
from codeft.types import CodeftError


class Nearest(Protocol):
    """Finds each query's candidates with the highest dot products; see `find_nearest`."""

    def __call__(
        self, queries: Tensor, candidates: Tensor, *, k: int = 1, own: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return int64 [Q, k] rows in `candidates`, best first, and their scores."""


def find_nearest_by_faiss(
    queries: Tensor, candidates: Tensor, *, k: int = 1, own: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Do what `find_nearest` does through FAISS's flat index, which holds a copy of all candidates.

    Scores are float32's; rows that tie may come in another order.

    Args:
        queries: [Q, D] embeddings.
        candidates: [C, D] embeddings.
        k: How many; fewer where there are fewer candidates.
        own: int64 [Q], the candidate that is the query itself and isn't to be found; None where none is.

    Returns:
        int64 [Q, k] rows in `candidates`, and their scores, both on the CPU.

    Raises:
        CodeftError: FAISS isn't installed.
    """
    _check_installed()
    import faiss

    index = faiss.IndexFlatIP(candidates.shape[1])
    index.add(candidates.detach().float().cpu().contiguous().numpy())
    wanted = min(k + (own is not None), len(candidates))
    table, places = index.search(queries.detach().float().cpu().contiguous().numpy(), wanted)
    scores, rows = torch.from_numpy(table), torch.from_numpy(places)
    if own is None:
        return rows, scores
    # The built-in search gives the query itself last, where there is nothing else.
    scores[rows == own.cpu()[:, None]] = -torch.inf
    scores, order = scores.sort(dim=1, descending=True, stable=True)
    kept = min(k, len(candidates))
    return rows.gather(1, order)[:, :kept], scores[:, :kept]


SEARCHES: Mapping[str, Nearest] = {"builtin": find_nearest, "faiss": find_nearest_by_faiss}
"""What `search=` may name."""


def search_named(name: object) -> Nearest:
    """Return the search of a name.

    Raises:
        CodeftError: There is none of this name, or FAISS isn't installed.
    """
    if not isinstance(name, str) or name not in SEARCHES:
        raise CodeftError(f"search must be one of {', '.join(SEARCHES)}, not {name!r}")
    if name == "faiss":
        _check_installed()
    return SEARCHES[name]


def _check_installed() -> None:
    if util.find_spec("faiss") is None:
        raise CodeftError("search=faiss needs FAISS, which isn't installed: pip install 'codeft[faiss]'")
