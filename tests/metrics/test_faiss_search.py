from __future__ import annotations

from importlib import util

import pytest
import torch

from codeft.metrics import faiss_search
from codeft.metrics.faiss_search import find_nearest_by_faiss, search_named
from codeft.metrics.ranking import find_nearest
from codeft.types import CodeftError

installed = pytest.mark.skipif(util.find_spec("faiss") is None, reason="needs the extra faiss")


@installed
@pytest.mark.parametrize("num_queries", [1, 7, 50])
@pytest.mark.parametrize("k", [1, 5, 400])
def test_equals_the_built_in_search(num_queries, k) -> None:
    generator = torch.Generator().manual_seed(k)
    candidates = torch.nn.functional.normalize(torch.randn(300, 16, generator=generator), dim=-1)
    queries = torch.randn(num_queries, 16, generator=generator)
    rows, scores = find_nearest_by_faiss(queries, candidates, k=k)
    wanted, wanted_scores = find_nearest(queries, candidates, k=k, candidate_block=64)
    assert torch.equal(rows, wanted)
    torch.testing.assert_close(scores, wanted_scores)


@installed
@pytest.mark.parametrize("k", [1, 3, 12])
def test_a_vector_doesn_t_find_itself(k) -> None:
    vectors = torch.randn(12, 4, generator=torch.Generator().manual_seed(0))
    own = torch.arange(12)
    rows, scores = find_nearest_by_faiss(vectors, vectors, k=k, own=own)
    wanted, wanted_scores = find_nearest(vectors, vectors, k=k, own=own)
    assert torch.equal(rows, wanted)
    torch.testing.assert_close(scores, wanted_scores)


@installed
def test_a_copy_isn_t_the_vector_itself() -> None:
    rows, scores = find_nearest_by_faiss(torch.ones(5, 2), torch.ones(5, 2), own=torch.arange(5))
    assert rows.shape == (5, 1) and not (rows[:, 0] == torch.arange(5)).any()
    assert scores.tolist() == [[2.0]] * 5


def test_names(monkeypatch: pytest.MonkeyPatch) -> None:
    assert search_named("builtin") is find_nearest
    with pytest.raises(CodeftError, match="builtin, faiss, not 'hnsw'"):
        search_named("hnsw")
    monkeypatch.setattr(faiss_search.util, "find_spec", lambda name: None)
    with pytest.raises(CodeftError, match=r"codeft\[faiss\]"):
        search_named("faiss")
