"""Every metric of two processes that met over gloo is the metric of one that saw all rows."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import torch
from torch import distributed, multiprocessing
from torchmetrics import Metric

from codeft.metrics import (
    CHRF,
    F1,
    Accuracy,
    CIDEr,
    CodeBLEU,
    CompletionExactMatch,
    CorpusBLEU,
    EditSimilarity,
    EditSimilarityIndel,
    ExactMatch,
    ExactMatchSplit,
    MapAtR,
    Precision,
    Recall,
    RougeL,
    SacreBLEU,
    SearchScores,
    SmoothedBLEU,
    coco,
    named_scores,
)
from codeft.tasks.refinement import RefinementTask
from codeft.types import Example

CODE = [
    ("int f(int a) { return a; }", "int f(int b) { return b + 1; }"),
    ("", "int g() { return 0; }"),
    ("void h() { int i = 0; while (i < 3) { i++; } }", "void h() { int k = 0; while (k < 3) { k++; } }"),
    ("int m ( ) ;", "int m ( ) ;"),
    ("ünï \ud800 x", "ünï x"),
]
LABELS = [("0.9", "1"), ("0.2", "1"), ("0.7", "0"), ("0", "0"), ("1", "1")]
VECTORS = torch.nn.functional.normalize(torch.randn(5, 4, generator=torch.Generator().manual_seed(1)), dim=-1)
PROBLEMS = torch.tensor([3, 3, 8, 8, 3])

TEXTS = [
    SmoothedBLEU, CorpusBLEU, SacreBLEU, CHRF, ExactMatch, ExactMatchSplit, CompletionExactMatch,
    EditSimilarity, EditSimilarityIndel, lambda: CodeBLEU(lang="java"),
    lambda: CodeBLEU(lang="java", mode="package"),
    *([RougeL, CIDEr] if coco.VERSION else []),
]  # fmt: skip
CONFUSION = [F1, Precision, Recall, Accuracy, lambda: F1(threshold=0.1)]


def update_texts(metric: Metric, rows: list[int], *, pairs: list[tuple[str, str]]) -> None:
    for row in rows:
        metric.update([pairs[row][0]], [pairs[row][1]])


def update_search(metric: Metric, rows: list[int]) -> None:
    for row in rows:
        ids = torch.tensor([row])
        wanted = (ids + 1) % 5
        metric.update(
            queries=VECTORS[ids] + 0.3, query_ids=ids, target_ids=wanted,
            candidates=VECTORS[ids], candidate_ids=ids,
        )  # fmt: skip


def update_retrieval(metric: Metric, rows: list[int]) -> None:
    for row in rows:
        metric.update(VECTORS[[row]], PROBLEMS[[row]], torch.tensor([row]))


def all_metrics() -> list[tuple[Metric, Callable[[Metric, list[int]], None]]]:
    return [
        *((make(), lambda metric, rows: update_texts(metric, rows, pairs=CODE)) for make in TEXTS),
        *((make(), lambda metric, rows: update_texts(metric, rows, pairs=LABELS)) for make in CONFUSION),
        (SearchScores(), update_search),
        (MapAtR(), update_retrieval),
    ]


def scores(rows: list[int], *, by_id: list[int]) -> list[dict[str, float]]:
    found = []
    for metric, update in all_metrics():
        update(metric, by_id if isinstance(metric, SearchScores | MapAtR) else rows)
        found.append(named_scores(type(metric).__name__, metric))
    return found


def run_rank(rank: int, folder: str, shares: list[tuple[list[int], list[int]]]) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    rows, by_id = shares[rank]
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(scores(rows, by_id=by_id), file)
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.parametrize(
    "shares",
    [
        # A sampler may hand a row out twice where the metric knows rows by their ids; other rows come once,
        # as `codeft.data.sampling` gives them.
        [([0, 2, 4], [0, 2, 4]), ([1, 3], [1, 3, 0])],
        [([3, 1], [3, 1]), ([0, 4, 2], [4, 2, 0, 3])],
    ],
)
def test_two_processes_score_as_one(tmp_path, shares) -> None:
    alone = scores(list(range(5)), by_id=list(range(5)))
    # Forked: each would else import everything anew.
    multiprocessing.start_processes(run_rank, (str(tmp_path), shares), nprocs=2, start_method="fork")
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [
            pytest.approx(found, rel=1e-12) for found in alone
        ]


def run_idle_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    found = []
    for metric, update in all_metrics():
        if isinstance(metric, SearchScores | MapAtR):
            continue
        update(metric, [] if rank else list(range(5)))
        found.append(named_scores(type(metric).__name__, metric))
    with open(f"{folder}/{rank}.json", "w") as file:
        json.dump(found, file)
    distributed.destroy_process_group()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The ``compute`` method of metric")
def test_a_process_may_have_no_row(tmp_path) -> None:
    alone = scores(list(range(5)), by_id=list(range(5)))[: len(TEXTS) + len(CONFUSION)]
    multiprocessing.start_processes(run_idle_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    for rank in (0, 1):
        assert json.loads((tmp_path / f"{rank}.json").read_text()) == [
            pytest.approx(found, rel=1e-12) for found in alone
        ]


def run_first_rank(rank: int, folder: str) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    if rank == 0:
        rows = [Example(id="1", source="a b c d", target="a b c e", lang="java")]
        floors = RefinementTask().floors(rows, constants={"best_target": "a b c e"})
        with open(f"{folder}/floors.json", "w") as file:
            json.dump(floors, file)
    distributed.destroy_process_group()


@pytest.mark.slow
def test_the_first_process_scores_floors_without_the_other(tmp_path) -> None:
    multiprocessing.start_processes(run_first_rank, (str(tmp_path),), nprocs=2, start_method="fork")
    floors = json.loads((tmp_path / "floors.json").read_text())
    assert floors["best_target"]["exact_match"] == 100 and floors["naive_copy"]["exact_match"] == 0
